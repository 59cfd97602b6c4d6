//! One value of a table.

use collector::text::{Dialect, epoch_millis, parse_moment};

/// One value of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Cell {
    /// Empty, null, or one of the words for it.
    #[default]
    Missing,
    /// A finite number; times of Parquet files as UTC milliseconds.
    Number(f64),
    /// Anything else.
    Text(String),
}

/// What people and programs write where there is no value.
const NO_VALUE: [&str; 8] = ["", "na", "n/a", "nan", "null", "none", "nil", "-"];

impl Cell {
    /// From a field of a text file.
    pub fn parse(text: &str, dialect: Dialect) -> Self {
        let text = text.trim();
        match dialect.number(text) {
            Some(number) if number.is_finite() => Self::Number(number),
            _ => Self::text(text),
        }
    }

    /// A field that stays text, unless it is one of the words for no value.
    pub fn text(text: &str) -> Self {
        let text = text.trim();
        let is_missing = text.len() <= 4 && NO_VALUE.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is_missing { Self::Missing } else { Self::Text(text.to_owned()) }
    }

    /// As a name, such as a node's.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }

    /// As UTC milliseconds; `None` where it is no time.
    pub fn time(&self) -> Option<i64> {
        match self {
            Self::Missing => None,
            Self::Number(number) => epoch_millis(*number),
            Self::Text(text) => parse_moment(text).map(|moment| moment.millis),
        }
    }

    /// As a label: was this row an anomaly? `None` where it says neither.
    pub fn label(&self) -> Option<bool> {
        match self {
            Self::Number(number) if *number == 0.0 => Some(false),
            Self::Number(number) if *number == 1.0 => Some(true),
            Self::Text(text) => match text.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "anomaly" | "anomalous" | "abnormal" => Some(true),
                "0" | "false" | "no" | "normal" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_told_apart() {
        let parse = |text: &str| Cell::parse(text, Dialect::default());
        assert_eq!(parse(" 0.5 "), Cell::Number(0.5));
        assert_eq!(parse("1e3"), Cell::Number(1_000.0));
        for missing in ["", "NaN", "null", "NA", " - "] {
            assert_eq!(parse(missing), Cell::Missing, "{missing}");
        }
        assert_eq!(parse("inf"), Cell::Text("inf".into()));
        assert_eq!(Cell::text("007").name().as_deref(), Some("007"));
        assert_eq!([parse("1").label(), parse("no").label(), parse("2").label()], [Some(true), Some(false), None]);
    }
}
