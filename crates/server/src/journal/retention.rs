//! How long records are kept, and how many.

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How records are kept, a section of its own for each program.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalArgs {
    /// Days for which records are kept; 0 keeps them for good
    #[arg(long, env = "BERTH_KEEP_DAYS", default_value_t = 90, value_name = "DAYS")]
    pub keep_days: u32,
    /// Bytes of records that are kept: whole days go, the oldest first, but never the newest; 0 for no limit
    #[arg(long, env = "BERTH_KEEP_BYTES", default_value_t = 10 << 30, value_name = "BYTES")]
    pub keep_bytes: u64,
    /// Bytes of the disk that are left free: with less, records are counted as lost instead of written
    #[arg(long, env = "BERTH_KEEP_FREE_BYTES", default_value_t = 1 << 30, value_name = "BYTES")]
    pub keep_free_bytes: u64,
}

impl JournalArgs {
    /// The rules that these settings make.
    pub fn retention(&self) -> Retention {
        Retention {
            days: (self.keep_days > 0).then_some(self.keep_days),
            bytes: (self.keep_bytes > 0).then_some(self.keep_bytes),
            free: self.keep_free_bytes,
        }
    }
}

/// Rules by which days of records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days that are kept; all where it is `None`.
    pub days: Option<u32>,
    /// Bytes that are kept; all where it is `None`.
    pub bytes: Option<u64>,
    /// Bytes of the disk that stay free.
    pub free: u64,
}

impl Retention {
    /// Everything is kept.
    pub const ALL: Self = Self { days: None, bytes: None, free: 0 };

    /// Removes the days of the table in `folder` that are too old, and the oldest while there are too many bytes. Versions of datasets
    /// are not touched: they have links of their own.
    pub(super) fn apply(&self, folder: &Path) {
        let today = chrono::Utc::now().date_naive();
        for day in self.over(days_in(folder), today) {
            match std::fs::remove_dir_all(&day.path) {
                Ok(()) => {
                    tracing::info!(day = %day.path.display(), bytes = day.bytes, "records that were kept for long enough are removed")
                }
                // Another process may be removing the same day.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, day = %day.path.display(), "failed to remove old records"),
            }
        }
    }

    /// The days that go.
    fn over(&self, mut days: Vec<Day>, today: chrono::NaiveDate) -> Vec<Day> {
        days.sort_by_key(|day| day.date);
        // The newest is being written.
        days.pop();
        let mut bytes: u64 = days.iter().map(|day| day.bytes).sum();
        let mut over = Vec::new();
        for day in days {
            let is_old = self.days.is_some_and(|most| (today - day.date).num_days() > i64::from(most));
            if is_old || self.bytes.is_some_and(|most| bytes > most) {
                bytes -= day.bytes;
                over.push(day);
            }
        }
        over
    }

    /// Looks at how much of the disk is free.
    ///
    /// # Errors
    /// When it is less than has to stay free.
    pub(super) fn check_space(&self, folder: &Path) -> anyhow::Result<()> {
        if self.free == 0 {
            return Ok(());
        }
        // The folder itself may not be there yet.
        let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
        let disk = rustix::fs::statvfs(there)
            .with_context(|| format!("failed to look at the disk of `{}`", there.display()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        ensure!(
            free >= self.free,
            "the disk of `{}` has {free} bytes free, less than the {} of `keep_free_bytes`: free some space",
            folder.display(),
            self.free
        );
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Day {
    date: chrono::NaiveDate,
    path: PathBuf,
    bytes: u64,
}

/// The days of a table; what is something else is left alone.
fn days_in(folder: &Path) -> Vec<Day> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let day = |entry: std::fs::DirEntry| {
        let date = entry.file_name().to_str()?.strip_prefix("date=")?.parse().ok()?;
        let files = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
        let bytes = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        Some(Day { date, path: entry.path(), bytes })
    };
    entries.filter_map(day).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str, bytes: u64) -> Day {
        Day { date: date.parse().expect("a date"), path: date.into(), bytes }
    }

    fn over(rules: Retention, days: &[Day]) -> Vec<String> {
        let today = "2026-06-10".parse().expect("a date");
        rules.over(days.to_vec(), today).into_iter().map(|day| day.date.to_string()).collect()
    }

    #[test]
    fn days_go_by_age_and_by_bytes_and_the_newest_stays() {
        let days = [day("2026-06-09", 50), day("2026-05-10", 10), day("2026-05-11", 20), day("2026-06-08", 30)];
        assert_eq!(over(Retention::ALL, &days), [""; 0]);
        assert_eq!(over(Retention { days: Some(30), ..Retention::ALL }, &days), ["2026-05-10"]);
        // Without the newest there are 60 bytes: 50 are left without the first, 30 without the second.
        assert_eq!(over(Retention { bytes: Some(50), ..Retention::ALL }, &days), ["2026-05-10"]);
        assert_eq!(over(Retention { bytes: Some(49), ..Retention::ALL }, &days), ["2026-05-10", "2026-05-11"]);
        assert_eq!(over(Retention { bytes: Some(1), ..Retention::ALL }, &days).len(), 3);
        assert_eq!(over(Retention { days: Some(1), ..Retention::ALL }, &[day("2020-01-01", 1)]), [""; 0]);
    }

    #[test]
    fn only_days_are_removed_and_a_disk_with_too_little_space_is_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for name in ["date=2020-01-01", "date=2020-01-02", "date=2999-01-01", "notes"] {
            std::fs::create_dir(folder.path().join(name)).expect("made");
            std::fs::write(folder.path().join(name).join("a.parquet"), "1234").expect("written");
        }
        Retention { days: Some(1), ..Retention::ALL }.apply(folder.path());
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).expect("listed").flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["date=2999-01-01", "notes"]);
        let rules = |free| Retention { free, ..Retention::ALL };
        assert!(rules(1).check_space(&folder.path().join("not/there/yet")).is_ok());
        let error = rules(u64::MAX).check_space(folder.path()).expect_err("nobody has as much").to_string();
        assert!(error.contains("keep_free_bytes"), "{error}");
    }
}
