//! From readings to alarms: severity with hysteresis, so that one odd reading wakes nobody and one usual reading ends
//! nothing.

use super::Severity;
use serde::{Deserialize, Serialize};

/// When readings become alarms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmSettings {
    /// Readings in a row that raise a severity; at least 1. A guess: ten minutes at five-minute readings.
    pub raise_after: u16,
    /// Readings in a row below `info` that end an alarm; at least 1. A guess: a quarter of an hour.
    pub clear_after: u16,
    /// `info` begins at this share of the threshold, 0 to 1. A guess.
    pub info_share: f32,
    /// `critical` begins at this multiple of the threshold, at least 1. A guess.
    pub critical_factor: f32,
}

impl Default for AlarmSettings {
    fn default() -> Self {
        Self { raise_after: 2, clear_after: 3, info_share: 0.75, critical_factor: 1.5 }
    }
}

impl AlarmSettings {
    /// The severity of one reading whose vote is `vote`, where `threshold` is the vote of an alarm.
    pub fn severity(&self, vote: f32, threshold: f32) -> Option<Severity> {
        if vote >= threshold * self.critical_factor {
            Some(Severity::Critical)
        } else if vote >= threshold {
            Some(Severity::Warning)
        } else if vote >= threshold * self.info_share {
            Some(Severity::Info)
        } else {
            None
        }
    }
}

/// The alarm of one node; one reading goes in after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmState {
    /// Readings in a row at or above each severity.
    above: [u16; 3],
    /// Readings in a row below `info`.
    usual: u16,
    current: Option<Severity>,
}

impl AlarmState {
    /// Takes in a reading and returns what is the matter now. A severity is raised by `raise_after` readings in a row at or
    /// above it, or by one that is `certain`; it stays, or rises, until `clear_after` readings in a row are below `info`.
    pub fn push(&mut self, reading: Option<Severity>, certain: bool, settings: &AlarmSettings) -> Option<Severity> {
        for severity in Severity::ALL {
            let above = &mut self.above[severity as usize];
            *above = if reading >= Some(severity) { above.saturating_add(1) } else { 0 };
            let is_raised = *above >= settings.raise_after.max(1) || (certain && *above > 0);
            if is_raised && self.current < Some(severity) {
                self.current = Some(severity);
            }
        }
        self.usual = if reading.is_none() { self.usual.saturating_add(1) } else { 0 };
        if self.usual >= settings.clear_after.max(1) {
            self.current = None;
        }
        self.current
    }

    /// What is the matter now.
    pub fn current(&self) -> Option<Severity> {
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Severity::{Critical, Info, Warning};

    #[test]
    fn severities_of_readings_by_hand() {
        let settings = AlarmSettings::default();
        let of = |vote| settings.severity(vote, 2.0);
        assert_eq!([1.4, 1.5, 2.0, 2.9, 3.0].map(of), [None, Some(Info), Some(Warning), Some(Warning), Some(Critical)]);
        assert_eq!(of(f32::NAN), None);
    }

    #[test]
    fn one_odd_reading_raises_nothing_and_one_usual_reading_ends_nothing() {
        let settings = AlarmSettings::default();
        let mut state = AlarmState::default();
        let readings = [
            (Some(Critical), None),
            (None, None),
            (Some(Warning), None),
            (Some(Critical), Some(Warning)),
            (Some(Critical), Some(Critical)),
            (None, Some(Critical)),
            (Some(Info), Some(Critical)),
            (None, Some(Critical)),
            (None, Some(Critical)),
            (None, None),
        ];
        for (at, (reading, wanted)) in readings.into_iter().enumerate() {
            assert_eq!(state.push(reading, false, &settings), wanted, "reading {at}");
        }
        assert_eq!(state.push(Some(Critical), true, &settings), Some(Critical), "a certain one needs no second");
    }
}
