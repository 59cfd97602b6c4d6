//! A definition, checked and in the order of its dependencies.
//!
//! Kubeflow's own loader accepts a step that reads from a step that does not exist, a component without an executor, or
//! a misspelt placeholder, and fails when the step runs. Here a plan exists only when everything that is named is there.

mod build;
mod check;
mod order;

use crate::placeholder::Template;
use crate::spec::{ParameterDefinition, ParameterType};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// What a definition asks for, in an order in which it can be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// The pipeline's parameters.
    pub parameters: BTreeMap<String, ParameterDefinition>,
    /// Each step comes after all that it depends on.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// The image that Kubeflow runs it in.
    pub image: String,
    /// Program and arguments.
    pub command: Vec<Template>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Where its values come from.
    pub parameters: BTreeMap<String, ParameterSource>,
    /// Where its files and folders come from.
    pub artifacts: BTreeMap<String, ArtifactInput>,
    /// The files and folders that it writes: name and type, such as `system.Model`.
    pub output_artifacts: BTreeMap<String, String>,
    /// The values that it writes.
    pub output_parameters: BTreeMap<String, ParameterType>,
    /// The steps that must have ended well before.
    pub after: BTreeSet<String>,
    /// Whether an earlier result with the same inputs is taken.
    pub cached: bool,
    /// How often it is tried again.
    pub retry: Retry,
    /// After which time an attempt is killed.
    pub time_limit: Option<Duration>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterSource {
    /// A parameter of the pipeline.
    Pipeline(String),
    /// A value that a step wrote.
    Step {
        /// Which step.
        step: String,
        /// Which of its output parameters.
        output: String,
    },
    /// A value in the definition.
    Constant(Value),
}

/// Where a file or folder comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactInput {
    /// Which step.
    pub step: String,
    /// Which of its output artifacts.
    pub output: String,
    /// Its type, such as `system.Dataset`.
    pub kind: String,
}

/// How often a failed attempt is tried again, and after which pauses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Further attempts after the first.
    pub count: u32,
    /// Pause before the second attempt.
    pub pause: Duration,
    /// Each further pause is this many times the one before.
    pub factor: f64,
    /// Longest pause.
    pub longest: Duration,
}

impl Retry {
    /// The pause before attempt `attempt`; the first attempt is number 1 and has none.
    pub fn pause_before(&self, attempt: u32) -> Duration {
        let Some(retries) = attempt.checked_sub(2) else { return Duration::ZERO };
        let seconds = self.pause.as_secs_f64() * self.factor.powf(f64::from(retries));
        Duration::try_from_secs_f64(seconds).unwrap_or(self.longest).min(self.longest)
    }
}

/// Something in a definition that cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where, such as `step `features``.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// A definition names things that are not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pipeline definition cannot run:{}", .findings.iter().map(|finding| format!("\n  {finding}")).collect::<String>())]
pub struct PlanError {
    /// All that was found.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// The step of this name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// `name` and all steps that depend on it, directly or not.
    pub fn with_dependents(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([name.to_owned()]);
        for step in &self.steps {
            if step.after.iter().any(|before| found.contains(before)) {
                found.insert(step.name.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let retry = Retry { count: 5, pause: Duration::from_secs(10), factor: 2.0, longest: Duration::from_secs(30) };
        let pauses: Vec<u64> = (1..=5).map(|attempt| retry.pause_before(attempt).as_secs()).collect();
        assert_eq!(pauses, [0, 10, 20, 30, 30]);
    }
}
