//! `trainer anomaly`: a detector at work, beside its training from a features dataset (`trainer train anomaly`).

mod compare;
mod results;

use super::Context;
use clap::{ArgMatches, Subcommand};

/// One file each.
#[derive(Debug, Subcommand)]
pub(super) enum AnomalyCommand {
    /// Detectors and supervised peers on the same labelled readings; picks the best
    Compare(Box<compare::CompareArgs>),
    /// Figures of the detector on a labelled set, beside plain peers and scikit-learn's
    Results(Box<results::AnomalyResultsArgs>),
}

/// Runs the command.
pub(super) fn run(context: &Context, command: &AnomalyCommand, matches: &ArgMatches) -> anyhow::Result<()> {
    match command {
        AnomalyCommand::Compare(args) => compare::run(context, args, matches),
        AnomalyCommand::Results(args) => results::run(context, args, matches),
    }
}
