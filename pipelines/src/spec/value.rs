//! Values of parameters and lengths of time.

use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ParameterType {
    /// A whole number.
    NumberInteger,
    /// A number.
    NumberDouble,
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A JSON list.
    List,
    /// A JSON object.
    Struct,
}

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NumberInteger => "NUMBER_INTEGER",
            Self::NumberDouble => "NUMBER_DOUBLE",
            Self::String => "STRING",
            Self::Boolean => "BOOLEAN",
            Self::List => "LIST",
            Self::Struct => "STRUCT",
        })
    }
}

impl ParameterType {
    /// Whether `value` is of this type. A whole number is a `NUMBER_DOUBLE` too.
    pub fn accepts(self, value: &Value) -> bool {
        match self {
            Self::NumberInteger => value.is_i64() || value.is_u64(),
            Self::NumberDouble => value.is_number(),
            Self::String => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Struct => value.is_object(),
        }
    }

    /// Reads a value as people and steps write it: text as it is, everything else as JSON. `None` when it is of another
    /// type.
    pub fn read(self, text: &str) -> Option<Value> {
        if self == Self::String {
            return Some(Value::String(text.to_owned()));
        }
        serde_json::from_str(text.trim()).ok().filter(|value| self.accepts(value))
    }
}

/// A value as it stands in a command line: text without quotes, everything else as JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads a length of time as protocol buffers write it in JSON: seconds with the suffix `s`, such as `30s` or `0.5s`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_by_their_type() {
        assert_eq!(ParameterType::String.read("0.95"), Some(json!("0.95")));
        assert_eq!(ParameterType::NumberDouble.read("0.95"), Some(json!(0.95)));
        assert_eq!(ParameterType::NumberDouble.read("3"), Some(json!(3)));
        assert_eq!(ParameterType::NumberInteger.read("3.5"), None);
        assert_eq!(ParameterType::Boolean.read("yes"), None);
        assert_eq!(ParameterType::List.read("[1, 2]\n"), Some(json!([1, 2])));
        assert_eq!(text_of(&json!("a b")), "a b");
        assert_eq!(text_of(&json!([1, 2])), "[1,2]");
    }

    #[test]
    fn durations_are_seconds() {
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("0.05s"), Some(Duration::from_millis(50)));
        for wrong in ["30", "5m", "-1s", "s", "NaNs"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
