//! The user's own history as clusters to learn in: parts of its time and of its nodes.

use super::PlacementSettings;
use anyhow::Context;
use cluster::DAY_MS;
use models::artifact::DatasetReference;
use rand::Rng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use simulator::input::{HistorySettings, InputError, read_history};
use simulator::world::{NodeId, Scenario};
use store::{DatasetVersion, Store};

/// A history with its pods, cut by time: it is learned from, then looked at, then judged on.
#[derive(Debug, Clone)]
pub struct OwnHistory {
    /// Where it comes from.
    pub dataset: DatasetReference,
    scenario: Scenario,
}

/// What a part of the history is for. The parts follow each other in time, so nothing is judged on what was learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Learn,
    Look,
    Judge,
}

impl Part {
    /// Where it begins and ends, as shares of the history.
    const fn span(self) -> (f64, f64) {
        match self {
            Self::Learn => (0.0, 0.6),
            Self::Look => (0.6, 0.8),
            Self::Judge => (0.8, 1.0),
        }
    }
}

/// Longest history that is read: older placements tell little of today's workloads.
const MOST_DAYS: f64 = 30.0;
/// With fewer nodes there is nothing to choose.
const LEAST_NODES: usize = 3;

impl OwnHistory {
    /// Reads the pods and nodes of a raw dataset. `Err` of the inner result says why there is nothing to learn from in it:
    /// no pods, too short, too few nodes.
    ///
    /// # Errors
    /// When the dataset cannot be read.
    pub fn read(
        store: &Store,
        dataset: &DatasetVersion,
        settings: &PlacementSettings,
    ) -> anyhow::Result<Result<Self, String>> {
        let opened = store.open_version(&dataset.id)?;
        let scenario = match read_history(&opened, &HistorySettings { days: MOST_DAYS }) {
            Ok(scenario) => scenario,
            Err(InputError::History { what, .. }) => return Ok(Err(format!("it has {what}"))),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read the history of dataset `{}`", dataset.id));
            }
        };
        let (days, nodes) = (scenario.span_ms as f64 / DAY_MS as f64, scenario.nodes.len());
        // The shortest part has to hold one episode.
        let (from, until) = Part::Judge.span();
        let least = settings.days / (until - from);
        if days < least {
            return Ok(Err(format!("it has {days:.1} days, {least:.1} are needed for episodes of {}", settings.days)));
        }
        if nodes < LEAST_NODES {
            return Ok(Err(format!("it has {nodes} nodes, {LEAST_NODES} are needed to choose among")));
        }
        let dataset = DatasetReference { id: dataset.id.clone(), hash: dataset.hash.clone() };
        Ok(Ok(Self { dataset, scenario }))
    }

    /// An episode within a part: when it begins and which nodes it has is drawn.
    pub(super) fn draw(
        &self,
        part: Part,
        settings: &PlacementSettings,
        chance: &mut ChaCha8Rng,
    ) -> anyhow::Result<Scenario> {
        let whole = &self.scenario;
        let span_ms = (settings.days * DAY_MS as f64) as i64;
        let (from, until) = part.span();
        let (from, until) = ((whole.span_ms as f64 * from) as i64, (whole.span_ms as f64 * until) as i64);
        let start = chance.random_range(from..=(until - span_ms).max(from));
        let wanted = (settings.nodes as f64 * chance.random_range(0.6..1.4)) as usize;
        let wanted = wanted.clamp(LEAST_NODES, whole.nodes.len().max(LEAST_NODES));
        let mut kept: Vec<usize> = index::sample(chance, whole.nodes.len(), wanted.min(whole.nodes.len())).into_vec();
        kept.sort_unstable();
        let kept: Vec<NodeId> = kept.into_iter().map(|node| NodeId(node as u32)).collect();
        whole.window(start, span_ms.min(until - start), &kept).context("failed to cut an episode from the history")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use simulator::input::Synthetic;

    impl OwnHistory {
        /// A made-up cluster as if it had been recorded, its pods in turn on its nodes.
        pub(in crate::placement) fn fixture(id: &str, mut scenario: Scenario) -> Self {
            let nodes = scenario.nodes.len();
            for (at, pod) in scenario.pods.iter_mut().enumerate() {
                pod.recorded = Some(NodeId((at % nodes) as u32));
            }
            scenario.name = "history".to_owned();
            Self { dataset: DatasetReference { id: id.to_owned(), hash: "0".to_owned() }, scenario }
        }
    }

    #[test]
    fn parts_follow_each_other_in_time_and_take_some_of_the_nodes() {
        let settings = PlacementSettings { days: 0.5, nodes: 6, ..PlacementSettings::default() };
        let history =
            OwnHistory::fixture("raw", Synthetic { days: 3.0, ..Synthetic::small(5) }.build().expect("a scenario"));
        let origin = history.scenario.origin_ms;
        for seed in 0..20 {
            let mut chance = ChaCha8Rng::seed_from_u64(seed);
            let mut span = |part| {
                let scenario = history.draw(part, &settings, &mut chance).expect("a part");
                assert!((3..=8).contains(&scenario.nodes.len()), "{} nodes", scenario.nodes.len());
                let from = (scenario.origin_ms - origin) as f64 / history.scenario.span_ms as f64;
                (from, from + scenario.span_ms as f64 / history.scenario.span_ms as f64)
            };
            let (learn, look, judge) = (span(Part::Learn), span(Part::Look), span(Part::Judge));
            assert!(
                learn.1 <= 0.601 && look.0 >= 0.598 && look.1 <= 0.801 && judge.0 >= 0.798,
                "{learn:?} {look:?} {judge:?}"
            );
        }
    }
}
