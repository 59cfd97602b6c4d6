//! Searching runs, and filling found runs with what they logged.

use super::database::Database;
use super::rows;
use crate::types::*;
use crate::{Condition, Direction, Field, Operand, RunQuery, TrackingError};
use sqlx::{AssertSqlSafe, Row};
use std::collections::BTreeMap;

/// Runs per statement when many are filled.
const RUNS: usize = 500;

/// A statement under construction: its text and the values for its placeholders.
#[derive(Default)]
struct Statement {
    values: Vec<Value>,
}

enum Value {
    Text(String),
    Number(f64),
    Whole(i64),
}

impl Statement {
    /// Takes a value and gives its placeholder.
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn condition(&mut self, condition: &Condition) -> Result<String, TrackingError> {
        let sign = condition.comparison.sign();
        let text = |operand: &Operand| match operand {
            Operand::Text(text) => Ok(text.clone()),
            Operand::Number(number) => Err(TrackingError::invalid(
                "condition",
                &condition.field.to_string(),
                format!("it is text, got the number {number}"),
            )),
        };
        let number = |operand: &Operand| match operand {
            Operand::Number(number) => Ok(*number),
            Operand::Text(text) => Err(TrackingError::invalid(
                "condition",
                &condition.field.to_string(),
                format!("it is a number, got `{text}`"),
            )),
        };
        Ok(match &condition.field {
            Field::Metric(name) => {
                let (name, number) =
                    (self.value(Value::Text(name.clone())), self.value(Value::Number(number(&condition.operand)?)));
                format!(
                    "EXISTS (SELECT 1 FROM latest_metrics m WHERE m.run_id = r.id AND m.key = {name} AND m.is_nan = 0 AND m.value {sign} {number})"
                )
            }
            Field::Param(name) | Field::Tag(name) => {
                let table = if matches!(condition.field, Field::Param(_)) { "params" } else { "tags" };
                let (name, text) =
                    (self.value(Value::Text(name.clone())), self.value(Value::Text(text(&condition.operand)?)));
                format!(
                    "EXISTS (SELECT 1 FROM {table} t WHERE t.run_id = r.id AND t.key = {name} AND t.value {sign} {text})"
                )
            }
            Field::Status => format!("r.status {sign} {}", self.value(Value::Text(text(&condition.operand)?))),
            Field::Name => format!("r.name {sign} {}", self.value(Value::Text(text(&condition.operand)?))),
            Field::StartedAt => {
                format!("r.started_at {sign} {}", self.value(Value::Number(number(&condition.operand)?)))
            }
        })
    }

    /// The joined table and the sort keys for an order; runs without the field come last, NaN before them.
    fn order(&mut self, order: Option<&(Field, Direction)>) -> (String, String) {
        let Some((field, direction)) = order else { return (String::new(), String::new()) };
        let direction = match direction {
            Direction::Ascending => "ASC",
            Direction::Descending => "DESC",
        };
        let (table, name) = match field {
            Field::Metric(name) => ("latest_metrics", name),
            Field::Param(name) => ("params", name),
            Field::Tag(name) => ("tags", name),
            Field::Status => return (String::new(), format!("r.status {direction}, ")),
            Field::Name => return (String::new(), format!("r.name {direction}, ")),
            Field::StartedAt => return (String::new(), format!("r.started_at {direction}, ")),
        };
        let nan = if table == "latest_metrics" { "WHEN o.is_nan = 1 THEN 1 " } else { "" };
        let join =
            format!("LEFT JOIN {table} o ON o.run_id = r.id AND o.key = {}", self.value(Value::Text(name.clone())));
        (join, format!("CASE WHEN o.key IS NULL THEN 2 {nan}ELSE 0 END, o.value {direction}, "))
    }
}

pub(super) async fn search(database: &Database, query: &RunQuery) -> Result<Vec<RunInfo>, TrackingError> {
    let failed = database.error("search runs");
    let mut statement = Statement::default();
    let (join, order) = statement.order(query.order.as_ref());
    let mut conditions = vec!["1 = 1".to_owned()];
    if !query.experiments.is_empty() {
        // An id that is no number is no experiment of this store.
        let ids = query.experiments.iter().filter_map(|id| id.parse().ok());
        let ids: Vec<_> = ids.map(|id| statement.value(Value::Whole(id))).collect();
        conditions.push(if ids.is_empty() {
            "1 = 0".to_owned()
        } else {
            format!("r.experiment_id IN ({})", ids.join(", "))
        });
    }
    for condition in &query.conditions {
        conditions.push(statement.condition(condition)?);
    }
    let limit = statement.value(Value::Whole(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT r.id, r.experiment_id, r.name, r.status, r.started_at, r.ended_at, r.parent_id FROM runs r {join} \
         WHERE {} ORDER BY {order}r.started_at DESC, r.id LIMIT {limit}",
        conditions.join(" AND ")
    );
    let mut bound = sqlx::query(AssertSqlSafe(sql));
    for value in statement.values {
        bound = match value {
            Value::Text(text) => bound.bind(text),
            Value::Number(number) => bound.bind(number),
            Value::Whole(number) => bound.bind(number),
        };
    }
    let found = bound.fetch_all(database.pool()).await.map_err(&failed)?;
    found.iter().map(rows::info).collect::<Result<_, _>>().map_err(failed)
}

/// Fills runs with their parameters, tags and latest metrics, in the order given.
pub(super) async fn complete(database: &Database, infos: Vec<RunInfo>) -> Result<Vec<Run>, TrackingError> {
    let failed = database.error("read runs");
    let mut params: BTreeMap<String, Labels> = BTreeMap::new();
    let mut tags = params.clone();
    let mut metrics: BTreeMap<String, BTreeMap<String, Metric>> = BTreeMap::new();
    for part in infos.chunks(RUNS) {
        let ids: Vec<_> = (1..=part.len()).map(|number| format!("${number}")).collect();
        for (table, columns) in
            [("params", "key, value"), ("tags", "key, value"), ("latest_metrics", "key, step, at, value, is_nan")]
        {
            let sql = format!("SELECT run_id, {columns} FROM {table} WHERE run_id IN ({})", ids.join(", "));
            let bound = part.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, info| query.bind(info.id.as_str()));
            for row in bound.fetch_all(database.pool()).await.map_err(&failed)? {
                let run: String = row.try_get("run_id").map_err(&failed)?;
                let key: String = row.try_get("key").map_err(&failed)?;
                if table == "latest_metrics" {
                    metrics.entry(run).or_default().insert(key, rows::metric(&row).map_err(&failed)?);
                } else {
                    let labels = if table == "params" { &mut params } else { &mut tags };
                    labels.entry(run).or_default().insert(key, row.try_get("value").map_err(&failed)?);
                }
            }
        }
    }
    let complete = |info: RunInfo| Run {
        params: params.remove(&info.id).unwrap_or_default(),
        metrics: metrics.remove(&info.id).unwrap_or_default(),
        tags: tags.remove(&info.id).unwrap_or_default(),
        info,
    };
    Ok(infos.into_iter().map(complete).collect())
}
