//! The server: routes, limits, start and end.

mod counts;
pub(crate) mod guard;
mod inferences;
mod info;
mod nodes;
mod openapi;
mod v2;

use crate::events::Events;
use crate::metrics::Metrics;
use crate::nodes::{ClusterView, Fresh};
use crate::predictions::{PredictionLog, Record};
use crate::protocol::Refusal;
use crate::registry::{ModelName, Registry};
use crate::rollout::Rollout;
use crate::score::{ScoreRules, score};
use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use score_api::{NODES_PATH, SCORE_PATH, ScoreAnswer, ScoreRequest};
use server::body::{Bodies, decoding};
use server::budget::Budget;
use server::gate::{Gate, Work};
use server::token::Token;
use std::sync::Arc;
use std::time::Duration;

pub use openapi::document;
pub use server::{listen, tls};

/// Scores that are worked out before it is looked again whether somebody waits for them: some milliseconds.
const SCORES_AT_ONCE: usize = 4_096;

/// What the server allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a body, once decompressed.
    pub body: usize,
    /// Bytes of memory that the bodies of requests under way may take together.
    pub memory: usize,
    /// Rows or scores of a request.
    pub rows: usize,
    /// Requests under way.
    pub concurrent: usize,
    /// Time for one request.
    pub time: Duration,
}

/// All that a request may need.
#[derive(Debug)]
pub struct App {
    /// The models.
    pub registry: Arc<Registry>,
    /// The nodes.
    pub fresh: Arc<Fresh>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How scores are made.
    pub rules: ScoreRules,
    /// What is allowed.
    pub limits: Limits,
    /// Whether scores of nodes are served.
    pub serves_scores: bool,
    /// Challengers beside the models, and what they answer for.
    pub rollout: Option<Arc<Rollout>>,
    /// Where predictions are kept.
    pub log: Option<PredictionLog>,
    /// The token that clients must send.
    pub token: Option<Token>,
    /// Predictions of others of which one half is there.
    pub events: Events,
    /// How bodies are read.
    pub(crate) bodies: Bodies,
    pub(crate) gate: Gate,
}

impl App {
    /// An application with an open gate.
    #[expect(clippy::too_many_arguments, reason = "it only puts together what was made elsewhere")]
    pub fn new(
        registry: Arc<Registry>,
        fresh: Arc<Fresh>,
        metrics: Arc<Metrics>,
        rules: ScoreRules,
        limits: Limits,
        serves_scores: bool,
        rollout: Option<Arc<Rollout>>,
        log: Option<PredictionLog>,
        token: Option<Token>,
    ) -> Self {
        let gate = Gate::new(limits.concurrent);
        let bodies = Bodies::new(limits.body, Budget::new(limits.memory));
        let events = Events::new(limits.memory / 4, Arc::clone(&metrics));
        Self { registry, fresh, metrics, rules, limits, serves_scores, rollout, log, token, events, bodies, gate }
    }

    /// What is not ready yet, one sentence each.
    pub fn lacking(&self) -> Vec<String> {
        let mut lacking = self.registry.lacking();
        if self.serves_scores && self.fresh.view().at == 0 {
            lacking.push("no samples of nodes yet".to_owned());
        }
        lacking
    }

    /// Scores pods by the versions that answer for them, and keeps what was answered. Between pods it is looked whether somebody still
    /// waits for it.
    ///
    /// # Errors
    /// 408 where nobody does.
    pub fn score(&self, request: &ScoreRequest, work: &Work) -> Result<ScoreAnswer, Refusal> {
        let (view, now) = (self.fresh.view(), self.fresh.now());
        let nodes = if request.nodes.is_empty() { view.nodes.len() } else { request.nodes.len() };
        let at_once = (SCORES_AT_ONCE / nodes.max(1)).max(1);
        if request.pods.len() <= at_once {
            return Ok(self.score_by(request, &view, now));
        }
        let mut part = ScoreRequest {
            pods: Vec::new(),
            nodes: request.nodes.clone(),
            in_flight: request.in_flight.clone(),
            explain: Some(request.wants_explanations()),
        };
        let mut whole: Option<ScoreAnswer> = None;
        for pods in request.pods.chunks(at_once) {
            work.check()?;
            part.pods = pods.to_vec();
            let answer = self.score_by(&part, &view, now);
            match &mut whole {
                Some(whole) => whole.pods.extend(answer.pods),
                None => whole = Some(answer),
            }
        }
        whole.ok_or_else(|| Refusal::bad("`pods` is empty, want at least one pod"))
    }

    fn score_by(&self, request: &ScoreRequest, view: &ClusterView, now: i64) -> ScoreAnswer {
        let keep = |request: &ScoreRequest, answer: &ScoreAnswer| {
            if let Some(log) = &self.log {
                log.put_with(Record::bytes_of_scores(request), || Record::of_scores(request, answer));
            }
        };
        match &self.rollout {
            Some(rollout) => rollout.score(request, view, &self.rules, now, keep),
            None => {
                let answer = score(request, view, &self.registry, None, &self.rules, now);
                keep(request, &answer);
                answer
            }
        }
    }

    /// The model of this name, if it is served.
    pub(crate) fn model_of(&self, name: &str) -> Result<ModelName, Refusal> {
        let model = ModelName::parse(name).filter(|model| self.served().contains(model));
        model.ok_or_else(|| {
            let names: Vec<&str> = self.served().into_iter().map(ModelName::as_str).collect();
            Refusal::not_found(format!("there is no model `{name}`; there is {}", names.join(", ")))
        })
    }

    /// The models that are served.
    pub(crate) fn served(&self) -> Vec<ModelName> {
        let mut names: Vec<ModelName> = self.registry.slots().into_keys().collect();
        if self.serves_scores {
            names.push(ModelName::Combined);
        }
        names
    }
}

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    let guarded = Router::new()
        .route("/v2", get(v2::server))
        // As the protocol's own description writes it.
        .route("/v2/", get(v2::server))
        .route("/v2/models", get(v2::models))
        .route("/v2/models/{model}", get(v2::metadata))
        .route("/v2/models/{model}/ready", get(v2::model_ready))
        .route("/v2/models/{model}/infer", post(v2::infer))
        .route("/v2/models/{model}/versions/{version}", get(v2::version_metadata))
        .route("/v2/models/{model}/versions/{version}/ready", get(v2::version_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(v2::version_infer))
        .route(SCORE_PATH, post(nodes::score))
        .route(NODES_PATH, get(nodes::list))
        .route("/v1/nodes/{node}", get(nodes::one))
        .route("/v1/shadow", get(info::shadow))
        .route("/v1/rollout", get(info::rollout))
        .route("/v1/inference-events", post(inferences::take_in))
        .route("/model-info", get(info::model_info));
    // Compressed bodies are looked into only once their request is let in.
    let guarded = decoding(guarded, app.bodies.clone())
        .layer(from_fn_with_state(Arc::clone(&app), guard::guard))
        // It has its own guard, since it has its own words for a refusal.
        .route("/inference.GRPCInferenceService/{method}", post(crate::grpc::call));
    Router::new()
        .merge(guarded)
        // Probes, scrapers and readers are answered whatever else goes on.
        .route("/v2/health/live", get(v2::live))
        .route("/v2/health/ready", get(v2::ready))
        .route("/health", get(info::health))
        .route("/metrics", get(info::metrics))
        .route("/openapi.json", get(info::openapi))
        .route("/docs", get(info::docs))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// Parsing and forecasting are work for the processor: they leave the threads that answer others. The request's place is held as long
/// as that takes, whatever its client was told meanwhile.
pub(crate) async fn off_the_loop<T: Send + 'static>(
    work: Work,
    does: impl FnOnce(&Work) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let does = move || work.check().and_then(|()| does(&work));
    tokio::task::spawn_blocking(does).await.unwrap_or_else(|error| Err(Refusal::failed(error)))
}

async fn unknown_path(uri: Uri) -> Refusal {
    Refusal::not_found(format!("there is nothing at `{}`; /docs lists what there is", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        message: format!("{method} is not what `{}` wants; see /docs", uri.path()),
    }
}
