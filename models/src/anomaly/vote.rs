//! How the members' surprises become one number.

use serde::{Deserialize, Serialize};

/// The vote over the members' surprises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Vote {
    /// The most surprised member decides. It needs no labels.
    Largest,
    /// The member whose surprise, times its own factor, is the most decides: members that err often get small factors, those
    /// that see what others miss get large ones. One factor per member.
    Scaled(Vec<f32>),
    /// A weighted sum, the weights learned from labelled incidents; one weight per member.
    Weighted(Vec<f32>),
}

/// Descents of the logistic loss; it is smooth and has few weights, so the last hundreds change nothing that matters.
const STEPS: usize = 400;
/// Pull of the weights towards zero, so that members that never see an incident get none.
const RIDGE: f64 = 1e-3;
/// Fewer odd rows than this teach no weights.
pub(super) const LEAST_ODD_ROWS: usize = 30;

impl Vote {
    /// The vote on surprises, one per member.
    pub fn of(&self, surprises: &[f32]) -> f32 {
        match self {
            Self::Largest => surprises.iter().copied().fold(0.0, f32::max),
            Self::Scaled(factors) => {
                factors.iter().zip(surprises).map(|(factor, surprise)| factor * surprise).fold(0.0, f32::max)
            }
            Self::Weighted(weights) => weights.iter().zip(surprises).map(|(weight, surprise)| weight * surprise).sum(),
        }
    }

    /// What each member's surprise puts into the vote.
    pub fn share(&self, surprises: &[f32], member: usize) -> f32 {
        match self {
            // Nearly as surprised members count too, so that the one that is a hair ahead does not hide them.
            Self::Largest => (surprises[member] - 0.5 * self.of(surprises)).max(0.0),
            Self::Scaled(factors) => {
                let own = factors.get(member).map_or(0.0, |factor| factor * surprises[member]);
                (own - 0.5 * self.of(surprises)).max(0.0)
            }
            Self::Weighted(weights) => weights.get(member).map_or(0.0, |weight| weight * surprises[member]),
        }
    }

    /// Whether it fits so many members and holds numbers only.
    pub(super) fn is_sound(&self, members: usize) -> bool {
        match self {
            Self::Largest => true,
            Self::Scaled(numbers) | Self::Weighted(numbers) => {
                numbers.len() == members && numbers.iter().all(|number| number.is_finite())
            }
        }
    }

    /// Learns weights from labelled rows: logistic regression with weights of at least 0, the odd rows weighing as much as
    /// the usual ones together; the weights are scaled to sum to 1. `surprises` is row-major, `members` per row. `None`
    /// where there are fewer than 30 odd rows, no usual ones, or no member tells them apart.
    pub fn learn(surprises: &[f32], members: usize, odd: &[bool]) -> Option<Self> {
        let odd_rows = odd.iter().filter(|odd| **odd).count();
        let usual_rows = odd.len() - odd_rows;
        if odd_rows < LEAST_ODD_ROWS || usual_rows == 0 {
            return None;
        }
        let (odd_weight, usual_weight) = (0.5 / odd_rows as f64, 0.5 / usual_rows as f64);
        let (mut weights, mut offset) = (vec![0.1; members], 0.0);
        let mut slopes = vec![0.0; members];
        for step in 0..STEPS {
            slopes.fill(0.0);
            let mut offset_slope = 0.0;
            for (row, odd) in surprises.chunks_exact(members).zip(odd) {
                let sum: f64 = weights.iter().zip(row).map(|(weight, surprise)| weight * f64::from(*surprise)).sum();
                let chance = 1.0 / (1.0 + (-sum - offset).exp());
                let miss = if *odd { (chance - 1.0) * odd_weight } else { chance * usual_weight };
                offset_slope += miss;
                for (slope, surprise) in slopes.iter_mut().zip(row) {
                    *slope += miss * f64::from(*surprise);
                }
            }
            let rate = 2.0 / (1.0 + step as f64 / 100.0);
            offset -= rate * offset_slope;
            for (weight, slope) in weights.iter_mut().zip(&slopes) {
                *weight = f64::max(*weight - rate * (slope + RIDGE * *weight), 0.0);
            }
        }
        let sum: f64 = weights.iter().sum();
        (sum > 0.0).then(|| Self::Weighted(weights.into_iter().map(|weight| (weight / sum) as f32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_that_sees_incidents_gets_the_weight() {
        // Member 0 is surprised by odd rows, member 1 by every third row.
        let odd: Vec<bool> = (0..600).map(|row| row % 10 == 0).collect();
        let surprises: Vec<f32> =
            (0..600).flat_map(|row| [if odd[row] { 2.5 } else { 0.3 }, if row % 3 == 0 { 2.0 } else { 0.2 }]).collect();
        let Some(Vote::Weighted(weights)) = Vote::learn(&surprises, 2, &odd) else { panic!("there are labels") };
        assert!(weights[0] > 0.8 && (weights.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{weights:?}");
    }

    #[test]
    fn too_few_labels_teach_nothing() {
        assert_eq!(Vote::learn(&[1.0; 40], 1, &[true; 40]), None);
        let odd: Vec<bool> = (0..400).map(|row| row < LEAST_ODD_ROWS - 1).collect();
        assert_eq!(Vote::learn(&[1.0; 400], 1, &odd), None);
    }

    #[test]
    fn votes_by_hand() {
        assert_eq!(Vote::Largest.of(&[0.2, 3.0, 1.0]), 3.0);
        let scaled = Vote::Scaled(vec![1.0, 0.5, 2.0]);
        assert_eq!(scaled.of(&[0.2, 3.0, 1.0]), 2.0);
        assert_eq!([0, 1, 2].map(|member| scaled.share(&[0.2, 3.0, 1.0], member)), [0.0, 0.5, 1.0]);
        assert!((Vote::Weighted(vec![0.25, 0.75]).of(&[2.0, 1.0]) - 1.25).abs() < 1e-6);
    }
}
