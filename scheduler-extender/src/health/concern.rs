//! What may be wrong, and what of it is.

use super::{Inner, Second, Signs};
use crate::rules::Guard;
use serde::Serialize;
use serving::nodes::MOST_SKEW;
use std::collections::BTreeMap;

/// A rate or share falls back below this part of its limit before its concern is dropped.
const LEAVE: f64 = 0.8;

/// How far scores may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As wanted.
    Healthy,
    /// With something missing.
    Degraded,
    /// Not at all: answers are neutral.
    #[default]
    Fallback,
}

impl State {
    /// From the best on.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Degraded, Self::Fallback];

    /// As in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Fallback => "fallback",
        }
    }
}

/// What may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// No model is loaded.
    NoModels,
    /// Nothing is known of any node yet.
    NoData,
    /// Too many nodes have stale samples.
    StaleData,
    /// The clock of the source of samples is too far from ours: how old its samples are cannot be told.
    Clock,
    /// Metrics name too few of the cluster's nodes.
    NodesUnmatched,
    /// The scorer cannot be reached, or its breaker is open.
    ScorerAway,
    /// Too many decisions missed the deadline.
    DeadlineMisses,
    /// Too many decisions failed.
    Errors,
    /// Decisions take too long.
    Slow,
    /// Some model is missing or was refused; the others serve.
    ModelMissing,
    /// Some nodes have stale samples.
    SomeStale,
    /// Pods and nodes are not heard from the API server: no new load is reserved.
    WatchLost,
}

impl Concern {
    /// All of them, the gravest first.
    pub const ALL: [Self; 12] = [
        Self::NoModels,
        Self::NoData,
        Self::StaleData,
        Self::Clock,
        Self::NodesUnmatched,
        Self::ScorerAway,
        Self::DeadlineMisses,
        Self::Errors,
        Self::Slow,
        Self::ModelMissing,
        Self::SomeStale,
        Self::WatchLost,
    ];

    /// As in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoModels => "no_models",
            Self::NoData => "no_data",
            Self::StaleData => "stale_data",
            Self::Clock => "clock",
            Self::NodesUnmatched => "nodes_unmatched",
            Self::ScorerAway => "scorer_away",
            Self::DeadlineMisses => "deadline_misses",
            Self::Errors => "errors",
            Self::Slow => "slow",
            Self::ModelMissing => "model_missing",
            Self::SomeStale => "some_stale",
            Self::WatchLost => "watch_lost",
        }
    }

    /// What it does to the state.
    pub const fn state(self) -> State {
        match self {
            Self::ModelMissing | Self::SomeStale | Self::WatchLost => State::Degraded,
            _ => State::Fallback,
        }
    }
}

/// What is wrong now, each with a sentence. A concern that is raised already is judged by a stricter limit.
pub(super) fn found(signs: &Signs, guard: &Guard, inner: &Inner, second: u64) -> BTreeMap<Concern, String> {
    let mut found = BTreeMap::new();
    let limit = |concern: Concern, limit: f64| if inner.raised.contains_key(&concern) { LEAVE * limit } else { limit };
    let condition = &signs.condition;
    if condition.away {
        found.insert(Concern::ScorerAway, "the scorer cannot be reached, or its breaker is open".to_owned());
    }
    if condition.models.is_empty() {
        let why = if condition.lacking.is_empty() {
            "the registry has not been read".to_owned()
        } else {
            condition.lacking.join("; ")
        };
        found.insert(Concern::NoModels, why);
    } else if !condition.lacking.is_empty() {
        found.insert(Concern::ModelMissing, condition.lacking.join("; "));
    }
    if condition.nodes == 0 || condition.data_age_seconds.is_none() {
        found.insert(Concern::NoData, "no samples of nodes yet".to_owned());
    } else if condition.stale > 0 {
        let share = condition.stale as f64 / condition.nodes as f64;
        let said = format!("{} of {} nodes have stale samples", condition.stale, condition.nodes);
        let is_grave = share > limit(Concern::StaleData, guard.stale_nodes);
        found.insert(if is_grave { Concern::StaleData } else { Concern::SomeStale }, said);
    }
    if let Some(skew) = condition.clock_skew.filter(|skew| skew.unsigned_abs() > MOST_SKEW.unsigned_abs()) {
        let said = format!(
            "the clock of Prometheus is {} s {} this machine's, at most {} s are allowed",
            skew.unsigned_abs() / 1_000,
            if skew > 0 { "ahead of" } else { "behind" },
            MOST_SKEW / 1_000
        );
        found.insert(Concern::Clock, said);
    }
    // Without any data there is nothing to match, and that has been said.
    if let Some(matched) = signs.matched.filter(|_| condition.nodes > 0) {
        let unmatched = limit(Concern::NodesUnmatched, 1.0 - guard.matched_nodes);
        if 1.0 - matched > unmatched + 1e-9 {
            let said = format!(
                "metrics name {:.0} % of the cluster's nodes, want {:.0} %. Where node_exporter cannot run, leave nodes out with --ignore-nodes",
                100.0 * matched,
                100.0 * guard.matched_nodes
            );
            found.insert(Concern::NodesUnmatched, said);
        }
    }
    if signs.heard == Some(false) {
        found.insert(Concern::WatchLost, "pods and nodes are not heard from the API server".to_owned());
    }
    let recent = || inner.seconds.iter().filter(|it| it.at <= second && second - it.at < guard.window.0.as_secs());
    let all: u64 = recent().map(|it| it.all).sum();
    if all >= guard.least_decisions.max(1) {
        let share = |of: fn(&Second) -> u64| recent().map(of).sum::<u64>() as f64 / all as f64;
        for (concern, what, rate, most) in [
            (Concern::DeadlineMisses, "missed the deadline", share(|it| it.missed), guard.miss_rate),
            (Concern::Errors, "failed", share(|it| it.failed), guard.error_rate),
        ] {
            if rate > limit(concern, most) {
                let said = format!("{:.0} % of {all} decisions in {} {what}", 100.0 * rate, guard.window);
                found.insert(concern, said);
            }
        }
        let mut times: Vec<f32> = recent().flat_map(|it| it.times.iter().copied()).collect();
        times.sort_by(f32::total_cmp);
        let high = times.get(((times.len() as f64 * 0.99) as usize).min(times.len().saturating_sub(1)));
        if let Some(high) =
            high.map(|high| f64::from(*high)).filter(|high| *high > limit(Concern::Slow, guard.latency.0.as_secs_f64()))
        {
            found.insert(Concern::Slow, format!("a decision takes {:.1} ms at the 99th percentile", 1e3 * high));
        }
    }
    found
}
