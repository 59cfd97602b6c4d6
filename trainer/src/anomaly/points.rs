//! Figures of single readings. Nothing is point-adjusted: a reading counts for itself alone.

use serde::{Deserialize, Serialize};

/// How single readings are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointScores {
    /// Readings.
    pub rows: usize,
    /// Readings within incidents.
    pub odd_rows: usize,
    /// Share of the flagged readings that lie within an incident; absent where none is flagged.
    pub precision: Option<f64>,
    /// Share of the readings within incidents that are flagged; absent without any.
    pub recall: Option<f64>,
    /// Share of the other readings that are flagged.
    pub false_positive_rate: Option<f64>,
    /// Chance that a reading within an incident has a higher vote than one outside; one half is a coin.
    pub roc_auc: Option<f64>,
    /// Average precision over recall; the share of odd readings is a coin.
    pub pr_auc: Option<f64>,
}

impl PointScores {
    /// From votes, flags and labels of the same readings.
    pub fn of(votes: &[f32], flagged: &[bool], odd: &[bool]) -> Self {
        let odd_rows = odd.iter().filter(|odd| **odd).count();
        let hits = flagged.iter().zip(odd).filter(|(flagged, odd)| **flagged && **odd).count();
        let all_flagged = flagged.iter().filter(|flagged| **flagged).count();
        let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        let curve = precision_recall(votes, odd);
        // Average precision, as scikit-learn defines it: the sum over the steps in recall of the precision at their end.
        let mut before = 0.0;
        let pr_auc = curve
            .iter()
            .map(|point| {
                let step = (point.0 - before) * point.1;
                before = point.0;
                step
            })
            .sum();
        Self {
            rows: odd.len(),
            odd_rows,
            precision: share(hits, all_flagged),
            recall: share(hits, odd_rows),
            false_positive_rate: share(all_flagged - hits, odd.len() - odd_rows),
            roc_auc: roc_auc(votes, odd),
            pr_auc: (!curve.is_empty()).then_some(pr_auc),
        }
    }
}

fn by_vote(votes: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..votes.len()).collect();
    order.sort_by(|left, right| votes[*right].total_cmp(&votes[*left]));
    order
}

/// Area under the ROC curve; equal votes count half. Absent where one class is empty.
pub fn roc_auc(votes: &[f32], odd: &[bool]) -> Option<f64> {
    let order = by_vote(votes);
    let (mut odd_above, mut sum) = (0_usize, 0.0);
    for equal in order.chunk_by(|left, right| votes[*left] == votes[*right]) {
        let odd_here = equal.iter().filter(|row| odd[**row]).count();
        sum += (equal.len() - odd_here) as f64 * (odd_above as f64 + 0.5 * odd_here as f64);
        odd_above += odd_here;
    }
    let pairs = odd_above as f64 * (odd.len() - odd_above) as f64;
    (pairs > 0.0).then(|| sum / pairs)
}

/// Share of the usual readings and share of the odd ones that are flagged at each different vote, from none to all; empty
/// where one class is empty.
pub fn roc_curve(votes: &[f32], odd: &[bool]) -> Vec<(f64, f64)> {
    let all = odd.iter().filter(|odd| **odd).count();
    let usual = odd.len() - all;
    if all == 0 || usual == 0 {
        return Vec::new();
    }
    let order = by_vote(votes);
    let (mut hits, mut flagged, mut curve) = (0_usize, 0_usize, vec![(0.0, 0.0)]);
    for equal in order.chunk_by(|left, right| votes[*left] == votes[*right]) {
        hits += equal.iter().filter(|row| odd[**row]).count();
        flagged += equal.len();
        curve.push(((flagged - hits) as f64 / usual as f64, hits as f64 / all as f64));
    }
    curve
}

/// Recall and precision at each different vote, from the highest on; empty without an odd reading.
pub fn precision_recall(votes: &[f32], odd: &[bool]) -> Vec<(f64, f64)> {
    let all = odd.iter().filter(|odd| **odd).count() as f64;
    if all == 0.0 {
        return Vec::new();
    }
    let order = by_vote(votes);
    let (mut hits, mut flagged, mut curve) = (0_usize, 0_usize, Vec::new());
    for equal in order.chunk_by(|left, right| votes[*left] == votes[*right]) {
        hits += equal.iter().filter(|row| odd[**row]).count();
        flagged += equal.len();
        curve.push((hits as f64 / all, hits as f64 / flagged as f64));
    }
    curve
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_agree_with_a_calculation_by_hand() {
        // Votes 4, 3, 2, 1 with odd ones at 4 and 2. Pairs: (4, 3), (4, 1), (2, 1) right, (2, 3) wrong: 3/4.
        // Average precision: recall 1/2 at precision 1, recall 1 at precision 2/3: 1/2 + 1/2 × 2/3 = 5/6.
        let (votes, odd) = ([4.0, 3.0, 2.0, 1.0], [true, false, true, false]);
        let scores = PointScores::of(&votes, &[true, true, false, false], &odd);
        assert_eq!((scores.rows, scores.odd_rows), (4, 2));
        assert_eq!((scores.precision, scores.recall, scores.false_positive_rate), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!(scores.roc_auc, Some(0.75));
        assert!((scores.pr_auc.expect("odd rows") - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!(roc_curve(&votes, &odd), [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]);
    }

    #[test]
    fn equal_votes_are_a_coin_and_one_class_has_no_curve() {
        let odd = [true, false, false, true];
        assert_eq!(roc_auc(&[1.0; 4], &odd), Some(0.5));
        assert_eq!(PointScores::of(&[1.0; 4], &[false; 4], &odd).pr_auc, Some(0.5));
        let nothing = PointScores::of(&[1.0, 2.0], &[false; 2], &[false; 2]);
        assert_eq!((nothing.roc_auc, nothing.pr_auc, nothing.recall, nothing.precision), (None, None, None, None));
    }
}
