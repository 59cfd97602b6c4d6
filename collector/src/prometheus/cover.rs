//! What has been fetched already: a small journal beside the tables.
//!
//! History is cut into chunks; one chunk is one raw part, whole or absent. The part is written first and the journal
//! after it, so a run that is killed in between fetches the chunk again and writes the same rows.

use anyhow::Context;
use runtime::WrongUse;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How far one chunk has been fetched. All in UTC milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cover {
    /// First moment fetched.
    pub from: i64,
    /// The moment after the last one fetched.
    pub until: i64,
    /// Up to here nothing can arrive any more; from here on it is fetched again.
    pub settled: i64,
    /// Rows that were in the chunk's part then.
    pub rows: u64,
}

impl Cover {
    /// What is still to be fetched of `wanted`: what lies before, and what is not settled. The pieces join what is there,
    /// so that a chunk never has a hole in its middle. `limit` is the server's clock less the time that samples may be
    /// late: nothing after it is settled, whatever a clock that ran ahead has noted.
    pub fn pieces(cover: Option<&Self>, wanted: &Range<i64>, limit: i64) -> Vec<Range<i64>> {
        let Some(cover) = cover else { return vec![wanted.clone()] };
        let settled = cover.settled.min(limit).max(cover.from);
        [wanted.start..cover.from, settled..wanted.end].into_iter().filter(|piece| !piece.is_empty()).collect()
    }

    /// The cover after the pieces of `wanted` were fetched; `limit` as in [`Cover::pieces`].
    pub fn after(cover: Option<&Self>, wanted: &Range<i64>, limit: i64, rows: u64) -> Self {
        let from = cover.map_or(wanted.start, |cover| cover.from.min(wanted.start));
        let until = cover.map_or(wanted.end, |cover| cover.until.max(wanted.end));
        // Settled from a former run stays settled; what this run fetched is settled where it is old enough.
        let before = cover.map_or(from, |cover| cover.settled);
        Self { from, until, settled: wanted.end.max(before).min(limit), rows }
    }
}

/// The journal file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Where the history came from.
    pub server: String,
    /// Which cluster of the server, as matchers.
    #[serde(default = "no_matchers")]
    pub selector: String,
    /// Fingerprint of the queries.
    pub queries: String,
    /// Distance of samples in milliseconds.
    pub step: i64,
    /// By the chunk's first moment.
    pub chunks: BTreeMap<i64, Cover>,
    /// How far pods have been fetched.
    pub pods: Option<Cover>,
}

/// What an older journal means by no selector.
fn no_matchers() -> String {
    "{}".to_owned()
}

/// The folder below the data root that holds the collector's own files.
pub const FOLDER: &str = "collector";

impl Journal {
    fn path(root: &Path) -> PathBuf {
        root.join(FOLDER).join("prometheus.json")
    }

    /// Reads the journal of the data root, or begins one. History of another server or of other queries does not count
    /// as fetched.
    ///
    /// # Errors
    /// When the file is damaged, or when the tables hold another step or the rows of another selector.
    pub fn open(root: &Path, (server, selector): (&str, &str), queries: &str, step: i64) -> anyhow::Result<Self> {
        let path = Self::path(root);
        let fresh = Self {
            server: server.to_owned(),
            selector: selector.to_owned(),
            queries: queries.to_owned(),
            step,
            chunks: BTreeMap::new(),
            pods: None,
        };
        if !path.exists() {
            return Ok(fresh);
        }
        let journal: Self = runtime::files::read_json(&path)
            .context("the journal of what was fetched is damaged. Delete it: the history is then fetched again, and nothing is lost")?;
        if journal.step != step {
            let (old, new) = (journal.step / 1_000, step / 1_000);
            return Err(WrongUse(format!("the tables below `{}` have a step of {old}s, this run has {new}s: give --step {old}s or another --data", root.display())).into());
        }
        if journal.selector != selector && journal.chunks.values().any(|cover| cover.rows > 0) {
            let (old, root) = (&journal.selector, root.display());
            return Err(WrongUse(format!("the tables below `{root}` hold the history of `{old}`, this run asks for `{selector}`: rows of other clusters would stay among them. Choose another --data, or the selector of before")).into());
        }
        if journal.server != server || journal.queries != queries {
            let what = if journal.server == server { "queries" } else { "server" };
            tracing::warn!(before = %journal.server, now = %server, "the {what} changed, fetching all of the wanted history again");
            return Ok(fresh);
        }
        Ok(journal)
    }

    /// Writes the journal whole.
    ///
    /// # Errors
    /// When the disk is full or not writable.
    pub fn save(&self, root: &Path) -> anyhow::Result<()> {
        runtime::files::write_json(&Self::path(root), self).context("failed to note what was fetched")
    }
}

/// Keeps a second collector away from the same data root; the system takes the lock back when the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be written.
    pub fn take(root: &Path) -> anyhow::Result<Self> {
        let folder = root.join(FOLDER);
        std::fs::create_dir_all(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
        let path = folder.join("prometheus.lock");
        let file = File::create(&path).with_context(|| format!("failed to open `{}`", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!("another collector is fetching into `{}`. Wait for it, or stop it", root.display())
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("failed to lock `{}`", path.display()))
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one piece is meant")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_run_asks_only_for_what_is_new_and_not_settled() {
        let first = Cover::after(None, &(0..1_000), 900, 5);
        assert_eq!(first, Cover { from: 0, until: 1_000, settled: 900, rows: 5 });
        assert_eq!(Cover::pieces(Some(&first), &(0..1_500), 4_900), [900..1_500]);
        let second = Cover::after(Some(&first), &(0..1_500), 4_900, 8);
        assert_eq!(second.settled, 1_500);
        assert!(Cover::pieces(Some(&second), &(0..1_500), 4_900).is_empty());
    }

    #[test]
    fn a_wanted_span_before_or_far_after_leaves_no_hole() {
        let cover = Cover { from: 500, until: 600, settled: 600, rows: 1 };
        assert_eq!(Cover::pieces(Some(&cover), &(0..600), 9_000), [0..500]);
        assert_eq!(Cover::pieces(Some(&cover), &(800..900), 9_000), [600..900]);
        assert_eq!(Cover::pieces(Some(&cover), &(0..900), 9_000), [0..500, 600..900]);
    }

    #[test]
    fn a_clock_that_ran_ahead_settles_nothing_of_the_future() {
        let ahead = Cover { from: 0, until: 9_000, settled: 8_900, rows: 1 };
        assert_eq!(Cover::pieces(Some(&ahead), &(0..1_000), 900), [900..1_000]);
        assert_eq!(Cover::after(Some(&ahead), &(0..1_000), 900, 1).settled, 900);
    }

    proptest! {
        #[test]
        fn runs_in_any_order_leave_no_settled_moment_unfetched(spans in prop::collection::vec((0i64..500, 1i64..500, 0i64..300), 1..8)) {
            let mut cover: Option<Cover> = None;
            let mut fetched = vec![false; 1_000];
            let mut now = 0;
            for (start, length, wait) in spans {
                now = now.max(start + length) + wait;
                let wanted = start..start + length;
                for piece in Cover::pieces(cover.as_ref(), &wanted, now - 100) {
                    fetched[piece.start as usize..piece.end as usize].fill(true);
                }
                let next = Cover::after(cover.as_ref(), &wanted, now - 100, 0);
                prop_assert!((next.from..next.settled).all(|moment| fetched[moment as usize]));
                cover = Some(next);
            }
        }
    }

    #[test]
    fn another_step_is_refused_and_another_server_fetched_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (a, b) = (("http://a", "{}"), ("http://b", "{}"));
        let mut journal = Journal::open(folder.path(), a, "q", 30_000).expect("fresh");
        journal.chunks.insert(0, Cover { from: 0, until: 1, settled: 1, rows: 1 });
        journal.save(folder.path()).expect("saved");
        assert_eq!(Journal::open(folder.path(), a, "q", 30_000).expect("same"), journal);
        assert!(Journal::open(folder.path(), b, "q", 30_000).expect("other server").chunks.is_empty());
        let error = Journal::open(folder.path(), a, "q", 60_000).expect_err("other step").to_string();
        assert!(error.contains("--step 30s"), "{error}");
    }

    #[test]
    fn rows_of_another_cluster_are_not_joined() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let open = |selector| Journal::open(folder.path(), ("http://a", selector), "q", 30_000);
        let mut journal = open("{}").expect("fresh");
        journal.save(folder.path()).expect("saved");
        open(r#"{cluster="prod"}"#).expect("nothing was fetched yet");
        journal.chunks.insert(0, Cover { from: 0, until: 1, settled: 1, rows: 1 });
        journal.save(folder.path()).expect("saved");
        let error = open(r#"{cluster="prod"}"#).expect_err("other rows").to_string();
        assert!(error.contains(r#"`{cluster="prod"}`"#) && error.contains("another --data"), "{error}");
        open("{}").expect("the same");
    }

    #[test]
    fn only_one_collector_works_on_a_data_root() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let first = Lock::take(folder.path()).expect("free");
        assert!(Lock::take(folder.path()).expect_err("taken").to_string().contains("another collector"));
        drop(first);
        Lock::take(folder.path()).expect("free again");
    }
}
