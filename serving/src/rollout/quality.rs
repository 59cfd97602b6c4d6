//! How good the forecasts of both arms turn out: kept until the hour that they are about has passed, then compared with what
//! really happened.
//!
//! Both arms forecast every node at every refresh, whoever answers for pods, so errors are compared in pairs: same node, same
//! hour. Errors of one node follow one another for hours, so a node counts as one observation, however long it is watched.

use super::stats::{Difference, Mean};
use crate::nodes::ClusterView;
use cluster::{HOUR_MS, MINUTE_MS, NodeName, Resource};
use features::{GRID_STEP_MS, catalogue};
use models::load::LoadForecast;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Forecasts are put aside this often: the hours that they are about overlap, so more would tell little.
const EVERY: i64 = 15 * MINUTE_MS;
/// What really happened is looked up this late at most; a refresh that comes later has lost the moment.
pub(super) const LATE: i64 = GRID_STEP_MS;

/// A forecast of both arms for one node.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Awaited {
    /// Place in `nodes`.
    node: u32,
    resource: Resource,
    champion: f32,
    challenger: f32,
}

/// Sums of absolute errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Errors {
    champion: f64,
    challenger: f64,
    count: u64,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Node {
    name: NodeName,
    /// CPU, memory.
    errors: [Errors; 2],
}

/// Forecasts of two versions, and how they turned out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    nodes: Vec<Node>,
    places: BTreeMap<NodeName, u32>,
    /// By the end of the hour that they are about.
    awaited: BTreeMap<i64, Vec<Awaited>>,
    put_aside: i64,
    /// Forecasts of which nobody will know how they turned out: no sample came at the right time.
    lost: u64,
}

/// Errors of one resource or of both.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ForecastErrors {
    /// Forecasts that were compared.
    pub forecasts: u64,
    /// Nodes that they are of.
    pub nodes: u64,
    /// Mean absolute error of the champion's medians, as a share of the node.
    pub champion: Option<f64>,
    /// Of the challenger's.
    pub challenger: Option<f64>,
    /// Challenger less champion: positive is worse.
    pub difference: Difference,
}

impl Quality {
    /// Takes in a refresh: what is due is compared with what happened, and now and then new forecasts are put aside.
    pub fn take_in(&mut self, champion: &ClusterView, challenger: &ClusterView) {
        self.settle(champion);
        if champion.at - self.put_aside < EVERY {
            return;
        }
        self.put_aside = champion.at;
        for (name, node) in &champion.nodes {
            let theirs = challenger.nodes.get(name).and_then(|node| node.forecasts.as_ref());
            let Some((ours, theirs)) = node.forecasts.as_ref().zip(theirs) else { continue };
            let place = self.place(name);
            for (resource, hours, champion_p50, challenger_p50) in pairs(ours, theirs) {
                let due = champion.at + i64::from(hours) * HOUR_MS;
                let awaited = Awaited { node: place, resource, champion: champion_p50, challenger: challenger_p50 };
                self.awaited.entry(due).or_default().push(awaited);
            }
        }
    }

    fn place(&mut self, name: &NodeName) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.nodes.len() as u32;
        self.nodes.push(Node { name: name.clone(), errors: Default::default() });
        self.places.insert(name.clone(), place);
        place
    }

    fn settle(&mut self, view: &ClusterView) {
        let later = self.awaited.split_off(&(view.at + 1));
        for (due, awaited) in std::mem::replace(&mut self.awaited, later) {
            if view.at - due > LATE {
                self.lost += awaited.len() as u64;
                continue;
            }
            for forecast in awaited {
                let Some(node) = self.nodes.get_mut(forecast.node as usize) else { continue };
                let Some(happened) = last_hour(view, &node.name, forecast.resource) else {
                    self.lost += 1;
                    continue;
                };
                let errors = &mut node.errors[forecast.resource as usize];
                errors.champion += f64::from((forecast.champion - happened).abs());
                errors.challenger += f64::from((forecast.challenger - happened).abs());
                errors.count += 1;
            }
        }
    }

    /// Forecasts of which it will never be known.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Forecasts that wait for their hour.
    pub fn waiting(&self) -> usize {
        self.awaited.values().map(Vec::len).sum()
    }

    /// How both arms did, on one resource or on both together.
    pub fn errors(&self, resource: Option<Resource>) -> ForecastErrors {
        let (mut all, mut by_node) = (Errors::default(), Mean::default());
        for node in &self.nodes {
            let mut own = Errors::default();
            for (place, errors) in node.errors.iter().enumerate() {
                if resource.is_none_or(|resource| resource as usize == place) {
                    own.champion += errors.champion;
                    own.challenger += errors.challenger;
                    own.count += errors.count;
                }
            }
            if own.count > 0 {
                by_node.add((own.challenger - own.champion) / own.count as f64);
                all.champion += own.champion;
                all.challenger += own.challenger;
                all.count += own.count;
            }
        }
        let mean = |sum: f64| (all.count > 0).then(|| sum / all.count as f64);
        ForecastErrors {
            forecasts: all.count,
            nodes: by_node.count,
            champion: mean(all.champion),
            challenger: mean(all.challenger),
            difference: by_node.interval(),
        }
    }
}

/// Medians of both arms for the same resource and hour.
fn pairs<'a>(
    ours: &'a [LoadForecast],
    theirs: &'a [LoadForecast],
) -> impl Iterator<Item = (Resource, u32, f32, f32)> + 'a {
    ours.iter().filter_map(|our| {
        let their = theirs.iter().find(|their| their.key == our.key)?;
        Some((our.key.resource, our.key.horizon.hours(), our.p50?, their.p50?))
    })
}

/// Utilization over the hour that has just passed: what a forecast for now was about.
pub(super) fn last_hour(view: &ClusterView, name: &NodeName, resource: Resource) -> Option<f32> {
    let column = catalogue::index(match resource {
        Resource::Cpu => "cpu_mean_1h",
        Resource::Memory => "memory_mean_1h",
    })?;
    let row = view.nodes.get(name)?.row?;
    let value = view.rows.row(row)[column];
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{NodePods, NodeView};
    use features::GridRows;
    use features::cluster_state::NodeFacts;
    use models::load::HeadKey;
    use std::sync::Arc;

    /// Two nodes whose forecasts are all the same, at a moment when the last hour was `happened`.
    fn view(at: i64, forecast: f32, happened: f32) -> ClusterView {
        let names: Vec<NodeName> = ["a", "b"].map(NodeName::new).to_vec();
        let mut values = vec![f32::NAN; 2 * catalogue::len()];
        for place in 0..2 {
            for column in ["cpu_mean_1h", "memory_mean_1h"] {
                values[place * catalogue::len() + catalogue::index(column).expect("a feature")] = happened;
            }
        }
        let forecasts: Vec<LoadForecast> = HeadKey::all()
            .map(|key| LoadForecast { key, p50: Some(forecast), p90: Some(forecast), fallback: false })
            .collect();
        let node = |row| NodeView {
            sampled_at: at,
            facts: NodeFacts::default(),
            pods: NodePods::default(),
            forecasts: Some(forecasts.clone()),
            anomaly: None,
            row: Some(row),
        };
        ClusterView {
            at,
            nodes: names.iter().cloned().zip([node(0), node(1)]).collect(),
            rows: Arc::new(GridRows { ts: at, nodes: names, values }),
            ..ClusterView::default()
        }
    }

    #[test]
    fn a_forecast_is_judged_when_its_hour_has_passed_and_by_what_happened_then() {
        let mut quality = Quality::default();
        let start = 100 * HOUR_MS;
        // The champion says 0.5, the challenger 0.6; it turns out to be 0.65.
        quality.take_in(&view(start, 0.5, 0.4), &view(start, 0.6, 0.4));
        assert_eq!((quality.waiting(), quality.errors(None).forecasts), (12, 0));
        quality.take_in(&view(start + MINUTE_MS, 0.5, 0.4), &view(start + MINUTE_MS, 0.6, 0.4));
        assert_eq!(quality.waiting(), 12, "not every refresh is put aside");
        quality.take_in(&view(start + HOUR_MS, 0.5, 0.65), &view(start + HOUR_MS, 0.6, 0.65));
        let errors = quality.errors(None);
        assert_eq!((errors.forecasts, errors.nodes), (4, 2));
        let close = |got: Option<f64>, wanted: f64| got.is_some_and(|got| (got - wanted).abs() < 1e-6);
        assert!(close(errors.champion, 0.15) && close(errors.challenger, 0.05), "{errors:?}");
        assert!(close(errors.difference.value, -0.1) && errors.difference.is_below(-0.09), "{errors:?}");
        assert_eq!(quality.errors(Some(Resource::Cpu)).forecasts, 2);
        // A long pause: the hours of what was put aside have passed unseen.
        quality.take_in(&view(start + 30 * HOUR_MS, 0.5, 0.6), &view(start + 30 * HOUR_MS, 0.6, 0.6));
        assert_eq!((quality.errors(None).forecasts, quality.lost()), (4, 20));
    }
}
