//! The sample interval of a table of samples.

use crate::{Store, StoreError};
use chrono::NaiveDate;
use cluster::{SampleIntervals, TableSchema};
use polars::prelude::{DataFrame, PolarsResult};

impl Store {
    /// How far apart the samples of `table` usually are, in milliseconds, as [`SampleIntervals::usual`] has it: over all
    /// series of its first, middle and last day, or of all days where these tell nothing.
    ///
    /// The table's key names a series by one text, and then a time, as that of `raw/node_metrics` does. `None`: no series
    /// has two samples on one day.
    ///
    /// # Errors
    /// When a part of those days is damaged.
    pub fn sample_interval(&self, table: &TableSchema) -> Result<Option<i64>, StoreError> {
        let days = self.days(table)?;
        let Some(last) = days.len().checked_sub(1) else { return Ok(None) };
        let mut some = vec![0, last / 2, last];
        some.dedup();
        let mut intervals = SampleIntervals::default();
        for at in &some {
            self.count_intervals(table, days[*at], &mut intervals)?;
        }
        if intervals.count() == 0 {
            for (_, day) in days.iter().enumerate().filter(|(at, _)| !some.contains(at)) {
                self.count_intervals(table, *day, &mut intervals)?;
            }
        }
        Ok(intervals.usual())
    }

    fn count_intervals(
        &self,
        table: &TableSchema,
        day: NaiveDate,
        intervals: &mut SampleIntervals,
    ) -> Result<(), StoreError> {
        let frame = self.read_day(table, day, table.key)?;
        count(table, &frame, intervals)
            .map_err(|source| StoreError::Frame { doing: "tell how far apart samples are", source })
    }
}

/// Counts within each run of equal names; the rows are sorted by the table's key.
fn count(table: &TableSchema, frame: &DataFrame, intervals: &mut SampleIntervals) -> PolarsResult<()> {
    let times = frame.column(table.time)?.to_physical_repr();
    let times = times.i64()?;
    let name = table.key.iter().find(|name| **name != table.time).copied().unwrap_or_default();
    let names = frame.column(name)?.str()?;
    let mut run: (Option<&str>, Vec<i64>) = (None, Vec::new());
    for (name, ts) in names.iter().zip(times.iter()) {
        if name != run.0 {
            intervals.add(run.1.drain(..));
            run.0 = name;
        }
        run.1.extend(ts.filter(|_| name.is_some()));
    }
    intervals.add(run.1);
    Ok(())
}
