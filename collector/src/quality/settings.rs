//! The settings of the quality report, as typed and as checked.

use clap::Args;
use cluster::{IGNORED_NODES, IgnoredNodes};
use runtime::WrongUse;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Section `[collector.quality]`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityArgs {
    /// Dataset version: its manifest file or its id [default: the newest]
    #[arg(long, env = "BERTH_QUALITY_DATASET", value_name = "FILE|ID")]
    pub dataset: Option<String>,
    /// Write the figures as JSON
    #[arg(long, env = "BERTH_QUALITY_JSON_OUT", value_name = "FILE")]
    pub json_out: Option<PathBuf>,
    /// Write a page with charts
    #[arg(long, env = "BERTH_QUALITY_HTML_OUT", value_name = "FILE")]
    pub html_out: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    #[serde(default)]
    pub json: bool,
    /// Nodes that are left out: names (name=edge-*), and labels that a name gives away (that of Fargate's nodes)
    /// [default: as in `[collector.prometheus]`]
    #[arg(long, env = "BERTH_IGNORE_NODES", value_delimiter = ',', value_name = "RULE")]
    pub ignore_nodes: Option<Vec<String>>,
    /// Gate: share of expected samples of CPU and memory that must be there
    #[arg(long, env = "BERTH_QUALITY_MIN_COVERAGE", default_value_t = Limits::DEFAULT.min_coverage, value_name = "RATIO")]
    pub min_coverage: f64,
    /// Gate: largest share of values that cannot be true
    #[arg(long, env = "BERTH_QUALITY_MAX_OUT_OF_RANGE", default_value_t = Limits::DEFAULT.max_out_of_range, value_name = "RATIO")]
    pub max_out_of_range: f64,
    /// Gate: largest share of rows that repeat another row's node and time
    #[arg(long, env = "BERTH_QUALITY_MAX_DUPLICATES", default_value_t = Limits::DEFAULT.max_duplicates, value_name = "RATIO")]
    pub max_duplicates: f64,
    /// Gate: largest share of the nodes seen in the last `absent_after` that may be silent at the end
    #[arg(long, env = "BERTH_QUALITY_MAX_SILENT", default_value_t = Limits::DEFAULT.max_silent, value_name = "RATIO")]
    pub max_silent: f64,
    /// Distance of samples [default: the most frequent one in the data]
    #[arg(long, env = "BERTH_QUALITY_STEP", value_name = "DURATION")]
    pub step: Option<Span>,
    /// A node whose newest sample is older than this at the end of the dataset is late
    #[arg(long, env = "BERTH_QUALITY_LATE_AFTER", default_value = "1h", value_name = "DURATION")]
    pub late_after: Span,
    /// A node that is silent for longer than this has left, or was off when it comes back freshly booted
    #[arg(long, env = "BERTH_QUALITY_ABSENT_AFTER", default_value = "1d", value_name = "DURATION")]
    pub absent_after: Span,
    /// A metric that should move and keeps one value for longer than this is flat
    #[arg(long, env = "BERTH_QUALITY_FLAT_AFTER", default_value = "6h", value_name = "DURATION")]
    pub flat_after: Span,
    /// Usage above allocatable times one plus this is counted
    #[arg(long, env = "BERTH_QUALITY_ALLOCATABLE_MARGIN", default_value_t = Limits::DEFAULT.allocatable_margin, value_name = "RATIO")]
    pub allocatable_margin: f64,
}

/// The checked form of [`QualityArgs`]: times in milliseconds, ratios in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// Gate: least share of expected samples of the required metrics.
    pub min_coverage: f64,
    /// Gate: largest share of values that cannot be true.
    pub max_out_of_range: f64,
    /// Gate: largest share of duplicated rows.
    pub max_duplicates: f64,
    /// Gate: largest share of recently seen nodes that are silent at the end.
    pub max_silent: f64,
    /// Distance of samples where it is not to be detected.
    pub step_ms: Option<i64>,
    /// Silence at the end that makes a node late.
    pub late_after_ms: i64,
    /// Silence that makes a node absent.
    pub absent_after_ms: i64,
    /// Time without change that makes a line flat.
    pub flat_after_ms: i64,
    /// Usage may exceed allocatable by this share of it.
    pub allocatable_margin: f64,
}

impl Limits {
    /// The defaults.
    ///
    /// Coverage: the project's gate is 95 %. The others are guesses that refuse broken data and leave odd data alone:
    /// one value or row in a hundred is more than any scrape produces by accident; half of the nodes falls silent at
    /// once when a source dies, hardly when an autoscaler shrinks the cluster. Usage counts what runs outside of pods,
    /// and small machines reserve up to a third of their memory for it, so it may exceed allocatable by half.
    pub const DEFAULT: Self = Self {
        min_coverage: 0.95,
        max_out_of_range: 0.01,
        max_duplicates: 0.01,
        max_silent: 0.5,
        step_ms: None,
        late_after_ms: cluster::HOUR_MS,
        absent_after_ms: cluster::DAY_MS,
        flat_after_ms: 6 * cluster::HOUR_MS,
        allocatable_margin: 0.5,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl QualityArgs {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`WrongUse`] that names the key, the rule and the value.
    pub fn limits(&self) -> Result<Limits, WrongUse> {
        Ok(Limits {
            min_coverage: ratio("min_coverage", self.min_coverage)?,
            max_out_of_range: ratio("max_out_of_range", self.max_out_of_range)?,
            max_duplicates: ratio("max_duplicates", self.max_duplicates)?,
            max_silent: ratio("max_silent", self.max_silent)?,
            step_ms: self.step.map(|step| positive("step", step)).transpose()?,
            late_after_ms: positive("late_after", self.late_after)?,
            absent_after_ms: positive("absent_after", self.absent_after)?,
            flat_after_ms: positive("flat_after", self.flat_after)?,
            allocatable_margin: not_negative("allocatable_margin", self.allocatable_margin)?,
        })
    }
}

impl QualityArgs {
    /// The nodes that are left out.
    ///
    /// # Errors
    /// [`WrongUse`] that names the rule that cannot be read.
    pub fn ignored(&self) -> Result<IgnoredNodes, WrongUse> {
        let rules = match &self.ignore_nodes {
            Some(rules) => IgnoredNodes::parse(rules),
            None => IgnoredNodes::parse(&IGNORED_NODES),
        };
        rules.map_err(|error| WrongUse(format!("ignore_nodes: {error}")))
    }
}

fn ratio(key: &str, value: f64) -> Result<f64, WrongUse> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(WrongUse(format!("`{key}` is `{value}`, want a ratio from 0 to 1 (0.95 is 95 %)")))
}

fn not_negative(key: &str, value: f64) -> Result<f64, WrongUse> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(WrongUse(format!("`{key}` is `{value}`, want a number of at least 0")))
}

fn positive(key: &str, span: Span) -> Result<i64, WrongUse> {
    match span.millis() {
        millis if millis > 0 => Ok(millis),
        _ => Err(WrongUse(format!("`{key}` is `{span}`, want more than zero"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn typed(flags: &[&str]) -> QualityArgs {
        let command = QualityArgs::augment_args(Command::new("quality"));
        let matches = command.get_matches_from([&["quality"], flags].concat());
        QualityArgs::from_arg_matches(&matches).expect("parsed")
    }

    #[test]
    fn the_defaults_of_the_flags_are_the_documented_limits() {
        assert_eq!(typed(&[]).limits().expect("limits"), Limits::default());
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_refused_by_name() {
        for (flags, named) in [
            (["--min-coverage", "95"], "`min_coverage` is `95`"),
            (["--max-silent", "NaN"], "`max_silent`"),
            (["--flat-after", "0s"], "`flat_after`"),
            (["--allocatable-margin", "inf"], "`allocatable_margin`"),
        ] {
            let error = typed(&flags).limits().expect_err("refused").to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
