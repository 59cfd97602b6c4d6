//! Why a node has its score, in words that an engineer can check.

use super::After;
use crate::nodes::NodeView;
use cluster::Resource;
use cluster::score::TARGET_UTILIZATION;
use features::habit::Expected;
use models::anomaly::Blame;
use serde::Serialize;
use std::collections::BTreeMap;

/// P50 and P90 of a node's utilization, without the pod.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Line {
    /// The median.
    pub p50: f64,
    /// The level that it stays below nine times in ten.
    pub p90: f64,
    /// P90 with the pod and those in flight.
    pub p90_with_pod: f64,
}

/// Forecasts and reasons of one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detail {
    /// By resource and horizon.
    pub forecast: BTreeMap<&'static str, BTreeMap<String, Line>>,
    /// The features to blame where the node is odd.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blame: Vec<Blame>,
    /// Sentences.
    pub reasons: Vec<String>,
}

pub(super) fn detail(after: &[After], expected: &Expected, node: Option<&NodeView>) -> Detail {
    let mut forecast: BTreeMap<&'static str, BTreeMap<String, Line>> = BTreeMap::new();
    for line in after {
        let of = forecast.entry(line.resource.as_str()).or_default();
        of.insert(format!("{}h", line.hours), Line { p50: line.p50, p90: line.p90, p90_with_pod: line.with_pod });
    }
    let anomaly = node.and_then(|node| node.anomaly.as_ref());
    let mut reasons: Vec<String> =
        Resource::ALL.into_iter().filter_map(|resource| worst_hour(after, resource)).collect();
    if let Some(node) = node {
        let size = node.facts.allocatable.cpu;
        reasons.push(format!(
            "the pod is expected to use {:.2} of {size:.1} cores, {}",
            expected.amount.cpu,
            if expected.known { "as its workload did" } else { "by its requests, nothing is known of its workload" }
        ));
    }
    if let Some((anomaly, severity)) = anomaly.and_then(|anomaly| Some((anomaly, anomaly.severity?))) {
        let blamed: Vec<&str> = anomaly.blame.iter().map(|blame| blame.feature.as_str()).take(2).collect();
        reasons.push(format!(
            "the node is odd ({}, {}): {}",
            severity.as_str(),
            anomaly.kind.as_str(),
            if blamed.is_empty() { "no feature stands out".to_owned() } else { blamed.join(", ") }
        ));
    }
    Detail { forecast, blame: anomaly.map(|anomaly| anomaly.blame.clone()).unwrap_or_default(), reasons }
}

/// The hour in which a resource is used most, with the pod.
fn worst_hour(after: &[After], resource: Resource) -> Option<String> {
    let of = after.iter().filter(|after| after.resource == resource);
    let worst = of.max_by(|a, b| a.with_pod.total_cmp(&b.with_pod))?;
    let place = if worst.with_pod > TARGET_UTILIZATION { "over" } else { "below" };
    Some(format!(
        "{resource} stays below {:.0} % with the pod (P90 of the hour that ends in {} h), {place} the target of {:.0} %",
        100.0 * worst.with_pod,
        worst.hours,
        100.0 * TARGET_UTILIZATION
    ))
}
