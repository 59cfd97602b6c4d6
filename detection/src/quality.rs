//! How good the verdicts were, where labels come along.

use serde::Serialize;

/// Readings by label and by what was said of each alone. Nothing is point-adjusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quality {
    /// Anomalies that were flagged (warning and above).
    pub true_positives: u64,
    /// Usual readings that were flagged.
    pub false_positives: u64,
    /// Anomalies that were not.
    pub false_negatives: u64,
    /// Usual readings that were not.
    pub true_negatives: u64,
}

impl Quality {
    /// Counts one reading.
    pub fn count(&mut self, was_anomaly: bool, was_flagged: bool) {
        let counter = match (was_anomaly, was_flagged) {
            (true, true) => &mut self.true_positives,
            (false, true) => &mut self.false_positives,
            (true, false) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        };
        *counter += 1;
    }

    /// Readings that had a label.
    pub fn labelled(&self) -> u64 {
        self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
    }

    /// Share of the flagged readings that were anomalies.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of the anomalies that were flagged.
    pub fn recall(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Share of the usual readings that were flagged.
    pub fn false_positive_rate(&self) -> Option<f64> {
        share(self.false_positives, self.false_positives + self.true_negatives)
    }

    /// In one line; `None` without labels.
    pub fn text(&self) -> Option<String> {
        let figure = |value: Option<f64>| value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.3}"));
        (self.labelled() > 0).then(|| {
            format!(
                "{} labelled readings: precision {}, recall {}, false-positive rate {}",
                self.labelled(),
                figure(self.precision()),
                figure(self.recall()),
                figure(self.false_positive_rate())
            )
        })
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_hand_and_none_where_nothing_is_counted() {
        let mut quality = Quality::default();
        assert_eq!((quality.precision(), quality.recall(), quality.text()), (None, None, None));
        for (was_anomaly, was_flagged, times) in
            [(true, true, 3), (false, true, 1), (true, false, 2), (false, false, 4)]
        {
            (0..times).for_each(|_| quality.count(was_anomaly, was_flagged));
        }
        assert_eq!(
            (quality.precision(), quality.recall(), quality.false_positive_rate()),
            (Some(0.75), Some(0.6), Some(0.2))
        );
    }
}
