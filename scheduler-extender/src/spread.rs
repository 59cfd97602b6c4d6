//! From scores in 0..1 to the whole points 0..10 that kube-scheduler reads.
//!
//! kube-scheduler adds `points × weight × 10` to a total in which its own plugins differ by some tens, and it rounds nothing and
//! normalises nothing. Scores as they are would not do: 0.62 and 0.58 are both 6 points, and a difference that matters is gone. So
//! the offered candidates are spread out, half by how far they are above the worst and half by their rank. Both count differences in
//! one unit, the scale: a difference of a whole scale is clear, less of it counts for less. So a cluster of equals gets equal points
//! and kube-scheduler's own plugins decide.
//!
//! The scale is at least ten times what scores are sure to: a difference that may be noise moves no candidate by more than a point.

use crate::rules::Spread;
use crate::wire::MOST_POINTS;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A candidate's score; what is not known has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// In 0..1.
    pub score: f64,
    /// Scores that are closer than this are as good as equal.
    pub uncertainty: f64,
}

/// The points of all candidates, in their order. The same decision id gives the same points, and equal scores have equal points. A
/// candidate of which nothing is known stands in the middle: as good as the mean of the others.
///
/// Points are rounded up or down by one draw for all candidates, so that over many decisions they come to what they are worth: a
/// burst of pods does not follow one lucky decimal to one node.
///
/// Finite or not, in range or not, any input gives points of 0 to 10.
pub fn points(candidates: &[Option<Scored>], rules: &Spread, decision: u128) -> Vec<u8> {
    let known = || candidates.iter().flatten().filter(|scored| scored.score.is_finite());
    let count = known().count();
    if count == 0 {
        return vec![0; candidates.len()];
    }
    let mean = |value: fn(&Scored) -> f64| known().map(value).sum::<f64>() / count as f64;
    let middle = mean(|scored| scored.score);
    let unsure = mean(|scored| if scored.uncertainty.is_finite() { scored.uncertainty.max(0.0) } else { 0.0 });
    let scale = rules.full_at.max(f64::from(MOST_POINTS) * unsure.max(rules.epsilon));
    let scores: Vec<f64> = candidates
        .iter()
        .map(|scored| scored.filter(|scored| scored.score.is_finite()).map_or(middle, |scored| scored.score))
        // Nobody gives others: what is summed below keeps its digits.
        .map(|score| score.clamp(0.0, 1.0))
        .collect();
    let ranks = ranks(&scores, scale);
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let (low, lowest) = (least(&scores), least(&ranks));
    let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut chance = ChaCha8Rng::seed_from_u64((decision ^ (decision >> 64)) as u64);
    let dither: f64 = chance.random();
    scores
        .iter()
        .zip(&ranks)
        .map(|(score, rank)| {
            let above = (score - low) / (high - low).max(scale);
            let worth = f64::from(MOST_POINTS) * 0.5 * (above + rank - lowest);
            (worth + dither).floor().clamp(0.0, f64::from(MOST_POINTS)) as u8
        })
        .collect()
}

/// What a node that behaves like one about to fail is below all others by: at weight 5 it is worth more than what requests-based plugins
/// tell apart between ordinary nodes.
const QUARANTINE: u8 = 3;

/// Puts nodes that are about to fail below all others, however good they look: as long as there are others.
pub fn quarantine(points: &mut [u8], is_critical: impl Fn(usize) -> bool) {
    let critical = (0..points.len()).filter(|place| is_critical(*place)).count();
    if critical == 0 || critical == points.len() {
        return;
    }
    for (place, points) in points.iter_mut().enumerate() {
        let rest = f64::from(MOST_POINTS - QUARANTINE) / f64::from(MOST_POINTS);
        *points = if is_critical(place) { 0 } else { QUARANTINE + (f64::from(*points) * rest).round() as u8 };
    }
}

/// The share of the others that each is better than, 0..1. A difference of a whole `scale` is a victory, none at all a draw, and what
/// lies between counts as a part of one.
fn ranks(scores: &[f64], scale: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|left, right| scores[*left].total_cmp(&scores[*right]));
    let others = (scores.len().max(2) - 1) as f64;
    let mut ranks = vec![0.0; scores.len()];
    // Those within a scale of the one at hand lie in a window that moves upwards with it.
    let (mut start, mut end, mut sum) = (0, 0, 0.0);
    for place in &order {
        let score = scores[*place];
        while end < order.len() && scores[order[end]] < score + scale {
            sum += scores[order[end]];
            end += 1;
        }
        while start < end && scores[order[start]] <= score - scale {
            sum -= scores[order[start]];
            start += 1;
        }
        let near = (end - start) as f64;
        let draws = 0.5 * near + (near * score - sum) / (2.0 * scale);
        // Not against itself.
        ranks[*place] = (start as f64 + draws - 0.5) / others;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::score::{PartWeights, Parts, ValueScale};
    use proptest::prelude::*;

    fn sure(scores: &[f64]) -> Vec<Option<Scored>> {
        unsure(scores, 0.0)
    }

    fn unsure(scores: &[f64], uncertainty: f64) -> Vec<Option<Scored>> {
        scores.iter().map(|score| Some(Scored { score: *score, uncertainty })).collect()
    }

    /// What points come to over many decisions.
    fn mean(candidates: &[Option<Scored>]) -> Vec<f64> {
        const DECISIONS: u128 = 4_000;
        let mut sums = vec![0.0; candidates.len()];
        for decision in 0..DECISIONS {
            let points = points(candidates, &SURE, decision);
            sums.iter_mut().zip(points).for_each(|(sum, points)| *sum += f64::from(points));
        }
        sums.iter().map(|sum| sum / DECISIONS as f64).collect()
    }

    fn close(got: &[f64], wanted: &[f64]) -> bool {
        got.len() == wanted.len() && got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 0.03)
    }

    const SURE: Spread = Spread { full_at: 0.2, epsilon: 0.0, filter_over: 0.95 };

    #[test]
    fn points_by_hand() {
        // Ranks 0, ½, 1 and places 0, ½, 1.
        assert!(close(&mean(&sure(&[0.4, 0.6, 0.8])), &[0.0, 5.0, 10.0]));
        // A fifth of the way by score, half by rank: 10 × (0.1 + 0.25) = 3.5.
        assert!(close(&mean(&sure(&[0.0, 0.2, 1.0])), &[0.0, 3.5, 10.0]));
        // Half of the scale: half of the points.
        assert!(close(&mean(&sure(&[0.5, 0.6])), &[0.0, 5.0]));
        // A twentieth of it: most decisions give none, some one point.
        assert!(close(&mean(&sure(&[0.5, 0.51])), &[0.0, 0.5]));
        assert_eq!(points(&sure(&[0.7; 4]), &SURE, 1), [0; 4]);
        // Nothing is known of the second: the mean of the others.
        let mut some = sure(&[0.0, 0.9, 1.0]);
        some[1] = None;
        assert!(close(&mean(&some), &[0.0, 5.0, 10.0]));
        assert_eq!(points(&[None, None], &SURE, 1), [0, 0]);
        assert!(points(&[], &SURE, 1).is_empty());
    }

    #[test]
    fn what_scores_are_not_sure_to_is_worth_a_tenth_of_the_points() {
        // The scale is ten times the uncertainty: 0.05 makes it 0.5, of which 0.05 is a tenth and 0.2 is four tenths.
        assert!(close(&mean(&unsure(&[0.5, 0.55], 0.05)), &[0.0, 1.0]));
        assert!(close(&mean(&unsure(&[0.5, 0.7], 0.05)), &[0.0, 4.0]));
        // The floor of the rules counts likewise.
        let rules = Spread { epsilon: 0.04, ..SURE };
        assert!(points(&sure(&[0.5, 0.7]), &rules, 3).iter().all(|points| *points <= 5));
    }

    #[test]
    fn equals_stay_equal_beside_clear_losers_and_clear_losers_stay_behind() {
        let near = unsure(&[0.80, 0.80, 0.79, 0.30], 0.02);
        for decision in 0..1_000 {
            let points = points(&near, &SURE, decision);
            assert_eq!(points[0], points[1], "{points:?}");
            assert!(points[0] - points[2] <= 1 && points[0] >= 8 && points[3] == 0, "{points:?}");
            assert_eq!(points, super::points(&near, &SURE, decision), "the same decision");
        }
    }

    #[test]
    fn a_node_about_to_fail_is_below_all_others() {
        let mut points = [10, 0, 5, 7];
        quarantine(&mut points, |place| place == 0);
        // 3, 3 + 3.5 and 3 + 4.9, rounded.
        assert_eq!(points, [0, 3, 7, 8]);
        let mut all = [10, 0];
        quarantine(&mut all, |_| true);
        assert_eq!(all, [10, 0], "where all are, none is");
        let mut equal = [0, 0];
        quarantine(&mut equal, |place| place == 1);
        assert_eq!(equal, [3, 0]);
    }

    /// The points of nodes that differ in what the agent says of them, all else being equal.
    fn by_agent(values: &[f32], scale: ValueScale, weights: &PartWeights, decision: u128) -> Vec<u8> {
        let scored: Vec<Option<Scored>> = scale
            .parts(values)
            .map(|placement| {
                let parts = Parts { load: Some(1.0), placement: Some(placement), anomaly: None };
                let by = Parts { placement: Some(scale.uncertainty()), ..Parts::default() };
                Some(Scored { score: weights.combine(&parts)?, uncertainty: weights.moved(&parts, &by)? })
            })
            .collect();
        points(&scored, &Spread::default(), decision)
    }

    proptest! {
        #[test]
        fn a_difference_of_noise_moves_at_most_one_point(
            values in prop::collection::vec(-2.0..0.0f32, 2..40), place in any::<prop::sample::Index>(), up in any::<bool>(),
            full in 0.1..3.0f64, noise in 0.0..1.0f64, load in 0.0..1.0f64, decision in any::<u128>(),
        ) {
            // Noise up to a quarter of what lies between the best and the worst candidate.
            let scale = ValueScale::new(full, 0.25 * noise * full).expect("a scale");
            let weights = PartWeights { load, placement: 1.0 - load, anomaly: 0.0 };
            let before = by_agent(&values, scale, &weights, decision);
            let mut moved = values.clone();
            // A thousandth less than the noise, for rounding.
            let by = 0.999 * scale.noise as f32;
            moved[place.index(values.len())] += if up { by } else { -by };
            let after = by_agent(&moved, scale, &weights, decision);
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(before.abs_diff(*after) <= 1, "{values:?} {moved:?}: {before} {after}");
            }
        }

        #[test]
        fn nodes_that_differ_by_noise_alone_are_a_point_apart_at_most(
            jitter in prop::collection::vec(0.0..1.0f32, 2..40), full in 0.1..3.0f64, noise in 0.0..0.5f64, decision in any::<u128>(),
        ) {
            let scale = ValueScale::new(full, noise * full).expect("a scale");
            let values: Vec<f32> = jitter.iter().map(|part| 0.999 * part * scale.noise as f32).collect();
            let points = by_agent(&values, scale, &PartWeights::DESIGN, decision);
            prop_assert!(points.iter().all(|points| *points <= 1), "{values:?}: {points:?}");
        }

        #[test]
        fn any_scores_give_points_in_range_and_never_against_their_order(
            scores in prop::collection::vec(prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -1e9..1e9f64, 0.0..1.0f64], 0..200),
            seed in any::<u128>(),
            uncertainty in prop_oneof![Just(f64::NAN), 0.0..2.0f64],
        ) {
            for candidates in [unsure(&scores, uncertainty), sure(&scores)] {
                let drawn = points(&candidates, &Spread::default(), seed);
                prop_assert!(drawn.len() == scores.len() && drawn.iter().all(|points| *points <= MOST_POINTS));
                for (left, left_points) in scores.iter().zip(&drawn) {
                    for (right, right_points) in scores.iter().zip(&drawn) {
                        if left.is_finite() && right.is_finite() && left > right {
                            prop_assert!(left_points >= right_points, "{left} {right}");
                        }
                        if left == right && left.is_finite() {
                            prop_assert_eq!(left_points, right_points);
                        }
                    }
                }
            }
        }
    }
}
