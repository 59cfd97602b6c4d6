//! Why a node has its score, in words that an engineer can check.

use super::{After, Valued};
use crate::nodes::NodeView;
use cluster::Resource;
use cluster::score::TARGET_UTILIZATION;
use features::habit::Expected;
use models::anomaly::Blame;
use models::placement::PlacementNetwork;
use score_api::{Contribution, ForecastQuantiles, NodeExplanation, NormalRange};
use std::collections::BTreeMap;

/// Features that are named per candidate.
const MOST_LEANS: usize = 3;

/// Of each row the features that set it apart from the others.
pub(super) fn leans(network: &PlacementNetwork, rows: &[f32]) -> Vec<Vec<Contribution>> {
    let (features, width) = (network.features(), network.features().len());
    let Ok(contributions) = network.contributions(rows) else { return Vec::new() };
    let count = (rows.len() / width).max(1) as f32;
    let mean = |feature: usize| rows.iter().skip(feature).step_by(width).sum::<f32>() / count;
    let pairs = rows.chunks_exact(width).zip(contributions.chunks_exact(width));
    pairs
        .map(|(row, added)| {
            let mut order: Vec<usize> = (0..width).filter(|feature| added[*feature] != 0.0).collect();
            order.sort_by(|left, right| added[*right].abs().total_cmp(&added[*left].abs()).then(left.cmp(right)));
            let named = order.into_iter().take(MOST_LEANS).map(|feature| Contribution {
                feature: features[feature].clone(),
                value: row[feature],
                mean: mean(feature),
                contribution: added[feature],
            });
            named.collect()
        })
        .collect()
}

/// Which way the agent leans, and for what.
fn leaning(valued: &Valued) -> Option<String> {
    let first = valued.leans.first()?;
    let named: Vec<String> = valued
        .leans
        .iter()
        .filter(|lean| (lean.contribution > 0.0) == (first.contribution > 0.0))
        .map(|lean| format!("{} {:.2} (mean {:.2})", lean.feature, lean.value, lean.mean))
        .collect();
    let way = if first.contribution > 0.0 { "for" } else { "against" };
    Some(format!("the agent speaks {way} it by {}", named.join(", ")))
}

/// A feature's part in an anomaly, as it is told.
pub(crate) fn told(blame: &Blame) -> score_api::Blame {
    let normal = &blame.normal;
    score_api::Blame {
        feature: blame.feature.clone(),
        value: blame.value,
        normal: NormalRange { low: normal.low, median: normal.median, high: normal.high },
        share: blame.share,
    }
}

pub(super) fn explanation(
    after: &[After],
    expected: &Expected,
    node: Option<&NodeView>,
    valued: Option<&Valued>,
) -> NodeExplanation {
    let mut forecast: BTreeMap<String, BTreeMap<String, ForecastQuantiles>> = BTreeMap::new();
    for line in after {
        let of = forecast.entry(line.resource.as_str().to_owned()).or_default();
        let quantiles = ForecastQuantiles { p50: line.p50, p90: line.p90, p90_with_pod: line.with_pod };
        of.insert(format!("{}h", line.hours), quantiles);
    }
    let anomaly = node.and_then(|node| node.anomaly.as_ref());
    let mut reasons: Vec<String> =
        Resource::ALL.into_iter().filter_map(|resource| worst_hour(after, resource)).collect();
    reasons.extend(valued.and_then(leaning));
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
    let placement = valued.map(|valued| valued.leans.clone()).unwrap_or_default();
    let blame = anomaly.into_iter().flat_map(|anomaly| anomaly.blame.iter().map(told)).collect();
    NodeExplanation { forecast, placement, blame, reasons }
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

#[cfg(test)]
mod tests {
    use super::*;
    use models::placement::Layer;

    #[test]
    fn the_agent_speaks_for_what_sets_a_node_apart() {
        let features = vec!["cpu_after".to_owned(), "memory_after".to_owned()];
        let layer = Layer { inputs: 2, outputs: 1, weights: vec![0.0; 2], bias: vec![0.0] };
        let network = PlacementNetwork::new(features, vec![-1.0, -0.1], vec![layer]).expect("a network");
        let found = leans(&network, &[0.2, 0.5, 0.6, 0.3]);
        let names: Vec<&str> = found[0].iter().map(|lean| lean.feature.as_str()).collect();
        assert_eq!((names, found.len()), (vec!["cpu_after", "memory_after"], 2));
        let text = |place: usize| leaning(&Valued { unit: 1.0, leans: found[place].clone() }).expect("a sentence");
        assert_eq!(text(0), "the agent speaks for it by cpu_after 0.20 (mean 0.40)");
        assert_eq!(text(1), "the agent speaks against it by cpu_after 0.60 (mean 0.40)");
        assert_eq!(leaning(&Valued::default()), None);
    }
}
