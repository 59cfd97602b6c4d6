//! Experiments and runs over REST.

use super::http::meaning;
use super::wire::*;
use super::{CLIENT_ID, Mlflow, PARENT, batch};
use crate::types::*;
use crate::{Condition, Direction, Field, Operand, RunQuery, TrackingError};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// MLflow's own limits for one page.
const RUNS_PER_PAGE: usize = 1000;
const EXPERIMENTS_PER_PAGE: &str = "1000";
const POINTS_PER_PAGE: &str = "25000";
/// How addresses begin that lead through the server.
pub(super) const PROXY: &str = "mlflow-artifacts:";

impl Mlflow {
    pub(super) async fn find_or_make_experiment(&self, name: &str) -> Result<Experiment, TrackingError> {
        crate::paths::check_name("experiment", name)?;
        if let Some(found) = crate::optional(self.experiment_by_name(name).await)? {
            return Ok(found);
        }
        // An experiment keeps the artifact location that it is made with, so none is made that could not be used.
        self.http.artifacts_are_served().await?;
        let body = json!({ "name": name });
        let made = self.http.post::<Value>("make an experiment", "experiments/create", &body).await;
        match made.map_err(|error| meaning(error, "experiment", name)) {
            // Another program was faster, which is as good.
            Ok(_) | Err(TrackingError::AlreadyExists { .. }) => self.experiment_by_name(name).await,
            Err(error) => Err(error),
        }
    }

    async fn experiment_by_name(&self, name: &str) -> Result<Experiment, TrackingError> {
        let query = [("experiment_name", name)];
        let reply = self.http.get::<ExperimentReply>("find an experiment", "experiments/get-by-name", &query).await;
        let experiment = reply.map_err(|error| meaning(error, "experiment", name))?.experiment;
        if experiment.lifecycle_stage == "deleted" {
            return Err(TrackingError::invalid(
                "experiment",
                name,
                "it was deleted on the server. Restore it there, or choose another name",
            ));
        }
        if !experiment.artifact_location.starts_with(PROXY) {
            return Err(TrackingError::invalid(
                "artifact location",
                &experiment.artifact_location,
                format!(
                    "artifacts are sent through the MLflow server, since no credentials of a bucket are needed then, and the experiment \
                     `{name}` keeps them elsewhere. Start `mlflow server` with --serve-artifacts (its default) and \
                     --artifacts-destination s3://…; an experiment keeps the location that it was made with, so rename this one in \
                     MLflow, and another is made"
                ),
            ));
        }
        Ok(experiment.into())
    }

    pub(super) async fn all_experiments(&self) -> Result<Vec<Experiment>, TrackingError> {
        let (mut experiments, mut token) = (Vec::new(), String::new());
        loop {
            let query = [("max_results", EXPERIMENTS_PER_PAGE), ("page_token", &token)];
            let reply = self
                .http
                .get::<ExperimentsReply>(
                    "list experiments",
                    "experiments/search",
                    &query[..1 + usize::from(!token.is_empty())],
                )
                .await?;
            experiments.extend(reply.experiments.into_iter().map(Experiment::from));
            token = reply.next_page_token;
            if token.is_empty() {
                experiments.sort_by(|a: &Experiment, b| a.name.cmp(&b.name));
                return Ok(experiments);
            }
        }
    }

    /// Starts a run that carries `client_id`.
    pub(crate) async fn create_run_as(&self, client_id: &str, run: NewRun) -> Result<RunInfo, TrackingError> {
        crate::paths::check_run(&run)?;
        let mut tags = run.tags;
        tags.insert(CLIENT_ID.into(), client_id.to_owned());
        tags.extend(run.parent_id.map(|parent| (PARENT.to_owned(), parent)));
        let body = json!({
            "experiment_id": run.experiment_id,
            "run_name": run.name,
            "start_time": run.started_at.timestamp_millis(),
            "tags": pairs(&tags),
        });
        let reply = self.http.post::<RunReply>("start a run", "runs/create", &body).await;
        let run = Run::from(reply.map_err(|error| meaning(error, "experiment", &run.experiment_id))?.run);
        self.remember(&run.info);
        Ok(run.info)
    }

    /// The run that an earlier request with this `client_id` made, if it reached the server.
    pub(crate) async fn run_of_client(
        &self,
        experiment_id: &str,
        client_id: &str,
    ) -> Result<Option<RunInfo>, TrackingError> {
        let query = RunQuery::of(experiment_id).and(Condition::tag(CLIENT_ID, client_id)).limit(1);
        Ok(self.search(&query).await?.pop().map(|run| run.info))
    }

    pub(super) async fn update_run(
        &self,
        run_id: &str,
        status: RunStatus,
        ended_at: Option<DateTime<Utc>>,
    ) -> Result<(), TrackingError> {
        let mut body = json!({ "run_id": run_id, "status": status });
        if let Some(time) = ended_at {
            body["end_time"] = time.timestamp_millis().into();
        }
        let reply = self.http.post::<Value>("end a run", "runs/update", &body).await;
        reply.map(drop).map_err(|error| meaning(error, "run", run_id))
    }

    pub(super) async fn send_batch(&self, run_id: &str, batch: &Batch) -> Result<(), TrackingError> {
        crate::paths::check_batch(batch)?;
        for body in batch::requests(run_id, batch) {
            let reply = self.http.post::<Value>("log to a run", "runs/log-batch", &body).await;
            reply.map_err(|error| meaning(error, "run", run_id))?;
        }
        Ok(())
    }

    pub(super) async fn get_run(&self, run_id: &str) -> Result<Run, TrackingError> {
        let reply = self.http.get::<RunReply>("read a run", "runs/get", &[("run_id", run_id)]).await;
        let run = Run::from(reply.map_err(|error| meaning(error, "run", run_id))?.run);
        self.remember(&run.info);
        Ok(run)
    }

    pub(super) async fn search(&self, query: &RunQuery) -> Result<Vec<Run>, TrackingError> {
        let mut experiments = query.experiments.clone();
        if experiments.is_empty() {
            experiments = self.all_experiments().await?.into_iter().map(|experiment| experiment.id).collect();
        }
        let filter: Vec<String> = query.conditions.iter().map(filter).collect::<Result<_, _>>()?;
        let mut order: Vec<String> = query.order.iter().map(order_by).collect();
        // Ties: newest first. The server refuses an order that names a field twice.
        if query.order.as_ref().is_none_or(|(field, _)| *field != Field::StartedAt) {
            order.push(order_by(&(Field::StartedAt, Direction::Descending)));
        }
        let (mut runs, mut token) = (Vec::new(), String::new());
        while runs.len() < query.limit {
            let page = (query.limit - runs.len()).min(RUNS_PER_PAGE);
            let mut body = json!({ "experiment_ids": experiments, "filter": filter.join(" and "), "order_by": order, "max_results": page });
            if !token.is_empty() {
                body["page_token"] = token.into();
            }
            let reply = self.http.post::<RunsReply>("search runs", "runs/search", &body).await?;
            runs.extend(reply.runs.into_iter().map(Run::from));
            token = reply.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        Ok(runs)
    }

    pub(super) async fn history(&self, run_id: &str, key: &str) -> Result<Vec<Metric>, TrackingError> {
        let (mut points, mut token) = (Vec::<Metric>::new(), String::new());
        loop {
            let query =
                [("run_id", run_id), ("metric_key", key), ("max_results", POINTS_PER_PAGE), ("page_token", &token)];
            let query = &query[..3 + usize::from(!token.is_empty())];
            let reply = self.http.get::<HistoryReply>("read a metric's history", "metrics/get-history", query).await;
            let reply = reply.map_err(|error| meaning(error, "run", run_id))?;
            points.extend(reply.metrics.into_iter().map(Metric::from));
            token = reply.next_page_token;
            if token.is_empty() {
                points.sort_by(|a, b| (a.step, a.at).cmp(&(b.step, b.at)).then(a.value.total_cmp(&b.value)));
                return Ok(points);
            }
        }
    }
}

fn order_by((field, direction): &(Field, Direction)) -> String {
    let direction = match direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    };
    format!("{field} {direction}")
}

fn filter(condition: &Condition) -> Result<String, TrackingError> {
    let operand = match &condition.operand {
        Operand::Number(number) => number.to_string(),
        Operand::Text(text) => quoted(text)?,
    };
    Ok(format!("{} {} {operand}", condition.field, condition.comparison.sign()))
}

/// MLflow's filters know no escapes, so a text in quotes must not hold that quote.
pub(super) fn quoted(text: &str) -> Result<String, TrackingError> {
    let quote = ['\'', '"'].into_iter().find(|quote| !text.contains(*quote));
    let quote = quote.ok_or_else(|| {
        TrackingError::invalid("search value", text, "MLflow cannot search for a text with both kinds of quotes")
    })?;
    Ok(format!("{quote}{text}{quote}"))
}
