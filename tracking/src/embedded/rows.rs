//! From rows to the trait's types.

use crate::types::*;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A column that should hold something else was written by another program.
fn odd(column: &str, value: &dyn std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: format!("`{value}` has no place here").into() }
}

pub(super) fn time(row: &AnyRow, column: &str) -> Result<DateTime<Utc>, sqlx::Error> {
    let millis: i64 = row.try_get(column)?;
    DateTime::from_timestamp_millis(millis).ok_or_else(|| odd(column, &millis))
}

fn optional_time(row: &AnyRow, column: &str) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let millis: Option<i64> = row.try_get(column)?;
    millis.map(|millis| DateTime::from_timestamp_millis(millis).ok_or_else(|| odd(column, &millis))).transpose()
}

pub(super) fn experiment(row: &AnyRow) -> Result<Experiment, sqlx::Error> {
    Ok(Experiment {
        id: row.try_get::<i64, _>("id")?.to_string(),
        name: row.try_get("name")?,
        created_at: time(row, "created_at")?,
    })
}

pub(super) fn info(row: &AnyRow) -> Result<RunInfo, sqlx::Error> {
    let status: String = row.try_get("status")?;
    Ok(RunInfo {
        id: row.try_get("id")?,
        experiment_id: row.try_get::<i64, _>("experiment_id")?.to_string(),
        name: row.try_get("name")?,
        status: status.parse().map_err(|_| odd("status", &status))?,
        started_at: time(row, "started_at")?,
        ended_at: optional_time(row, "ended_at")?,
        parent_id: row.try_get("parent_id")?,
        artifact_uri: String::new(),
    })
}

pub(super) fn metric(row: &AnyRow) -> Result<Metric, sqlx::Error> {
    let is_nan: i64 = row.try_get("is_nan")?;
    let value = if is_nan == 1 { f64::NAN } else { row.try_get("value")? };
    Ok(Metric { key: row.try_get("key")?, value, at: time(row, "at")?, step: row.try_get("step")? })
}

pub(super) fn version(row: &AnyRow) -> Result<ModelVersion, sqlx::Error> {
    Ok(ModelVersion {
        model: row.try_get("model")?,
        version: row.try_get::<i64, _>("number")?.to_string(),
        run_id: row.try_get("run_id")?,
        artifact_path: row.try_get("artifact_path")?,
        description: row.try_get("description")?,
        created_at: time(row, "created_at")?,
        tags: Labels::new(),
        aliases: Vec::new(),
    })
}

pub(super) fn alias_change(row: &AnyRow) -> Result<AliasChange, sqlx::Error> {
    let evidence: String = row.try_get("evidence")?;
    let number = |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(|number| number.to_string()));
    Ok(AliasChange {
        id: row.try_get("id")?,
        alias: row.try_get("alias")?,
        from: number("from_number")?,
        to: number("to_number")?,
        at: time(row, "at")?,
        decision: Decision {
            who: row.try_get("who")?,
            why: row.try_get("why")?,
            evidence: serde_json::from_str(&evidence).map_err(|_| odd("evidence", &evidence))?,
        },
    })
}
