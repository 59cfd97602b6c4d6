//! A search over runs: conditions that all hold, an order, a limit.

use crate::TrackingError;
use crate::types::RunStatus;
use std::fmt;
use std::str::FromStr;

/// Something of a run that can be compared or sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The latest value of a metric.
    Metric(String),
    /// A parameter; compared as text.
    Param(String),
    /// A tag; compared as text.
    Tag(String),
    /// `RUNNING`, `FINISHED`, …
    Status,
    /// The run's name.
    Name,
    /// Milliseconds since 1970.
    StartedAt,
}

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// For metrics and times.
    Number(f64),
    /// For the rest.
    Text(String),
}

/// One condition, in MLflow's notation `metrics.mae < 0.03` or `tags.step = 'load'`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// What is compared. A run without it does not match.
    pub field: Field,
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub operand: Operand,
}

impl Condition {
    /// Compares a metric's latest value with a number.
    pub fn metric(name: impl Into<String>, comparison: Comparison, value: f64) -> Self {
        Self { field: Field::Metric(name.into()), comparison, operand: Operand::Number(value) }
    }

    /// Wants a tag to have a value.
    pub fn tag(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { field: Field::Tag(name.into()), comparison: Comparison::Equal, operand: Operand::Text(value.into()) }
    }

    /// Wants a parameter to have a value.
    pub fn param(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { field: Field::Param(name.into()), comparison: Comparison::Equal, operand: Operand::Text(value.into()) }
    }

    /// Wants a run to stand in a certain way.
    pub fn status(status: RunStatus) -> Self {
        Self { field: Field::Status, comparison: Comparison::Equal, operand: Operand::Text(status.as_str().into()) }
    }
}

/// A search over runs. The default finds the newest 100 runs of all experiments.
#[derive(Debug, Clone, PartialEq)]
pub struct RunQuery {
    /// Ids of experiments; empty = all.
    pub experiments: Vec<String>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Sort by this; ties and `None`: newest first. Runs without the field come last.
    pub order: Option<(Field, Direction)>,
    /// At most this many.
    pub limit: usize,
}

/// Ways to sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

impl Default for RunQuery {
    fn default() -> Self {
        Self { experiments: Vec::new(), conditions: Vec::new(), order: None, limit: 100 }
    }
}

impl RunQuery {
    /// The newest runs of one experiment.
    pub fn of(experiment_id: impl Into<String>) -> Self {
        Self { experiments: vec![experiment_id.into()], ..Self::default() }
    }

    /// With one more condition.
    #[must_use]
    pub fn and(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// With the conditions of a text such as `metrics.mae < 0.03 and tags.step = 'load'`.
    ///
    /// # Errors
    /// [`TrackingError::Invalid`] names the part that is no condition.
    pub fn filter(mut self, text: &str) -> Result<Self, TrackingError> {
        for part in split_conditions(text) {
            self.conditions.push(part.trim().parse()?);
        }
        Ok(self)
    }

    /// Sorted by a field.
    #[must_use]
    pub fn ordered(mut self, field: Field, direction: Direction) -> Self {
        self.order = Some((field, direction));
        self
    }

    /// At most this many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// Cuts at ` and `, but not inside quotes.
fn split_conditions(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quote) = (0, None);
    for (position, letter) in text.char_indices() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '\'' | '"' | '`') => quote = Some(letter),
            None => {
                let ends_word = text.get(position..position + 5).is_some_and(|word| word.eq_ignore_ascii_case(" and "));
                if ends_word && position >= start {
                    parts.push(&text[start..position]);
                    start = position + 5;
                }
            }
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

impl FromStr for Condition {
    type Err = TrackingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: &str| {
            TrackingError::invalid(
                "condition",
                text,
                format!("{why}. Write it like `metrics.mae < 0.03` or `tags.step = 'load'`"),
            )
        };
        let (field, comparison, operand) = split_comparison(text).ok_or_else(|| wrong("it has no comparison"))?;
        let field: Field = field.parse().map_err(|why: String| wrong(&why))?;
        let operand = match &field {
            Field::Metric(_) | Field::StartedAt => {
                Operand::Number(operand.parse().map_err(|_| wrong("the value is no number"))?)
            }
            _ => Operand::Text(unquoted(operand).ok_or_else(|| wrong("the value wants quotes"))?.to_owned()),
        };
        let sortable =
            matches!(comparison, Comparison::Equal | Comparison::NotEqual) || matches!(operand, Operand::Number(_));
        if !sortable {
            return Err(wrong("text can be compared with `=` and `!=` only"));
        }
        Ok(Self { field, comparison, operand })
    }
}

fn split_comparison(text: &str) -> Option<(&str, Comparison, &str)> {
    // Back quotes may hide an operator inside a name.
    let from = if text.contains('`') { text.rfind('`')? } else { 0 };
    let position = from + text[from..].find(['=', '!', '<', '>'])?;
    let signs = [
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("=", Comparison::Equal),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let (sign, comparison) = signs.into_iter().find(|(sign, _)| text[position..].starts_with(sign))?;
    Some((text[..position].trim(), comparison, text[position + sign.len()..].trim()))
}

fn unquoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once('.').unwrap_or(("attributes", text));
        let name = name.trim_matches('`').to_owned();
        match (kind, name.as_str()) {
            ("metrics" | "metric", _) => Ok(Self::Metric(name)),
            ("params" | "param" | "parameters", _) => Ok(Self::Param(name)),
            ("tags" | "tag", _) => Ok(Self::Tag(name)),
            ("attributes" | "attribute", "status") => Ok(Self::Status),
            ("attributes" | "attribute", "run_name" | "name") => Ok(Self::Name),
            ("attributes" | "attribute", "start_time") => Ok(Self::StartedAt),
            _ => Err(format!(
                "`{text}` is none of `metrics.…`, `params.…`, `tags.…`, `status`, `run_name`, `start_time`"
            )),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metric(name) => write!(f, "metrics.`{name}`"),
            Self::Param(name) => write!(f, "params.`{name}`"),
            Self::Tag(name) => write!(f, "tags.`{name}`"),
            Self::Status => f.write_str("attributes.status"),
            Self::Name => f.write_str("attributes.run_name"),
            Self::StartedAt => f.write_str("attributes.start_time"),
        }
    }
}

impl Comparison {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_text_is_read_as_conditions() {
        let query = RunQuery::default()
            .filter("metrics.mae <= 3.5e-2 and tags.`a b` = 'x and y' AND status != 'FAILED'")
            .expect("filter");
        assert_eq!(
            query.conditions,
            [
                Condition::metric("mae", Comparison::LessOrEqual, 0.035),
                Condition::tag("a b", "x and y"),
                Condition {
                    field: Field::Status,
                    comparison: Comparison::NotEqual,
                    operand: Operand::Text("FAILED".into())
                },
            ]
        );
    }

    #[test]
    fn what_is_no_condition_is_refused_with_an_example() {
        for text in ["mae", "metrics.mae < fast", "tags.step = load", "colour = 'red'", "tags.step > 'a'"] {
            let error = RunQuery::default().filter(text).expect_err(text).to_string();
            assert!(error.contains(text) && error.contains("metrics.mae < 0.03"), "{error}");
        }
    }
}
