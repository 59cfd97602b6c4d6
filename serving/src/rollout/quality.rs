//! How good the forecasts of two versions turn out: kept until the hour that they are about has passed, then compared with what
//! really happened.
//!
//! Both forecast every node, whoever answers for pods, so errors are compared in pairs: same node, same hour. What one hour does
//! to one node it does to others too, and it lasts, so the mean over nodes goes into one series over time.

use crate::nodes::ClusterView;
use cluster::{HOUR_MS, MINUTE_MS, NodeName, Resource};
use features::{GRID_STEP_MS, catalogue};
use models::evidence::{BlockSequence, SequenceInterval};
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

/// Forecasts of two versions, and how they turned out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    nodes: Vec<NodeName>,
    places: BTreeMap<NodeName, u32>,
    /// By the end of the hour that they are about.
    awaited: BTreeMap<i64, Vec<Awaited>>,
    put_aside: i64,
    /// CPU, memory.
    errors: [Errors; 2],
    /// Challenger less champion: CPU, memory, both.
    differences: [BlockSequence; 3],
    /// Forecasts of which nobody will know how they turned out: no sample came at the right time.
    lost: u64,
}

/// Errors of one resource or of both.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ForecastErrors {
    /// Forecasts that were compared.
    pub forecasts: u64,
    /// Hours that the difference rests on.
    pub hours: f64,
    /// Mean absolute error of the champion's medians, as a share of the node.
    pub champion: Option<f64>,
    /// Of the challenger's.
    pub challenger: Option<f64>,
    /// Challenger less champion: positive is worse.
    pub difference: SequenceInterval,
}

impl Quality {
    /// Takes in a refresh: what is due is compared with what happened, and now and then new forecasts are put aside. `theirs`
    /// gives the other version's forecasts of a node; it is asked only then.
    pub fn take_in<'a>(&mut self, champion: &'a ClusterView, theirs: impl Fn(&NodeName) -> Option<&'a [LoadForecast]>) {
        self.take_in_pairs(champion, |name| champion.nodes.get(name)?.forecasts.as_deref().zip(theirs(name)));
    }

    /// The same where both versions' forecasts of a node come from elsewhere; what happened is in `view`.
    pub fn take_in_pairs<'a>(
        &mut self,
        view: &ClusterView,
        both: impl Fn(&NodeName) -> Option<(&'a [LoadForecast], &'a [LoadForecast])>,
    ) {
        self.score_due(view);
        if !self.wants(view.at) {
            return;
        }
        self.put_aside = view.at;
        for name in view.nodes.keys() {
            let Some((ours, theirs)) = both(name) else { continue };
            let place = self.place(name);
            for (resource, hours, champion_p50, challenger_p50) in pairs(ours, theirs) {
                let due = view.at + i64::from(hours) * HOUR_MS;
                let awaited = Awaited { node: place, resource, champion: champion_p50, challenger: challenger_p50 };
                self.awaited.entry(due).or_default().push(awaited);
            }
        }
    }

    /// Whether forecasts of this moment would be put aside.
    pub const fn wants(&self, at: i64) -> bool {
        at - self.put_aside >= EVERY
    }

    fn place(&mut self, name: &NodeName) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.nodes.len() as u32;
        self.nodes.push(name.clone());
        self.places.insert(name.clone(), place);
        place
    }

    fn score_due(&mut self, view: &ClusterView) {
        let later = self.awaited.split_off(&(view.at + 1));
        for (due, awaited) in std::mem::replace(&mut self.awaited, later) {
            if view.at - due > LATE {
                self.lost += awaited.len() as u64;
                continue;
            }
            let mut now = [Errors::default(); 2];
            for forecast in awaited {
                let Some(name) = self.nodes.get(forecast.node as usize) else { continue };
                let Some(happened) = last_hour(view, name, forecast.resource) else {
                    self.lost += 1;
                    continue;
                };
                let errors = &mut now[forecast.resource as usize];
                errors.champion += f64::from((forecast.champion - happened).abs());
                errors.challenger += f64::from((forecast.challenger - happened).abs());
                errors.count += 1;
            }
            let both = now[0].with(now[1]);
            for (sequence, errors) in self.differences.iter_mut().zip([now[0], now[1], both]) {
                sequence.add(due, errors.challenger - errors.champion, errors.count as f64);
            }
            for (sum, errors) in self.errors.iter_mut().zip(now) {
                *sum = sum.with(errors);
            }
        }
        self.differences.iter_mut().for_each(|sequence| sequence.advance(view.at));
    }

    /// Forecasts of which it will never be known.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Forecasts that wait for their hour.
    pub fn waiting(&self) -> usize {
        self.awaited.values().map(Vec::len).sum()
    }

    /// How both did, on one resource or on both together; `interval` says how sure the difference is.
    pub fn errors(
        &self,
        resource: Option<Resource>,
        interval: impl Fn(&BlockSequence) -> SequenceInterval,
    ) -> ForecastErrors {
        let (all, sequence) = match resource {
            Some(resource) => (self.errors[resource as usize], &self.differences[resource as usize]),
            None => (self.errors[0].with(self.errors[1]), &self.differences[2]),
        };
        let mean = |sum: f64| (all.count > 0).then(|| sum / all.count as f64);
        ForecastErrors {
            forecasts: all.count,
            hours: sequence.hours(),
            champion: mean(all.champion),
            challenger: mean(all.challenger),
            difference: interval(sequence),
        }
    }
}

impl Errors {
    fn with(self, other: Self) -> Self {
        Self {
            champion: self.champion + other.champion,
            challenger: self.challenger + other.challenger,
            count: self.count + other.count,
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
        let take_in = |quality: &mut Quality, at: i64, [ours, theirs, happened]: [f32; 3]| {
            let (champion, challenger) = (view(at, ours, happened), view(at, theirs, happened));
            quality.take_in(&champion, |name| challenger.nodes.get(name)?.forecasts.as_deref());
        };
        let errors = |quality: &Quality, resource| quality.errors(resource, |of| of.interval(0.01, 0.0));
        // The champion says 0.5, the challenger 0.6; it turns out to be 0.65.
        take_in(&mut quality, start, [0.5, 0.6, 0.4]);
        assert_eq!((quality.waiting(), errors(&quality, None).forecasts), (12, 0));
        take_in(&mut quality, start + MINUTE_MS, [0.5, 0.6, 0.4]);
        assert_eq!(quality.waiting(), 12, "not every refresh is put aside");
        take_in(&mut quality, start + HOUR_MS, [0.5, 0.6, 0.65]);
        let both = errors(&quality, None);
        assert_eq!(both.forecasts, 4);
        let close = |got: Option<f64>, wanted: f64| got.is_some_and(|got| (got - wanted).abs() < 1e-6);
        assert!(close(both.champion, 0.15) && close(both.challenger, 0.05), "{both:?}");
        assert!(
            close(both.difference.value, -0.1) && both.difference.low.is_none(),
            "one hour proves nothing: {both:?}"
        );
        assert_eq!(errors(&quality, Some(Resource::Cpu)).forecasts, 2);
        // A long pause: the hours of what was put aside have passed unseen.
        take_in(&mut quality, start + 30 * HOUR_MS, [0.5, 0.6, 0.6]);
        assert_eq!((errors(&quality, None).forecasts, quality.lost()), (4, 20));
    }
}
