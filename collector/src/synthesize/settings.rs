//! What cluster is wanted.

use chrono::{DateTime, NaiveDate, Utc};
use clap::Args;
use cluster::DAY_MS;
use runtime::WrongUse;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use store::day_start;

/// Section `[collector.synthesize]`.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthesizeArgs {
    /// How many nodes
    #[arg(long, env = "BERTH_SYNTHESIZE_NODES", default_value_t = 12)]
    pub nodes: usize,
    /// How many days
    #[arg(long, env = "BERTH_SYNTHESIZE_DAYS", default_value_t = 35)]
    pub days: usize,
    /// The same seed gives the same cluster
    #[arg(long, env = "BERTH_SYNTHESIZE_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Distance of samples; must divide a day
    #[arg(long, env = "BERTH_SYNTHESIZE_STEP", default_value = "30s")]
    pub step: Span,
    /// The day (UTC) before which the history ends [default: today; a repeated run keeps the day of the first]
    #[arg(long, env = "BERTH_SYNTHESIZE_END", value_name = "DATE")]
    pub end: Option<NaiveDate>,
    /// Replace a synthetic history with other settings
    #[arg(long, env = "BERTH_SYNTHESIZE_REPLACE")]
    #[serde(default)]
    pub replace: bool,
    /// Also write OpenMetrics text, one file for two hours, into this folder
    #[arg(long, env = "BERTH_SYNTHESIZE_OPENMETRICS", value_name = "DIR")]
    pub openmetrics: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    #[serde(default)]
    pub json: bool,
}

impl Default for SynthesizeArgs {
    fn default() -> Self {
        let step = Span(std::time::Duration::from_secs(30));
        Self { nodes: 12, days: 35, seed: 1, step, end: None, replace: false, openmetrics: None, json: false }
    }
}

/// Checked settings: the same ones give the same history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How many nodes.
    pub nodes: usize,
    /// How many days.
    pub days: usize,
    /// The seed.
    pub seed: u64,
    /// Distance of samples in milliseconds.
    pub step_ms: i64,
    /// The day before which the history ends.
    pub end: NaiveDate,
}

/// More nodes than the largest Kubernetes cluster that is supported are a slip of the finger.
const MAX_NODES: usize = 5_000;
/// Ten years.
const MAX_DAYS: usize = 3_660;

impl Settings {
    /// Checks what was asked for. `end` is used where none was given.
    ///
    /// # Errors
    /// [`WrongUse`] that names the setting, the limit and the value.
    pub fn new(args: &SynthesizeArgs, end: NaiveDate) -> Result<Self, WrongUse> {
        let step_ms = args.step.millis();
        if !(1..=MAX_NODES).contains(&args.nodes) {
            return Err(WrongUse(format!("--nodes is {}, want 1 to {MAX_NODES}", args.nodes)));
        }
        if !(1..=MAX_DAYS).contains(&args.days) {
            return Err(WrongUse(format!("--days is {}, want 1 to {MAX_DAYS}", args.days)));
        }
        // Five minutes is the grid of the features; a coarser history could not fill it.
        if !(5_000..=300_000).contains(&step_ms) || DAY_MS % step_ms != 0 {
            return Err(WrongUse(format!("--step is {}, want 5s to 5m and a divisor of a day", args.step)));
        }
        Ok(Self { nodes: args.nodes, days: args.days, seed: args.seed, step_ms, end: args.end.unwrap_or(end) })
    }

    /// Today, by the clock.
    pub fn today() -> NaiveDate {
        DateTime::<Utc>::from(std::time::SystemTime::now()).date_naive()
    }

    /// The moment after the last one.
    pub fn end_ms(&self) -> i64 {
        day_start(self.end)
    }

    /// The first moment.
    pub fn start_ms(&self) -> i64 {
        self.end_ms() - self.days as i64 * DAY_MS
    }

    /// As a dataset version names it.
    pub fn name(&self) -> String {
        format!("nodes={} days={} seed={} step={}ms end={}", self.nodes, self.days, self.seed, self.step_ms, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused_with_the_limit() {
        let base = SynthesizeArgs::default();
        for (args, named) in [
            (SynthesizeArgs { nodes: 0, ..base.clone() }, "--nodes is 0"),
            (SynthesizeArgs { days: 100_000, ..base.clone() }, "--days is 100000"),
            (SynthesizeArgs { step: Span(std::time::Duration::from_secs(7)), ..base.clone() }, "--step is 7s"),
        ] {
            let error = Settings::new(&args, NaiveDate::default()).expect_err(named);
            assert!(error.0.contains(named), "{error}");
        }
        assert!(Settings::new(&base, NaiveDate::default()).is_ok());
    }
}
