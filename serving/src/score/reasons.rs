//! Why a node has its score, in words that an engineer can check.

use super::After;
use crate::nodes::NodeView;
use cluster::score::{Quantiles, Strategy};
use cluster::{HOT_UTILIZATION, Resource, TARGET_UTILIZATION};
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
fn leaning(leans: &[Contribution]) -> Option<String> {
    let first = leans.first()?;
    let named: Vec<String> = leans
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
    placement: Vec<Contribution>,
    strategy: Strategy,
) -> NodeExplanation {
    let mut forecast: BTreeMap<String, BTreeMap<String, ForecastQuantiles>> = BTreeMap::new();
    for line in after {
        let of = forecast.entry(line.resource.as_str().to_owned()).or_default();
        let Quantiles { p50, p90 } = line.without;
        of.insert(format!("{}h", line.hours), ForecastQuantiles { p50, p90, p90_with_pod: line.with_pod.p90 });
    }
    let anomaly = node.and_then(|node| node.anomaly.as_ref());
    let mut reasons: Vec<String> =
        Resource::ALL.into_iter().filter_map(|resource| worst_hour(after, resource, strategy)).collect();
    reasons.extend(leaning(&placement));
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
    let blame = anomaly.into_iter().flat_map(|anomaly| anomaly.blame.iter().map(told)).collect();
    NodeExplanation { forecast, placement, blame, reasons }
}

/// The hour in which a resource is used most, with the pod, and what the strategy makes of it.
fn worst_hour(after: &[After], resource: Resource, strategy: Strategy) -> Option<String> {
    let of = after.iter().filter(|after| after.resource == resource);
    let worst = of.max_by(|a, b| a.with_pod.p90.total_cmp(&b.with_pod.p90))?;
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let found = match strategy {
        Strategy::Spread => {
            let chance = worst.with_pod.chance_over(HOT_UTILIZATION);
            format!("the chance of passing {} is {}", percent(HOT_UTILIZATION), percent(chance))
        }
        Strategy::Pack => {
            let place = if worst.with_pod.p90 > TARGET_UTILIZATION { "over" } else { "below" };
            format!("{place} the target of {}", percent(TARGET_UTILIZATION))
        }
    };
    Some(format!(
        "{resource} stays below {} with the pod (P90 of the hour that ends in {} h), {found} (strategy {strategy})",
        percent(worst.with_pod.p90),
        worst.hours,
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
        let text = |place: usize| leaning(&found[place]).expect("a sentence");
        assert_eq!(text(0), "the agent speaks for it by cpu_after 0.20 (mean 0.40)");
        assert_eq!(text(1), "the agent speaks against it by cpu_after 0.60 (mean 0.40)");
        assert_eq!(leaning(&[]), None);
    }

    #[test]
    fn the_fullest_hour_is_told_as_the_strategy_reads_it() {
        let after = |hours: u32, p50: f64, p90: f64| {
            let without = Quantiles { p50, p90 };
            let with_pod = Quantiles { p50: p50 + 0.1, p90: p90 + 0.1 };
            After { resource: Resource::Cpu, hours, without, with_pod }
        };
        let lines = [after(1, 0.3, 0.4), after(4, 0.5, 0.7)];
        let said = |strategy| worst_hour(&lines, Resource::Cpu, strategy).expect("a sentence");
        // P90 with the pod is 0.8: it is passed one time in ten.
        assert_eq!(
            said(Strategy::Spread),
            "cpu stays below 80 % with the pod (P90 of the hour that ends in 4 h), the chance of passing 80 % is 10 % (strategy spread)"
        );
        assert_eq!(
            said(Strategy::Pack),
            "cpu stays below 80 % with the pod (P90 of the hour that ends in 4 h), over the target of 65 % (strategy pack)"
        );
        assert_eq!(worst_hour(&lines, Resource::Memory, Strategy::Pack), None);
    }
}
