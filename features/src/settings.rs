//! Settings of the features: what a slot and a window need to have a value, and the calendar.

use crate::GRID_STEP_MS;
use crate::calendar::{Calendar, Country, TimeZoneName};
use anyhow::ensure;
use chrono::NaiveDate;
use clap::{Args, FromArgMatches};
use runtime::settings::Span;
use runtime::{ConfigFile, WrongUse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Section `[features.build]` of `berth.toml`.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSettings {
    /// Time between two samples of a node, such as `30s` [default: found in the data]
    #[arg(long, env = "BERTH_FEATURES_STEP", value_name = "SPAN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Span>,
    /// Share of the samples expected in five minutes that a slot needs to have a value (one sample at least)
    #[arg(long, env = "BERTH_FEATURES_MIN_SLOT_COVERAGE", default_value_t = 0.5, value_name = "RATIO")]
    pub min_slot_coverage: f64,
    /// Share of its slots that a window needs to have a value
    #[arg(long, env = "BERTH_FEATURES_MIN_WINDOW_COVERAGE", default_value_t = 0.25, value_name = "RATIO")]
    pub min_window_coverage: f64,
    /// Time zone of hour, weekday and holidays, such as Europe/Berlin [default: UTC]
    #[arg(long, env = "BERTH_FEATURES_TIMEZONE", value_name = "ZONE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Deprecated, since it knows no daylight saving, and gone with the next version: local time less UTC in minutes
    #[arg(
        long,
        hide = true,
        env = "BERTH_FEATURES_UTC_OFFSET_MINUTES",
        default_value_t = 0,
        value_name = "MINUTES",
        allow_hyphen_values = true
    )]
    pub utc_offset_minutes: i32,
    /// Public holidays of these countries: de, fr, gb, us
    #[arg(long, env = "BERTH_FEATURES_HOLIDAY_COUNTRIES", value_delimiter = ',', value_name = "CODE")]
    #[serde(default)]
    pub holiday_countries: Vec<String>,
    /// Days that are holidays as well, such as `2026-12-24`
    #[arg(skip)]
    #[serde(default)]
    pub holidays: Vec<String>,
}

impl Default for FeatureSettings {
    fn default() -> Self {
        Self {
            step: None,
            min_slot_coverage: 0.5,
            min_window_coverage: 0.25,
            timezone: None,
            utc_offset_minutes: 0,
            holiday_countries: Vec::new(),
            holidays: Vec::new(),
        }
    }
}

/// The checked form that windows work by. Equal rules and equal samples give equal rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowRules {
    /// Samples that a slot needs, per metric.
    pub least_samples: u32,
    /// Share of its slots that a window needs.
    pub min_window_coverage: f64,
    /// What day and hour it is.
    pub calendar: Calendar,
}

impl Default for WindowRules {
    fn default() -> Self {
        Self { least_samples: 1, min_window_coverage: 0.25, calendar: Calendar::default() }
    }
}

/// Names of the rules among a features dataset's quality figures.
pub(crate) const LEAST_SAMPLES: &str = "least_samples_per_slot";
pub(crate) const MIN_WINDOW_COVERAGE: &str = "min_window_coverage";

impl WindowRules {
    /// The rules that a features dataset was built by, from its quality figures; the calendar is UTC's, without holidays. Figures
    /// that an older version did not write have their defaults.
    pub fn of_dataset(quality: &BTreeMap<String, f64>) -> Self {
        let default = Self::default();
        Self {
            least_samples: quality.get(LEAST_SAMPLES).map_or(default.least_samples, |least| *least as u32),
            min_window_coverage: quality.get(MIN_WINDOW_COVERAGE).copied().unwrap_or(default.min_window_coverage),
            calendar: default.calendar,
        }
    }

    /// The least number of slots that a window of `slots` needs.
    pub(crate) fn least_slots(&self, slots: usize) -> i64 {
        ((self.min_window_coverage * slots as f64).ceil() as i64).max(1)
    }
}

impl FeatureSettings {
    /// Checks the values. `found_step_ms`: time between samples as found in the data, for when none is set.
    ///
    /// # Errors
    /// When a value is out of its range; the message names key, rule and value.
    pub fn rules(&self, found_step_ms: i64) -> anyhow::Result<WindowRules> {
        let share = |key: &str, value: f64| -> anyhow::Result<()> {
            ensure!((0.0..=1.0).contains(&value), WrongUse(format!("`{key}` must lie in 0..1, got `{value}`")));
            Ok(())
        };
        share("min_slot_coverage", self.min_slot_coverage)?;
        share("min_window_coverage", self.min_window_coverage)?;
        let offset = self.utc_offset_minutes;
        ensure!(
            offset.abs() <= 14 * 60,
            WrongUse(format!("`utc_offset_minutes` must lie in -840..840, got `{offset}`"))
        );
        let zone = self.timezone.as_deref().map(str::parse::<TimeZoneName>).transpose();
        let zone = zone.map_err(|error| WrongUse(format!("timezone: {error}")))?;
        ensure!(
            zone.is_none() || offset == 0,
            WrongUse(format!("`timezone` and `utc_offset_minutes` = `{offset}` are both set: keep `timezone`"))
        );
        if offset != 0 {
            tracing::warn!(
                offset,
                "`utc_offset_minutes` knows no daylight saving and goes with the next version: set `timezone`"
            );
        }
        let step = self.step.map_or(found_step_ms, Span::millis);
        ensure!(step > 0, WrongUse("`step` must be longer than 0".into()));
        let holidays: Vec<NaiveDate> = self.holidays.iter().map(|text| date(text)).collect::<Result<_, _>>()?;
        let countries: Vec<Country> =
            self.holiday_countries.iter().map(|code| code.parse()).collect::<Result<_, _>>()?;
        // A step of 60-100 s gives 3 to 5 samples, of which at least 1 or 2 must be there; five minutes give one.
        let expected = GRID_STEP_MS as f64 / step as f64;
        Ok(WindowRules {
            least_samples: ((self.min_slot_coverage * expected).floor() as u32).max(1),
            min_window_coverage: self.min_window_coverage,
            calendar: match zone {
                Some(zone) => Calendar::new(0, holidays, countries).in_zone(zone),
                None => Calendar::new(offset, holidays, countries),
            },
        })
    }

    /// The settings of `[features.build]` by environment and file, for whoever computes features from live samples: what a
    /// model was trained on and what it is asked must have the same hours and holidays. Only the distance of samples is
    /// the live one's own.
    ///
    /// # Errors
    /// When the section has a key that is not known, or a value of another type.
    pub fn as_built(config: &ConfigFile) -> anyhow::Result<Self> {
        let matches = Self::augment_args(clap::Command::new("live")).try_get_matches_from(["live"])?;
        let built = config.resolve("features.build", &Self::from_arg_matches(&matches)?, &matches)?;
        Ok(Self { step: None, ..built })
    }
}

fn date(text: &str) -> Result<NaiveDate, WrongUse> {
    text.parse().map_err(|_| WrongUse(format!("`holidays` wants dates such as `2026-12-24`, got `{text}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least(step_ms: i64) -> u32 {
        FeatureSettings::default().rules(step_ms).expect("valid").least_samples
    }

    #[test]
    fn half_of_the_expected_samples_are_needed_and_never_less_than_one() {
        assert_eq!((least(30_000), least(60_000), least(80_000), least(300_000), least(900_000)), (5, 2, 1, 1, 1));
    }

    #[test]
    fn live_features_have_the_hours_and_holidays_of_those_that_were_built() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("berth.toml");
        let section = "[features.build]\nstep = \"5m\"\ntimezone = \"Europe/Berlin\"\nholidays = [\"2026-12-24\"]\n";
        std::fs::write(&path, section).expect("file");
        let config = ConfigFile::load(&runtime::settings::ConfigArgs { config: Some(path) }).expect("configuration");
        let live = FeatureSettings::as_built(&config).expect("settings");
        let rules = live.rules(30_000).expect("rules");
        let built = FeatureSettings { step: None, ..live.clone() }.rules(30_000).expect("rules");
        assert_eq!((live.step, rules.least_samples), (None, 5), "samples every 30 s, whatever the dataset had");
        assert_eq!(rules.calendar, built.calendar);
        assert!(rules.calendar.is_holiday(NaiveDate::from_ymd_opt(2026, 12, 24).expect("a date")));
        assert_ne!(rules.calendar, Calendar::default());
    }

    #[test]
    fn values_out_of_range_are_named() {
        let refused = |settings: FeatureSettings| settings.rules(30_000).expect_err("refused").to_string();
        let coverage = FeatureSettings { min_slot_coverage: 1.5, ..FeatureSettings::default() };
        assert!(refused(coverage).contains("`min_slot_coverage`"));
        let holiday = FeatureSettings { holidays: vec!["24.12.2026".into()], ..FeatureSettings::default() };
        assert!(refused(holiday).contains("`24.12.2026`"));
        let zone = FeatureSettings { timezone: Some("Berlin".into()), ..FeatureSettings::default() };
        assert!(refused(zone).contains("timezone: `Berlin`"));
        let both = FeatureSettings {
            timezone: Some("Europe/Berlin".into()),
            utc_offset_minutes: 60,
            ..FeatureSettings::default()
        };
        assert!(refused(both).contains("both set"));
        let country = FeatureSettings { holiday_countries: vec!["xx".into()], ..FeatureSettings::default() };
        assert!(refused(country).contains("`xx`"));
    }
}
