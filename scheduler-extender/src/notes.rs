//! A pod that was placed by a score gets an event, and where the rules say so a short annotation, at a bounded rate: whoever looks at it with
//! kubectl sees what it was about.

use crate::decision::Decision;
use crate::kubernetes::{Api, ApiPath, Event};
use crate::metrics::Metrics;
use crate::rules::Book;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Where the annotation is.
pub const ANNOTATION: &str = "berth.io/decision";
/// Notes that wait; more are counted and left out.
const QUEUE: usize = 64;

/// Where notes are handed in.
#[derive(Debug, Clone)]
pub struct Notes {
    queue: Sender<Decision>,
    metrics: Arc<Metrics>,
}

impl Notes {
    /// A queue, and what writes it; `a_second` of 0 writes nothing.
    pub fn new(metrics: Arc<Metrics>) -> (Self, Receiver<Decision>) {
        let (queue, notes) = channel(QUEUE);
        (Self { queue, metrics }, notes)
    }

    /// Hands in a decision whose pod was bound.
    pub fn put(&self, decision: Decision) {
        if self.queue.try_send(decision).is_err() {
            self.metrics.noted("limited");
        }
    }
}

/// Writes notes for as long as the process lives.
pub async fn write(api: Api, book: Arc<Book>, mut notes: Receiver<Decision>, a_second: u32, metrics: Arc<Metrics>) {
    let (mut since, mut left) = (Instant::now(), a_second);
    while let Some(decision) = notes.recv().await {
        if since.elapsed() >= Duration::from_secs(1) {
            (since, left) = (Instant::now(), a_second);
        }
        if left == 0 {
            metrics.noted("limited");
            continue;
        }
        left -= 1;
        match note(&api, &decision, book.rules().annotate).await {
            Ok(()) => metrics.noted("ok"),
            Err(error) => {
                metrics.noted("failed");
                tracing::debug!(
                    error = format!("{error:#}"),
                    pod = decision.pod,
                    "failed to note a decision on its pod"
                );
            }
        }
    }
}

async fn note(api: &Api, decision: &Decision, annotate: bool) -> anyhow::Result<()> {
    let Some(bound) = &decision.bound else { return Ok(()) };
    // As the API server has told them, not whoever asked.
    let (namespace, pod) = (&bound.namespace, &bound.name);
    let points = decision.brief(&bound.node).map(|brief| brief.points);
    let line = decision.best.iter().find(|line| line.node == bound.node);
    let score = line.and_then(|line| line.score).map_or("unknown".to_owned(), |score| format!("{score:.2}"));
    let best = decision.first().map_or("", |first| first.node.as_str());
    if annotate {
        let text = format!(
            "node={} score={score} points={} best={best} candidates={} id={}",
            bound.node,
            points.unwrap_or_default(),
            decision.candidates,
            decision.id
        );
        let change = json!({ "metadata": { "annotations": { ANNOTATION: text } } });
        api.patch(&ApiPath::pod(namespace, pod)?, &change).await?;
    }
    let message = format!(
        "Scored {} candidates: {} has {} of 10 points, the best was {best}; decision {}",
        decision.candidates,
        bound.node,
        points.unwrap_or_default(),
        decision.id
    );
    let told = Event {
        kind: "Pod",
        namespace,
        name: pod,
        uid: &bound.uid,
        reason: "ScoredByBerth",
        is_warning: false,
        message: &message,
    };
    api.tell(&told).await?;
    Ok(())
}
