//! Makes the history day by day and writes it.

use super::demand::Demand;
use super::marker;
use super::node::{NodeDay, NodeHistory};
use super::plan::{Plan, plan};
use super::settings::{Settings, SynthesizeArgs};
use super::tables::{PART, write_incidents, write_pods};
use super::usage::Usage;
use crate::openmetrics::SyntheticExport;
use crate::raw::{DropCounts, write_node_day};
use crate::sources;
use cluster::{DAY_MS, NODE_METRICS};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use store::{DatasetInput, Store, date_of};

/// What was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SynthesisSummary {
    /// The settings.
    pub settings: Settings,
    /// Whether it was there already.
    pub unchanged: bool,
    /// Rows of node metrics written by this run.
    pub rows: u64,
    /// Pod lives.
    pub pods: u64,
    /// Incidents.
    pub incidents: u64,
    /// OpenMetrics files written.
    pub openmetrics_files: u64,
}

impl fmt::Display for SynthesisSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unchanged {
            return write!(f, "the history is there already: {}", self.settings.name());
        }
        write!(f, "{} rows, {} pods, {} incidents: {}", self.rows, self.pods, self.incidents, self.settings.name())?;
        if self.openmetrics_files > 0 {
            write!(f, "\n{} OpenMetrics files", self.openmetrics_files)?;
        }
        Ok(())
    }
}

/// Runs `collector synthesize`.
///
/// # Errors
/// When a setting makes no sense, the tables hold another history, or the disk is full.
pub fn run(args: &SynthesizeArgs, store: &Store) -> anyhow::Result<()> {
    let summary = synthesize(args, store)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        println!("{summary}");
    }
    Ok(())
}

/// Makes the history, or what a killed run left of it.
///
/// # Errors
/// See [`run`].
pub fn synthesize(args: &SynthesizeArgs, store: &Store) -> anyhow::Result<SynthesisSummary> {
    let before = marker::read(store)?;
    // A repeated run without --end keeps the end of the first one, so that nothing changes at midnight.
    let kept_end = before.as_ref().map(|marker| marker.settings.end).filter(|_| !args.replace);
    let settings = Settings::new(args, kept_end.unwrap_or_else(Settings::today))?;
    marker::make_room(store, &settings, args.replace)?;
    let complete = before
        .is_some_and(|marker| marker.complete && marker.settings == settings && marker.generator == marker::GENERATOR);
    if complete && args.openmetrics.is_none() {
        return Ok(SynthesisSummary {
            settings,
            unchanged: true,
            rows: 0,
            pods: 0,
            incidents: 0,
            openmetrics_files: 0,
        });
    }
    marker::write(store, &settings, false)?;
    let summary = make(&settings, args.openmetrics.as_deref(), store)?;
    marker::write(store, &settings, true)?;
    Ok(summary)
}

fn make(settings: &Settings, openmetrics: Option<&Path>, store: &Store) -> anyhow::Result<SynthesisSummary> {
    let plan = plan(settings.seed, settings.nodes, settings.start_ms(), settings.end_ms());
    let step = settings.step_ms;
    let mut demand = Demand::new(settings.seed, &plan);
    let mut histories: Vec<NodeHistory<'_>> = (0..plan.machines.len())
        .map(|node| NodeHistory::new(settings.seed, &plan, node, step, openmetrics.is_some()))
        .collect();
    let mut export = openmetrics.map(|folder| SyntheticExport::new(folder, &plan));
    let mut usage: BTreeMap<usize, Usage> = BTreeMap::new();
    let (mut rows, mut drops) = (0, DropCounts::default());
    let bar = runtime::progress::bar(settings.days as u64, "making up days");
    for day in 0..settings.days as i64 {
        let start = plan.start + day * DAY_MS;
        let today = demand.day(&plan, start, step);
        let mut nodes: Vec<NodeDay> = histories.par_iter_mut().map(|history| history.day(start, &today)).collect();
        if let Some(export) = &mut export {
            export.day(start, &nodes)?;
        }
        for node in &mut nodes {
            usage.extend(node.ended.drain(..));
        }
        let date = date_of(start);
        // A day that a killed run has written is whole and the same.
        if store.parts(&NODE_METRICS, date)?.is_empty() {
            let written = write_node_day(store, date, PART, named(&plan, nodes))?;
            rows += written.rows;
            drops.merge(&written.drops);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut incidents = Vec::new();
    for history in histories {
        let (living, own) = history.finish();
        usage.extend(living);
        incidents.extend(own);
    }
    incidents.sort_by_key(|incident| (incident.start, incident.node));
    let pods = write_pods(store, &plan, &usage)?;
    let incidents = write_incidents(store, &plan, &incidents)?;
    sources::record(store, DatasetInput { kind: "synthetic".into(), name: settings.name(), hash: None }, &drops)?;
    let openmetrics_files = export.map_or(0, |export| export.files());
    Ok(SynthesisSummary { settings: settings.clone(), unchanged: false, rows, pods, incidents, openmetrics_files })
}

fn named(plan: &Plan, nodes: Vec<NodeDay>) -> Vec<(cluster::NodeName, Vec<cluster::NodeSample>)> {
    let names = plan.machines.iter().map(|machine| machine.name.clone());
    names.zip(nodes.into_iter().map(|node| node.samples)).collect()
}
