//! `features show`: one row, in words.

use crate::catalogue::{self, NODE_HISTORY, Topic};
use crate::{FeatureTable, GRID_STEP_MS, Selection};
use anyhow::Context;
use chrono::DateTime;
use clap::Args;
use cluster::grid_floor;
use runtime::WrongUse;
use serde::Serialize;
use store::{Store, date_of};

/// Which row.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The node's name
    #[arg(long)]
    pub node: String,
    /// The time, such as `2026-11-20T12:00:00Z`; rounded down to five minutes
    #[arg(long, value_name = "TIME")]
    pub at: String,
    /// Features dataset: an id, a manifest file, or `latest`
    #[arg(long, value_name = "DATASET", default_value = "latest")]
    pub dataset: String,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct ShownFeature<'a> {
    #[serde(flatten)]
    feature: &'a catalogue::Feature,
    value: Option<f32>,
}

pub(super) fn run(args: &ShowArgs, store: &Store) -> anyhow::Result<()> {
    let at = DateTime::parse_from_rfc3339(&args.at).map_err(|error| {
        WrongUse(format!("`--at` wants a time such as `2026-11-20T12:00:00Z`, got `{}`: {error}", args.at))
    })?;
    let ts = grid_floor(at.timestamp_millis(), GRID_STEP_MS);
    let version = store.find_version(&args.dataset, &NODE_HISTORY)?;
    let features = store.open_version(&version.id)?;
    let day = date_of(ts);
    anyhow::ensure!(
        features.days(&NODE_HISTORY)?.contains(&day),
        WrongUse(format!(
            "dataset `{}` has no day {day}. `collector datasets show` tells which days it has",
            version.id
        ))
    );
    let table = FeatureTable::load_days(&features, &Selection::everything(), |date| date == day)?;
    let row = table.find(&args.node, ts).with_context(|| absent(&table, args, ts))?;
    let shown = catalogue::all()
        .iter()
        .zip(table.row(row))
        .map(|(feature, value)| (feature, (!value.is_nan()).then_some(*value)));
    if args.json {
        let rows: Vec<_> = shown.map(|(feature, value)| ShownFeature { feature, value }).collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let shown: Vec<_> = shown.collect();
    println!(
        "{} at {} in {}",
        args.node,
        DateTime::from_timestamp_millis(ts).unwrap_or_default().to_rfc3339(),
        version.id
    );
    for topic in Topic::ALL {
        println!("\n{}", topic.title());
        for (feature, value) in shown.iter().filter(|(feature, _)| feature.topic == topic) {
            let value = value.map_or_else(|| "missing".to_owned(), crate::docs::number);
            println!(
                "  {:<28} {value:>12} {:<11} {} ({})",
                feature.name, feature.unit, feature.formula, feature.window
            );
        }
    }
    Ok(())
}

/// Why there is no such row.
fn absent(table: &FeatureTable, args: &ShowArgs, ts: i64) -> String {
    match table.nodes.binary_search(&args.node) {
        Err(_) => {
            let some: Vec<&str> = table.nodes.iter().take(5).map(String::as_str).collect();
            format!(
                "no node `{}` on that day. Nodes are `{}`{}",
                args.node,
                some.join("`, `"),
                if table.nodes.len() > 5 { ", …" } else { "" }
            )
        }
        Ok(_) => format!(
            "node `{}` has no row at {}: it was silent in the hour before",
            args.node,
            DateTime::from_timestamp_millis(ts).unwrap_or_default().to_rfc3339()
        ),
    }
}
