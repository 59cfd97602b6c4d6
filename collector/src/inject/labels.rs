//! The injected incidents as rows of `raw/incidents`.

use super::{Injection, PART};
use anyhow::Context;
use chrono::NaiveDate;
use cluster::{ColumnKind, INCIDENTS};
use polars::prelude::{Column, DataFrame, Int64Chunked, IntoSeries, NewChunkedArray, PolarsResult, StringChunked};
use std::collections::BTreeMap;
use store::{Store, date_of, polars_type};

/// Writes each incident, with its node, into the day of its start.
pub(super) fn write(store: &Store, labels: &[(String, Injection)]) -> anyhow::Result<()> {
    let mut days: BTreeMap<NaiveDate, Vec<&(String, Injection)>> = BTreeMap::new();
    for label in labels {
        days.entry(date_of(label.1.start)).or_default().push(label);
    }
    for (date, labels) in &days {
        let frame = frame(labels).with_context(|| format!("failed to build the incidents of {date}"))?;
        store.write_part(&INCIDENTS, *date, PART, &frame)?;
    }
    Ok(())
}

fn frame(labels: &[&(String, Injection)]) -> PolarsResult<DataFrame> {
    let text = |name: &str, of: &dyn Fn(&(String, Injection)) -> String| -> Column {
        StringChunked::from_iter_values(name.into(), labels.iter().map(|label| of(label))).into_series().into()
    };
    let times = |name: &str, of: &dyn Fn(&Injection) -> i64| -> PolarsResult<Column> {
        let values = Int64Chunked::from_vec(name.into(), labels.iter().map(|(_, incident)| of(incident)).collect());
        Ok(values.into_series().cast(&polars_type(ColumnKind::Timestamp))?.into())
    };
    let columns = vec![
        text("node", &|(node, _)| node.clone()),
        text("kind", &|(_, incident)| incident.fault.kind().to_owned()),
        text("severity", &|(_, incident)| incident.fault.severity().to_owned()),
        times("started_at", &|incident| incident.start)?,
        times("ended_at", &|incident| incident.end)?,
        text("source", &|_| PART.to_owned()),
    ];
    DataFrame::new(labels.len(), columns)
}
