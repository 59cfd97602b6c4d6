//! Nodes that cannot be observed, such as AWS Fargate's, virtual kubelets' and Windows nodes, on which node_exporter does
//! not run: they are left out, so that they do not count as missing.

use std::fmt;
use std::str::FromStr;

/// What is left out where nothing else is asked for.
///
/// The labels and taints that Kubernetes and the providers themselves put on such nodes: `kubernetes.io/os` is a
/// well-known label, `type=virtual-kubelet` and `virtual-kubelet.io/provider` are Virtual Kubelet's
/// (<https://virtual-kubelet.io/docs>), `eks.amazonaws.com/compute-type` is the one of Amazon EKS.
pub const IGNORED_NODES: [&str; 4] = [
    "type=virtual-kubelet",
    "virtual-kubelet.io/provider",
    "eks.amazonaws.com/compute-type=fargate",
    "kubernetes.io/os=windows",
];

/// One rule: a label or taint (`key` or `key=value`), or a pattern of names (`name=edge-*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IgnoreRule {
    /// A label or taint of this key, with any value or with this one.
    Label {
        /// As Kubernetes writes it.
        key: String,
        /// `None`: any.
        value: Option<String>,
    },
    /// Names, `*` standing for any characters.
    Name(String),
}

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a valid rule for nodes: give a label or taint as `key` or `key=value`, or names as `name=edge-*`"
)]
pub struct ParseIgnoreRuleError(String);

impl FromStr for IgnoreRule {
    type Err = ParseIgnoreRuleError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseIgnoreRuleError(text.to_owned());
        let (key, value) = match text.trim().split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim())),
            None => (text.trim(), None),
        };
        // What a label's key may consist of, <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>.
        let is_key = |key: &str| {
            !key.is_empty()
                && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
        };
        match (key, value) {
            ("name", Some(pattern)) if !pattern.is_empty() => Ok(Self::Name(pattern.to_owned())),
            ("name", _) => Err(invalid()),
            (key, value) if is_key(key) && !value.is_some_and(|value| value.contains('=')) => {
                Ok(Self::Label { key: key.to_owned(), value: value.map(str::to_owned) })
            }
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for IgnoreRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { key, value: Some(value) } => write!(f, "{key}={value}"),
            Self::Label { key, value: None } => f.write_str(key),
            Self::Name(pattern) => write!(f, "name={pattern}"),
        }
    }
}

impl IgnoreRule {
    fn is_met(&self, node: &str, pairs: &[(String, String)]) -> bool {
        match self {
            Self::Name(pattern) => matches_pattern(pattern, node),
            Self::Label { key, value } => {
                pairs.iter().any(|(has, is)| is_same_key(has, key) && value.as_ref().is_none_or(|value| value == is))
            }
        }
    }
}

/// All rules; a node that meets one of them is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoredNodes(Vec<IgnoreRule>);

impl IgnoredNodes {
    /// Reads the rules; empty texts are none.
    ///
    /// # Errors
    /// [`ParseIgnoreRuleError`] names the one that cannot be read.
    pub fn parse<S: AsRef<str>>(rules: &[S]) -> Result<Self, ParseIgnoreRuleError> {
        let texts = rules.iter().map(AsRef::as_ref).filter(|text| !text.trim().is_empty());
        texts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    /// The rule that a node meets. `pairs` are its labels and taints, keys as Kubernetes has them or as
    /// kube-state-metrics writes them, with `_` for what a Prometheus label must not hold.
    pub fn why(&self, node: &str, pairs: &[(String, String)]) -> Option<&IgnoreRule> {
        self.0.iter().find(|rule| rule.is_met(node, pairs))
    }

    /// The rules themselves.
    pub fn rules(&self) -> &[IgnoreRule] {
        &self.0
    }
}

/// Equal, or equal once all but letters and digits is `_`.
fn is_same_key(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'_' };
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}

/// Whether the whole text fits a pattern in which `*` stands for any characters.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_defaults_know_the_labels_and_taints_of_nodes_that_cannot_be_observed() {
        let rules = IgnoredNodes::parse(&IGNORED_NODES).expect("rules");
        let why = |all: &[(&str, &str)]| rules.why("n", &pairs(all)).map(ToString::to_string);
        assert_eq!(why(&[("type", "virtual-kubelet")]).as_deref(), Some("type=virtual-kubelet"));
        assert_eq!(why(&[("virtual-kubelet.io/provider", "azure")]).as_deref(), Some("virtual-kubelet.io/provider"));
        assert_eq!(
            why(&[("eks_amazonaws_com_compute_type", "fargate")]).as_deref(),
            Some("eks.amazonaws.com/compute-type=fargate"),
            "as kube-state-metrics writes it"
        );
        assert_eq!(why(&[("kubernetes.io/os", "windows")]).as_deref(), Some("kubernetes.io/os=windows"));
        assert_eq!(why(&[("kubernetes.io/os", "linux"), ("type", "large")]), None);
    }

    #[test]
    fn names_are_given_by_patterns() {
        let rules = IgnoredNodes::parse(&["name=edge-*-virtual", "name=lab", ""]).expect("rules");
        let left_out = |node: &str| rules.why(node, &[]).is_some();
        assert!(left_out("edge-1-virtual") && left_out("edge--virtual") && left_out("lab"));
        assert!(!left_out("edge-virtual") && !left_out("lab-1") && !left_out("edge-1-virtual-2"));
        let any = IgnoredNodes::parse(&["name=*a*b*"]).expect("rules");
        assert!(any.why("xaybz", &[]).is_some() && any.why("xbya", &[]).is_none());
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for text in ["=x", "a=b=c", "name=", "name", "a b=c", "{a=\"b\"}"] {
            let error = IgnoredNodes::parse(&[text]).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
