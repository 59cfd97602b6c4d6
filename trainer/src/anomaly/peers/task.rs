//! What peers are compared on: series of readings with labels, cut by time.

use super::{CompareSettings, SliceCounts};
use crate::anomaly::{AlarmScores, History, Timeline};
use crate::folds::Window;
use anyhow::ensure;
use cluster::GRID_STEP_MS;
use features::labels::Label;
use models::FeatureMatrix;
use models::anomaly::AlarmSettings;

/// One series of readings in order of time.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Readings, row-major.
    pub values: Vec<f32>,
    /// Whether each reading is labelled as part of an incident.
    pub odd: Vec<bool>,
    /// What each incident is, in order; may be shorter than there are incidents.
    pub kinds: Vec<String>,
}

/// Series with labels. Readings stand on a grid of their own, whatever their distance: figures in time are brought back by
/// [`Task::in_real_time`].
#[derive(Debug, Clone)]
pub struct Task {
    /// What it is.
    pub name: String,
    /// The readings; `plain` has the same columns.
    pub history: History,
    /// Whether each reading lies within an incident.
    pub odd: Vec<bool>,
    /// Minutes between two readings.
    pub minutes: f64,
    /// What peers learn from.
    pub train: Window,
    /// What chooses thresholds.
    pub validation: Window,
    /// What figures come from.
    pub test: Window,
}

/// Least readings of a slice of the longest series.
const LEAST_READINGS: i64 = 100;

impl Task {
    /// Cuts the series: the same moments for all, the last `test_share` of the longest one for the test.
    ///
    /// # Errors
    /// No series, or one too short to be cut.
    pub fn new(
        name: String,
        columns: Vec<String>,
        series: Vec<Series>,
        minutes: f64,
        settings: &CompareSettings,
    ) -> anyhow::Result<Self> {
        let longest = series.iter().map(|series| series.odd.len()).max().unwrap_or(0) as i64;
        let test_from = longest - (longest as f64 * settings.test_share).round() as i64;
        let validation_from = test_from - (longest as f64 * settings.validation_share).round() as i64;
        ensure!(
            validation_from >= LEAST_READINGS
                && test_from - validation_from >= LEAST_READINGS
                && longest - test_from >= LEAST_READINGS,
            "the longest series has {longest} readings; training, validation and test need {LEAST_READINGS} each, and shares of \
             {} and {} leave fewer. Give longer series",
            settings.validation_share,
            settings.test_share
        );
        let mut history = History {
            nodes: Vec::new(),
            spans: Vec::new(),
            ts: Vec::new(),
            x: FeatureMatrix::new(columns.clone(), 0, Vec::new())?,
            plain: FeatureMatrix::new(columns.clone(), 0, Vec::new())?,
            labels: Vec::new(),
            raw: None,
        };
        let (mut values, mut odd) = (Vec::new(), Vec::new());
        for series in series {
            let from = odd.len();
            history.nodes.push(series.name.clone());
            history.labels.push(labels(&series));
            history.ts.extend((1..=series.odd.len() as i64).map(|reading| reading * GRID_STEP_MS));
            values.extend(series.values);
            odd.extend(series.odd);
            history.spans.push(from..odd.len());
        }
        history.x = FeatureMatrix::new(columns, odd.len(), values)?;
        history.plain = history.x.clone();
        let window =
            |from: i64, until: i64| Window { from: (from + 1) * GRID_STEP_MS, until: (until + 1) * GRID_STEP_MS };
        Ok(Self {
            name,
            history,
            odd,
            minutes,
            train: window(0, validation_from),
            validation: window(validation_from, test_from),
            test: window(test_from, longest),
        })
    }

    /// Rows of the training, node by node.
    pub fn train_rows(&self) -> Vec<usize> {
        self.history.rows_in(self.train).into_iter().flatten().collect()
    }

    /// Rows of the test, node by node.
    pub fn test_rows(&self) -> Vec<usize> {
        self.history.rows_in(self.test).into_iter().flatten().collect()
    }

    /// Whether the training has odd readings and others.
    pub fn has_both_classes(&self) -> bool {
        let rows = self.train_rows();
        let odd = rows.iter().filter(|row| self.odd[**row]).count();
        odd > 0 && odd < rows.len()
    }

    /// What training, validation and test hold.
    pub fn slices(&self) -> [SliceCounts; 3] {
        [self.train, self.validation, self.test].map(|window| {
            let rows: Vec<usize> = self.history.rows_in(window).into_iter().flatten().collect();
            let meets = |label: &&Label| label.started_at < window.until && label.ended_at >= window.from;
            SliceCounts {
                rows: rows.len(),
                odd_rows: rows.iter().filter(|row| self.odd[**row]).count(),
                incidents: self.history.labels.iter().flatten().filter(meets).count(),
            }
        })
    }

    /// Scores become alarms in the same way for all: two readings in a row above the threshold raise one, three in a row
    /// below end it. `info` begins at the threshold, since scores of different peers have different zeros.
    pub fn timeline<'a>(&'a self, scores: &'a [f32], certain: &'a [bool], settings: &CompareSettings) -> Timeline<'a> {
        let alarms = AlarmSettings {
            raise_after: settings.raise_after,
            clear_after: settings.clear_after,
            info_share: 1.0,
            critical_factor: 1e9,
        };
        Timeline { history: &self.history, votes: scores, certain, odd: &self.odd, alarms }
    }

    /// Figures in days and minutes, which the grid of readings does not know.
    pub fn in_real_time(&self, mut scores: AlarmScores) -> AlarmScores {
        let stretch = self.minutes * 60_000.0 / GRID_STEP_MS as f64;
        scores.node_days *= stretch;
        scores.false_alarms_per_node_day = scores.false_alarms_per_node_day.map(|rate| rate / stretch);
        scores.delay_minutes = scores.delay_minutes.map(|minutes| minutes * stretch);
        scores
    }
}

/// Runs of odd readings as incidents, each from the first moment of its first reading to the last of its last.
fn labels(series: &Series) -> Vec<Label> {
    let mut labels: Vec<Label> = Vec::new();
    let mut from = 0;
    for run in series.odd.chunk_by(|left, right| left == right) {
        let until = from + run.len();
        if run[0] {
            labels.push(Label {
                started_at: from as i64 * GRID_STEP_MS,
                ended_at: until as i64 * GRID_STEP_MS - 1,
                kind: series.kinds.get(labels.len()).cloned().unwrap_or_else(|| "labelled".to_owned()),
                severity: "warning".to_owned(),
            });
        }
        from = until;
    }
    labels
}
