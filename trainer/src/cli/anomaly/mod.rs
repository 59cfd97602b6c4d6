//! `trainer anomaly`: a detector at work, beside its training from a features dataset (`trainer train anomaly`).

mod compare;
mod model;
mod predict;
mod results;
mod stream;
mod train;
mod watch;

use super::Context;
use clap::{ArgMatches, Subcommand};

/// One file each.
#[derive(Debug, Subcommand)]
pub(super) enum AnomalyCommand {
    /// Detectors and supervised peers on the same labelled readings; picks the best
    Compare(Box<compare::CompareArgs>),
    /// Figures of the detector on a labelled set, beside plain peers and scikit-learn's
    Results(Box<results::AnomalyResultsArgs>),
    /// Train a detector on a table of any numbers: CSV or Parquet, no cluster needed
    Train(Box<train::TrainTableArgs>),
    /// Score a table, row by row, into another
    Predict(predict::PredictArgs),
    /// Answer readings as they come: JSON lines on standard input, or Apache Kafka
    Stream(stream::StreamArgs),
    /// Watch the nodes of a live Prometheus, print findings, alert through Alertmanager
    Watch(Box<watch::WatchCommand>),
}

/// Runs the command.
pub(super) fn run(context: &Context, command: &AnomalyCommand, matches: &ArgMatches) -> anyhow::Result<()> {
    match command {
        AnomalyCommand::Compare(args) => compare::run(context, args, matches),
        AnomalyCommand::Results(args) => results::run(context, args, matches),
        AnomalyCommand::Train(args) => train::run(context, args, matches),
        AnomalyCommand::Predict(args) => predict::run(context, args),
        AnomalyCommand::Stream(args) => stream::run(context, args),
        AnomalyCommand::Watch(args) => watch::run(context, args, matches),
    }
}
