//! How differences of an agent's values are to be read: how large they are is no business of its training, so it is measured.

use super::{Observer, Scores};
use crate::engine::{Ask, EngineSettings, View, run};
use crate::policy::Policy;
use crate::world::{NodeId, Scenario};
use cluster::score::ValueScale;
use features::cluster_state::NodeFacts;
use rayon::prelude::*;
use std::sync::Arc;

/// A median absolute deviation of the normal distribution, in standard deviations, is 1 ÷ this.
const MAD: f64 = 1.4826;

/// Runs the scenarios under the agent alone and measures, over all of its decisions, the scale of its values.
///
/// - The full difference is the median of what lies between the best and the worst candidate.
/// - The noise is how far a value moves, less what all candidates of the decision move by, when the newest sample of CPU is
///   taken for the mean of its 15 minutes: as a robust standard deviation (1.4826 × the median), since on a few nodes pods have
///   come or gone in that time and the difference is none of noise.
///
/// `None` where no decision has two candidates that differ.
pub fn measured_scale(scenarios: &[Scenario], engine: &EngineSettings, agent: &Arc<dyn Scores>) -> Option<ValueScale> {
    let gauges: Vec<Gauge> = scenarios
        .par_iter()
        .map(|scenario| {
            let mut gauge = Gauge::new(Arc::clone(agent));
            run(scenario, engine, &mut gauge, 1);
            gauge
        })
        .collect();
    let full = median(gauges.iter().flat_map(|gauge| gauge.spreads.iter().copied()).collect())?;
    let moved = median(gauges.iter().flat_map(|gauge| gauge.moved.iter().copied()).collect())?;
    ValueScale::new(full, (MAD * moved).min(full)).ok()
}

fn median(mut values: Vec<f32>) -> Option<f64> {
    values.sort_unstable_by(f32::total_cmp);
    values.get(values.len() / 2).copied().map(f64::from)
}

/// Plays as the agent and notes what its values do.
struct Gauge {
    agent: Arc<dyn Scores>,
    observer: Observer,
    rows: Vec<f32>,
    values: Vec<f32>,
    steady: Vec<f32>,
    spreads: Vec<f32>,
    moved: Vec<f32>,
}

impl Gauge {
    fn new(agent: Arc<dyn Scores>) -> Self {
        let (rows, values, steady, spreads, moved) = Default::default();
        Self { agent, observer: Observer::default(), rows, values, steady, spreads, moved }
    }
}

/// The same node if its newest sample were the mean of 15 minutes.
fn steadied(facts: NodeFacts) -> NodeFacts {
    NodeFacts { cpu_seen: facts.cpu_mean, ..facts }
}

impl Policy for Gauge {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn watches_workloads(&self) -> bool {
        true
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        self.rows.clear();
        self.observer.observe(ask, view, candidates, &mut self.rows, |_| ());
        self.agent.score(&self.rows, &mut self.values);
        self.rows.clear();
        self.observer.observe_changed(ask, view, candidates, &mut self.rows, steadied);
        self.agent.score(&self.rows, &mut self.steady);
        scores.iter_mut().zip(&self.values).for_each(|(score, value)| *score = f64::from(*value));
        let best = self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let worst = self.values.iter().copied().fold(f32::INFINITY, f32::min);
        self.spreads.push(best - worst);
        let moves = || self.values.iter().zip(&self.steady).map(|(value, steady)| value - steady);
        let mean = moves().sum::<f32>() / self.values.len().max(1) as f32;
        self.moved.extend(moves().map(|moved| (moved - mean).abs()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Synthetic;

    /// `factor` times one feature.
    #[derive(Debug)]
    struct Weighs(&'static str, f32);

    impl Scores for Weighs {
        fn score(&self, rows: &[f32], scores: &mut Vec<f32>) {
            let at = features::cluster_state::index(self.0).expect("a feature");
            scores.clear();
            scores.extend(rows.chunks(features::cluster_state::WIDTH).map(|row| self.1 * row[at]));
        }

        fn scale(&self) -> ValueScale {
            ValueScale { full_difference: 1.0, noise: 0.0 }
        }
    }

    fn scale(agent: Weighs) -> Option<ValueScale> {
        let scenario = Synthetic::small(5).build().expect("a scenario");
        measured_scale(&[scenario], &EngineSettings::default(), &(Arc::new(agent) as Arc<dyn Scores>))
    }

    #[test]
    fn a_scale_grows_with_the_values_and_says_nothing_where_they_are_all_the_same() {
        let (one, ten) = (scale(Weighs("cpu_after", -1.0)), scale(Weighs("cpu_after", -10.0)));
        let (one, ten) = (one.expect("a scale"), ten.expect("a scale"));
        assert!((ten.full_difference / one.full_difference - 10.0).abs() < 1e-3, "{one:?} {ten:?}");
        assert!((ten.noise / one.noise - 10.0).abs() < 1e-3, "{one:?} {ten:?}");
        // Samples move a value by less than nodes differ.
        assert!(one.noise > 0.0 && one.noise < 0.3 * one.full_difference, "{one:?}");
        assert_eq!(scale(Weighs("hour_sin", 1.0)), None);
    }

    #[test]
    fn what_does_not_read_the_newest_sample_has_no_noise() {
        assert_eq!(scale(Weighs("cpu_requested_after", -1.0)).map(|scale| scale.noise), Some(0.0));
    }
}
