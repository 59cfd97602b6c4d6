//! The semantic version of a model: major when the feature schema changes, minor when hyper-parameters or code change,
//! patch for a retrain on newer data.

use std::fmt;
use std::str::FromStr;

/// A version such as `2.1.14`, kept as the tag `semver` of a model version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SemanticVersion {
    /// Changes with the feature schema: whoever computes features must follow.
    pub major: u64,
    /// Changes with hyper-parameters or code.
    pub minor: u64,
    /// Changes with the data.
    pub patch: u64,
}

/// What decides the next version. Each is a hash, so that two models can be compared by their tags alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Of the feature names in order.
    pub schema: String,
    /// Of the hyper-parameters and the program's version.
    pub recipe: String,
}

impl SemanticVersion {
    /// Of the first model.
    pub const FIRST: Self = Self { major: 1, minor: 0, patch: 0 };

    /// The version that follows `self`, which had the lineage `before`.
    #[must_use]
    pub fn next(self, before: &Lineage, now: &Lineage) -> Self {
        if before.schema != now.schema {
            Self { major: self.major + 1, minor: 0, patch: 0 }
        } else if before.recipe != now.recipe {
            Self { minor: self.minor + 1, patch: 0, ..self }
        } else {
            Self { patch: self.patch + 1, ..self }
        }
    }
}

impl fmt::Display for SemanticVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A text that is no semantic version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no semantic version such as `1.4.2`")]
pub struct NoSemanticVersion(String);

impl FromStr for SemanticVersion {
    type Err = NoSemanticVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.').map(str::parse::<u64>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Self { major, minor, patch }),
            _ => Err(NoSemanticVersion(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(schema: &str, recipe: &str) -> Lineage {
        Lineage { schema: schema.into(), recipe: recipe.into() }
    }

    #[test]
    fn the_part_that_changed_decides() {
        let version: SemanticVersion = "1.4.2".parse().expect("a version");
        let before = lineage("a", "x");
        assert_eq!(version.next(&before, &lineage("b", "x")).to_string(), "2.0.0");
        assert_eq!(version.next(&before, &lineage("b", "y")).to_string(), "2.0.0");
        assert_eq!(version.next(&before, &lineage("a", "y")).to_string(), "1.5.0");
        assert_eq!(version.next(&before, &lineage("a", "x")).to_string(), "1.4.3");
    }

    #[test]
    fn what_is_no_version_is_refused_with_its_text() {
        for text in ["", "1", "1.2", "1.2.x", "1.2.3.4", "-1.0.0"] {
            let error = text.parse::<SemanticVersion>().expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")));
        }
    }
}
