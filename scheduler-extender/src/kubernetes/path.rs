//! Paths at the API server. They are made of segments, never of text, and a name becomes one only if Kubernetes would take it: with our
//! token, `../secrets` must lead nowhere.

use super::names::{is_dns_label, is_dns_subdomain};
use reqwest::Url;
use std::fmt;

/// A name that cannot be one of Kubernetes: it was made up, or comes from somewhere else than an API server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a valid name of a {kind}")]
pub struct InvalidName {
    /// `node`, `pod`, `namespace`.
    pub kind: &'static str,
    /// As it came.
    pub name: String,
}

/// A path at the API server with its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPath {
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl ApiPath {
    /// A path of words of the API itself, such as `["api", "v1", "nodes"]`.
    pub fn fixed(segments: &[&'static str]) -> Self {
        Self { segments: segments.iter().map(|segment| (*segment).to_owned()).collect(), query: Vec::new() }
    }

    /// A node.
    ///
    /// # Errors
    /// When the name cannot be that of a node.
    pub fn node(name: &str) -> Result<Self, InvalidName> {
        Ok(Self::fixed(&["api", "v1", "nodes"]).below(checked("node", name, is_dns_subdomain)?))
    }

    /// A pod.
    ///
    /// # Errors
    /// When one of the names cannot be what it should.
    pub fn pod(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        Ok(Self::namespace(namespace)?.below("pods").below(checked("pod", name, is_dns_subdomain)?))
    }

    /// The events of a namespace.
    ///
    /// # Errors
    /// When the name cannot be that of a namespace.
    pub fn events(namespace: &str) -> Result<Self, InvalidName> {
        Ok(Self::namespace(namespace)?.below("events"))
    }

    fn namespace(name: &str) -> Result<Self, InvalidName> {
        Ok(Self::fixed(&["api", "v1", "namespaces"]).below(checked("namespace", name, is_dns_label)?))
    }

    fn below(mut self, segment: &str) -> Self {
        self.segments.push(segment.to_owned());
        self
    }

    /// The same with a parameter more.
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    /// Where it is at a server, whose own path may be more than `/`.
    pub(super) fn at(&self, server: &Url) -> Url {
        let mut url = server.clone();
        // An address that has no segments is refused when it is read.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&self.segments);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

impl fmt::Display for ApiPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.segments.join("/"))
    }
}

fn checked<'a>(kind: &'static str, name: &'a str, is_valid: fn(&str) -> bool) -> Result<&'a str, InvalidName> {
    if is_valid(name) { Ok(name) } else { Err(InvalidName { kind, name: name.chars().take(80).collect() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(path: &ApiPath) -> String {
        path.at(&"https://rancher/k8s/clusters/c-1/".parse().expect("an address")).to_string()
    }

    #[test]
    fn a_path_stays_where_it_belongs() {
        let pod = ApiPath::pod("shop", "cart-1").expect("a pod");
        assert_eq!(url(&pod), "https://rancher/k8s/clusters/c-1/api/v1/namespaces/shop/pods/cart-1");
        assert_eq!(pod.to_string(), "/api/v1/namespaces/shop/pods/cart-1");
        let list = ApiPath::fixed(&["api", "v1", "pods"]).with("continue", "a&b=c").with("limit", "500");
        assert_eq!(url(&list), "https://rancher/k8s/clusters/c-1/api/v1/pods?continue=a%26b%3Dc&limit=500");
        assert_eq!(
            url(&ApiPath::node("n1.example").expect("a node")),
            "https://rancher/k8s/clusters/c-1/api/v1/nodes/n1.example"
        );
    }

    #[test]
    fn what_is_not_a_name_leads_nowhere() {
        for name in
            ["x/../../../kube-system/pods/etcd", "..", ".", "", "x?y", "x#y", "%2e%2e", "x%2fy", "X", "x\\y", "x;y"]
        {
            assert!(ApiPath::pod("shop", name).is_err(), "{name}");
            assert!(ApiPath::node(name).is_err(), "{name}");
        }
        for namespace in ["../../apis/apps/v1/namespaces/shop/deployments/web?x=", "..", "", "a.b", "a/b"] {
            assert!(ApiPath::pod(namespace, "cart").is_err() && ApiPath::events(namespace).is_err(), "{namespace}");
        }
        let error = ApiPath::node("a\u{1b}]0;x").expect_err("an escape");
        assert_eq!(error.to_string(), "\"a\\u{1b}]0;x\" is not a valid name of a node");
    }
}
