//! What the extender counts, as Prometheus scrapes it. Every name is declared here; labels come from closed sets.

use crate::health::{Concern, State};
use crate::ledger::{Release, Totals};
use crate::rollout::Neutral;
use crate::rules::{Mode, Rules};
use crate::scoring::Condition;
use crate::shadow::Tally;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use serving::http::listen::ConnectionCounters;
use serving::journal::Counted;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Every name begins with it.
pub const PREFIX: &str = "berth_scheduler_extender";

type Label = [(&'static str, &'static str); 1];
type Labels = [(&'static str, &'static str); 2];
type Float = Gauge<f64, AtomicU64>;

/// The counters of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram>,
    scoring_seconds: Histogram,
    decisions: Family<Labels, Counter>,
    neutral: Family<Label, Counter>,
    unscored: Counter,
    rejected: Counter,
    state: Family<Label, Gauge>,
    state_changes: Family<Label, Counter>,
    concern: Family<Label, Gauge>,
    data_age: Float,
    nodes: Gauge,
    nodes_stale: Gauge,
    nodes_matched: Float,
    models: Gauge,
    watch_up: Gauge,
    away: Gauge,
    reserved_pods: Gauge,
    reserved_cores: Float,
    reserved_bytes: Float,
    released: Family<Label, Counter>,
    mode: Family<Label, Gauge>,
    percent: Float,
    killed: Gauge,
    reloads: Family<Label, Counter>,
    rules_refused: Gauge,
    outcomes: Family<Label, Gauge>,
    agreement: Family<Label, Float>,
    gain: Family<Label, Float>,
    logged: Counter,
    log_dropped: Family<Label, Counter>,
    notes: Family<Label, Counter>,
    quarantined: Gauge,
    quarantines: Family<Labels, Counter>,
    /// Connections of the listener.
    pub connections: ConnectionCounters,
}

/// From 50 µs to 3 s.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(5e-5, 2.0, 17))
}

/// Candidates in decades: what a latency is to be read against.
fn size_of(candidates: usize) -> &'static str {
    match candidates {
        0..=10 => "10",
        11..=100 => "100",
        101..=1_000 => "1000",
        _ => "more",
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            requests: Family::default(),
            seconds: Family::new_with_constructor(durations),
            scoring_seconds: durations(),
            decisions: Family::default(),
            neutral: Family::default(),
            unscored: Counter::default(),
            rejected: Counter::default(),
            state: Family::default(),
            state_changes: Family::default(),
            concern: Family::default(),
            data_age: Float::default(),
            nodes: Gauge::default(),
            nodes_stale: Gauge::default(),
            nodes_matched: Float::default(),
            models: Gauge::default(),
            watch_up: Gauge::default(),
            away: Gauge::default(),
            reserved_pods: Gauge::default(),
            reserved_cores: Float::default(),
            reserved_bytes: Float::default(),
            released: Family::default(),
            mode: Family::default(),
            percent: Float::default(),
            killed: Gauge::default(),
            reloads: Family::default(),
            rules_refused: Gauge::default(),
            outcomes: Family::default(),
            agreement: Family::default(),
            gain: Family::default(),
            logged: Counter::default(),
            log_dropped: Family::default(),
            notes: Family::default(),
            quarantined: Gauge::default(),
            quarantines: Family::default(),
            connections: ConnectionCounters::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        macro_rules! register {
            ($($field:ident $name:literal $help:literal;)*) => {$(
                self.registry.register($name, $help, self.$field.clone());
            )*};
        }
        register! {
            requests "requests" "Requests by verb and outcome (ok, refused)";
            seconds "request_duration_seconds" "Time from a request's last byte to its answer, by verb and candidates (at most 10, 100, 1000, or more)";
            scoring_seconds "scoring_duration_seconds" "Time to score one pod's candidates";
            decisions "decisions" "Decisions by mode and answer (scored, neutral)";
            neutral "neutral_answers" "Neutral answers by reason";
            unscored "neutral_unscored" "Neutral answers whose candidates there was no time to score afterwards";
            rejected "nodes_rejected" "Nodes that the filter verb rejected";
            state "state" "1 for the state that holds: healthy, degraded, fallback";
            state_changes "state_changes" "Changes of state, by the new one";
            concern "reason" "1 for each reason why the state is not healthy";
            data_age "data_age_seconds" "Age of the newest refresh of all nodes";
            nodes "nodes" "Nodes that metrics name";
            nodes_stale "nodes_stale" "Nodes whose samples are stale";
            nodes_matched "nodes_matched_ratio" "Share of the cluster's nodes that metrics name";
            models "models" "Models that answer";
            watch_up "watch_up" "1 while pods and nodes are heard from the API server";
            away "scorer_away" "1 while the scorer cannot be reached or its breaker is open";
            reserved_pods "reserved_pods" "Pods that were bound and that metrics do not show yet";
            reserved_cores "reserved_cores" "Cores that they are expected to use";
            reserved_bytes "reserved_bytes" "Memory that they are expected to use";
            released "reservations_released" "Reservations that ended, by reason (seen, gone, expired)";
            mode "mode" "1 for the mode in force: shadow, canary, active";
            percent "canary_percent" "Share of workloads in canary";
            killed "killed" "1 while influence is stopped by hand";
            reloads "rules_reloads" "Rules files that were read anew, by outcome (ok, refused)";
            rules_refused "rules_refused" "1 while the rules file as it is cannot be used and older rules are in force";
            outcomes "outcomes" "Pods that were scored and whose node was seen, by answer (scored, neutral)";
            agreement "agreement_ratio" "Share of them that went to the best candidate or one as good, by answer";
            gain "expected_gain_score" "Mean score of the best candidate less that of the pod's node, by answer";
            logged "decisions_logged" "Decisions written to the log";
            log_dropped "decisions_dropped" "Decisions that the log lost, by reason (queue_full, disk, closed)";
            quarantined "quarantined_nodes" "Nodes that carry our taint";
            quarantines "quarantine_changes" "Taints that came or went, by change (taint, free) and outcome (ok, failed)";
            notes "notes" "Annotations and events for pods, by outcome (ok, failed, limited)";
        }
        self.connections.register(&mut self.registry);
        for state in State::ALL {
            self.state.get_or_create(&[("state", state.as_str())]).set(0);
        }
        for concern in Concern::ALL {
            self.concern.get_or_create(&[("reason", concern.as_str())]).set(0);
        }
    }

    /// A request was answered.
    pub fn answered(&self, verb: &'static str, candidates: usize, took: Duration) {
        self.requests.get_or_create(&[("verb", verb), ("outcome", "ok")]).inc();
        self.seconds.get_or_create(&[("verb", verb), ("candidates", size_of(candidates))]).observe(took.as_secs_f64());
    }

    /// A request was refused.
    pub fn refused(&self, verb: &'static str) {
        self.requests.get_or_create(&[("verb", verb), ("outcome", "refused")]).inc();
    }

    /// One pod's candidates were scored.
    pub fn scored(&self, took: Duration) {
        self.scoring_seconds.observe(took.as_secs_f64());
    }

    /// A decision was made; with the reason where it is neutral.
    pub fn decided(&self, mode: Mode, neutral: Option<Neutral>) {
        let answer = if neutral.is_some() { "neutral" } else { "scored" };
        self.decisions.get_or_create(&[("mode", mode.as_str()), ("answer", answer)]).inc();
        if let Some(reason) = neutral {
            self.neutral.get_or_create(&[("reason", reason.as_str())]).inc();
        }
    }

    /// There was no time to score a pod that was answered neutrally.
    pub fn unscored(&self) {
        self.unscored.inc();
    }

    /// Nodes were rejected.
    pub fn rejected(&self, count: usize) {
        self.rejected.inc_by(count as u64);
    }

    /// The state as it is now.
    pub fn state(&self, state: State, changed: bool, raised: &[Concern]) {
        for each in State::ALL {
            self.state.get_or_create(&[("state", each.as_str())]).set(i64::from(each == state));
        }
        for each in Concern::ALL {
            self.concern.get_or_create(&[("reason", each.as_str())]).set(i64::from(raised.contains(&each)));
        }
        if changed {
            self.state_changes.get_or_create(&[("to", state.as_str())]).inc();
        }
    }

    /// What the scorer and the watch say.
    pub fn condition(&self, condition: &Condition, matched: Option<f64>, heard: bool) {
        self.data_age.set(condition.data_age_seconds.unwrap_or(f64::NAN));
        self.nodes.set(condition.nodes as i64);
        self.nodes_stale.set(condition.stale as i64);
        self.nodes_matched.set(matched.unwrap_or(f64::NAN));
        self.models.set(condition.models.len() as i64);
        self.watch_up.set(i64::from(heard));
        self.away.set(i64::from(condition.away));
    }

    /// All reservations.
    pub fn reserved(&self, totals: &Totals) {
        self.reserved_pods.set(totals.pods as i64);
        self.reserved_cores.set(totals.cpu_cores);
        self.reserved_bytes.set(totals.memory_bytes);
    }

    /// Reservations ended.
    pub fn released(&self, release: Release, count: u64) {
        self.released.get_or_create(&[("reason", release.as_str())]).inc_by(count);
    }

    /// The rules in force.
    pub fn rules(&self, rules: &Rules, killed: bool, refused: bool) {
        for mode in Mode::ALL {
            self.mode.get_or_create(&[("mode", mode.as_str())]).set(i64::from(mode == rules.mode));
        }
        self.percent.set(rules.percent);
        self.killed.set(i64::from(killed));
        self.rules_refused.set(i64::from(refused));
    }

    /// The rules file was read anew.
    pub fn reloaded(&self, is_well: bool) {
        self.reloads.get_or_create(&[("outcome", if is_well { "ok" } else { "refused" })]).inc();
    }

    /// How decisions turned out.
    pub fn outcomes(&self, answer: &'static str, tally: &Tally) {
        let label = [("answer", answer)];
        self.outcomes.get_or_create(&label).set(tally.outcomes as i64);
        self.agreement.get_or_create(&label).set(tally.agreement());
        self.gain.get_or_create(&label).set(tally.mean_gain());
    }

    /// A pod's annotation or event.
    pub fn noted(&self, outcome: &'static str) {
        self.notes.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Nodes that carry our taint.
    pub fn quarantined(&self, nodes: usize) {
        self.quarantined.set(nodes as i64);
    }

    /// A taint that came or went, or should have.
    pub fn quarantine(&self, change: &'static str, outcome: &'static str) {
        self.quarantines.get_or_create(&[("change", change), ("outcome", outcome)]).inc();
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
