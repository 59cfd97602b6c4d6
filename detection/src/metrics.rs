//! What a detector at work counts, as Prometheus scrapes it. Every name is declared here.

use crate::quality::Quality;
use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use server::listen::{ConnectionCounters, ConnectionLimits, Listening};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::net::TcpListener;

/// Every name begins with it.
pub const PREFIX: &str = "berth_trainer_anomaly";

/// One label of a closed set of values.
type Label = [(&'static str, &'static str); 1];

/// The counters of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    connections: ConnectionCounters,
    messages: Counter,
    anomalies: Family<Label, Counter>,
    errors: Family<Label, Counter>,
    seconds: Histogram,
    labelled: Family<[(&'static str, &'static str); 2], Counter>,
    precision: Gauge<f64, AtomicU64>,
    recall: Gauge<f64, AtomicU64>,
    false_positive_rate: Gauge<f64, AtomicU64>,
    link_up: Family<Label, Gauge>,
    retries: Family<Label, Counter>,
    alerts: Family<Label, Counter>,
    alerts_waiting: Gauge,
    delay: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        // From 10 µs to 5 s: one reading takes tens of microseconds, a visit to a server tens of milliseconds.
        let seconds = Histogram::new(exponential_buckets(1e-5, 3.0, 13));
        let delay = Histogram::new([1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0]);
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            connections: ConnectionCounters::default(),
            messages: Counter::default(),
            anomalies: Family::default(),
            errors: Family::default(),
            seconds,
            labelled: Family::default(),
            precision: Gauge::default(),
            recall: Gauge::default(),
            false_positive_rate: Gauge::default(),
            link_up: Family::default(),
            retries: Family::default(),
            alerts: Family::default(),
            alerts_waiting: Gauge::default(),
            delay,
        };
        metrics.set_quality(&Quality::default());
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        self.connections.register(registry);
        registry.register("messages_processed", "Readings that were scored or refused", self.messages.clone());
        registry.register("anomalies_detected", "Odd readings by severity", self.anomalies.clone());
        registry.register("errors", "Readings that could not be scored, by reason", self.errors.clone());
        registry.register(
            "processing_seconds",
            "Time to read and score one reading, or one round of a live cluster",
            self.seconds.clone(),
        );
        registry.register(
            "labelled_readings",
            "Readings that came with a label, by label and by what was said",
            self.labelled.clone(),
        );
        registry.register(
            "precision_ratio",
            "Share of the flagged readings that were anomalies; NaN without labels",
            self.precision.clone(),
        );
        registry.register(
            "recall_ratio",
            "Share of the anomalies that were flagged; NaN without labels",
            self.recall.clone(),
        );
        registry.register(
            "false_positive_ratio",
            "Share of the usual readings that were flagged; NaN without labels",
            self.false_positive_rate.clone(),
        );
        registry.register("connected", "1 while the server answers, else 0", self.link_up.clone());
        registry.register("retries", "Requests to a server that were sent again", self.retries.clone());
        registry.register("alerts_sent", "Alerts that Alertmanager took, by state", self.alerts.clone());
        registry.register("alerts_waiting", "Alerts that Alertmanager has not taken yet", self.alerts_waiting.clone());
        registry.register(
            "detection_delay_seconds",
            "From the newest sample to the alarm that it completed",
            self.delay.clone(),
        );
    }

    /// One reading was dealt with in so many seconds.
    pub fn processed(&self, seconds: f64) {
        self.messages.inc();
        self.seconds.observe(seconds);
    }

    /// A round over so many nodes was dealt with.
    pub fn round(&self, readings: u64, seconds: f64) {
        self.messages.inc_by(readings);
        self.seconds.observe(seconds);
    }

    /// A reading was odd.
    pub fn anomaly(&self, severity: &'static str) {
        self.anomalies.get_or_create(&[("severity", severity)]).inc();
    }

    /// A reading could not be scored.
    pub fn error(&self, reason: &'static str) {
        self.errors.get_or_create(&[("reason", reason)]).inc();
    }

    /// A reading had a label.
    pub fn labelled(&self, was_anomaly: bool, was_flagged: bool, quality: &Quality) {
        let label = if was_anomaly { "anomaly" } else { "usual" };
        let flagged = if was_flagged { "true" } else { "false" };
        self.labelled.get_or_create(&[("label", label), ("flagged", flagged)]).inc();
        self.set_quality(quality);
    }

    fn set_quality(&self, quality: &Quality) {
        self.precision.set(quality.precision().unwrap_or(f64::NAN));
        self.recall.set(quality.recall().unwrap_or(f64::NAN));
        self.false_positive_rate.set(quality.false_positive_rate().unwrap_or(f64::NAN));
    }

    /// A server (`kafka`, `prometheus`, `alertmanager`) answers, or does not.
    pub fn connected(&self, server: &'static str, is_up: bool) {
        self.link_up.get_or_create(&[("server", server)]).set(i64::from(is_up));
    }

    /// A request was sent again.
    pub fn retried(&self, server: &'static str) {
        self.retries.get_or_create(&[("server", server)]).inc();
    }

    /// Alertmanager took alerts (`firing`, `resolved`).
    pub fn alerts_sent(&self, state: &'static str, count: u64) {
        self.alerts.get_or_create(&[("state", state)]).inc_by(count);
    }

    /// So many alerts wait for Alertmanager.
    pub fn alerts_waiting(&self, count: usize) {
        self.alerts_waiting.set(count as i64);
    }

    /// An alarm came so long after the sample that completed it.
    pub fn detected_after(&self, seconds: f64) {
        self.delay.observe(seconds);
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Connections at once: scrapers and probes are few.
const CONNECTIONS: usize = 64;

/// Serves `/metrics` and `/healthz` until the process ends. It is plain HTTP and tells figures alone: bind it to an address
/// that only the scraper reaches.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("failed to listen on `{address}` for /metrics"))?;
    let bound = listener.local_addr()?;
    let counters = metrics.connections.clone();
    let router = Router::new().route("/metrics", get(scrape)).route("/healthz", get(async || "ok")).with_state(metrics);
    let limits = ConnectionLimits { most: CONNECTIONS, ..ConnectionLimits::default() };
    let listening = Listening { listener, tls: None, limits, counters };
    // A connection, or an answer, that fails ends by itself; the listener goes on until the process ends.
    tokio::spawn(listening.serve(router, Duration::ZERO, std::future::pending()));
    tracing::info!(%bound, "serving /metrics");
    Ok(bound)
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_find_the_names_that_they_expect() {
        let metrics = Metrics::default();
        metrics.processed(0.001);
        metrics.anomaly("critical");
        metrics.error("not_json");
        let quality = Quality { true_positives: 3, false_positives: 1, ..Quality::default() };
        metrics.labelled(true, true, &quality);
        let text = metrics.text();
        for line in [
            "berth_trainer_anomaly_messages_processed_total 1",
            "berth_trainer_anomaly_anomalies_detected_total{severity=\"critical\"} 1",
            "berth_trainer_anomaly_errors_total{reason=\"not_json\"} 1",
            "berth_trainer_anomaly_processing_seconds_count 1",
            "berth_trainer_anomaly_labelled_readings_total{label=\"anomaly\",flagged=\"true\"} 1",
            "berth_trainer_anomaly_precision_ratio 0.75",
            "berth_trainer_anomaly_recall_ratio 1",
            "berth_trainer_anomaly_false_positive_ratio 1",
        ] {
            assert!(text.lines().any(|got| got.starts_with(line)), "`{line}` is not in\n{text}");
        }
    }
}
