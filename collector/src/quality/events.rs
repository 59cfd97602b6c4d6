//! `raw/pods` and `raw/incidents`: lives and incidents that cannot have been.

use super::summary::{IncidentsQuality, PodsQuality};
use anyhow::Context;
use cluster::{INCIDENTS, PODS, TableSchema};
use polars::prelude::{Column, DataType, PolarsResult};
use std::collections::{BTreeSet, HashMap};
use store::Store;

/// Names given as examples.
const NAMED: usize = 5;

/// Judges `raw/pods`. `nodes` are those that have samples, `tolerance_ms` is how exact times are: ends and starts are
/// seen at a scrape, creation comes to the second from the API server.
pub(super) fn judge_pods(
    tables: &Store,
    nodes: &BTreeSet<&str>,
    tolerance_ms: i64,
) -> anyhow::Result<Option<PodsQuality>> {
    let columns = ["pod_uid", "node", "created_at", "scheduled_at", "started_at", "finished_at"];
    let mut quality = PodsQuality::default();
    let mut lives: HashMap<String, Vec<(i64, i64)>> = HashMap::new();
    let mut unknown = BTreeSet::new();
    let found = each_row(tables, &PODS, &columns, |row| {
        quality.rows += 1;
        let Some(created) = row.time("created_at") else { return };
        let (scheduled, started, finished) =
            (row.time("scheduled_at"), row.time("started_at"), row.time("finished_at"));
        if finished.is_none() {
            quality.alive += 1;
        }
        let times: Vec<i64> = [Some(created), scheduled, started, finished].into_iter().flatten().collect();
        if times.windows(2).any(|pair| pair[1] < pair[0] - tolerance_ms) {
            quality.negative_lives += 1;
        }
        match row.text("node") {
            Some(node) if !nodes.contains(node) => {
                quality.unknown_nodes += 1;
                unknown.insert(node.to_owned());
            }
            None if started.is_some() => quality.started_without_node += 1,
            _ => {}
        }
        lives
            .entry(row.text("pod_uid").unwrap_or_default().to_owned())
            .or_default()
            .push((created, finished.unwrap_or(i64::MAX)));
    })?;
    for lives in lives.values_mut().filter(|lives| lives.len() > 1) {
        let (same, overlapping) = overlaps(lives, tolerance_ms);
        quality.duplicates += same;
        quality.overlapping_lives += overlapping;
    }
    quality.unknown_node_names = unknown.into_iter().take(NAMED).collect();
    Ok(found.then_some(quality))
}

/// Judges `raw/incidents`; the arguments are those of [`judge_pods`].
pub(super) fn judge_incidents(
    tables: &Store,
    nodes: &BTreeSet<&str>,
    tolerance_ms: i64,
) -> anyhow::Result<Option<IncidentsQuality>> {
    let columns = ["node", "kind", "severity", "started_at", "ended_at"];
    let mut quality = IncidentsQuality::default();
    let mut by_place: HashMap<(String, String), Vec<(i64, i64)>> = HashMap::new();
    let mut unknown = BTreeSet::new();
    let found = each_row(tables, &INCIDENTS, &columns, |row| {
        quality.rows += 1;
        let (node, kind) = (row.text("node").unwrap_or_default(), row.text("kind").unwrap_or_default());
        *quality.by_kind.entry(kind.to_owned()).or_insert(0) += 1;
        if !nodes.contains(node) {
            quality.unknown_nodes += 1;
            unknown.insert(node.to_owned());
        }
        if !matches!(row.text("severity"), Some("info" | "warning" | "critical")) {
            quality.unknown_severities += 1;
        }
        let Some(started) = row.time("started_at") else { return };
        let ended = row.time("ended_at");
        if ended.is_none() {
            quality.open += 1;
        }
        if ended.is_some_and(|ended| ended < started) {
            quality.negative_lengths += 1;
        }
        by_place.entry((node.to_owned(), kind.to_owned())).or_default().push((started, ended.unwrap_or(i64::MAX)));
    })?;
    for stretches in by_place.values_mut().filter(|stretches| stretches.len() > 1) {
        let (same, overlapping) = overlaps(stretches, tolerance_ms);
        quality.duplicates += same;
        quality.overlapping += overlapping;
    }
    quality.unknown_node_names = unknown.into_iter().take(NAMED).collect();
    Ok(found.then_some(quality))
}

/// How many stretches start when another starts, and how many start while an earlier one lasts.
fn overlaps(stretches: &mut Vec<(i64, i64)>, tolerance_ms: i64) -> (u64, u64) {
    stretches.sort_unstable();
    let all = stretches.len();
    stretches.dedup_by_key(|(start, _)| *start);
    let mut end = i64::MIN;
    let mut overlapping = 0;
    for (start, own_end) in stretches.iter() {
        if *start < end.saturating_sub(tolerance_ms) {
            overlapping += 1;
        }
        end = end.max(*own_end);
    }
    ((all - stretches.len()) as u64, overlapping)
}

/// A row of a part; columns by name.
struct Row<'a> {
    columns: &'a [(&'a str, Column)],
    at: usize,
}

impl Row<'_> {
    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(column, _)| *column == name).map(|(_, values)| values)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.column(name)?.str().ok()?.get(self.at)
    }

    fn time(&self, name: &str) -> Option<i64> {
        self.column(name)?.i64().ok()?.get(self.at)
    }
}

/// Calls `visit` for every row on disk; says whether the table has any file.
fn each_row(
    tables: &Store,
    table: &TableSchema,
    names: &[&str],
    mut visit: impl FnMut(&Row<'_>),
) -> anyhow::Result<bool> {
    let mut found = false;
    for day in tables.days(table)? {
        for (path, frame) in tables.read_parts(table, day, names)? {
            found = true;
            let columns = names
                .iter()
                .map(|name| {
                    let column = frame.column(name)?;
                    let is_time = table.columns.iter().any(|known| known.name == *name && known.unit == "ms");
                    let wanted = if is_time { DataType::Int64 } else { DataType::String };
                    // One chunk: a value is then found without a search.
                    Ok((*name, column.cast(&wanted)?.rechunk()))
                })
                .collect::<PolarsResult<Vec<_>>>()
                .with_context(|| format!("`{}` does not fit table `{}`", path.display(), table.name))?;
            for at in 0..frame.height() {
                visit(&Row { columns: &columns, at });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_start_is_a_duplicate_and_a_start_within_an_overlap() {
        assert_eq!(overlaps(&mut vec![(0, 10), (0, 12), (20, 30)], 0), (1, 0));
        assert_eq!(overlaps(&mut vec![(0, 25), (20, 30), (30, 40)], 0), (0, 1));
        assert_eq!(overlaps(&mut vec![(0, 25), (20, 30)], 5), (0, 0));
        assert_eq!(overlaps(&mut vec![(0, i64::MAX), (20, 30)], 5), (0, 1));
    }
}
