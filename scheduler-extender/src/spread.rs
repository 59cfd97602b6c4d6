//! From scores in 0..1 to the whole points 0..10 that kube-scheduler reads.
//!
//! kube-scheduler adds `points × weight × 10` to a total in which its own plugins differ by some tens, and it rounds nothing and
//! normalises nothing. Scores as they are would not do: 0.62 and 0.58 are both 6 points, and a difference that matters is gone. So
//! the offered candidates are spread out, half by their score and half by their rank; how far apart the best and the worst come
//! depends on how far apart their scores are, so that a cluster of equals gets equal points and kube-scheduler's own plugins decide.
//!
//! Scores that are closer than the forecast is sure of are as good as equal. Each score is moved at random by up to half of its
//! uncertainty before it is ranked, so that a burst of pods does not follow one lucky decimal to one node.

use crate::rules::Spread;
use crate::wire::MOST_POINTS;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A candidate's score; what is not known has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// In 0..1.
    pub score: f64,
    /// Half of it up or down is no difference.
    pub uncertainty: f64,
}

/// The points of all candidates, in their order. The same decision id gives the same points. A candidate of which nothing is known
/// stands in the middle: as good as the mean of the others.
///
/// Finite or not, in range or not, any input gives points of 0 to 10.
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is no number is not above anything")]
pub fn points(candidates: &[Option<Scored>], rules: &Spread, decision: u128) -> Vec<u8> {
    let mut chance = ChaCha8Rng::seed_from_u64((decision ^ (decision >> 64)) as u64);
    let known = || candidates.iter().flatten().map(|scored| scored.score).filter(|score| score.is_finite());
    let (mut low, mut high, mut sum, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0.0);
    for score in known() {
        (low, high, sum, count) = (low.min(score), high.max(score), sum + score, count + 1.0);
    }
    // Nothing known, or nothing between them: equal points, and none is as equal as any.
    if !(high > low) {
        return vec![0; candidates.len()];
    }
    let mean = sum / count;
    let moved: Vec<f64> = candidates
        .iter()
        .map(|scored| {
            let draw: f64 = chance.random::<f64>() - 0.5;
            match scored.filter(|scored| scored.score.is_finite()) {
                Some(scored) => {
                    let uncertainty = if scored.uncertainty.is_finite() { scored.uncertainty.max(0.0) } else { 0.0 };
                    scored.score + draw * uncertainty.max(rules.epsilon)
                }
                None => mean,
            }
        })
        .collect();
    let (least, most) = moved.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), it| (a.min(*it), b.max(*it)));
    if !(most > least) {
        return vec![0; candidates.len()];
    }
    // By the scores as they are: chance must not make a difference where there is none.
    let reach = f64::from(MOST_POINTS) * ((high - low) / rules.full_at).min(1.0);
    let ranks = ranks(&moved);
    moved
        .iter()
        .zip(ranks)
        .map(|(score, rank)| {
            let linear = (score - least) / (most - least);
            (reach * (0.5 * linear + 0.5 * rank)).round().clamp(0.0, f64::from(MOST_POINTS)) as u8
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

/// The share of the others that each is better than: 0 for the worst, 1 for the best; equals share theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = values.iter().enumerate().map(|(place, value)| (*value, place)).collect();
    order.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
    let others = (values.len().max(2) - 1) as f64;
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let value = order[start].0;
        let end = start + order[start..].iter().take_while(|(it, _)| *it == value).count().max(1);
        let shared = (start + end - 1) as f64 / 2.0;
        order[start..end].iter().for_each(|(_, place)| ranks[*place] = shared / others);
        start = end;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sure(scores: &[f64]) -> Vec<Option<Scored>> {
        scores.iter().map(|score| Some(Scored { score: *score, uncertainty: 0.0 })).collect()
    }

    const SURE: Spread = Spread { full_at: 0.2, epsilon: 0.0, filter_over: 0.95 };

    #[test]
    fn points_by_hand() {
        // Ranks 0, ½, 1 and places 0, ½, 1.
        assert_eq!(points(&sure(&[0.4, 0.6, 0.8]), &SURE, 1), [0, 5, 10]);
        // A fifth of the way by score, half by rank: 10 × (0.1 + 0.25) = 3.5.
        assert_eq!(points(&sure(&[0.0, 0.2, 1.0]), &SURE, 1), [0, 4, 10]);
        // Half of the distance that gets all points: half of the points.
        assert_eq!(points(&sure(&[0.5, 0.6]), &SURE, 1), [0, 5]);
        assert_eq!(points(&sure(&[0.7; 4]), &SURE, 1), [0; 4]);
        // Nothing is known of the second: the mean of the others.
        let mut some = sure(&[0.0, 0.9, 1.0]);
        some[1] = None;
        assert_eq!(points(&some, &SURE, 1), [0, 5, 10]);
        assert_eq!(points(&[None, None], &SURE, 1), [0, 0]);
        assert!(points(&[], &SURE, 1).is_empty());
    }

    #[test]
    fn near_ties_fall_to_each_in_turn_and_clear_winners_stay() {
        let near: Vec<Option<Scored>> =
            [0.80, 0.79, 0.78, 0.30].map(|score| Some(Scored { score, uncertainty: 0.1 })).to_vec();
        let mut best = [0; 4];
        for decision in 0..1_000 {
            let points = points(&near, &SURE, decision);
            let most = *points.iter().max().expect("points");
            points.iter().enumerate().filter(|(_, it)| **it == most).for_each(|(place, _)| best[place] += 1);
            assert_eq!(points[3], 0, "{points:?}");
        }
        assert!(best[..3].iter().all(|wins| *wins > 150), "{best:?}");
        assert_eq!(points(&near, &SURE, 7), points(&near, &SURE, 7));
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

    proptest! {
        #[test]
        fn any_scores_give_points_in_range_and_never_against_their_order(
            scores in prop::collection::vec(prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -1e9..1e9f64, 0.0..1.0f64], 0..200),
            seed in any::<u128>(),
            uncertainty in prop_oneof![Just(f64::NAN), 0.0..2.0f64],
        ) {
            let unsure: Vec<Option<Scored>> = scores.iter().map(|score| Some(Scored { score: *score, uncertainty })).collect();
            let drawn = points(&unsure, &Spread::default(), seed);
            prop_assert!(drawn.len() == scores.len() && drawn.iter().all(|points| *points <= MOST_POINTS));
            let certain = points(&sure(&scores), &SURE, seed);
            for (left, left_points) in scores.iter().zip(&certain) {
                for (right, right_points) in scores.iter().zip(&certain) {
                    if left.is_finite() && right.is_finite() && left > right {
                        prop_assert!(left_points >= right_points, "{left} {right}");
                    }
                }
            }
        }
    }
}
