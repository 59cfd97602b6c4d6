//! Logs go to standard error, so that standard output stays clean for results.

use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How a command logs.
#[derive(Debug, Clone, Args)]
pub struct TelemetryArgs {
    /// What to log, such as `info` or `collector=debug,warn`
    #[arg(
        long,
        global = true,
        env = "BERTH_LOG",
        default_value = "info",
        value_name = "FILTER",
        help_heading = "Global options"
    )]
    pub log: String,
    /// How to write a log line
    #[arg(
        long,
        global = true,
        env = "BERTH_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub log_format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for collectors of logs.
    Json,
}

fn is_coloured() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Starts logging. Call it once, first thing.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn init(args: &TelemetryArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|error| crate::WrongUse(format!("log filter `{}` is not valid: {error}", args.log)))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match args.log_format {
        // Colours are for people: a file gets none, nor whoever set NO_COLOR (https://no-color.org).
        LogFormat::Text => builder.without_time().with_ansi(is_coloured()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
