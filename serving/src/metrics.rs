//! What the server counts, as Prometheus scrapes it. Every name is declared here.

use crate::http::listen::ConnectionCounters;
use crate::journal::Counted;
use crate::registry::ModelName;
use crate::rollout::quality::ForecastErrors;
use crate::rollout::{Arm, Report};
use crate::score::Memo;
use crate::shadow::Compared;
use models::load::{HeadKey, Tally};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Every name begins with it.
pub const PREFIX: &str = "berth_serving";

type Label = [(&'static str, &'static str); 1];
type Labels = [(&'static str, &'static str); 2];
/// Of a head, whose name is made of its key.
type Outcome = [(&'static str, String); 2];

/// The counters of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What the listener counts.
    pub connections: ConnectionCounters,
    requests: Family<Labels, Counter>,
    seconds: Family<Label, Histogram>,
    rows: Family<Label, Counter>,
    shed: Counter,
    swaps: Family<Label, Counter>,
    refusals: Family<Label, Counter>,
    refreshes: Family<Label, Counter>,
    nodes: Gauge,
    clock_skew: Gauge<f64, AtomicU64>,
    candidates: Family<Label, Counter>,
    features_seconds: Histogram,
    view_seconds: Histogram,
    p90_outcomes: Family<Outcome, Counter>,
    fresh_fit_error: Family<Label, Gauge<f64, AtomicU64>>,
    fresh_fit_returns: Counter,
    logged: Counter,
    log_dropped: Family<Label, Counter>,
    shadow_comparisons: Family<Label, Gauge>,
    shadow_agreement: Family<Label, Gauge<f64, AtomicU64>>,
    shadow_difference: Family<Label, Gauge<f64, AtomicU64>>,
    shadow_skipped: Counter,
    inference_events: Family<Label, Counter>,
    polls: Family<Label, Counter>,
    redis_failures: Counter,
    rollout_percent: Gauge<f64, AtomicU64>,
    rollout_pods: Family<Labels, Counter>,
    rollout_returns: Family<Label, Counter>,
    rollout_forecast_error: Family<Label, Gauge<f64, AtomicU64>>,
    rollout_choice_loss: Family<Label, Gauge<f64, AtomicU64>>,
    rollout_alarms: Family<Label, Gauge<f64, AtomicU64>>,
}

/// From 50 µs to 3 s.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(5e-5, 2.5, 13))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            connections: ConnectionCounters::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(durations),
            rows: Family::default(),
            shed: Counter::default(),
            swaps: Family::default(),
            refusals: Family::default(),
            refreshes: Family::default(),
            nodes: Gauge::default(),
            clock_skew: Gauge::default(),
            candidates: Family::default(),
            features_seconds: durations(),
            view_seconds: durations(),
            p90_outcomes: Family::default(),
            fresh_fit_error: Family::default(),
            fresh_fit_returns: Counter::default(),
            logged: Counter::default(),
            log_dropped: Family::default(),
            shadow_comparisons: Family::default(),
            shadow_agreement: Family::default(),
            shadow_difference: Family::default(),
            shadow_skipped: Counter::default(),
            inference_events: Family::default(),
            polls: Family::default(),
            redis_failures: Counter::default(),
            rollout_percent: Gauge::default(),
            rollout_pods: Family::default(),
            rollout_returns: Family::default(),
            rollout_forecast_error: Family::default(),
            rollout_choice_loss: Family::default(),
            rollout_alarms: Family::default(),
        };
        let registry = &mut metrics.registry;
        metrics.connections.register(registry);
        registry.register("requests", "Requests by model and outcome (ok, refused, failed)", metrics.requests.clone());
        registry.register("request_duration_seconds", "Time to answer a request, by model", metrics.seconds.clone());
        registry.register("rows", "Rows or scores that were answered, by model", metrics.rows.clone());
        registry.register("requests_shed", "Requests refused because too many were under way", metrics.shed.clone());
        registry.register("model_swaps", "Versions that took the place of another, or of none", metrics.swaps.clone());
        registry.register("model_refusals", "Looks at an origin that found nothing usable", metrics.refusals.clone());
        registry.register("refreshes", "Rounds over all nodes, by outcome (ok, failed)", metrics.refreshes.clone());
        registry.register("nodes", "Nodes that are known", metrics.nodes.clone());
        registry.register(
            "clock_skew_seconds",
            "How far the clock of Prometheus is ahead of this machine's",
            metrics.clock_skew.clone(),
        );
        registry.register(
            "candidates",
            "Nodes that were scored, by whether the last pod of the kind had left its result (remembered, worked_out)",
            metrics.candidates.clone(),
        );
        registry.register(
            "features_duration_seconds",
            "Time to make the feature rows of all nodes",
            metrics.features_seconds.clone(),
        );
        registry.register(
            "view_duration_seconds",
            "Time to forecast and judge all nodes from their feature rows",
            metrics.view_seconds.clone(),
        );
        registry.register(
            "p90_outcomes",
            "Forecasts by the champion whose hour has passed, by head and by whether the load stayed at or below the served P90 (covered, missed)",
            metrics.p90_outcomes.clone(),
        );
        registry.register(
            "fresh_fit_error_ratio",
            "Mean absolute error of forecasts in a fresh fit's first day, by fit (fresh, judged)",
            metrics.fresh_fit_error.clone(),
        );
        registry.register(
            "fresh_fit_returns",
            "Times that the judged model took the place of a fresh fit that did worse",
            metrics.fresh_fit_returns.clone(),
        );
        registry.register("predictions_logged", "Records written to the prediction log", metrics.logged.clone());
        registry.register(
            "predictions_dropped",
            "Records that the prediction log lost, by reason (queue_full, disk)",
            metrics.log_dropped.clone(),
        );
        registry.register(
            "shadow_comparisons",
            "Answers of this challenger that were compared, by model",
            metrics.shadow_comparisons.clone(),
        );
        registry.register(
            "shadow_agreement_ratio",
            "Share of them that agree with the champion's",
            metrics.shadow_agreement.clone(),
        );
        registry.register(
            "shadow_difference_ratio",
            "Mean absolute difference of forecasts (utilization) or anomaly scores",
            metrics.shadow_difference.clone(),
        );
        registry.register(
            "shadow_skipped",
            "Choices that there was no time to compare",
            metrics.shadow_skipped.clone(),
        );
        registry.register(
            "polls",
            "Spans of samples or pods that came in while replicas share a poller, by source (prometheus, redis)",
            metrics.polls.clone(),
        );
        registry.register("redis_failures", "Times that Redis did not help", metrics.redis_failures.clone());
        registry.register(
            "inference_events",
            "Requests and responses that KServe's logger sent, by outcome (paired, repeated, unpaired, refused)",
            metrics.inference_events.clone(),
        );
        registry.register(
            "rollout_percent",
            "Percent of workloads that the challenger should answer for",
            metrics.rollout_percent.clone(),
        );
        registry.register(
            "rollout_pods",
            "Pods scored beside a challenger, by arm (champion, challenger) and outcome (ok, failed)",
            metrics.rollout_pods.clone(),
        );
        registry.register(
            "rollout_returns",
            "Times that the challenger was taken back without being asked, by limit (errors, latency, quality, choices, alarms, version)",
            metrics.rollout_returns.clone(),
        );
        registry.register(
            "rollout_forecast_error_ratio",
            "Mean absolute error of forecasts whose hour has passed, by arm",
            metrics.rollout_forecast_error.clone(),
        );
        registry.register(
            "rollout_choice_loss_ratio",
            "Load score that the chosen nodes lacked an hour later, by arm",
            metrics.rollout_choice_loss.clone(),
        );
        registry.register(
            "rollout_alarms_ratio",
            "Readings of nodes that are alarms, by arm",
            metrics.rollout_alarms.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, model: &'static str, outcome: &'static str, rows: usize, took: Duration) {
        self.requests.get_or_create(&[("model", model), ("outcome", outcome)]).inc();
        self.seconds.get_or_create(&[("model", model)]).observe(took.as_secs_f64());
        self.rows.get_or_create(&[("model", model)]).inc_by(rows as u64);
    }

    /// A view's memory of what was worked out, which is counted here.
    pub fn memo(&self) -> Memo {
        let counter = |what| self.candidates.get_or_create(&[("source", what)]).clone();
        Memo::counted(counter("remembered"), counter("worked_out"))
    }

    /// A request was refused because too many were under way.
    pub fn was_shed(&self) {
        self.shed.inc();
    }

    /// A version took the place of another.
    pub fn swapped(&self, model: ModelName) {
        self.swaps.get_or_create(&[("model", model.as_str())]).inc();
    }

    /// Nothing usable was found.
    pub fn refused(&self, model: ModelName) {
        self.refusals.get_or_create(&[("model", model.as_str())]).inc();
    }

    /// A round over so many nodes; to forecast and judge them took so long.
    pub fn refreshed(&self, nodes: usize, took: Duration) {
        self.view_seconds.observe(took.as_secs_f64());
        self.refreshes.get_or_create(&[("outcome", "ok")]).inc();
        self.nodes.set(nodes as i64);
    }

    /// A round that got no samples.
    pub fn refresh_failed(&self) {
        self.refreshes.get_or_create(&[("outcome", "failed")]).inc();
    }

    /// The source's clock was so far ahead of ours, in milliseconds.
    pub fn clock_skew(&self, skew: i64) {
        self.clock_skew.set(skew as f64 / 1e3);
    }

    /// The feature rows of all nodes took so long.
    pub fn features_took(&self, took: Duration) {
        self.features_seconds.observe(took.as_secs_f64());
    }

    /// So many of a head's forecasts have been overtaken by their hour.
    pub fn p90_outcomes(&self, head: HeadKey, tally: Tally) {
        for (outcome, count) in [("covered", tally.outcomes - tally.missed), ("missed", tally.missed)] {
            let labels = [("head", head.slug()), ("outcome", outcome.to_owned())];
            self.p90_outcomes.get_or_create(&labels).inc_by(count);
        }
    }

    /// How a fresh fit does beside the judged model.
    pub fn fresh_fit(&self, errors: &ForecastErrors) {
        for (fit, value) in [("fresh", errors.challenger), ("judged", errors.champion)] {
            if let Some(value) = value {
                self.fresh_fit_error.get_or_create(&[("fit", fit)]).set(value);
            }
        }
    }

    /// The judged model took the place of its fresh fit.
    pub fn fresh_fit_taken_back(&self) {
        self.fresh_fit_returns.inc();
    }

    /// What is known of a challenger.
    pub fn shadow(&self, model: ModelName, compared: &Compared) {
        let label = [("model", model.as_str())];
        self.shadow_comparisons.get_or_create(&label).set(compared.comparisons as i64);
        self.shadow_agreement.get_or_create(&label).set(compared.agreement);
        self.shadow_difference.get_or_create(&label).set(compared.mean_difference);
    }

    /// There was no time to compare a choice.
    pub fn shadow_skipped(&self) {
        self.shadow_skipped.inc();
    }

    /// Something came in, from the server itself or by way of Redis.
    pub fn polled(&self, source: &'static str) {
        self.polls.get_or_create(&[("source", source)]).inc();
    }

    /// Redis was away, or held something else.
    pub fn redis_failed(&self) {
        self.redis_failures.inc();
    }

    /// Halves of inferences that others made.
    pub fn inference_event(&self, outcome: &'static str, count: u64) {
        self.inference_events.get_or_create(&[("outcome", outcome)]).inc_by(count);
    }

    /// The challenger has such a share.
    pub fn rollout_percent(&self, percent: f64) {
        self.rollout_percent.set(percent);
    }

    /// A pod was scored by one of two arms.
    pub fn rollout_scored(&self, arm: Arm, failed: bool) {
        let outcome = if failed { "failed" } else { "ok" };
        self.rollout_pods.get_or_create(&[("arm", arm.as_str()), ("outcome", outcome)]).inc();
    }

    /// The challenger was taken back.
    pub fn rollout_returned(&self, limit: &'static str) {
        self.rollout_returns.get_or_create(&[("limit", limit)]).inc();
    }

    /// How the forecasts, choices and alarms of both arms turned out so far.
    pub fn rollout_quality(&self, report: &Report) {
        let (forecasts, choices, alarms) = (&report.forecasts, &report.choices, &report.alarms);
        for (family, champion, challenger) in [
            (&self.rollout_forecast_error, forecasts.champion, forecasts.challenger),
            (&self.rollout_choice_loss, choices.champion, choices.challenger),
            (&self.rollout_alarms, alarms.champion, alarms.challenger),
        ] {
            for (arm, value) in [(Arm::Champion, champion), (Arm::Challenger, challenger)] {
                if let Some(value) = value {
                    family.get_or_create(&[("arm", arm.as_str())]).set(value);
                }
            }
        }
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Counted for Metrics {
    fn logged(&self, count: u64) {
        self.logged.inc_by(count);
    }

    fn log_dropped(&self, reason: &'static str, count: u64) {
        self.log_dropped.get_or_create(&[("reason", reason)]).inc_by(count);
    }
}
