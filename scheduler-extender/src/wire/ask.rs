//! `ExtenderArgs`: a pod, and the nodes that it may go to.

use crate::kubernetes::{Node, Pod};
use serde::Deserialize;
use serde_json::value::RawValue;
use serving::protocol::Refusal;

/// As it is on the wire. Pod and nodes stay text: an odd pod must not keep us from knowing the candidates, and nodes go back as they came.
#[derive(Deserialize)]
struct Args<'a> {
    #[serde(rename = "Pod", borrow, default)]
    pod: Option<&'a RawValue>,
    #[serde(rename = "Nodes", borrow, default)]
    nodes: Option<NodeList<'a>>,
    #[serde(rename = "NodeNames", default)]
    names: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct NodeList<'a> {
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

/// A request of either verb.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The pod; where it cannot be read, why.
    pub pod: Result<Pod, String>,
    /// Where it may go.
    pub candidates: Candidates<'a>,
}

/// The nodes that are offered: those that passed kube-scheduler's own filters.
#[derive(Debug)]
pub struct Candidates<'a> {
    /// In the order of the request.
    pub names: Vec<String>,
    /// The whole objects, where kube-scheduler is configured with `nodeCacheCapable: false`.
    pub objects: Option<Vec<&'a RawValue>>,
}

impl<'a> Ask<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 where no candidates can be made out: kube-scheduler then goes on as if nobody had been asked (with `ignorable: true` for
    /// the filter verb).
    pub fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        let args: Args<'a> = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(format!("the body is no ExtenderArgs: {error}")))?;
        let candidates = match (args.names, args.nodes) {
            (Some(names), _) => Candidates { names, objects: None },
            (None, Some(list)) => {
                let objects = list.items.unwrap_or_default();
                Candidates { names: objects.iter().map(|node| name_of(node)).collect(), objects: Some(objects) }
            }
            (None, None) => {
                return Err(Refusal::bad(
                    "neither `NodeNames` nor `Nodes` is there (the keys are capitalised): no candidates to speak of",
                ));
            }
        };
        let pod = match args.pod {
            // serde takes a list for a struct whose fields it names in order; Kubernetes does not.
            Some(pod) if !pod.get().starts_with('{') => Err("`Pod` is no object".to_owned()),
            Some(pod) => read_pod(pod.get()),
            None => Err("`Pod` is absent".to_owned()),
        };
        Ok(Self { pod, candidates })
    }
}

/// A pod whose requests can be read: one that seems to request nothing fits everywhere.
fn read_pod(text: &str) -> Result<Pod, String> {
    let pod: Pod = serde_json::from_str(text).map_err(|error| error.to_string())?;
    pod.requests().map_err(|error| error.to_string())?;
    Ok(pod)
}

/// A node that tells no name is one that nothing is known of.
fn name_of(node: &RawValue) -> String {
    serde_json::from_str::<Node>(node.get()).map(|node| node.metadata.name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_lists_are_read() {
        let names = Ask::parse(br#"{"Pod":{"metadata":{"name":"a"}},"Nodes":null,"NodeNames":["n1","n2"]}"#);
        let names = names.expect("a request");
        assert_eq!(names.candidates.names, ["n1", "n2"]);
        assert!(names.candidates.objects.is_none());
        assert_eq!(names.pod.expect("a pod").metadata.name, "a");
        let body = br#"{"Pod":{},"Nodes":{"metadata":{},"items":[{"metadata":{"name":"n1"},"x":1},{"metadata":null}]},"NodeNames":null}"#;
        let nodes = Ask::parse(body).expect("a request");
        assert_eq!(nodes.candidates.names, ["n1", ""]);
        assert_eq!(nodes.candidates.objects.expect("objects")[0].get(), r#"{"metadata":{"name":"n1"},"x":1}"#);
    }

    /// It requests something that is not a quantity.
    const LOTS: &str = r#"{"spec":{"containers":[{"resources":{"requests":{"cpu":"lots"}}}]}}"#;

    #[test]
    fn an_odd_pod_leaves_the_candidates_known() {
        for pod in ["[]", "3", "null", r#"{"spec":{"containers":7}}"#, LOTS] {
            let body = format!(r#"{{"Pod":{pod},"NodeNames":["n1"]}}"#);
            let ask = Ask::parse(body.as_bytes()).expect(pod);
            assert_eq!(ask.candidates.names, ["n1"]);
            assert!(ask.pod.is_err(), "{pod}");
        }
    }

    #[test]
    fn without_candidates_it_is_refused() {
        for body in
            ["", "{", "[]", "null", "{}", r#"{"Pod":{},"Nodes":null,"NodeNames":null}"#, r#"{"nodenames":["n1"]}"#]
        {
            assert_eq!(Ask::parse(body.as_bytes()).expect_err(body).status.as_u16(), 400);
        }
        let empty = Ask::parse(br#"{"Pod":{},"Nodes":{"items":null}}"#).expect("an empty list is a list");
        assert!(empty.candidates.names.is_empty());
    }
}
