//! A circuit breaker: a server that fails is left alone for a moment, so that callers do not pay for finding it out one by one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// So many failures in a row open it.
pub const FAILURES: u32 = 5;
/// It lets one request through after this.
pub const OPEN_FOR: Duration = Duration::from_secs(1);

/// Moments are spans since some fixed one, of a clock that never goes backwards: a step of the wall clock must not keep it open.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: AtomicU32,
    /// When the next request is let through, in microseconds; 0 while it is closed.
    opens_at: AtomicU64,
}

/// What a result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Nothing.
    None,
    /// Requests are kept away from now on.
    Opened,
    /// Requests are let through again.
    Closed,
}

fn micros(at: Duration) -> u64 {
    // Never 0, which means closed; half a million years fit.
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX).max(1)
}

impl Breaker {
    /// Whether a request may go out at `now`. Of all that come when an open breaker's time has passed, the first one goes and the
    /// others wait for what it finds.
    pub fn admits(&self, now: Duration) -> bool {
        let opens_at = self.opens_at.load(Ordering::Relaxed);
        if opens_at == 0 {
            return true;
        }
        let next = micros(now + OPEN_FOR);
        micros(now) >= opens_at
            && self.opens_at.compare_exchange(opens_at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether requests are kept away.
    pub fn is_open(&self) -> bool {
        self.opens_at.load(Ordering::Relaxed) != 0
    }

    /// A request that was let through has succeeded.
    pub fn succeeded(&self) -> Transition {
        self.failures.store(0, Ordering::Relaxed);
        if self.opens_at.swap(0, Ordering::Relaxed) == 0 { Transition::None } else { Transition::Closed }
    }

    /// A request that was let through has failed.
    pub fn failed(&self, now: Duration) -> Transition {
        if self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) < FAILURES {
            return Transition::None;
        }
        match self.opens_at.swap(micros(now + OPEN_FOR), Ordering::Relaxed) {
            0 => Transition::Opened,
            _ => Transition::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_open_it_for_a_second_and_one_success_closes_it() {
        let (breaker, at) = (Breaker::default(), Duration::from_millis);
        for failure in 1..5 {
            assert_eq!(breaker.failed(at(failure)), Transition::None);
            assert!(breaker.admits(at(failure)) && !breaker.is_open());
        }
        assert_eq!(breaker.failed(at(5)), Transition::Opened);
        assert!(breaker.is_open() && !breaker.admits(at(6)) && !breaker.admits(at(1_004)));
        // One goes, and while it is under way no other; its failure keeps the breaker open for another second.
        assert!(breaker.admits(at(1_005)) && !breaker.admits(at(1_006)));
        assert_eq!(breaker.failed(at(1_010)), Transition::None);
        assert!(!breaker.admits(at(2_009)) && breaker.admits(at(2_010)));
        assert_eq!(breaker.succeeded(), Transition::Closed);
        assert!(breaker.admits(at(2_011)) && !breaker.is_open());
        // The count begins anew.
        assert_eq!(breaker.failed(at(2_012)), Transition::None);
    }
}
