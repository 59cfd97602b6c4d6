//! A share of many single events with an interval that holds at all times at once.
//!
//! Method: the mixture of all shares by a Beta(½, ½) prior is a martingale when it is divided by the likelihood of the true
//! share (Robbins 1970; Krichevsky and Trofimov 1981), so by Ville's inequality that quotient passes `1 ÷ α` at any time with a
//! probability of at most `α`. What it has not passed is the confidence sequence: exact from the first event on, no variance is
//! estimated. Bounds of this kind are reviewed by Howard, Ramdas, McAuliffe and Sekhon (Annals of Statistics 49, 2021).

use super::SequenceInterval;
use serde::{Deserialize, Serialize};

/// So many of so many, event by event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ShareSequence {
    /// Those that count.
    pub count: u64,
    /// All of them.
    pub of: u64,
    /// Logarithm of the mixture's probability of exactly these events.
    log_mixture: f64,
}

impl ShareSequence {
    /// One more event.
    pub fn add(&mut self, counts: bool) {
        let same = if counts { self.count } else { self.of - self.count };
        self.log_mixture += ((same as f64 + 0.5) / (self.of as f64 + 1.0)).ln();
        self.count += u64::from(counts);
        self.of += 1;
    }

    /// The share; `None` of nothing.
    pub fn share(&self) -> Option<f64> {
        (self.of > 0).then(|| self.count as f64 / self.of as f64)
    }

    /// The smallest and the largest share that is not ruled out; each true share is ruled out at any time with a probability of at
    /// most `alpha`.
    pub fn bounds(&self, alpha: f64) -> (f64, f64) {
        let Some(share) = self.share() else { return (0.0, 1.0) };
        let (counted, others) = (self.count as f64, (self.of - self.count) as f64);
        // 0 ln 0 is 0: what never happened says nothing against a share of 0.
        let term = |times: f64, share: f64| if times > 0.0 { times * share.ln() } else { 0.0 };
        let is_ruled_out =
            |share: f64| self.log_mixture - term(counted, share) - term(others, 1.0 - share) > -alpha.ln();
        // The quotient is smallest at the share itself and grows to both sides.
        let edge = |mut inside: f64, mut outside: f64| {
            if !is_ruled_out(outside) {
                return outside;
            }
            for _ in 0..60 {
                let middle = f64::midpoint(inside, outside);
                if is_ruled_out(middle) { outside = middle } else { inside = middle }
            }
            outside
        };
        (edge(share, 0.0), edge(share, 1.0))
    }

    /// `self` less `base`, each end wrong at any time with a probability of at most `alpha`. Where `base` saw nothing there is
    /// nothing to take off.
    pub fn less(&self, base: &Self, alpha: f64) -> SequenceInterval {
        let Some(own) = self.share() else { return SequenceInterval::default() };
        // Half of the probability for each of the two.
        let (low, high) = self.bounds(alpha / 2.0);
        let Some(other) = base.share() else { return SequenceInterval::between(own, low, high) };
        let (base_low, base_high) = base.bounds(alpha / 2.0);
        SequenceInterval::between(own - other, low - base_high, high - base_low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    fn of(count: u64, of: u64) -> ShareSequence {
        let mut share = ShareSequence::default();
        (0..of).for_each(|event| share.add(event < count));
        share
    }

    #[test]
    fn bounds_by_hand() {
        assert_eq!(ShareSequence::default().bounds(0.05), (0.0, 1.0));
        // Two of two: the mixture gives 1/2 x 3/4 = 3/8, so every share below the root of 3/8 x 0.05 = 0.136931 is ruled out.
        let (low, high) = of(2, 2).bounds(0.05);
        assert!((low - 0.136_931).abs() < 1e-6 && high == 1.0, "{low} {high}");
        // The order of events does not matter.
        let mut other = ShareSequence::default();
        [true, false, false, true, false].iter().for_each(|event| other.add(*event));
        let (one, two) = (of(2, 5).bounds(0.05), other.bounds(0.05));
        assert!((one.0 - two.0).abs() < 1e-9 && (one.1 - two.1).abs() < 1e-9);
        // One of each: 1/8 over p (1 - p) reaches 20 where p (1 - p) = 1/160, at p = 0.0062894.
        let (low, high) = of(1, 2).bounds(0.05);
        assert!((low - 0.006_289_4).abs() < 1e-6 && (high - (1.0 - 0.006_289_4)).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn a_difference_counts_what_both_may_be() {
        let none = of(0, 1_000).less(&of(0, 1_000), 0.01);
        assert!(!none.is_above(0.0) && none.value == Some(0.0));
        assert!(of(10, 100).less(&of(0, 1_000), 0.01).is_above(0.01));
        assert!(!of(1, 100).less(&of(0, 1_000), 0.01).is_above(0.01), "one may be chance");
        assert!(!of(10, 100).less(&of(100, 1_000), 0.01).is_above(0.01), "both fail alike");
        assert!(of(20, 20).less(&ShareSequence::default(), 0.01).is_above(0.5), "nothing to take off");
        assert_eq!(ShareSequence::default().less(&of(1, 2), 0.01), SequenceInterval::default());
    }

    #[test]
    fn whoever_looks_at_every_event_is_wrong_as_rarely_as_was_promised() {
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(13);
        let runs = 2_000;
        let wrong = (0..runs).filter(|_| {
            let mut share = ShareSequence::default();
            (0..400).any(|_| {
                share.add(generator.random::<f64>() < 0.05);
                share.bounds(0.05).0 > 0.05
            })
        });
        let wrong = wrong.count() as f64 / f64::from(runs);
        assert!(wrong < 0.05, "{wrong}");
    }
}
