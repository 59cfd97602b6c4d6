//! Windows on disk, so that a restarted server is warm without reading a week of history again.
//!
//! One line of JSON says what it is, then MessagePack follows. A file that is damaged, of another program version, of another
//! source or too old is left aside, and history is read as if there were none.

use super::offsets::LiveOffsets;
use super::watch::FreshWatch;
use super::workloads::Workloads;
use anyhow::{Context, ensure};
use features::{OnlineFeatures, catalogue};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Windows of everything before `grid`.
    pub windows: OnlineFeatures,
    /// A grid time, UTC milliseconds.
    pub grid: i64,
    /// Habits of workloads.
    pub workloads: Workloads,
    /// What is known of forecasts. Absent in files of versions that served the model's own P90.
    #[serde(default)]
    pub offsets: LiveOffsets,
    /// How a fresh fit does beside the judged model.
    #[serde(default)]
    pub watch: FreshWatch,
}

/// The same, borrowed: writing copies nothing.
#[derive(Serialize)]
struct Borrowed<'a> {
    windows: &'a OnlineFeatures,
    grid: i64,
    workloads: &'a Workloads,
    offsets: &'a LiveOffsets,
    watch: &'a FreshWatch,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    code: String,
    /// Hash of the names of all features.
    catalogue: String,
    source: String,
    /// Distance of samples that the windows' rules follow from, milliseconds.
    step: i64,
    sha256: String,
}

impl Header {
    fn new(source: &str, step: i64, payload: &[u8]) -> Self {
        let names: String = catalogue::all().iter().map(|feature| format!("{}\n", feature.name)).collect();
        Self {
            code: format!("serving {}", env!("CARGO_PKG_VERSION")),
            catalogue: runtime::files::sha256(names.as_bytes()),
            source: source.to_owned(),
            step,
            sha256: runtime::files::sha256(payload),
        }
    }
}

/// Writes the file whole.
///
/// # Errors
/// When the disk is full.
pub fn write(
    path: &Path,
    (source, step): (&str, i64),
    (windows, grid): (&OnlineFeatures, i64),
    workloads: &Workloads,
    (offsets, watch): (&LiveOffsets, &FreshWatch),
) -> anyhow::Result<()> {
    let payload = rmp_serde::to_vec(&Borrowed { windows, grid, workloads, offsets, watch })?;
    let header = serde_json::to_vec(&Header::new(source, step, &payload))?;
    runtime::files::write_atomic(path, |writer| {
        writer.write_all(&header)?;
        writer.write_all(b"\n")?;
        writer.write_all(&payload)
    })?;
    Ok(())
}

/// A file that somebody is writing is younger than this.
const ABANDONED: Duration = Duration::from_secs(600);

/// Clears away what killed processes had begun to write beside the snapshot.
pub fn sweep(path: &Path) {
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_half = name.to_string_lossy().starts_with('.') && name.to_string_lossy().ends_with(".tmp");
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        if is_half && modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED)) {
            match std::fs::remove_file(entry.path()) {
                Ok(()) => tracing::info!(file = %entry.path().display(), "half a file of a killed process is removed"),
                Err(error) => tracing::warn!(%error, file = %entry.path().display(), "failed to remove half a file"),
            }
        }
    }
}

/// Reads the file; `None` when there is none.
///
/// # Errors
/// When it is damaged, of something else, or of a time after `now`; the message says what.
pub fn read(path: &Path, source: &str, step: i64, now: i64) -> anyhow::Result<Option<Snapshot>> {
    if !path.exists() {
        return Ok(None);
    }
    let parse = || -> anyhow::Result<Snapshot> {
        let bytes = std::fs::read(path)?;
        let end = bytes.iter().position(|byte| *byte == b'\n').context("it has no header")?;
        let header: Header = serde_json::from_slice(&bytes[..end]).context("its header is damaged")?;
        let payload = &bytes[end + 1..];
        let wanted = Header::new(source, step, payload);
        ensure!(header.sha256 == wanted.sha256, "its content is damaged: the SHA-256 differs");
        ensure!(
            header == wanted,
            "it is of {} for {}, this is {} for {source}",
            header.code,
            header.source,
            wanted.code
        );
        let snapshot: Snapshot = rmp_serde::from_slice(payload)?;
        // A clock that was wrong when it was written would keep everything that comes from now on out of the windows.
        let (grid, closed, usage) = (snapshot.grid, snapshot.windows.clock(), snapshot.workloads.until());
        ensure!(grid <= now, "it is of {grid} ms, which is after now ({now} ms)");
        ensure!(closed.is_none_or(|closed| closed == grid), "its windows end at {closed:?} ms, not at {grid} ms");
        ensure!(usage <= now, "it has usage of pods of {usage} ms, which is after now ({now} ms)");
        Ok(snapshot)
    };
    parse().map(Some).with_context(|| format!("window snapshot `{}` is not usable", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::DAY_MS;
    use features::WindowRules;

    const NOW: i64 = 1_780_272_000_000;

    #[test]
    fn what_is_damaged_or_of_something_else_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("windows.snapshot");
        assert!(read(&path, "http://p", 60_000, NOW).expect("none").is_none());
        let windows = OnlineFeatures::new(WindowRules::default());
        let (workloads, forecasts) = (Workloads::default(), (&LiveOffsets::default(), &FreshWatch::default()));
        write(&path, ("http://p", 60_000), (&windows, 300_000), &workloads, forecasts).expect("written");
        assert_eq!(read(&path, "http://p", 60_000, NOW).expect("read").map(|snapshot| snapshot.grid), Some(300_000));
        let other = format!("{:#}", read(&path, "http://q", 60_000, NOW).expect_err("another source"));
        assert!(other.contains("http://p") && other.contains("windows.snapshot"), "{other}");
        assert!(read(&path, "http://p", 30_000, NOW).is_err(), "another distance of samples");
        let mut bytes = std::fs::read(&path).expect("bytes");
        *bytes.last_mut().expect("a byte") ^= 1;
        std::fs::write(&path, &bytes).expect("written");
        assert!(format!("{:#}", read(&path, "http://p", 60_000, NOW).expect_err("damaged")).contains("SHA-256"));
        std::fs::write(&path, &bytes[..10]).expect("written");
        assert!(read(&path, "http://p", 60_000, NOW).is_err());
    }

    #[test]
    fn a_snapshot_of_the_future_is_refused_and_says_so() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("windows.snapshot");
        let refused = |windows: &OnlineFeatures, grid: i64, workloads: &Workloads| {
            let forecasts = (&LiveOffsets::default(), &FreshWatch::default());
            write(&path, ("http://p", 60_000), (windows, grid), workloads, forecasts).expect("written");
            format!("{:#}", read(&path, "http://p", 60_000, NOW).expect_err("of the future"))
        };
        let (windows, workloads) = (OnlineFeatures::new(WindowRules::default()), Workloads::default());
        for grid in [NOW + DAY_MS, i64::MAX] {
            assert!(refused(&windows, grid, &workloads).contains("after now"));
        }
        // Windows that have closed slots of tomorrow take in nothing until then, whatever the grid says.
        let mut ahead = OnlineFeatures::new(WindowRules::default());
        ahead.rows(NOW + DAY_MS).expect("rows");
        let mut sample = cluster::NodeSample::empty(NOW + DAY_MS);
        sample.set(cluster::NodeMetric::CpuUsed, 1.0);
        ahead.push(&cluster::NodeName::new("n1"), &sample);
        ahead.rows(NOW + 2 * DAY_MS).expect("rows");
        assert!(refused(&ahead, NOW, &workloads).contains("its windows end at"));
    }
}
