//! The newest values of a series, in one contiguous slice.

use serde::{Deserialize, Serialize};

/// Room beyond `keep` before the values move to the front again: one move of `keep` values per 32 steps. More would
/// move less and weigh more: a node has two dozen series.
const SLACK: usize = 32;

/// The newest `keep` values, oldest first. A series that has not begun yet is full of NaN, so that "never seen" and
/// "long absent" are the same state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub(crate) struct Recent {
    values: Vec<f32>,
    keep: usize,
}

impl Clone for Recent {
    /// With its room: a copy is there to be pushed to, which would move all of it otherwise.
    fn clone(&self) -> Self {
        let mut values = Vec::with_capacity(self.keep + SLACK);
        values.extend_from_slice(&self.values);
        Self { values, keep: self.keep }
    }
}

impl Recent {
    pub(crate) fn new(keep: usize) -> Self {
        let mut values = Vec::with_capacity(keep + SLACK);
        values.resize(keep, f32::NAN);
        Self { values, keep }
    }

    /// How many values count.
    pub(crate) const fn keep(&self) -> usize {
        self.keep
    }

    #[inline]
    pub(crate) fn push(&mut self, value: f32) {
        if self.values.len() == self.keep + SLACK {
            self.values.copy_within(SLACK.., 0);
            self.values.truncate(self.keep);
        }
        self.values.push(value);
    }

    /// The value pushed `slots` pushes before the newest one.
    #[inline]
    pub(crate) fn ago(&self, slots: usize) -> f32 {
        debug_assert!(slots < self.keep);
        self.values[self.values.len() - 1 - slots]
    }

    /// The newest `count` values, oldest first.
    #[inline]
    pub(crate) fn last(&self, count: usize) -> &[f32] {
        debug_assert!(count <= self.keep);
        &self.values[self.values.len() - count..]
    }
}

/// What travels: the values that count, oldest first.
#[derive(Serialize, Deserialize)]
struct Kept(Vec<f32>);

impl From<Recent> for Kept {
    fn from(recent: Recent) -> Self {
        Self(recent.last(recent.keep).to_vec())
    }
}

impl TryFrom<Kept> for Recent {
    type Error = &'static str;

    fn try_from(Kept(values): Kept) -> Result<Self, Self::Error> {
        let keep = values.len();
        if keep == 0 { Err("a series of no values") } else { Ok(Self { values, keep }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_newest_values_across_moves() {
        let mut recent = Recent::new(3);
        assert!(recent.last(3).iter().all(|value| value.is_nan()));
        for value in 0..2_000 {
            recent.push(value as f32);
        }
        assert_eq!(recent.last(3), [1997.0, 1998.0, 1999.0]);
        assert_eq!(recent.ago(2), 1997.0);
    }
}
