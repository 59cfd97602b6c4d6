//! `raw/synthetic.json`: which made-up history the tables hold, and whether it is complete.

use super::settings::{Settings, SynthesizeArgs};
use anyhow::Context;
use cluster::{INCIDENTS, NODE_METRICS, PODS};
use runtime::WrongUse;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use store::Store;

/// Which history, made by which version of the generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The settings.
    pub settings: Settings,
    /// The version of the generator: days made by another one do not fit together.
    pub generator: u32,
    /// Whether all tables are written.
    pub complete: bool,
}

/// Counted up whenever the same settings give another history.
pub const GENERATOR: u32 = 1;

fn path(store: &Store) -> PathBuf {
    store.root().join("raw").join("synthetic.json")
}

/// The marker; `None` when the tables hold no made-up history.
///
/// # Errors
/// When it is damaged.
pub fn read(store: &Store) -> anyhow::Result<Option<Marker>> {
    let path = path(store);
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(
        runtime::files::read_json(&path)
            .context("the marker of the synthetic history is damaged. Delete it together with the raw tables")?,
    ))
}

/// Writes the marker.
///
/// # Errors
/// When the disk is full or not writable.
pub fn write(store: &Store, settings: &Settings, complete: bool) -> anyhow::Result<()> {
    let marker = Marker { settings: settings.clone(), generator: GENERATOR, complete };
    Ok(runtime::files::write_json(&path(store), &marker)?)
}

/// The made-up cluster that the tables hold, as it would be asked for; `None` when they hold none.
///
/// # Errors
/// When the marker is damaged.
pub fn present_cluster(store: &Store) -> anyhow::Result<Option<SynthesizeArgs>> {
    let Some(Settings { nodes, days, seed, step_ms, end }) = read(store)?.map(|marker| marker.settings) else {
        return Ok(None);
    };
    let step = Span(std::time::Duration::from_millis(step_ms.unsigned_abs()));
    Ok(Some(SynthesizeArgs { nodes, days, seed, step, end: Some(end), ..SynthesizeArgs::default() }))
}

/// Whether the tables hold history that no generator made.
///
/// # Errors
/// When a folder cannot be listed.
pub fn holds_other_history(store: &Store) -> anyhow::Result<bool> {
    Ok(read(store)?.is_none() && !store.days(&NODE_METRICS)?.is_empty())
}

/// Makes room for a history with `settings`: refuses to mix, clears what is to be replaced.
///
/// # Errors
/// [`WrongUse`] when the tables hold another history.
pub fn make_room(store: &Store, settings: &Settings, replace: bool) -> anyhow::Result<()> {
    let root = store.root().display();
    match read(store)? {
        Some(marker) if marker.settings == *settings && marker.generator == GENERATOR => Ok(()),
        Some(marker) if marker.settings != *settings && !replace => Err(WrongUse(format!(
            "`{root}` holds the synthetic history `{}`, asked for is `{}`. Add --replace, or choose another --data",
            marker.settings.name(),
            settings.name()
        ))
        .into()),
        Some(_) => clear(store),
        None if store.days(&NODE_METRICS)?.is_empty() => Ok(()),
        None => Err(WrongUse(format!(
            "`{root}` holds history of a real cluster, which a made-up one must not join. Choose another --data"
        ))
        .into()),
    }
}

fn clear(store: &Store) -> anyhow::Result<()> {
    for table in [&NODE_METRICS, &PODS, &INCIDENTS] {
        let folder = store.root().join(table.name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("failed to remove `{}`", folder.display()))?;
        }
    }
    crate::sources::forget(store)
}
