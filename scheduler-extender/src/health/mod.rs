//! Whether scores may be trusted: Healthy, Degraded (something is missing, the rest is as good as ever) or Fallback (answers are
//! neutral). A concern is raised at once and is dropped only when it has been away for a while, so that nothing flaps.

mod concern;

pub use concern::{Concern, State};

use crate::metrics::Metrics;
use crate::rules::Guard;
use crate::scoring::Condition;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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

/// Seconds of which decisions are kept: the longest window.
const SECONDS: usize = 60;
/// What a second keeps of its decisions' times: enough for a 99th percentile over the minute.
const TIMES: usize = 64;
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
    /// Scores could be trusted at some time: before that there is nothing that could flap.
    has_been_well: bool,
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
        let found = concern::found(signs, guard, &inner, second);
        for (concern, said) in &found {
            if inner.raised.insert(*concern, None).is_none() {
                inner.said.insert(*concern, said.clone());
            }
        }
        let patience = if inner.has_been_well { guard.recover_after.0 } else { Duration::ZERO };
        let mut over = Vec::new();
        for (concern, away_since) in &mut inner.raised {
            if found.contains_key(concern) {
                continue;
            }
            let since = *away_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= patience {
                over.push(*concern);
            }
        }
        inner.said.extend(found);
        for concern in over {
            inner.raised.remove(&concern);
            inner.said.remove(&concern);
        }
        let state = inner.raised.keys().map(|concern| concern.state()).max().unwrap_or(State::Healthy);
        inner.has_been_well |= state != State::Fallback;
        let before = std::mem::replace(&mut inner.state, state);
        let raised: Vec<Concern> = inner.raised.keys().copied().collect();
        self.metrics.state(state, state != before, &raised);
        if state != before {
            let why: Vec<String> = inner.said.iter().map(|(it, said)| format!("{}: {said}", it.as_str())).collect();
            tracing::info!(from = before.as_str(), to = state.as_str(), why = why.join("; "), "the state has changed");
        }
    }
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
            (with(|it| it.condition.clock_skew = Some(-130_000)), State::Fallback, Concern::Clock),
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
    fn a_start_waits_for_nothing_but_what_it_lacks() {
        let health = health();
        health.look(&Signs::default(), &Guard::default());
        assert_eq!(health.report().concerns.keys().copied().collect::<Vec<_>>(), [Concern::NoModels, Concern::NoData]);
        health.look(&well(), &Guard::default());
        assert_eq!(health.state(), State::Healthy);
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
