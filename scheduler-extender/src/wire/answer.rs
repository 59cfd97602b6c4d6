//! `HostPriorityList` and `ExtenderFilterResult`.

use super::Candidates;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// `MaxExtenderPriority`: an extender's scores run from 0 to 10. kube-scheduler checks neither end.
pub const MOST_POINTS: u8 = 10;

/// The score of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostPriority<'a> {
    /// Which node.
    #[serde(rename = "Host")]
    pub host: &'a str,
    /// 0 to 10, higher is better. A node that is not in the answer gets nothing, so all are.
    #[serde(rename = "Score")]
    pub score: u8,
}

/// The nodes that are left.
#[derive(Debug, Serialize)]
pub struct FilterAnswer<'a> {
    /// The objects as they came, where objects came.
    #[serde(rename = "Nodes")]
    nodes: Option<NodeList<'a>>,
    /// Their names, where names came.
    #[serde(rename = "NodeNames")]
    names: Option<Vec<&'a str>>,
    /// Nodes on which preemption would help; Berth knows none such.
    #[serde(rename = "FailedNodes")]
    failed: BTreeMap<&'a str, &'a str>,
    /// Nodes on which preemption would not help, and why: the text shows in the event `FailedScheduling`.
    #[serde(rename = "FailedAndUnresolvableNodes")]
    unresolvable: BTreeMap<&'a str, &'a str>,
    /// Empty: kube-scheduler takes anything else for a failed call.
    #[serde(rename = "Error")]
    error: &'static str,
}

#[derive(Debug, Serialize)]
struct NodeList<'a> {
    metadata: Empty,
    items: Vec<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct Empty {}

impl<'a> FilterAnswer<'a> {
    /// All candidates but the rejected ones: `rejected` has the reason by the candidate's place.
    pub fn without(candidates: &'a Candidates<'a>, rejected: &'a BTreeMap<usize, String>) -> Self {
        let kept = |place: &usize| !rejected.contains_key(place);
        let places = || (0..candidates.names.len()).filter(kept);
        let (nodes, names) = match &candidates.objects {
            Some(objects) => {
                let items = places().map(|place| objects[place]).collect();
                (Some(NodeList { metadata: Empty {}, items }), None)
            }
            None => (None, Some(places().map(|place| candidates.names[place].as_str()).collect())),
        };
        let unresolvable =
            rejected.iter().map(|(place, reason)| (candidates.names[*place].as_str(), reason.as_str())).collect();
        Self { nodes, names, failed: BTreeMap::new(), unresolvable, error: "" }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ask;
    use super::*;

    fn answer(body: &str, rejected: &[(usize, &str)]) -> String {
        let ask = Ask::parse(body.as_bytes()).expect("a request");
        let rejected = rejected.iter().map(|(place, reason)| (*place, (*reason).to_owned())).collect();
        serde_json::to_string(&FilterAnswer::without(&ask.candidates, &rejected)).expect("JSON")
    }

    #[test]
    fn keys_are_capitalised_and_a_list_goes_back_in_the_kind_it_came_in() {
        assert_eq!(
            answer(r#"{"Pod":{},"NodeNames":["n1","n2"]}"#, &[(1, "too hot")]),
            r#"{"Nodes":null,"NodeNames":["n1"],"FailedNodes":{},"FailedAndUnresolvableNodes":{"n2":"too hot"},"Error":""}"#
        );
        assert_eq!(
            answer(r#"{"Pod":{},"Nodes":{"items":[{"metadata":{"name":"n1"},"x":[1, 2]}]}}"#, &[]),
            r#"{"Nodes":{"metadata":{},"items":[{"metadata":{"name":"n1"},"x":[1, 2]}]},"NodeNames":null,"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":""}"#
        );
        let host = serde_json::to_string(&[HostPriority { host: "n1", score: 7 }]).expect("JSON");
        assert_eq!(host, r#"[{"Host":"n1","Score":7}]"#);
    }
}
