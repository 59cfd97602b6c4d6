//! Which steps of a plan to run.

use super::RunError;
use crate::plan::Plan;

/// Which steps, and which of them in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selection {
    /// All; those whose inputs did not change are skipped.
    #[default]
    All,
    /// All in any case.
    Force,
    /// This one in any case, and nothing else.
    Only(String),
    /// This one in any case, and what depends on it.
    From(String),
}

impl Selection {
    /// Whether the plan has the step.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), RunError> {
        match self {
            Self::Only(name) | Self::From(name) if plan.step(name).is_none() => {
                let known = plan.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join("`, `");
                Err(RunError::UnknownStep { pipeline: plan.name.clone(), name: name.clone(), known })
            }
            _ => Ok(()),
        }
    }

    /// Whether the step is asked for.
    pub(super) fn runs(&self, plan: &Plan, step: &str) -> bool {
        match self {
            Self::All | Self::Force => true,
            Self::Only(name) => name == step,
            Self::From(name) => plan.with_dependents(name).contains(step),
        }
    }

    /// Whether the step runs even when its inputs did not change.
    pub(super) fn forces(&self, step: &str) -> bool {
        match self {
            Self::All => false,
            Self::Force => true,
            Self::Only(name) | Self::From(name) => name == step,
        }
    }
}
