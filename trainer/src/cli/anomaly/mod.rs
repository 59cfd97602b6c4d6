//! `trainer anomaly`: a detector at work, beside its training from a features dataset (`trainer train anomaly`).

mod model;
mod predict;
mod stream;
mod train;
mod watch;

use super::Context;
use clap::{ArgMatches, Subcommand};

/// One file each.
#[derive(Debug, Subcommand)]
pub(super) enum AnomalyCommand {
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
        AnomalyCommand::Train(args) => train::run(context, args, matches),
        AnomalyCommand::Predict(args) => predict::run(context, args),
        AnomalyCommand::Stream(args) => stream::run(context, args),
        AnomalyCommand::Watch(args) => watch::run(context, args, matches),
    }
}
