//! Counters into rates.

use crate::raw::DropReason;
use std::collections::HashMap;

/// What a sample of a counter says of the time since the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// There is none before.
    First,
    /// Gain per second.
    Value(f64),
    /// Gain per second since the counter began anew; as Prometheus does, what it shows is taken for all of the gain.
    AfterReset(f64),
    /// No rate, and why.
    Dropped(DropReason),
}

/// The last reading of every counter.
#[derive(Debug)]
pub struct Counters {
    longest_gap: i64,
    last: HashMap<String, (i64, f64)>,
    key: String,
}

/// A rate over more steps than this says little of the moment it ends at.
const LONGEST_GAP_STEPS: i64 = 4;

impl Counters {
    /// `step`: distance of samples in milliseconds.
    pub fn new(step: i64) -> Self {
        Self { longest_gap: step * LONGEST_GAP_STEPS, last: HashMap::new(), key: String::new() }
    }

    /// Takes the next reading of the series that `parts` name together.
    pub fn rate(&mut self, parts: &[&str], ts: i64, value: f64) -> Rate {
        if !value.is_finite() {
            return Rate::Dropped(DropReason::NotFinite);
        }
        if value < 0.0 {
            return Rate::Dropped(DropReason::Negative);
        }
        self.key.clear();
        for part in parts {
            self.key.push_str(part);
            self.key.push('\u{1}'); // in no label that an exporter writes
        }
        let Some(last) = self.last.get_mut(self.key.as_str()) else {
            self.last.insert(self.key.clone(), (ts, value));
            return Rate::First;
        };
        let (last_ts, last_value) = *last;
        if ts == last_ts {
            return Rate::Dropped(DropReason::Duplicate);
        }
        if ts < last_ts {
            return Rate::Dropped(DropReason::OutOfOrder);
        }
        *last = (ts, value);
        if ts - last_ts > self.longest_gap {
            return Rate::Dropped(DropReason::CounterGap);
        }
        let seconds = (ts - last_ts) as f64 / 1_000.0;
        if value < last_value { Rate::AfterReset(value / seconds) } else { Rate::Value((value - last_value) / seconds) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_gaps_and_disorder_are_told_apart() {
        let mut counters = Counters::new(30_000);
        let mut next = |seconds: i64, value: f64| counters.rate(&["cpu", "a"], seconds * 1_000, value);
        assert_eq!(next(0, 10.0), Rate::First);
        assert_eq!(next(30, 40.0), Rate::Value(1.0));
        assert_eq!(next(30, 40.0), Rate::Dropped(DropReason::Duplicate));
        assert_eq!(next(0, 10.0), Rate::Dropped(DropReason::OutOfOrder));
        assert_eq!(next(60, 15.0), Rate::AfterReset(0.5));
        assert_eq!(next(240, 30.0), Rate::Dropped(DropReason::CounterGap));
        assert_eq!(next(270, f64::NAN), Rate::Dropped(DropReason::NotFinite));
        assert_eq!(next(270, 60.0), Rate::Value(1.0));
    }
}
