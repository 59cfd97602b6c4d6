//! `trainer anomaly`: a detector at work, beside its training from a features dataset (`trainer train anomaly`).

use super::Context;
use clap::{ArgMatches, Subcommand};

/// One file each.
#[derive(Debug, Subcommand)]
pub(super) enum AnomalyCommand {}

/// Runs the command.
pub(super) fn run(_context: &Context, command: &AnomalyCommand, _matches: &ArgMatches) -> anyhow::Result<()> {
    match *command {}
}
