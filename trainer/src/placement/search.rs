//! Search for a better rule to begin as, by whole runs: the cross-entropy method (Rubinstein, 1999). Candidates are drawn
//! around a centre, the cheapest of them move it. What a rule comes to over days is measured, not estimated from single
//! choices; that linear policies found so do well is known (Mania, Guy and Recht, 2018).

use super::train::{by, costs};
use super::{Clusters, start};
use anyhow::Context;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use simulator::compare::paired_ratio;
use simulator::outcome::CostWeights;
use simulator::policy::{PolicyKind, Scorer};

/// Candidates of a round, the centre among them.
const CANDIDATES: usize = 16;
/// So many of them move the centre.
const ELITE: usize = 4;
/// The centre goes this part of the way to the elite's mean: clusters differ from round to round, and so does who is best.
const STEP: f32 = 0.7;
/// Part of the squared deviations that comes from the round at hand.
const RENEWED: f32 = 0.25;
/// Deviations that it begins with and never goes below, in the units of [`MOVED`].
const BEGINS: f32 = 0.15;
const LEAST: f32 = 0.02;

/// The features whose weights are searched, and how large a change of weight is there: features that are zero until a
/// limit is near take small values, so their weights are large.
const MOVED: [(&str, f32); 17] = [
    ("cpu_after", 1.0),
    ("cpu_mean_15m", 1.0),
    ("cpu_deviation_15m", 1.0),
    ("cpu_after_over_target", 2.0),
    ("cpu_after_hot", 4.0),
    ("cpu_course_mean_after", 1.0),
    ("cpu_course_peak_after", 1.0),
    ("cpu_course_hot_added", 4.0),
    ("cpu_course_over_added", 8.0),
    ("memory_after", 1.0),
    ("memory_peak_after", 1.0),
    ("memory_tight_after", 4.0),
    ("cpu_requested_after", 1.0),
    ("memory_requested_after", 1.0),
    ("requests_skew_after", 1.0),
    ("room_for_large_after", 1.0),
    ("same_workload_share", 1.0),
];

/// One round of the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The typical ratio of the centre's cost to kube-scheduler's on the clusters of this round, less 1.
    pub centre: f64,
    /// That of the cheapest candidate, which is flattered: it was chosen on these clusters.
    pub best: f64,
}

/// Searches from the linear rule `from` and gives the rule that it comes to, by feature: the mean of the centres in the
/// second half, since a single one still moves with the clusters of its round.
///
/// # Errors
/// When a setting is out of range.
pub(super) fn search(
    clusters: Clusters<'_>,
    weights: &CostWeights,
    from: &[f32],
) -> anyhow::Result<(Vec<f32>, Vec<Round>)> {
    let rounds = clusters.settings.search_rounds;
    let mut chance = ChaCha8Rng::seed_from_u64(clusters.settings.seed);
    let mut cloud = Cloud::around(from)?;
    let mut found = Vec::new();
    let mut sum = vec![0.0; from.len()];
    for round in 0..rounds {
        let scenarios = clusters.to_search_in(round)?;
        let kube = costs(&scenarios, weights, PolicyKind::KubeScheduler, &Scorer::default());
        let tried: Vec<(Vec<f32>, f64)> = (0..CANDIDATES)
            .map(|at| {
                let rule = if at == 0 { cloud.centre.clone() } else { cloud.draw(&mut chance) };
                let scorer = by(start::linear(rule.clone())?);
                let own = costs(&scenarios, weights, PolicyKind::Agent, &scorer);
                Ok((rule, paired_ratio(&own, &kube).mean))
            })
            .collect::<anyhow::Result<_>>()?;
        let centre = tried[0].1;
        let best = cloud.move_to(tried);
        tracing::info!(round, centre, best, "searched for a rule to begin as");
        found.push(Round { centre, best });
        if round >= rounds / 2 {
            sum.iter_mut().zip(&cloud.centre).for_each(|(sum, weight)| *sum += weight);
        }
    }
    let counted = (rounds - rounds / 2) as f32;
    Ok((sum.into_iter().map(|sum| sum / counted).collect(), found))
}

/// Where candidates are drawn: a normal distribution for each moved weight.
struct Cloud {
    centre: Vec<f32>,
    /// By place in [`MOVED`].
    deviations: Vec<f32>,
    /// Where the moved features are in a row.
    places: Vec<usize>,
}

impl Cloud {
    fn around(centre: &[f32]) -> anyhow::Result<Self> {
        let place = |(name, _): &(&str, f32)| {
            features::cluster_state::index(name).with_context(|| format!("there is no feature `{name}`"))
        };
        let places = MOVED.iter().map(place).collect::<anyhow::Result<_>>()?;
        let deviations = MOVED.iter().map(|(_, unit)| BEGINS * unit).collect();
        Ok(Self { centre: centre.to_vec(), deviations, places })
    }

    fn draw(&self, chance: &mut ChaCha8Rng) -> Vec<f32> {
        let mut rule = self.centre.clone();
        for (place, deviation) in self.places.iter().zip(&self.deviations) {
            rule[*place] += deviation * chance.sample::<f32, _>(StandardNormal);
        }
        rule
    }

    /// Moves towards the cheapest and learns from them how far to look; gives the cheapest ratio.
    fn move_to(&mut self, mut tried: Vec<(Vec<f32>, f64)>) -> f64 {
        tried.sort_by(|a, b| a.1.total_cmp(&b.1));
        let best = tried.first().map_or(f64::NAN, |(_, ratio)| *ratio);
        let elite = &tried[..ELITE.min(tried.len())];
        // The cheapest count most, as in CMA-ES (Hansen, 2016).
        let rank = |at: usize| (elite.len() as f32 + 0.5).ln() - (at as f32 + 1.0).ln();
        let total: f32 = (0..elite.len()).map(rank).sum();
        for ((place, deviation), (_, unit)) in self.places.iter().zip(&mut self.deviations).zip(&MOVED) {
            let mean_of = |value: &dyn Fn(f32) -> f32| -> f32 {
                elite.iter().enumerate().map(|(at, (rule, _))| rank(at) / total * value(rule[*place])).sum()
            };
            let old = self.centre[*place];
            let (mean, square) = (mean_of(&|weight| weight), mean_of(&|weight| (weight - old).powi(2)));
            self.centre[*place] += STEP * (mean - old);
            *deviation = ((1.0 - RENEWED) * deviation.powi(2) + RENEWED * square).sqrt().max(LEAST * unit);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str) -> usize {
        features::cluster_state::index(name).expect(name)
    }

    #[test]
    fn a_cloud_comes_to_where_it_is_cheapest_and_moves_nothing_else() {
        let mut cloud = Cloud::around(&[0.0; features::cluster_state::WIDTH]).expect("known features");
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let (cpu, memory, hour) = (index("cpu_after"), index("memory_after"), index("hour_sin"));
        let ratio = |rule: &[f32]| f64::from((rule[cpu] + 0.6).powi(2) + (rule[memory] - 0.2).powi(2));
        for _ in 0..40 {
            let tried = (0..CANDIDATES).map(|_| cloud.draw(&mut chance)).map(|rule| (ratio(&rule), rule));
            cloud.move_to(tried.map(|(ratio, rule)| (rule, ratio)).collect());
        }
        assert!(ratio(&cloud.centre) < 0.01, "{:?}", (cloud.centre[cpu], cloud.centre[memory]));
        assert_eq!(cloud.centre[hour], 0.0);
        assert!(cloud.deviations.iter().zip(&MOVED).all(|(deviation, (_, unit))| *deviation >= LEAST * unit));
    }

    #[test]
    fn one_step_by_hand() {
        let mut cloud = Cloud::around(&[0.0; features::cluster_state::WIDTH]).expect("known features");
        let cpu = index("cpu_after");
        let candidate = |weight: f32, ratio: f64| {
            let mut rule = vec![0.0; features::cluster_state::WIDTH];
            rule[cpu] = weight;
            (rule, ratio)
        };
        // Two are tried, so both are elite: ranks ln(2.5) and ln(2.5 / 2), together 1.1394; the better has 0.8042 of it.
        let best = cloud.move_to(vec![candidate(1.0, 0.4), candidate(-1.0, -0.1)]);
        assert_eq!(best, -0.1);
        assert!((cloud.centre[cpu] - 0.7 * (0.1958 - 0.8042)).abs() < 1e-3, "{}", cloud.centre[cpu]);
        // Both lie 1 from the old centre: 0.75 × 0.15² + 0.25 × 1.
        assert!((cloud.deviations[0] - 0.266_875_f32.sqrt()).abs() < 1e-4, "{}", cloud.deviations[0]);
    }
}
