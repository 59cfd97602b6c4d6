//! What a request of the protocol is for, and its answer: the same over REST and gRPC.

use crate::http::App;
use crate::predictions::Record;
use crate::protocol::{InferRequest, InferResponse, Refusal, Tensor};
use crate::registry::{ModelName, ServedModel};
use crate::{combined, infer};
use axum::http::StatusCode;
use serde_json::Value;
use server::gate::Work;
use std::sync::Arc;

/// An element of an answer as a number, and about twice as much as text.
const OUTPUT_BYTES: usize = 24;

/// What a request is for.
#[derive(Debug, Clone)]
pub enum Target {
    /// A version of a trained model. It goes on answering after another has taken its place.
    Trained(Arc<ServedModel>),
    /// Scores of nodes.
    Combined,
}

impl Target {
    /// The model of this name and, where one is named, this version.
    ///
    /// # Errors
    /// 404 for what there is not, 503 for a model of which no version is loaded.
    pub fn find(app: &App, model: &str, version: Option<&str>) -> Result<Self, Refusal> {
        let name = app.model_of(model)?;
        if name == ModelName::Combined {
            return match version {
                None | Some(combined::VERSION) => Ok(Self::Combined),
                Some(version) => Err(Refusal::not_found(format!("`{model}` has no version `{version}`"))),
            };
        }
        let current = app.registry.current(name);
        let Some(version) = version else {
            let missing = || Refusal::not_now(format!("no version of `{model}` is loaded; /model-info says why"));
            return current.map(Self::Trained).ok_or_else(missing);
        };
        let challenger = app.rollout.as_ref().and_then(|rollout| rollout.shadow.challengers.current(name));
        let held = [current, app.registry.previous(name), challenger];
        let found = held.into_iter().flatten().find(|model| model.version == version);
        found
            .map(Self::Trained)
            .ok_or_else(|| Refusal::not_found(format!("version `{version}` of `{model}` is not in memory")))
    }

    /// What the model is: name, versions, inputs, outputs.
    pub fn describe(&self, app: &App) -> Value {
        match self {
            Self::Combined => combined::describe(),
            Self::Trained(model) => {
                let held = [app.registry.current(model.name), app.registry.previous(model.name)];
                let versions: Vec<String> = held.into_iter().flatten().map(|model| model.version.clone()).collect();
                infer::describe(model, &versions)
            }
        }
    }

    /// Whether it answers now.
    ///
    /// # Errors
    /// 404 for what there is not.
    pub fn is_ready(app: &App, model: &str, version: Option<&str>) -> Result<bool, Refusal> {
        match Self::find(app, model, version) {
            Ok(Self::Combined) => Ok(app.lacking().is_empty()),
            Ok(Self::Trained(_)) => Ok(true),
            Err(refusal) if refusal.status == StatusCode::SERVICE_UNAVAILABLE => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Answers, and keeps the prediction. This is work for the processor: not for a thread that answers others.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn answer(&self, app: &App, request: &InferRequest, work: &Work) -> Result<InferResponse, Refusal> {
        match self {
            Self::Combined => combined::infer(app, request, work),
            Self::Trained(model) => {
                let answer = infer::infer(model, request, app.limits.rows, work)?;
                if let Some(log) = &app.log {
                    let tensors = request.inputs.iter().chain(&answer.outputs);
                    let bytes = tensors.map(Tensor::bytes).sum();
                    log.put_with(bytes, || Record::of_inference(model, request, &answer));
                }
                Ok(answer)
            }
        }
    }

    /// About how much memory the answer to a request takes, in bytes.
    pub fn memory(&self, request: &InferRequest) -> usize {
        let rows = request.inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or_default();
        let outputs = match self {
            // With what each score is made of.
            Self::Combined => 24,
            Self::Trained(model) => infer::outputs(model).len(),
        };
        rows.saturating_mul(outputs * OUTPUT_BYTES)
    }
}

/// Rows of an answer, for the counters.
pub fn rows_of(answer: &InferResponse) -> usize {
    answer.outputs.first().and_then(|output| output.shape.first()).copied().unwrap_or(0)
}

/// How a request ended, for the counters.
pub fn outcome<T>(result: &Result<T, Refusal>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(refusal) if refusal.status.is_server_error() => "failed",
        Err(_) => "refused",
    }
}
