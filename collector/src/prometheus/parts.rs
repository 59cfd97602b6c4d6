//! Rows of a chunk into the raw part of that chunk.

use crate::raw::{node_frame, overlay};
use anyhow::Context;
use chrono::NaiveDate;
use cluster::{DAY_MS, HOUR_MS, MINUTE_MS, NODE_METRICS, NodeName, NodeSample};
use polars::prelude::{DataFrame, ParquetReader, SerReader};
use std::fs::File;
use std::path::{Path, PathBuf};
use store::{Store, date_of};

/// The name that a whole day has after it was compacted.
const DAY: &str = "day";
/// The beginning of the names of our parts.
const PREFIX: &str = "prometheus-";

/// The part that holds the chunk which begins at `start`: `prometheus-0600`.
fn part_name(start: i64) -> String {
    let of_day = start.rem_euclid(DAY_MS);
    format!("{PREFIX}{:02}{:02}", of_day / HOUR_MS, of_day % HOUR_MS / MINUTE_MS)
}

fn find(store: &Store, date: NaiveDate, name: &str) -> anyhow::Result<Option<PathBuf>> {
    let parts = store.parts(&NODE_METRICS, date)?;
    Ok(parts.into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == name)))
}

/// Whether the rows of a chunk are on disk.
///
/// # Errors
/// When the folder cannot be listed.
pub fn exists(store: &Store, start: i64) -> anyhow::Result<bool> {
    let date = date_of(start);
    Ok(find(store, date, &part_name(start))?.is_some() || find(store, date, DAY)?.is_some())
}

/// Lays new rows over the chunk's old ones (same node and time: the new one stays) and writes the part whole. Returns
/// how many rows the part has then.
///
/// # Errors
/// When the old part is damaged, or the disk is full; the old part is then untouched.
pub fn write(store: &Store, start: i64, nodes: &[(NodeName, Vec<NodeSample>)]) -> anyhow::Result<u64> {
    let (date, name) = (date_of(start), part_name(start));
    let doing = || format!("failed to write node metrics of {date} as `{name}`");
    let new = node_frame(nodes).with_context(doing)?;
    let compacted = find(store, date, DAY)?.is_some();
    let old = match find(store, date, &name)? {
        _ if compacted => Some(store.read_day(&NODE_METRICS, date, &[])?),
        Some(path) => Some(read(&path)?),
        None => None,
    };
    if new.height() == 0 {
        return Ok(old.map_or(0, |old| old.height() as u64));
    }
    let frame = match old {
        Some(old) => overlay(&NODE_METRICS, &new, &old).with_context(doing)?,
        None => new,
    };
    if compacted {
        store.replace_day(&NODE_METRICS, date, &frame).with_context(doing)?;
    } else {
        store.write_part(&NODE_METRICS, date, &name, &frame).with_context(doing)?;
    }
    Ok(frame.height() as u64)
}

fn read(path: &Path) -> anyhow::Result<DataFrame> {
    let file = File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
    ParquetReader::new(file).finish().with_context(|| {
        format!(
            "failed to read Parquet file `{}`. It is damaged: delete it, and its hours are fetched again",
            path.display()
        )
    })
}

/// Makes one part of a day whose history is settled. Does nothing where there is one already.
///
/// # Errors
/// When a part is damaged or the disk is full; every row is then still there.
pub fn compact(store: &Store, date: NaiveDate) -> anyhow::Result<bool> {
    if store.parts(&NODE_METRICS, date)?.len() < 2 {
        return Ok(false);
    }
    let frame = store.read_day(&NODE_METRICS, date, &[])?;
    store.replace_day(&NODE_METRICS, date, &frame).with_context(|| format!("failed to compact {date}"))?;
    Ok(true)
}

/// Ends compactions that a kill has interrupted: there a day's part stands beside the parts that it was made from.
///
/// # Errors
/// See [`compact`].
pub fn finish_compactions(store: &Store) -> anyhow::Result<()> {
    for date in store.days(&NODE_METRICS)? {
        let parts = store.parts(&NODE_METRICS, date)?;
        let named = |wanted: fn(&str) -> bool| parts.iter().filter_map(|path| path.file_stem()?.to_str()).any(wanted);
        if named(|stem| stem == DAY) && named(|stem| stem.starts_with(PREFIX)) {
            tracing::info!(%date, "ending a compaction that was interrupted");
            compact(store, date)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::NodeMetric;

    fn rows(points: &[(i64, f64)]) -> Vec<(NodeName, Vec<NodeSample>)> {
        let samples = points.iter().map(|(ts, value)| {
            let mut sample = NodeSample::empty(*ts);
            sample.set(NodeMetric::Load1, *value);
            sample
        });
        vec![(NodeName::new("a"), samples.collect())]
    }

    fn values(store: &Store) -> Vec<f64> {
        let frame = store.read_day(&NODE_METRICS, NaiveDate::default(), &[]).expect("day");
        frame.column("load1").expect("column").f64().expect("floats").iter().flatten().collect()
    }

    #[test]
    fn new_rows_lie_over_old_ones_before_and_after_compaction() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        assert_eq!(write(&store, 0, &rows(&[(0, 1.0), (30_000, 2.0)])).expect("first"), 2);
        assert_eq!(write(&store, 0, &rows(&[(30_000, 3.0), (60_000, 4.0)])).expect("second"), 3);
        assert_eq!(write(&store, 6 * HOUR_MS, &rows(&[(6 * HOUR_MS, 9.0)])).expect("other chunk"), 1);
        assert_eq!(values(&store), [1.0, 3.0, 4.0, 9.0]);
        assert!(compact(&store, NaiveDate::default()).expect("compacted"));
        assert!(!compact(&store, NaiveDate::default()).expect("once is enough"));
        assert!(exists(&store, 0).expect("there") && !exists(&store, DAY_MS).expect("absent"));
        write(&store, 0, &rows(&[(0, 7.0)])).expect("late data");
        assert_eq!(values(&store), [7.0, 3.0, 4.0, 9.0]);
        assert_eq!(store.parts(&NODE_METRICS, NaiveDate::default()).expect("parts").len(), 1);
    }

    #[test]
    fn an_interrupted_compaction_is_ended() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        write(&store, 0, &rows(&[(0, 1.0)])).expect("part");
        let frame = store.read_day(&NODE_METRICS, NaiveDate::default(), &[]).expect("day");
        store.write_part(&NODE_METRICS, NaiveDate::default(), DAY, &frame).expect("the kill came right after this");
        finish_compactions(&store).expect("ended");
        assert_eq!(store.parts(&NODE_METRICS, NaiveDate::default()).expect("parts").len(), 1);
        assert_eq!(values(&store), [1.0]);
    }
}
