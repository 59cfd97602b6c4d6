//! Features of a whole dataset version, day by day.
//!
//! A day is read, its samples run through the same windows that serve online, and its rows are written; memory is bounded
//! by one day of the raw table. No row depends on a sample older than seven days, so a day's rows are a function of its
//! own raw files and those of the seven days before. That is what makes a build incremental: a day whose files have not
//! changed is kept, and the windows are warmed by replaying the week before the first day that has to be built.

mod day;
pub(crate) mod incidents;
mod plan;
mod replay;

pub use replay::{Replay, ReplayedRows, replay};

use crate::catalogue::NODE_HISTORY;
use crate::settings::{FeatureSettings, LEAST_SAMPLES, MIN_WINDOW_COVERAGE};
use crate::slot::Dropped;
use crate::windows::ClusterWindows;
use anyhow::Context;
use cluster::NODE_METRICS;
use day::{Day, DayOutput, NodeState};
use plan::{BuildState, Plan};
use runtime::WrongUse;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{DatasetInput, DatasetVersion, Store, VersionDraft};

/// A sample interval that many clusters use, for a dataset too short to tell.
const DEFAULT_STEP_MS: i64 = 30_000;

/// What a build did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct BuildReport {
    /// The features dataset version.
    pub version: DatasetVersion,
    /// Days whose rows were computed.
    pub days_built: usize,
    /// Days that were kept because nothing that they depend on has changed.
    pub days_kept: usize,
    /// Samples that could not be used, on the days that were read.
    pub dropped: Dropped,
    /// Time between samples that the slots were held to, in milliseconds.
    pub step_ms: i64,
}

/// Builds `features/node_history` from a raw dataset version and freezes it as a version.
///
/// `rebuild`: compute every day, whatever is there already.
///
/// # Errors
/// When the dataset does not exist or holds no node metrics, a file of it is damaged, or the disk is full; days that are
/// complete stay, and the next build goes on after them.
pub fn build(store: &Store, dataset: &str, settings: &FeatureSettings, rebuild: bool) -> anyhow::Result<BuildReport> {
    let version = store.version(dataset)?;
    let raw = store.open_version(dataset)?;
    let days = raw.days(&NODE_METRICS)?;
    if days.is_empty() {
        return Err(WrongUse(format!(
            "dataset `{dataset}` has no `{}`. Features are built from raw datasets",
            NODE_METRICS.name
        ))
        .into());
    }
    let known =
        version.sample_interval_ms.map_or_else(|| raw.sample_interval(&NODE_METRICS), |known| Ok(Some(known)))?;
    let step_ms = known.unwrap_or(DEFAULT_STEP_MS);
    let rules = Arc::new(settings.rules(step_ms)?);
    let plan = Plan::new(&version, &days, &rules)?;
    let state_path = BuildState::path(store);
    let mut state = if rebuild { BuildState::default() } else { BuildState::read(&state_path) };
    let stale = plan.stale(store, &state)?;
    plan.remove_foreign_days(store, &mut state)?;
    let bar = runtime::progress::bar(stale.as_ref().map_or(0, |stale| stale.replay.len() as u64), "features");
    let mut dropped = Dropped::default();
    let mut built = 0;
    if let Some(stale) = &stale {
        let mut nodes: BTreeMap<String, NodeState> = BTreeMap::new();
        let mut cluster = ClusterWindows::new((*rules).clone());
        let incidents = incidents::read(&raw, stale.replay.first().copied().unwrap_or_default())?;
        for date in &stale.replay {
            let wanted = stale.build.contains(date);
            let day = Day {
                raw: &raw,
                rules: &rules,
                incidents: &incidents,
                date: *date,
                is_last: plan.is_last(*date),
                wanted,
            };
            let output = day.process(&mut nodes, &mut cluster).with_context(|| format!("features of {date}"))?;
            if wanted {
                let has_rows = write_day(store, *date, output)?;
                state.finish(*date, has_rows, &plan, &state_path)?;
                built += 1;
            }
            bar.inc(1);
        }
        for node in nodes.values() {
            dropped += node.dropped();
        }
    }
    bar.finish_and_clear();
    let draft = VersionDraft {
        inputs: vec![DatasetInput {
            kind: "dataset".into(),
            name: version.id.clone(),
            hash: Some(version.hash.clone()),
        }],
        quality: quality(&rules, step_ms, &dropped, built),
        code: concat!("features ", env!("CARGO_PKG_VERSION")).into(),
    };
    let frozen = store.freeze(&[&*NODE_HISTORY], draft).context("the dataset gives no feature row")?;
    Ok(BuildReport { version: frozen, days_built: built, days_kept: plan.len() - built, dropped, step_ms })
}

/// Writes the day's rows; says whether there are any.
fn write_day(store: &Store, date: chrono::NaiveDate, output: DayOutput) -> anyhow::Result<bool> {
    let frame = output.into_frame()?;
    if frame.height() == 0 {
        plan::remove_day(store, date)?;
        return Ok(false);
    }
    store.replace_day(&NODE_HISTORY, date, &frame)?;
    Ok(true)
}

fn quality(rules: &crate::WindowRules, step_ms: i64, dropped: &Dropped, built: usize) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::from([
        ("sample_step_seconds".to_owned(), step_ms as f64 / 1e3),
        (LEAST_SAMPLES.to_owned(), f64::from(rules.least_samples)),
        (MIN_WINDOW_COVERAGE.to_owned(), rules.min_window_coverage),
    ]);
    if built > 0 {
        for (name, count) in [
            ("duplicate_samples", dropped.duplicates),
            ("out_of_order_samples", dropped.out_of_order),
            ("implausible_values", dropped.implausible),
        ] {
            figures.insert(name.to_owned(), count as f64);
        }
    }
    figures
}
