//! `ExtenderArgs`: a pod, and the nodes that it may go to.

use super::limits::{Few, MOST_CANDIDATES, checked_pod};
use crate::kubernetes::{Node, Pod, is_dns_subdomain};
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
    names: Option<Few<String, MOST_CANDIDATES>>,
}

#[derive(Deserialize)]
struct NodeList<'a> {
    #[serde(borrow, default)]
    items: Option<Few<&'a RawValue, MOST_CANDIDATES>>,
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
    /// 400 where no candidates can be made out, or where they are none that a cluster can have: kube-scheduler then goes on as if nobody had
    /// been asked (with `ignorable: true` for the filter verb).
    pub fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        let args: Args<'a> = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(format!("the body is no ExtenderArgs: {error}")))?;
        let candidates = match (args.names, args.nodes) {
            (Some(names), _) => Candidates { names: names.0, objects: None },
            (None, Some(list)) => {
                let objects = list.items.map(|items| items.0).unwrap_or_default();
                Candidates { names: objects.iter().map(|node| name_of(node)).collect(), objects: Some(objects) }
            }
            (None, None) => {
                return Err(Refusal::bad(
                    "neither `NodeNames` nor `Nodes` is there (the keys are capitalised): no candidates to speak of",
                ));
            }
        };
        if let Some(name) = candidates.names.iter().find(|name| !is_dns_subdomain(name)) {
            let shown: String = name.chars().take(80).collect();
            return Err(Refusal::bad(format!("{shown:?} is not a valid name of a node")));
        }
        let pod = match args.pod {
            // serde takes a list for a struct whose fields it names in order; Kubernetes does not.
            Some(pod) if !pod.get().starts_with('{') => Err("`Pod` is no object".to_owned()),
            Some(pod) => checked_pod(pod.get()),
            None => Err("`Pod` is absent".to_owned()),
        };
        Ok(Self { pod, candidates })
    }
}

/// Empty where the node tells no name.
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
        let body = br#"{"Pod":{},"Nodes":{"metadata":{},"items":[{"metadata":{"name":"n1"},"x":1},{"metadata":{"name":"n2"}}]},"NodeNames":null}"#;
        let nodes = Ask::parse(body).expect("a request");
        assert_eq!(nodes.candidates.names, ["n1", "n2"]);
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
    fn candidates_that_no_cluster_has_are_refused() {
        let of = |names: Vec<String>| {
            let body = serde_json::json!({ "Pod": {}, "NodeNames": names }).to_string();
            Ask::parse(body.as_bytes()).map(|ask| ask.candidates.names.len()).map_err(|refusal| refusal.message)
        };
        let names = |count: usize| (0..count).map(|place| format!("n{place}")).collect::<Vec<_>>();
        assert_eq!(of(names(20_000)), Ok(20_000));
        let said = of(names(20_001)).expect_err("too many");
        assert!(said.contains("more than 20000"), "{said}");
        for name in ["", "x/../y", "A", "n1\u{1b}[2J", &"x".repeat(254)] {
            let said = of(vec!["n1".to_owned(), name.to_owned()]).expect_err(name);
            assert!(said.contains("is not a valid name of a node") && said.len() < 200, "{said}");
        }
        let objects = |count: usize| {
            let nodes: Vec<_> =
                (0..count).map(|place| serde_json::json!({ "metadata": { "name": format!("n{place}") } })).collect();
            serde_json::json!({ "Pod": {}, "Nodes": { "items": nodes } }).to_string()
        };
        assert!(Ask::parse(objects(20_000).as_bytes()).is_ok() && Ask::parse(objects(20_001).as_bytes()).is_err());
        assert!(Ask::parse(br#"{"Pod":{},"Nodes":{"items":[{"metadata":null}]}}"#).is_err());
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
