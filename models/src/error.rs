//! What can go wrong between a matrix and a forecast.

/// A fit, a prediction or a model file that was refused, with the numbers that did not fit.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Two lengths that must agree do not.
    #[error("{what} has {got} {unit}, expected {expected}")]
    Shape {
        /// What was counted, such as `target`.
        what: &'static str,
        /// What was counted in, such as `rows`.
        unit: &'static str,
        /// How many there must be.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// The matrix has other features than the model was fitted on.
    #[error(
        "feature {index} is `{got}`, the model was fitted with `{expected}` there. Build the matrix with the model's own feature list"
    )]
    FeatureName {
        /// Position of the first feature that differs, from 0.
        index: usize,
        /// The model's name for it.
        expected: String,
        /// The matrix's name for it.
        got: String,
    },
    /// A feature that an algorithm reads by name is absent.
    #[error("the features have no column `{name}`, which {wanted_by} reads. The columns are: {}", .columns.join(", "))]
    UnknownFeature {
        /// The column asked for.
        name: String,
        /// Who asked.
        wanted_by: String,
        /// What is there.
        columns: Vec<String>,
    },
    /// Two columns carry the same name.
    #[error("feature `{name}` occurs twice, at {first} and {second}")]
    DuplicateFeature {
        /// The name.
        name: String,
        /// Where it stands first.
        first: usize,
        /// Where it stands again.
        second: usize,
    },
    /// Nothing to learn from.
    #[error("{what} has no rows")]
    Empty {
        /// Which input.
        what: &'static str,
    },
    /// A value that no arithmetic survives.
    #[error("{what} has the value {value} in row {row}{}. Missing features are NaN; targets and weights are finite", column_suffix(.column))]
    NotFinite {
        /// Which input.
        what: &'static str,
        /// The row, from 0.
        row: usize,
        /// The column, where there are columns.
        column: Option<String>,
        /// The value.
        value: f32,
    },
    /// Every target is missing.
    #[error("all {rows} targets are NaN: nothing can be learned from them")]
    NoTarget {
        /// How many there were.
        rows: usize,
    },
    /// A weight below zero, or no weight above zero.
    #[error("row weights must be at least 0 and not all 0, row {row} has {weight}")]
    Weight {
        /// The row, from 0.
        row: usize,
        /// Its weight.
        weight: f32,
    },
    /// A setting outside its range.
    #[error("`{setting}` must be {rule}, got {got}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// The allowed range in words.
        rule: &'static str,
        /// What came.
        got: String,
    },
    /// The algorithm cannot do this.
    #[error("{learner} cannot {action}. {hint}")]
    Unsupported {
        /// Which algorithm.
        learner: &'static str,
        /// What was asked of it.
        action: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// The library behind an algorithm refused or failed.
    #[error("{learner} failed to {doing}: {reason}")]
    Library {
        /// Which algorithm.
        learner: &'static str,
        /// What it was doing.
        doing: &'static str,
        /// The library's own words.
        reason: String,
    },
    /// Bytes that are no model of ours.
    #[error("`{file}` is no usable model file: {problem}")]
    Damaged {
        /// Which file of the artifact.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The forecast asked for was never fitted.
    #[error("the load predictor has no head for {head}. It has: {}", .known.join(", "))]
    UnknownHead {
        /// The head asked for, such as `cpu 1h`.
        head: String,
        /// Those that exist.
        known: Vec<String>,
    },
}

fn column_suffix(column: &Option<String>) -> String {
    column.as_ref().map_or_else(String::new, |name| format!(", column `{name}`"))
}

impl ModelError {
    pub(crate) fn library(learner: &'static str, doing: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Library { learner, doing, reason: reason.to_string() }
    }

    pub(crate) fn damaged(file: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::Damaged { file: file.into(), problem: problem.to_string() }
    }

    pub(crate) fn rows(what: &'static str, expected: usize, got: usize) -> Result<(), Self> {
        if expected == got { Ok(()) } else { Err(Self::Shape { what, unit: "rows", expected, got }) }
    }

    pub(crate) fn columns(expected: usize, got: usize) -> Result<(), Self> {
        if expected == got { Ok(()) } else { Err(Self::Shape { what: "row", unit: "columns", expected, got }) }
    }
}
