//! The ledger of where the raw tables came from: `raw/sources.json`, written beside them by every source.
//!
//! A dataset version names its inputs and the counts of what was left out; the ledger keeps both from one command to
//! the next.

use crate::raw::DropCounts;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use store::{DatasetInput, Store, VersionDraft};

/// One source and what was left out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEntry {
    /// Which source.
    #[serde(flatten)]
    pub input: DatasetInput,
    /// What was left out or put right.
    pub drops: DropCounts,
}

fn ledger_path(store: &Store) -> PathBuf {
    store.root().join("raw").join("sources.json")
}

/// Waits until no other process changes the ledger. The lock goes with the file, by a kill as well.
fn lock(store: &Store) -> anyhow::Result<File> {
    let path = ledger_path(store).with_extension("lock");
    let failed = || format!("failed to lock `{}`", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    let file = File::create(&path).with_context(failed)?;
    file.lock().with_context(failed)?;
    Ok(file)
}

/// The sources of the raw tables, in the order in which they were first used.
///
/// # Errors
/// When the ledger is damaged.
pub fn sources(store: &Store) -> anyhow::Result<Vec<SourceEntry>> {
    let path = ledger_path(store);
    if !path.exists() {
        return Ok(Vec::new());
    }
    Ok(runtime::files::read_json(&path)?)
}

/// Notes that `input` was read with these counts. Reading the same input again replaces its entry.
///
/// # Errors
/// When the ledger is damaged or cannot be written.
pub fn record(store: &Store, input: DatasetInput, drops: &DropCounts) -> anyhow::Result<()> {
    // Until it is written: two commands that read at once would each lose the other's entry.
    let _lock = lock(store)?;
    let mut entries = sources(store)?;
    let entry = SourceEntry { input, drops: drops.clone() };
    match entries.iter_mut().find(|known| known.input.kind == entry.input.kind && known.input.name == entry.input.name)
    {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
    Ok(runtime::files::write_json(&ledger_path(store), &entries)?)
}

/// Empties the ledger, for tables that begin anew.
///
/// # Errors
/// When the ledger cannot be written.
pub fn forget(store: &Store) -> anyhow::Result<()> {
    let _lock = lock(store)?;
    Ok(runtime::files::write_json(&ledger_path(store), &Vec::<SourceEntry>::new())?)
}

/// What a dataset version of the raw tables says of its making.
///
/// # Errors
/// When the ledger is damaged.
pub fn draft(store: &Store) -> anyhow::Result<VersionDraft> {
    let entries = sources(store)?;
    let mut drops = DropCounts::default();
    for entry in &entries {
        drops.merge(&entry.drops);
    }
    let quality: BTreeMap<String, f64> = drops.as_quality();
    let inputs = entries.into_iter().map(|entry| entry.input).collect();
    Ok(VersionDraft { inputs, quality, code: concat!("collector ", env!("CARGO_PKG_VERSION")).into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::DropReason;

    fn input(name: &str) -> DatasetInput {
        DatasetInput { kind: "csv".into(), name: name.into(), hash: None }
    }

    #[test]
    fn reading_the_same_input_again_replaces_its_entry() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let mut drops = DropCounts::default();
        drops.add_many(DropReason::Duplicate, 3);
        for name in ["a.csv", "b.csv", "a.csv"] {
            record(&store, input(name), &drops).expect("recorded");
        }
        let draft = draft(&store).expect("draft");
        assert_eq!(draft.inputs, [input("a.csv"), input("b.csv")]);
        assert_eq!(draft.quality["dropped_duplicate"], 6.0);
    }

    #[test]
    fn sources_that_are_recorded_at_once_are_all_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let store = Store::new(folder.path());
                scope.spawn(move || {
                    for file in 0..10 {
                        record(&store, input(&format!("{writer}-{file}.csv")), &DropCounts::default())
                            .expect("recorded");
                    }
                });
            }
        });
        assert_eq!(sources(&Store::new(folder.path())).expect("sources").len(), 40);
    }

    #[test]
    fn a_damaged_ledger_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(folder.path().join("raw")).expect("folder");
        std::fs::write(folder.path().join("raw/sources.json"), "[{").expect("fixture");
        let error = draft(&Store::new(folder.path())).expect_err("damaged");
        assert!(format!("{error:#}").contains("sources.json"), "{error:#}");
    }
}
