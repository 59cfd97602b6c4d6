//! Experiments, runs, and what a run logs.

use super::database::Database;
use super::rows;
use crate::TrackingError;
use crate::types::*;
use chrono::{DateTime, Utc};
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;

/// Rows per statement: 6 values each stay far below SQLite's 32,766 and PostgreSQL's 65,535 placeholders.
const ROWS: usize = 250;

pub(super) async fn experiment(database: &Database, name: &str) -> Result<Experiment, TrackingError> {
    crate::paths::check_name("experiment", name)?;
    let failed = database.error("find or make an experiment");
    let find = || sqlx::query("SELECT id, name, created_at FROM experiments WHERE name = $1").bind(name);
    if let Some(row) = find().fetch_optional(database.pool()).await.map_err(&failed)? {
        return rows::experiment(&row).map_err(failed);
    }
    let mut write = database.write().await.map_err(&failed)?;
    sqlx::query(
        "INSERT INTO experiments (id, name, created_at) SELECT COALESCE(MAX(id), 0) + 1, $1, $2 FROM experiments WHERE TRUE \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(name)
    .bind(now().timestamp_millis())
    .execute(write.connection())
    .await
    .map_err(&failed)?;
    let row = find().fetch_one(write.connection()).await.map_err(&failed)?;
    write.commit().await.map_err(&failed)?;
    rows::experiment(&row).map_err(failed)
}

pub(super) async fn experiments(database: &Database) -> Result<Vec<Experiment>, TrackingError> {
    let failed = database.error("list experiments");
    let found =
        sqlx::query("SELECT id, name, created_at FROM experiments ORDER BY name").fetch_all(database.pool()).await;
    found.map_err(&failed)?.iter().map(rows::experiment).collect::<Result<_, _>>().map_err(failed)
}

pub(super) async fn create(database: &Database, id: &str, run: NewRun) -> Result<RunInfo, TrackingError> {
    let failed = database.error("start a run");
    let no_experiment = || TrackingError::not_found("experiment", &run.experiment_id);
    let experiment: i64 = run.experiment_id.parse().map_err(|_| no_experiment())?;
    let mut write = database.write().await.map_err(&failed)?;
    let known = sqlx::query("SELECT 1 AS known FROM experiments WHERE id = $1").bind(experiment);
    if known.fetch_optional(write.connection()).await.map_err(&failed)?.is_none() {
        return Err(no_experiment());
    }
    if let Some(parent) = &run.parent_id {
        exists(write.connection(), parent)
            .await
            .map_err(&failed)?
            .then_some(())
            .ok_or_else(|| TrackingError::not_found("run", parent))?;
    }
    sqlx::query(
        "INSERT INTO runs (id, experiment_id, name, status, started_at, parent_id) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(experiment)
    .bind(&run.name)
    .bind(RunStatus::Running.as_str())
    .bind(run.started_at.timestamp_millis())
    .bind(&run.parent_id)
    .execute(write.connection())
    .await
    .map_err(&failed)?;
    put_labels(write.connection(), "tags", id, &run.tags).await.map_err(&failed)?;
    write.commit().await.map_err(&failed)?;
    Ok(RunInfo {
        id: id.to_owned(),
        experiment_id: run.experiment_id,
        name: run.name,
        status: RunStatus::Running,
        started_at: run.started_at,
        ended_at: None,
        parent_id: run.parent_id,
        artifact_uri: String::new(),
    })
}

pub(super) async fn info(database: &Database, run_id: &str) -> Result<RunInfo, TrackingError> {
    let failed = database.error("read a run");
    let found =
        sqlx::query("SELECT id, experiment_id, name, status, started_at, ended_at, parent_id FROM runs WHERE id = $1")
            .bind(run_id)
            .fetch_optional(database.pool())
            .await
            .map_err(&failed)?;
    rows::info(&found.ok_or_else(|| TrackingError::not_found("run", run_id))?).map_err(failed)
}

async fn exists(connection: &mut AnyConnection, run_id: &str) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query("SELECT 1 AS known FROM runs WHERE id = $1")
        .bind(run_id)
        .fetch_optional(connection)
        .await?
        .is_some())
}

pub(super) async fn set_status(
    database: &Database,
    run_id: &str,
    status: RunStatus,
    ended_at: Option<DateTime<Utc>>,
) -> Result<(), TrackingError> {
    let failed = database.error("end a run");
    let mut write = database.write().await.map_err(&failed)?;
    let changed = sqlx::query("UPDATE runs SET status = $1, ended_at = $2 WHERE id = $3")
        .bind(status.as_str())
        .bind(ended_at.map(|time| time.timestamp_millis()))
        .bind(run_id)
        .execute(write.connection())
        .await
        .map_err(&failed)?;
    if changed.rows_affected() == 0 {
        return Err(TrackingError::not_found("run", run_id));
    }
    write.commit().await.map_err(failed)
}

pub(super) async fn log_batch(database: &Database, run_id: &str, batch: &Batch) -> Result<(), TrackingError> {
    crate::paths::check_batch(batch)?;
    let failed = database.error("log to a run");
    let mut write = database.write().await.map_err(&failed)?;
    if !exists(write.connection(), run_id).await.map_err(&failed)? {
        return Err(TrackingError::not_found("run", run_id));
    }
    refuse_other_params(write.connection(), run_id, batch).await.map_err(&failed)??;
    put_labels(write.connection(), "params", run_id, &batch.params).await.map_err(&failed)?;
    put_labels(write.connection(), "tags", run_id, &batch.tags).await.map_err(&failed)?;
    let points: Vec<&Metric> = batch.metrics.iter().collect();
    put_metrics(write.connection(), "metrics", run_id, &points, "DO NOTHING").await.map_err(&failed)?;
    let newer = "(run_id, key) DO UPDATE SET step = excluded.step, at = excluded.at, value = excluded.value, is_nan = excluded.is_nan \
         WHERE (excluded.step, excluded.at, excluded.value) >= (latest_metrics.step, latest_metrics.at, latest_metrics.value)";
    put_metrics(write.connection(), "latest_metrics", run_id, &latest(&batch.metrics), newer).await.map_err(&failed)?;
    write.commit().await.map_err(failed)
}

/// A parameter keeps its first value, as at MLflow: an error names it with both values.
async fn refuse_other_params(
    connection: &mut AnyConnection,
    run_id: &str,
    batch: &Batch,
) -> Result<Result<(), TrackingError>, sqlx::Error> {
    if batch.params.is_empty() {
        return Ok(Ok(()));
    }
    let known =
        sqlx::query("SELECT key, value FROM params WHERE run_id = $1").bind(run_id).fetch_all(connection).await?;
    for row in known {
        let (key, value): (String, String) = (row.try_get("key")?, row.try_get("value")?);
        if let Some(other) = batch.params.get(&key).filter(|other| **other != value) {
            let detail = format!(", with value `{value}` in run `{run_id}`; a second value `{other}` is refused");
            return Ok(Err(TrackingError::AlreadyExists { what: "parameter", name: key, detail }));
        }
    }
    Ok(Ok(()))
}

/// Of each metric in a batch the point with the greatest step, then time, then value; NaN counts as 0, as in the table.
fn latest(metrics: &[Metric]) -> Vec<&Metric> {
    let rank = |metric: &Metric| (metric.step, metric.at, if metric.value.is_nan() { 0.0 } else { metric.value });
    let mut newest: BTreeMap<&str, &Metric> = BTreeMap::new();
    for metric in metrics {
        let known = newest.entry(&metric.key).or_insert(metric);
        if rank(metric) >= rank(known) {
            *known = metric;
        }
    }
    newest.into_values().collect()
}

/// `table` is one of ours, so it may stand in the statement.
async fn put_labels(
    connection: &mut AnyConnection,
    table: &str,
    run_id: &str,
    labels: &Labels,
) -> Result<(), sqlx::Error> {
    let labels: Vec<_> = labels.iter().collect();
    for part in labels.chunks(ROWS) {
        let rows = placeholders(part.len(), 3);
        let sql = format!(
            "INSERT INTO {table} (run_id, key, value) VALUES {rows} ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (key, value) in part {
            query = query.bind(run_id).bind(key.as_str()).bind(value.as_str());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn put_metrics(
    connection: &mut AnyConnection,
    table: &str,
    run_id: &str,
    metrics: &[&Metric],
    on_conflict: &str,
) -> Result<(), sqlx::Error> {
    for part in metrics.chunks(ROWS) {
        let rows = placeholders(part.len(), 6);
        let sql = format!(
            "INSERT INTO {table} (run_id, key, step, at, value, is_nan) VALUES {rows} ON CONFLICT {on_conflict}"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for metric in part {
            let is_nan = metric.value.is_nan();
            let value = if is_nan { 0.0 } else { metric.value };
            let at = metric.at.timestamp_millis();
            query = query
                .bind(run_id)
                .bind(metric.key.as_str())
                .bind(metric.step)
                .bind(at)
                .bind(value)
                .bind(i64::from(is_nan));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// `($1, $2), ($3, $4)` for two rows of two columns.
fn placeholders(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let numbers: Vec<_> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", numbers.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

pub(super) async fn metric_history(database: &Database, run_id: &str, key: &str) -> Result<Vec<Metric>, TrackingError> {
    let failed = database.error("read a metric's history");
    let found = sqlx::query(
        "SELECT key, step, at, value, is_nan FROM metrics WHERE run_id = $1 AND key = $2 ORDER BY step, at, value",
    )
    .bind(run_id)
    .bind(key)
    .fetch_all(database.pool())
    .await
    .map_err(&failed)?;
    found.iter().map(rows::metric).collect::<Result<_, _>>().map_err(failed)
}
