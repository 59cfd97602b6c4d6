//! On which side of what is usual a member looks.

use serde::{Deserialize, Serialize};

/// On which side of the middle of its columns an anomaly lies. A memory that falls and a disk that rests are unusual and need
/// nobody; they are also what follows an incident, when windows of an hour or a day still remember it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// On both.
    #[default]
    Both,
    /// Above: values below the middle count as the middle.
    Above,
    /// Below: values above the middle count as the middle.
    Below,
}

/// A side with the middle of each column of the training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Middles {
    side: Side,
    /// One per column, 0 where nothing was known; none at all where both sides are looked at.
    medians: Vec<f32>,
}

impl Middles {
    /// Learns the middles of `values`, row-major with `width` columns, NaN where unknown.
    pub fn fit(values: &[f32], width: usize, side: Side) -> Self {
        let median = |column: usize| {
            let mut known: Vec<f32> =
                values.iter().skip(column).step_by(width).copied().filter(|value| value.is_finite()).collect();
            known.sort_by(f32::total_cmp);
            known.get(known.len() / 2).copied().unwrap_or(0.0)
        };
        if side == Side::Both {
            return Self::default();
        }
        Self { side, medians: (0..width).map(median).collect() }
    }

    /// The side.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Moves what lies on the other side to the middle, in rows one after the other; what is missing stays missing.
    pub fn clip(&self, values: &mut [f32]) {
        // `f32::max` and `f32::min` would take a middle for a missing value.
        let is_other: fn(f32, f32) -> bool = match self.side {
            Side::Both => return,
            Side::Above => |value, median| value < median,
            Side::Below => |value, median| value > median,
        };
        for row in values.chunks_exact_mut(self.medians.len()) {
            for (value, median) in row.iter_mut().zip(&self.medians) {
                if is_other(*value, *median) {
                    *value = *median;
                }
            }
        }
    }

    /// Whether it fits so many columns and holds numbers only.
    pub(super) fn is_sound(&self, width: usize) -> bool {
        let wanted = if self.side == Side::Both { 0 } else { width };
        self.medians.len() == wanted && self.medians.iter().all(|median| median.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_side_is_the_middle_and_missing_stays_missing() {
        // Medians 2 and 20; the third column was never known.
        let learned = [1.0, 30.0, f32::NAN, 2.0, 20.0, f32::NAN, 9.0, 10.0, f32::NAN];
        let clipped = |side| {
            let mut values = [0.0, 25.0, 1.0, 5.0, f32::NAN, -1.0];
            Middles::fit(&learned, 3, side).clip(&mut values);
            format!("{values:?}")
        };
        assert_eq!(clipped(Side::Both), "[0.0, 25.0, 1.0, 5.0, NaN, -1.0]");
        assert_eq!(clipped(Side::Above), "[2.0, 25.0, 1.0, 5.0, NaN, 0.0]");
        assert_eq!(clipped(Side::Below), "[0.0, 20.0, 0.0, 2.0, NaN, -1.0]");
    }
}
