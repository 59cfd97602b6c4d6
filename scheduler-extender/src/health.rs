//! Whether scores may be trusted: Healthy, Degraded (something is missing, the rest is as good as ever) or Fallback (answers are
//! neutral). A concern is raised at once and is dropped only when it has been away for a while, so that nothing flaps.

use crate::metrics::Metrics;
use crate::rules::Guard;
use crate::scoring::Condition;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    pub const ALL: [Self; 11] = [
        Self::NoModels,
        Self::NoData,
        Self::StaleData,
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

/// How a decision went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// In time.
    Well,
    /// The deadline passed.
    Missed,
    /// No scores came.
    Failed,
}

/// Decisions of the last minute, by second.
const SECONDS: usize = 60;
/// What a second keeps of its decisions' times: enough for a 99th percentile over the minute.
const TIMES: usize = 64;
/// A rate or share falls back below this part of its limit before its concern is dropped.
const LEAVE: f64 = 0.8;

#[derive(Debug, Default, Clone)]
struct Second {
    /// Which, since the start.
    at: u64,
    all: u64,
    missed: u64,
    failed: u64,
    times: Vec<f32>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    /// Raised concerns, and since when each has been away.
    raised: BTreeMap<Concern, Option<Instant>>,
    /// How the concerns read, for people.
    said: BTreeMap<Concern, String>,
    seconds: Vec<Second>,
}

/// The health of one process.
#[derive(Debug)]
pub struct Health {
    began: Instant,
    inner: Mutex<Inner>,
    metrics: Arc<Metrics>,
}

/// The health, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The state that holds.
    pub state: State,
    /// Why it is not healthy.
    pub concerns: BTreeMap<Concern, String>,
}

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub struct Signs {
    /// The scorer's own word.
    pub condition: Condition,
    /// Share of the cluster's nodes that metrics name; `None` where no cluster is watched.
    pub matched: Option<f64>,
    /// Whether the watch is heard; `None` where there is none.
    pub heard: Option<bool>,
}

impl Health {
    /// Begins in fallback: nothing is known yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { began: Instant::now(), inner: Mutex::default(), metrics }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state that holds.
    pub fn state(&self) -> State {
        self.inner().state
    }

    /// The state with its reasons.
    pub fn report(&self) -> Report {
        let inner = self.inner();
        let concerns = inner.raised.keys().map(|it| (*it, inner.said.get(it).cloned().unwrap_or_default())).collect();
        Report { state: inner.state, concerns }
    }

    /// A decision went so, and took so long.
    pub fn went(&self, went: Went, took: Duration) {
        let at = self.began.elapsed().as_secs();
        let mut inner = self.inner();
        if inner.seconds.is_empty() {
            inner.seconds = vec![Second { at: u64::MAX, ..Second::default() }; SECONDS];
        }
        let second = &mut inner.seconds[at as usize % SECONDS];
        if second.at != at {
            *second = Second { at, ..Second::default() };
        }
        second.all += 1;
        second.missed += u64::from(went == Went::Missed);
        second.failed += u64::from(went == Went::Failed);
        if second.times.len() < TIMES {
            second.times.push(took.as_secs_f32());
        }
    }

    /// Looks at everything once.
    pub fn look(&self, signs: &Signs, guard: &Guard) {
        self.look_at(signs, guard, Instant::now());
    }

    fn look_at(&self, signs: &Signs, guard: &Guard, now: Instant) {
        let second = now.saturating_duration_since(self.began).as_secs();
        let mut inner = self.inner();
        let found = concerns(signs, guard, &inner, second);
        for (concern, said) in &found {
            if inner.raised.insert(*concern, None).is_none() {
                inner.said.insert(*concern, said.clone());
            }
        }
        let mut over = Vec::new();
        for (concern, away_since) in &mut inner.raised {
            if found.contains_key(concern) {
                continue;
            }
            let since = *away_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= guard.recover_after.0 {
                over.push(*concern);
            }
        }
        inner.said.extend(found);
        for concern in over {
            inner.raised.remove(&concern);
            inner.said.remove(&concern);
        }
        let state = inner.raised.keys().map(|concern| concern.state()).max().unwrap_or(State::Healthy);
        let before = std::mem::replace(&mut inner.state, state);
        let raised: Vec<Concern> = inner.raised.keys().copied().collect();
        self.metrics.state(state, state != before, &raised);
        if state != before {
            let why: Vec<String> = inner.said.iter().map(|(it, said)| format!("{}: {said}", it.as_str())).collect();
            tracing::info!(from = before.as_str(), to = state.as_str(), why = why.join("; "), "the state has changed");
        }
    }
}

/// What is wrong now, each with a sentence. A concern that is raised already is judged by a stricter limit.
fn concerns(signs: &Signs, guard: &Guard, inner: &Inner, second: u64) -> BTreeMap<Concern, String> {
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
    // Without any data there is nothing to match, and that has been said.
    if let Some(matched) = signs.matched.filter(|_| condition.nodes > 0) {
        let unmatched = limit(Concern::NodesUnmatched, 1.0 - guard.matched_nodes);
        if 1.0 - matched > unmatched + 1e-9 {
            let said = format!(
                "metrics name {:.0} % of the cluster's nodes, want {:.0} %",
                100.0 * matched,
                100.0 * guard.matched_nodes
            );
            found.insert(Concern::NodesUnmatched, said);
        }
    }
    if signs.heard == Some(false) {
        found.insert(Concern::WatchLost, "pods and nodes are not heard from the API server".to_owned());
    }
    let recent = || inner.seconds.iter().filter(|it| it.at <= second && second - it.at < SECONDS as u64);
    let all: u64 = recent().map(|it| it.all).sum();
    if all >= guard.least_decisions.max(1) {
        let share = |of: fn(&Second) -> u64| recent().map(of).sum::<u64>() as f64 / all as f64;
        for (concern, what, rate, most) in [
            (Concern::DeadlineMisses, "missed the deadline", share(|it| it.missed), guard.miss_rate),
            (Concern::Errors, "failed", share(|it| it.failed), guard.error_rate),
        ] {
            if rate > limit(concern, most) {
                found.insert(concern, format!("{:.0} % of {all} decisions of the last minute {what}", 100.0 * rate));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Signs {
        let models = [("load-predictor".to_owned(), "1".to_owned())].into();
        let condition = Condition { models, nodes: 10, data_age_seconds: Some(1.0), ..Condition::default() };
        Signs { condition, matched: Some(1.0), heard: Some(true) }
    }

    fn health() -> Health {
        Health::new(Arc::default())
    }

    #[test]
    fn each_thing_that_may_be_wrong_has_its_state_and_reason() {
        let healthy = health();
        assert_eq!(healthy.state(), State::Fallback, "nothing is known at first");
        healthy.look(&well(), &Guard::default());
        assert_eq!((healthy.state(), healthy.report().concerns.len()), (State::Healthy, 0));
        let with = |change: fn(&mut Signs)| {
            let mut signs = well();
            change(&mut signs);
            signs
        };
        for (signs, state, concern) in [
            (with(|it| it.condition.models.clear()), State::Fallback, Concern::NoModels),
            (with(|it| it.condition.nodes = 0), State::Fallback, Concern::NoData),
            (with(|it| it.condition.stale = 6), State::Fallback, Concern::StaleData),
            (with(|it| it.condition.stale = 5), State::Degraded, Concern::SomeStale),
            (with(|it| it.matched = Some(0.89)), State::Fallback, Concern::NodesUnmatched),
            (with(|it| it.condition.away = true), State::Fallback, Concern::ScorerAway),
            (with(|it| it.condition.lacking.push("agent".into())), State::Degraded, Concern::ModelMissing),
            (with(|it| it.heard = Some(false)), State::Degraded, Concern::WatchLost),
        ] {
            let health = health();
            health.look(&signs, &Guard::default());
            let report = health.report();
            assert_eq!((report.state, report.concerns.keys().copied().collect::<Vec<_>>()), (state, vec![concern]));
            assert!(health.metrics.text().contains(&format!("reason{{reason=\"{}\"}} 1", concern.as_str())));
        }
        let bare = health();
        bare.look(&Signs { matched: None, heard: None, ..well() }, &Guard::default());
        assert_eq!(bare.state(), State::Healthy, "no cluster to watch is nothing wrong");
    }

    #[test]
    fn a_concern_is_raised_at_once_and_dropped_after_a_while() {
        let health = health();
        let (guard, start) = (Guard::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut stale = well();
        stale.condition.stale = 10;
        health.look_at(&well(), &guard, at(0));
        health.look_at(&stale, &guard, at(1));
        assert_eq!(health.state(), State::Fallback);
        health.look_at(&well(), &guard, at(2));
        health.look_at(&stale, &guard, at(10));
        health.look_at(&well(), &guard, at(11));
        health.look_at(&well(), &guard, at(25));
        assert_eq!(health.state(), State::Fallback, "well for 14 of 15 seconds");
        health.look_at(&well(), &guard, at(26));
        assert_eq!(health.state(), State::Healthy);
        // Raised at 6 of 10, it stays at 5 and below until 4 are left.
        stale.condition.stale = 6;
        health.look_at(&stale, &guard, at(27));
        stale.condition.stale = 5;
        health.look_at(&stale, &guard, at(100));
        assert!(health.report().concerns.contains_key(&Concern::StaleData));
    }

    #[test]
    fn rates_of_the_last_minute_lead_to_fallback_and_away_from_it() {
        let guard = Guard::default();
        for (went, took, concern) in [
            (Went::Missed, 1, Concern::DeadlineMisses),
            (Went::Failed, 1, Concern::Errors),
            (Went::Well, 80, Concern::Slow),
        ] {
            let health = health();
            for _ in 0..10 {
                health.went(went, Duration::from_millis(took));
            }
            health.look(&well(), &guard);
            assert_eq!(health.state(), State::Healthy, "ten decisions tell nothing");
            for _ in 0..10 {
                health.went(went, Duration::from_millis(took));
            }
            health.look(&well(), &guard);
            assert_eq!(health.report().concerns.keys().copied().collect::<Vec<_>>(), [concern]);
            health.look_at(&well(), &guard, health.began + Duration::from_secs(62));
            health.look_at(&well(), &guard, health.began + Duration::from_secs(80));
            assert_eq!(health.state(), State::Healthy, "the minute has passed");
        }
    }
}
