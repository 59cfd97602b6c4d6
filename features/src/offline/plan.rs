//! Which days have to be built, and what is kept.

use crate::catalogue::{self, NODE_HISTORY};
use crate::settings::WindowRules;
use anyhow::Context;
use chrono::{Days, NaiveDate};
use cluster::{INCIDENTS, NODE_METRICS};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use store::{DatasetVersion, Store, StoreError};

/// Rows look back a week, so that many days before a row's own day matter.
const LOOK_BACK_DAYS: u64 = 7;

/// What is known of a day that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct BuiltDay {
    /// Hash over everything that its rows depend on.
    fingerprint: String,
    /// Whether it has rows; a day of silence has none.
    has_rows: bool,
}

/// The days that lie below `features/node_history`, written after each of them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BuildState {
    days: BTreeMap<NaiveDate, BuiltDay>,
}

impl BuildState {
    pub(super) fn path(store: &Store) -> PathBuf {
        store.root().join("features").join("node_history.build.json")
    }

    /// What an earlier build left. A file that cannot be read is as none: the days are built again.
    pub(super) fn read(path: &Path) -> Self {
        if !path.exists() {
            return Self::default();
        }
        runtime::files::read_json(path).unwrap_or_else(|error| {
            tracing::warn!(%error, "build state is not readable, building every day again");
            Self::default()
        })
    }

    /// Notes that a day is complete.
    pub(super) fn finish(&mut self, date: NaiveDate, has_rows: bool, plan: &Plan, path: &Path) -> anyhow::Result<()> {
        let Some(fingerprint) = plan.fingerprints.get(&date).cloned() else { return Ok(()) };
        self.days.insert(date, BuiltDay { fingerprint, has_rows });
        Ok(runtime::files::write_json(path, self)?)
    }
}

/// The days of a build and what each of them depends on.
#[derive(Debug)]
pub(super) struct Plan {
    fingerprints: BTreeMap<NaiveDate, String>,
    last: NaiveDate,
}

/// What has to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stale {
    /// Days whose rows have to be computed.
    pub build: BTreeSet<NaiveDate>,
    /// Days to run through the windows, in order: those to build and the week before.
    pub replay: Vec<NaiveDate>,
}

impl Plan {
    /// `days`: the days that the version has node metrics for, in order, at least one.
    pub(super) fn new(version: &DatasetVersion, days: &[NaiveDate], rules: &WindowRules) -> anyhow::Result<Self> {
        let mut files: BTreeMap<NaiveDate, Vec<String>> = BTreeMap::new();
        for file in &version.files {
            let of_table = |name: &str| file.path.strip_prefix(name).and_then(|rest| rest.strip_prefix("/date="));
            let Some(rest) = of_table(NODE_METRICS.name).or_else(|| of_table(INCIDENTS.name)) else { continue };
            if let Some(Ok(date)) = rest.get(..10).map(str::parse) {
                files.entry(date).or_default().push(format!("{} {}\n", file.sha256, file.path));
            }
        }
        let last = days.last().copied().context("the plan of a build needs a day")?;
        let definition = definition(rules)?;
        let mut fingerprints = BTreeMap::new();
        for date in days_with_rows(days, last) {
            let mut text = format!("{definition}\nlast day: {}\n", date == last);
            let from = date.checked_sub_days(Days::new(LOOK_BACK_DAYS)).unwrap_or(date);
            text.extend(files.range(from..=date).flat_map(|(_, lines)| lines.iter().map(String::as_str)));
            fingerprints.insert(date, runtime::files::sha256(text.as_bytes()));
        }
        Ok(Self { fingerprints, last })
    }

    /// How many days there are.
    pub(super) fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// Whether the dataset ends with this day, perhaps in the middle of it.
    pub(super) fn is_last(&self, date: NaiveDate) -> bool {
        date == self.last
    }

    /// The days to build; `None` when all is there.
    pub(super) fn stale(&self, store: &Store, state: &BuildState) -> anyhow::Result<Option<Stale>> {
        let mut build = BTreeSet::new();
        for (date, fingerprint) in &self.fingerprints {
            let kept = match state.days.get(date) {
                Some(day) if day.fingerprint == *fingerprint => {
                    day.has_rows != store.parts(&NODE_HISTORY, *date)?.is_empty()
                }
                _ => false,
            };
            if !kept {
                build.insert(*date);
            }
        }
        let (Some(first), Some(last)) = (build.first().copied(), build.last().copied()) else { return Ok(None) };
        let warm = first.checked_sub_days(Days::new(LOOK_BACK_DAYS)).unwrap_or(first);
        let replay = self.fingerprints.range(warm..=last).map(|(date, _)| *date).collect();
        Ok(Some(Stale { build, replay }))
    }

    /// Removes the days of an earlier build that this dataset does not have.
    pub(super) fn remove_foreign_days(&self, store: &Store, state: &mut BuildState) -> Result<(), StoreError> {
        state.days.retain(|date, _| self.fingerprints.contains_key(date));
        for date in store.days(&NODE_HISTORY)? {
            if !self.fingerprints.contains_key(&date) {
                remove_day(store, date)?;
            }
        }
        Ok(())
    }
}

/// All days that can have rows or matter to later ones: a day with samples and the eight after it, within which the last
/// of the windows runs empty.
fn days_with_rows(days: &[NaiveDate], last: NaiveDate) -> BTreeSet<NaiveDate> {
    let after = |date: &NaiveDate| date.iter_days().take(LOOK_BACK_DAYS as usize + 2).collect::<Vec<_>>();
    days.iter().flat_map(after).filter(|date| *date <= last).collect()
}

/// What the rows mean: another catalogue, other rules or another version of the code make other rows.
fn definition(rules: &WindowRules) -> anyhow::Result<String> {
    let catalogue = serde_json::to_string(catalogue::all())?;
    let rules = serde_json::to_string(rules)?;
    Ok(format!("{} {}\n{rules}", env!("CARGO_PKG_VERSION"), runtime::files::sha256(catalogue.as_bytes())))
}

/// Removes a day of the table.
pub(super) fn remove_day(store: &Store, date: NaiveDate) -> Result<(), StoreError> {
    for part in store.parts(&NODE_HISTORY, date)? {
        std::fs::remove_file(&part).map_err(|source| runtime::files::FileError::new("remove", &part, source))?;
        // The folder goes when it was the last part; other files in it keep it.
        let _ = part.parent().map(std::fs::remove_dir);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::FileEntry;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).expect("a date")
    }

    fn plan(days: &[NaiveDate], changed: Option<NaiveDate>) -> Plan {
        let files = days
            .iter()
            .map(|date| FileEntry {
                path: format!("raw/node_metrics/date={date}/day.parquet"),
                sha256: if Some(*date) == changed { "new".into() } else { "old".into() },
                rows: 1,
                bytes: 1,
            })
            .collect();
        let version = DatasetVersion {
            id: "raw".into(),
            hash: "hash".into(),
            created_at: String::new(),
            code: String::new(),
            inputs: vec![],
            rows: BTreeMap::new(),
            days: None,
            schema: BTreeMap::new(),
            quality: BTreeMap::new(),
            sample_interval_ms: None,
            files,
        };
        Plan::new(&version, days, &WindowRules::default()).expect("plan")
    }

    /// A store that has a part for every day of the plan, and the state that goes with it.
    fn built(plan: &Plan) -> (tempfile::TempDir, Store, BuildState) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let mut state = BuildState::default();
        for date in plan.fingerprints.keys() {
            let part = folder.path().join(NODE_HISTORY.name).join(format!("date={date}")).join("day.parquet");
            runtime::files::write_text(&part, "rows").expect("part");
            state.finish(*date, true, plan, &BuildState::path(&store)).expect("state");
        }
        (folder, store, state)
    }

    #[test]
    fn nothing_is_stale_when_nothing_changed() {
        let plan = plan(&(1..=20).map(day).collect::<Vec<_>>(), None);
        let (_folder, store, _) = built(&plan);
        let state = BuildState::read(&BuildState::path(&store));
        assert_eq!(plan.stale(&store, &state).expect("stale"), None);
    }

    #[test]
    fn a_changed_day_makes_itself_and_the_week_after_it_stale() {
        let days: Vec<_> = (1..=20).map(day).collect();
        let (_folder, store, state) = built(&plan(&days, None));
        let stale = plan(&days, Some(day(9))).stale(&store, &state).expect("stale").expect("something to do");
        assert_eq!(stale.build, (9..=16).map(day).collect());
        assert_eq!(stale.replay, (2..=16).map(day).collect::<Vec<_>>(), "warmed by the week before");
    }

    #[test]
    fn a_new_day_builds_itself_and_the_day_that_was_last() {
        let (_folder, store, state) = built(&plan(&(1..=10).map(day).collect::<Vec<_>>(), None));
        let grown = plan(&(1..=11).map(day).collect::<Vec<_>>(), None);
        let stale = grown.stale(&store, &state).expect("stale").expect("something to do");
        assert_eq!(stale.build, (10..=11).map(day).collect());
    }

    #[test]
    fn a_lost_part_is_built_again_and_foreign_days_go() {
        let full = plan(&(1..=10).map(day).collect::<Vec<_>>(), None);
        let (_folder, store, mut state) = built(&full);
        remove_day(&store, day(4)).expect("removed");
        let stale = full.stale(&store, &state).expect("stale").expect("something to do");
        assert_eq!(stale.build, BTreeSet::from([day(4)]));
        let short = plan(&(1..=3).map(day).collect::<Vec<_>>(), None);
        short.remove_foreign_days(&store, &mut state).expect("removed");
        assert_eq!(store.days(&NODE_HISTORY).expect("days"), (1..=3).map(day).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_hole_is_not_walked_day_by_day() {
        let far = NaiveDate::from_ymd_opt(2126, 1, 1).expect("a date");
        assert_eq!(days_with_rows(&[day(1), far], far).len(), 10);
    }
}
