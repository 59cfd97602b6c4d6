//! Removes old runs.

use super::record::StepRecord;
use super::{Layout, RunError};
use std::collections::BTreeSet;

/// Keeps the newest `keep` runs, `current`, and the runs that hold a step's last good result.
///
/// # Errors
/// When a folder cannot be listed or removed.
pub(super) fn old_runs(layout: &Layout, keep: usize, current: &str) -> Result<(), RunError> {
    let ids = layout.run_ids()?;
    let old = ids.len().saturating_sub(keep);
    if old == 0 {
        return Ok(());
    }
    let needed = runs_with_results(layout)?;
    for id in ids.iter().take(old).filter(|id| *id != current && !needed.contains(*id)) {
        let folder = layout.run(id);
        std::fs::remove_dir_all(&folder).map_err(|source| RunError::file("remove", &folder, source))?;
    }
    Ok(())
}

fn runs_with_results(layout: &Layout) -> Result<BTreeSet<String>, RunError> {
    let folder = layout.root().join("steps");
    let fail = |source| RunError::file("list", &folder, source);
    let mut runs = BTreeSet::new();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(runs),
        Err(source) => return Err(fail(source)),
    };
    for entry in entries {
        // A damaged record counts as none: its step runs again.
        if let Ok(record) = runtime::files::read_json::<StepRecord>(&entry.map_err(fail)?.path()) {
            runs.insert(record.run);
        }
    }
    Ok(runs)
}
