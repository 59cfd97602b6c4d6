//! The selector of one cluster in a store that holds several: it goes into every selector of every query, whoever wrote it.

use std::collections::BTreeSet;
use std::fmt;

/// Matchers such as `cluster="prod"`; none means that the store holds one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSelector {
    matchers: String,
    labels: BTreeSet<String>,
}

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid selector: {problem}. Want matchers such as `{{cluster=\"prod\",region=~\"eu-.*\"}}`")]
pub struct ParseSelectorError {
    text: String,
    problem: String,
}

/// A cluster's label that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid cluster label: want NAME=VALUE such as `cluster=prod`")]
pub struct ParseClusterLabelError(String);

impl ClusterSelector {
    /// From matchers as PromQL has them, with or without braces.
    ///
    /// # Errors
    /// [`ParseSelectorError`] says where it ends to be a list of matchers.
    pub fn parse(text: &str) -> Result<Self, ParseSelectorError> {
        let fail = |problem: &str| ParseSelectorError { text: text.to_owned(), problem: problem.to_owned() };
        let trimmed = text.trim();
        let inside = match trimmed.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').ok_or_else(|| fail("the closing brace is missing"))?,
            None => trimmed,
        };
        let mut selector = Self::default();
        let mut rest = inside.trim();
        while !rest.is_empty() {
            let end = rest.find(|character: char| !is_word(character)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || name.contains(':') {
                return Err(fail(&format!("at `{rest}` a label's name was expected")));
            }
            let after = after.trim_start();
            let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| after.starts_with(operator));
            let operator = operator.ok_or_else(|| fail("after a label's name comes `=`, `!=`, `=~` or `!~`"))?;
            let value = after[operator.len()..].trim_start();
            let length = quoted(value).ok_or_else(|| fail("a value stands in quotes"))?;
            selector.add(&format!("{name}{operator}{}", &value[..length]), name);
            rest = value[length..].trim_start();
            if !rest.is_empty() {
                rest = rest.strip_prefix(',').ok_or_else(|| fail("between two matchers stands a comma"))?.trim_start();
            }
        }
        Ok(selector)
    }

    /// Adds `name="value"` from `name=value`.
    ///
    /// # Errors
    /// [`ParseClusterLabelError`].
    pub fn with_label(mut self, text: &str) -> Result<Self, ParseClusterLabelError> {
        let parsed = text.split_once('=').filter(|(name, value)| {
            !value.is_empty()
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && !name.is_empty()
                && name.chars().all(|character| is_word(character) && character != ':')
        });
        let (name, value) = parsed.ok_or_else(|| ParseClusterLabelError(text.to_owned()))?;
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        self.add(&format!("{name}=\"{escaped}\""), name);
        Ok(self)
    }

    fn add(&mut self, matcher: &str, label: &str) {
        let comma = if self.matchers.is_empty() { "" } else { "," };
        self.matchers.push_str(&format!("{comma}{matcher}"));
        self.labels.insert(label.to_owned());
    }

    /// Whether there are no matchers.
    pub fn is_empty(&self) -> bool {
        self.matchers.is_empty()
    }

    /// Whether it decides on the values of a label.
    pub fn names(&self, label: &str) -> bool {
        self.labels.contains(label)
    }

    /// The query with the matchers in each of its selectors.
    pub fn apply(&self, promql: &str) -> String {
        if self.is_empty() {
            promql.to_owned()
        } else {
            Walk { rest: promql, out: String::new() }.insert(&self.matchers)
        }
    }
}

impl fmt::Display for ClusterSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.matchers)
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | ':')
}

/// The length of the text in quotes that `text` begins with, quotes included.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\'' | '`'))?;
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = quote != '`',
            _ if character == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Words of PromQL that a list of labels in parentheses follows.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words of PromQL that stand alone where a metric's name could.
const WORDS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"];

/// A walk over PromQL, <https://prometheus.io/docs/prometheus/latest/querying/basics/>, that knows as much of it as tells a
/// metric's name from a function, a keyword and a label.
struct Walk<'a> {
    rest: &'a str,
    out: String,
}

impl<'a> Walk<'a> {
    fn insert(mut self, matchers: &str) -> String {
        while let Some(first) = self.rest.chars().next() {
            match first {
                '"' | '\'' | '`' => self.copy(quoted(self.rest).unwrap_or(self.rest.len())),
                '#' => self.copy(self.rest.find('\n').unwrap_or(self.rest.len())),
                '[' => self.copy(self.rest.find(']').map_or(self.rest.len(), |end| end + 1)),
                '{' => self.selector(matchers),
                _ if first.is_ascii_digit() => self.copy(self.length_of_word()),
                _ if is_word(first) => self.word(matchers),
                _ => self.copy(first.len_utf8()),
            }
        }
        self.out
    }

    fn copy(&mut self, length: usize) {
        let (copied, rest) = self.rest.split_at(length);
        self.out.push_str(copied);
        self.rest = rest;
    }

    /// Numbers and durations may have a point as well.
    fn length_of_word(&self) -> usize {
        self.rest.find(|character: char| !is_word(character) && character != '.').unwrap_or(self.rest.len())
    }

    /// The matchers go before the closing brace.
    fn selector(&mut self, matchers: &str) {
        self.copy(1);
        let begun = self.out.len();
        loop {
            match self.rest.chars().next() {
                Some('}') => break,
                Some('"' | '\'' | '`') => self.copy(quoted(self.rest).unwrap_or(self.rest.len())),
                Some(other) => self.copy(other.len_utf8()),
                None => return,
            }
        }
        let inside = self.out[begun..].trim_end();
        if !inside.is_empty() && !inside.ends_with(',') {
            self.out.push(',');
        }
        self.out.push_str(matchers);
        self.copy(1);
    }

    fn word(&mut self, matchers: &str) {
        let length = self.rest.find(|character: char| !is_word(character)).unwrap_or(self.rest.len());
        let word = &self.rest[..length];
        self.copy(length);
        let next = self.rest.trim_start();
        let is_one_of = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
        if is_one_of(&BEFORE_LABELS) && next.starts_with('(') {
            self.copy(self.rest.find(')').map_or(self.rest.len(), |end| end + 1));
            return;
        }
        let next_word = next.split(|character: char| !is_word(character)).next().unwrap_or_default();
        let is_aggregation = ["by", "without"].iter().any(|known| known.eq_ignore_ascii_case(next_word));
        // What goes on with a brace gets its matchers there.
        if next.starts_with(['(', '{']) || is_aggregation || is_one_of(&WORDS) || is_one_of(&BEFORE_LABELS) {
            return;
        }
        self.out.push_str(&format!("{{{matchers}}}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::labels::NodeLabels;
    use crate::prometheus::queries::{Fact, Group, Queries, QuerySettings, Spans, fill};

    fn prod() -> ClusterSelector {
        ClusterSelector::default().with_label("cluster=prod").expect("a label")
    }

    #[test]
    fn every_selector_gets_the_matchers_and_nothing_else_does() {
        for (before, after) in [
            ("up", r#"up{cluster="prod"}"#),
            ("time()", "time()"),
            ("up{}", r#"up{cluster="prod"}"#),
            (r#"up{job="a"}"#, r#"up{job="a",cluster="prod"}"#),
            (r#"up{job="a",}"#, r#"up{job="a",cluster="prod"}"#),
            (r#"{__name__=~"a|b}"}[5m]"#, r#"{__name__=~"a|b}",cluster="prod"}[5m]"#),
            ("rate(a[5m] offset 1h)", r#"rate(a{cluster="prod"}[5m] offset 1h)"#),
            (
                "sum by (job, instance) (a) / on (job) group_left (x) b",
                r#"sum by (job, instance) (a{cluster="prod"}) / on (job) group_left (x) b{cluster="prod"}"#,
            ),
            ("sum(a) without (job)", r#"sum(a{cluster="prod"}) without (job)"#),
            (
                "sum BY (job) (a) AND b unless c",
                r#"sum BY (job) (a{cluster="prod"}) AND b{cluster="prod"} unless c{cluster="prod"}"#,
            ),
            ("a > bool 1e-3 * Inf", r#"a{cluster="prod"} > bool 1e-3 * Inf"#),
            ("max_over_time(a[1h:30s] @ end())", r#"max_over_time(a{cluster="prod"}[1h:30s] @ end())"#),
            ("a:b:rate5m # of b\n+ c", "a:b:rate5m{cluster=\"prod\"} # of b\n+ c{cluster=\"prod\"}"),
            (
                r#"label_replace(a, "x", '$1', "y", `(\w+)`)"#,
                r#"label_replace(a{cluster="prod"}, "x", '$1', "y", `(\w+)`)"#,
            ),
            (r#"a{b="\"}"}"#, r#"a{b="\"}",cluster="prod"}"#),
            ("count_values(\"version\", a)", "count_values(\"version\", a{cluster=\"prod\"})"),
            ("topk(3, a) or -b", r#"topk(3, a{cluster="prod"}) or -b{cluster="prod"}"#),
        ] {
            assert_eq!(prod().apply(before), after);
            assert_eq!(ClusterSelector::default().apply(before), before);
        }
    }

    #[test]
    fn every_built_in_query_gets_the_matchers_once_for_each_metric() {
        let queries = Queries::new(QuerySettings::default(), &NodeLabels::default()).expect("queries");
        let columns = queries.columns().flat_map(|(_, query)| [Some(query.query.as_str()), query.metric.as_deref()]);
        let spans = Spans { window: 120_000, range: 60_000, stale: 60_000 };
        for text in columns.flatten().chain(Fact::ALL.iter().filter_map(|fact| queries.fact(*fact))) {
            let text = fill(text, &Group::everything(), spans);
            // By another way: all metrics that are read begin with the exporter's name.
            let named: usize = ["node_", "kube_", "container_", "windows_", "ALERTS"]
                .iter()
                .map(|prefix| {
                    text.match_indices(prefix)
                        .filter(|(at, _)| !text[..*at].ends_with(|before: char| is_word(before) || before == '`'))
                        .filter(|(at, _)| {
                            text[*at..]
                                .find(|c: char| !is_word(c))
                                .is_some_and(|end| text[*at + end..].starts_with(['{', '[']))
                        })
                        .count()
                })
                .sum();
            assert_eq!(prod().apply(&text).matches(r#"cluster="prod""#).count(), named, "{text}");
            assert!(named > 0, "{text}");
        }
    }

    #[test]
    fn matchers_are_read_as_promql_has_them() {
        for (text, shown) in [
            (r#"{cluster="prod"}"#, r#"{cluster="prod"}"#),
            (r#" cluster = "prod" , region =~ 'eu-.*', "#, r#"{cluster="prod",region=~'eu-.*'}"#),
            (r#"{a!="b",c!~`d}`}"#, r#"{a!="b",c!~`d}`}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(ClusterSelector::parse(text).expect(text).to_string(), shown);
        }
        for text in [
            r#"{cluster="prod""#,
            "cluster=prod",
            r#"cluster"prod""#,
            r#"a="b" c="d""#,
            r#"a="b"#,
            r#"1a="b""#,
            r#"up{a="b"}"#,
        ] {
            let error = ClusterSelector::parse(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}` is not a valid selector")), "{error}");
        }
    }

    #[test]
    fn a_cluster_label_is_one_matcher_more() {
        let both =
            ClusterSelector::parse(r#"{region="eu"}"#).expect("matchers").with_label(r#"cluster=a"b"#).expect("label");
        assert_eq!(both.to_string(), r#"{region="eu",cluster="a\"b"}"#);
        assert!(both.names("cluster") && both.names("region") && !both.names("job"));
        for text in ["cluster", "=prod", "cluster=", "a b=c"] {
            let error = prod().with_label(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
