//! One configuration file, `berth.toml`, with sections per crate. Every value is also a flag and an environment
//! variable: flag > environment > file > default.
//!
//! A crate declares ONE struct for its section: it derives `clap::Args`, `Serialize` and `Deserialize` with
//! `deny_unknown_fields`. Clap fills it from flags, environment and defaults; [`ConfigFile::resolve`] lays the file's
//! section under what was given explicitly.

use crate::WrongUse;
use anyhow::Context;
use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::Table;

/// The sections that `berth.toml` may have: what several commands share, and one per group of settings of a crate.
/// A crate that adds a group adds its name here, so that a misspelt section is refused by every command.
pub const SECTIONS: &[&str] = &[
    "store",
    "tracking",
    "collector.prometheus",
    "collector.http",
    "collector.queries",
    "collector.synthesize",
    "collector.quality",
    "features.build",
    "simulator.engine",
    "simulator.cost",
    "simulator.scenario",
    "trainer.load",
    "trainer.booster",
    "trainer.validate",
    "trainer.placement",
    "trainer.placement_gate",
    "trainer.anomaly",
    "trainer.anomaly_gate",
    "trainer.anomaly_table",
    "trainer.anomaly_watch",
    "pipelines.run",
    "serving.server",
    "serving.nodes",
    "serving.redis",
    "serving.journal",
    "serving.rollout",
    "serving.tls",
    "scheduler_extender.server",
    "scheduler_extender.client",
    "scheduler_extender.cluster",
    "scheduler_extender.journal",
    "scheduler_extender.limits",
    "scheduler_extender.tls",
];

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "berth.toml";

/// Where the configuration file is.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file [default: berth.toml in the current folder, when it exists]
    #[arg(long, global = true, env = "BERTH_CONFIG", value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
}

/// A configuration file as it was read, not yet checked section by section.
#[derive(Debug, Clone, Default)]
pub struct ConfigFile {
    path: PathBuf,
    sections: Table,
}

impl ConfigFile {
    /// Reads the file that `args` name, or `berth.toml` where it exists.
    ///
    /// # Errors
    /// When a named file is absent, when it is no TOML, or when it has a section that no crate owns.
    pub fn load(args: &ConfigArgs) -> anyhow::Result<Self> {
        match &args.config {
            Some(path) => Self::read(path),
            None if Path::new(DEFAULT_FILE).exists() => Self::read(Path::new(DEFAULT_FILE)),
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read configuration file `{}`", path.display()))?;
        let sections: Table = toml::from_str(&text)
            .map_err(|error| WrongUse(format!("configuration file `{}` is no TOML: {error}", path.display())))?;
        if let Some(unknown) = unknown_section(&sections) {
            let known = SECTIONS.join("]`, `[");
            return Err(WrongUse(format!(
                "unknown section `[{unknown}]` in `{}`. Sections are `[{known}]`",
                path.display()
            ))
            .into());
        }
        Ok(Self { path: path.to_owned(), sections })
    }

    /// The keys of `section` (such as `collector.quality`); none when the file does not have it.
    fn section(&self, section: &str) -> anyhow::Result<Table> {
        let mut table = &self.sections;
        for name in section.split('.') {
            table = match table.get(name) {
                None => return Ok(Table::new()),
                Some(toml::Value::Table(inner)) => inner,
                Some(other) => {
                    let kind = other.type_str();
                    return Err(WrongUse(format!(
                        "`{section}` in `{}` is a {kind}, want a section",
                        self.path.display()
                    ))
                    .into());
                }
            };
        }
        Ok(table.clone())
    }

    /// The settings of `section`: what was given by flag or environment, else the file's value, else the default.
    ///
    /// `parsed` is what clap made of the command line and `matches` tells which of its values were given.
    ///
    /// # Errors
    /// When the section has a key that `S` does not know or a value of another type; the message names key and file.
    pub fn resolve<S: Serialize + DeserializeOwned>(
        &self,
        section: &str,
        parsed: &S,
        matches: &ArgMatches,
    ) -> anyhow::Result<S> {
        let mut table = Table::try_from(parsed).context("settings cannot be written as TOML")?;
        let from_file = self.section(section)?;
        for (key, value) in from_file {
            if !given(matches, &key) {
                table.insert(key, value);
            }
        }
        table.try_into().map_err(|error: toml::de::Error| {
            WrongUse(format!("section `[{section}]` of `{}` is not valid: {}", self.path.display(), error.message()))
                .into()
        })
    }
}

/// The first section of the file that no crate owns.
fn unknown_section(sections: &Table) -> Option<String> {
    sections.iter().find_map(|(name, value)| {
        if SECTIONS.contains(&name.as_str()) {
            return None;
        }
        let is_group = SECTIONS.iter().any(|known| known.starts_with(&format!("{name}.")));
        match value {
            toml::Value::Table(inner) if is_group => {
                let inner_name = inner.keys().find(|key| !SECTIONS.contains(&format!("{name}.{key}").as_str()))?;
                Some(format!("{name}.{inner_name}"))
            }
            _ => Some(name.clone()),
        }
    })
}

/// Whether `key` was given by flag or environment rather than left at its default.
fn given(matches: &ArgMatches, key: &str) -> bool {
    matches.ids().any(|id| id.as_str() == key)
        && matches!(matches.value_source(key), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// The innermost subcommand's matches, where a command's own flags live.
pub fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

/// A length of time as people write it: `30s`, `5m`, `35d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub std::time::Duration);

impl Span {
    /// In whole milliseconds.
    pub fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl std::str::FromStr for Span {
    type Err = humantime::DurationError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| {
            serde::de::Error::custom(format!("`{text}` is no duration such as `30s` or `35d`: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Args, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[arg(long, default_value = "30s")]
        step: Span,
        #[arg(long)]
        url: Option<String>,
    }

    fn resolve(file: &str, flags: &[&str]) -> anyhow::Result<Settings> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("berth.toml");
        std::fs::write(&path, file).expect("fixture");
        let config = ConfigFile::load(&ConfigArgs { config: Some(path) })?;
        let matches = Settings::augment_args(clap::Command::new("test")).get_matches_from([&["test"], flags].concat());
        let parsed = Settings::from_arg_matches(&matches).expect("parsed");
        config.resolve("collector.prometheus", &parsed, &matches)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "[collector.prometheus]\nstep = \"1m\"\nurl = \"http://file\"\n";
        let settings = resolve(file, &["--url", "http://flag"]).expect("settings");
        assert_eq!(settings.step.millis(), 60_000);
        assert_eq!(settings.url.as_deref(), Some("http://flag"));
        assert_eq!(resolve("", &[]).expect("defaults").step.millis(), 30_000);
    }

    #[test]
    fn a_misspelt_key_or_section_is_refused_by_name() {
        let error = format!("{:#}", resolve("[collector.prometheus]\nstpe = \"1m\"\n", &[]).expect_err("misspelt key"));
        assert!(error.contains("`stpe`") && error.contains("`step`") && error.contains("berth.toml"), "{error}");
        for (file, named) in [("[colector]\n", "[colector]"), ("[collector.qality]\n", "[collector.qality]")] {
            let error = format!("{:#}", resolve(file, &[]).expect_err("misspelt section"));
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_named_file_must_exist_and_be_toml() {
        let absent = ConfigArgs { config: Some(PathBuf::from("no/such/berth.toml")) };
        let error = format!("{:#}", ConfigFile::load(&absent).expect_err("absent"));
        assert!(error.contains("`no/such/berth.toml`"), "{error}");
        let error = format!("{:#}", resolve("[collector.prometheus\n", &[]).expect_err("no TOML"));
        assert!(error.contains("is no TOML"), "{error}");
        let error = format!("{:#}", resolve("[collector]\nprometheus = 3\n", &[]).expect_err("no section"));
        assert!(error.contains("integer") && error.contains("collector.prometheus"), "{error}");
    }

    #[test]
    fn the_innermost_command_has_the_flags() {
        let inner = Settings::augment_args(clap::Command::new("inner"));
        let outer = clap::Command::new("outer").subcommand(clap::Command::new("middle").subcommand(inner));
        let matches = outer.get_matches_from(["outer", "middle", "inner", "--step", "2m"]);
        let settings = Settings::from_arg_matches(innermost(&matches)).expect("settings");
        assert_eq!(settings.step.to_string(), "2m");
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let error =
            format!("{:#}", resolve("[collector.prometheus]\nstep = \"soon\"\n", &[]).expect_err("no duration"));
        assert!(error.contains("`soon`"), "{error}");
    }
}
