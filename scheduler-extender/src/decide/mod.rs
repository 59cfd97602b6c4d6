//! From a request to an answer. Whatever goes wrong on the way, and whatever takes too long, ends in the neutral answer: all candidates
//! equal, so that kube-scheduler decides as if nobody had been asked.

mod keep;

use crate::decision::Decision;
use crate::health::{Health, State, Went};
use crate::kubernetes::Pod;
use crate::ledger::{Ledger, Standing};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::reject::rejected;
use crate::rollout::{Course, Neutral, course};
use crate::rules::{Book, Rules};
use crate::scoring::{Scores, Scoring, ScoringError, pod_request};
use crate::spread::{Scored, points, quarantine};
use crate::wire::Ask;
use models::anomaly::Severity;
use score_api::ScoreRequest;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;

/// What a decision needs.
#[derive(Debug)]
pub struct Decider {
    /// Where scores come from.
    pub scoring: Arc<Scoring>,
    /// The rules in force.
    pub book: Arc<Book>,
    /// Load on its way.
    pub ledger: Arc<Ledger>,
    /// The state.
    pub health: Arc<Health>,
    /// Decisions that were made.
    pub memory: Arc<Memory>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Scores must be there after this.
    pub deadline: Duration,
    /// Places for pods of the cluster.
    pub places: Places,
    /// Places for pods that the API server has not told of: whoever makes up pods takes none from those that there are.
    pub unknown_places: Places,
    /// When the allowance for words was last filled, and how much is left; none before the first.
    pub details: Mutex<Option<(Instant, u32)>>,
}

/// How much may be under way.
#[derive(Debug)]
pub struct Places {
    /// Scorings.
    pub gate: Arc<Semaphore>,
    /// Work that goes on after an answer: scores of neutral answers, and records.
    pub watched: Arc<Semaphore>,
}

impl Places {
    /// So many of each.
    pub fn new(scorings: usize, watched: usize) -> Self {
        Self { gate: Arc::new(Semaphore::new(scorings)), watched: Arc::new(Semaphore::new(watched)) }
    }
}

/// The answer to `/prioritize`.
#[derive(Debug, PartialEq)]
pub struct Prioritized {
    /// In the order of the candidates.
    pub points: Vec<u8>,
    /// Why they are all equal.
    pub neutral: Option<Neutral>,
}

/// What is worked out for a decision.
struct Worked {
    /// What was asked: the candidates, and the load on its way to them.
    request: Arc<ScoreRequest>,
    scores: Scores,
    /// Of each candidate; `None` where nothing is known.
    totals: Vec<Option<f64>>,
    points: Vec<u8>,
}

impl Decider {
    /// Answers `/prioritize`.
    pub async fn prioritize(self: &Arc<Self>, ask: &Ask<'_>, began: Instant) -> Prioritized {
        let names = &ask.candidates.names;
        let (decision, rules, course) = self.open("prioritize", ask);
        let neutral = |neutral| Prioritized { points: vec![0; names.len()], neutral: Some(neutral) };
        match course {
            Course::Stand(reason) => {
                self.stand(decision, reason, began);
                neutral(reason)
            }
            Course::Watch(reason) => {
                self.watch(decision, ask, rules, reason, began);
                neutral(reason)
            }
            Course::Act => match self.in_time(&decision, ask, names, &rules, began).await {
                Ok(worked) => {
                    let points = worked.points.clone();
                    if let Ok(pod) = &ask.pod {
                        let expect = |pod: &Pod| self.scoring.expected(pod);
                        self.ledger.answered(&pod.metadata, best(names, &points), Moment::now(), expect);
                    }
                    self.keep(decision, ask, worked, began);
                    Prioritized { points, neutral: None }
                }
                Err(reason) => {
                    self.stand(decision, reason, began);
                    neutral(reason)
                }
            },
        }
    }

    /// Answers `/filter`: the rejected candidates by their place.
    pub async fn filter(self: &Arc<Self>, ask: &Ask<'_>, began: Instant) -> BTreeMap<usize, String> {
        let names = &ask.candidates.names;
        let (decision, rules, course) = self.open("filter", ask);
        let reason = match course {
            _ if !rules.filter => return BTreeMap::new(),
            Course::Stand(reason) | Course::Watch(reason) => reason,
            Course::Act => match self.in_time(&decision, ask, names, &rules, began).await {
                Ok(worked) => {
                    let rejected = rejected(&worked.scores.nodes, rules.spread.filter_over);
                    self.metrics.rejected(rejected.len());
                    self.keep(decision, ask, worked, began);
                    return rejected;
                }
                Err(reason) => reason,
            },
        };
        self.stand(decision, reason, began);
        BTreeMap::new()
    }

    fn open(&self, verb: &'static str, ask: &Ask<'_>) -> (Decision, Arc<Rules>, Course) {
        let (rules, state) = (self.book.rules(), self.health.state());
        let nobody = Pod::default();
        let pod = ask.pod.as_ref().unwrap_or(&nobody);
        let standing = self.ledger.standing(&pod.metadata);
        let decision = Decision::new(verb, pod, standing, ask.candidates.names.len(), rules.mode, state);
        let course = match &ask.pod {
            _ if self.book.is_killed() => Course::Stand(Neutral::Killed),
            Err(problem) => {
                tracing::debug!(verb, %problem, "the pod of a request cannot be read");
                Course::Stand(Neutral::BadPod)
            }
            Ok(pod) => match course(pod, &rules) {
                // What is computed meanwhile tells when things are well again.
                Course::Act if state == State::Fallback => Course::Watch(Neutral::Fallback),
                course => course,
            },
        };
        (decision, rules, course)
    }

    /// A neutral answer without scores.
    fn stand(&self, mut decision: Decision, reason: Neutral, began: Instant) {
        self.metrics.decided(decision.mode, Some(reason));
        decision.neutral = Some(reason);
        decision.took = began.elapsed();
        self.memory.decided(decision);
    }

    /// A neutral answer at once, and scores afterwards.
    fn watch(
        self: &Arc<Self>,
        mut decision: Decision,
        ask: &Ask<'_>,
        rules: Arc<Rules>,
        reason: Neutral,
        began: Instant,
    ) {
        let Ok(pod) = &ask.pod else { return self.stand(decision, reason, began) };
        self.metrics.decided(decision.mode, Some(reason));
        decision.neutral = Some(reason);
        decision.took = began.elapsed();
        // Neutral answers are quicker than scores: a burst of them leaves some that are not scored.
        let Ok(waits) = Arc::clone(&self.places_for(&decision).watched).try_acquire_owned() else {
            self.metrics.unscored();
            return self.memory.decided(decision);
        };
        let (this, pod, names) = (Arc::clone(self), pod.clone(), ask.candidates.names.clone());
        tokio::spawn(async move {
            let ask = Asked { pod: &pod };
            let place = Arc::clone(&this.places_for(&decision).gate).acquire_owned().await;
            let began = Instant::now();
            let worked = match place {
                Ok(place) => {
                    tokio::time::timeout(this.deadline, this.work(&decision, &ask, names, &rules, place)).await
                }
                Err(_) => return this.memory.decided(decision),
            };
            this.went(&decision, &worked, began);
            match worked {
                Ok(Ok(worked)) => this.keep_of(decision, &ask, worked),
                // Told by the state; the answer had been given.
                _ => this.memory.decided(decision),
            }
            drop(waits);
        });
    }

    /// Scores within the deadline, or the reason why there are none.
    async fn in_time(
        &self,
        decision: &Decision,
        ask: &Ask<'_>,
        names: &[String],
        rules: &Rules,
        began: Instant,
    ) -> Result<Worked, Neutral> {
        let Ok(pod) = &ask.pod else { return Err(Neutral::BadPod) };
        let left = self.deadline.saturating_sub(began.elapsed());
        let asked = Asked { pod };
        let worked = tokio::time::timeout(left, async {
            let gate = &self.places_for(decision).gate;
            let place = Arc::clone(gate).acquire_owned().await.map_err(|_| Neutral::Failed)?;
            self.work(decision, &asked, names.to_vec(), rules, place).await
        });
        let worked = worked.await;
        self.went(decision, &worked, began);
        worked.unwrap_or(Err(Neutral::Deadline))
    }

    fn places_for(&self, decision: &Decision) -> &Places {
        if decision.standing == Standing::Unknown { &self.unknown_places } else { &self.places }
    }

    fn went(&self, decision: &Decision, worked: &Result<Result<Worked, Neutral>, Elapsed>, began: Instant) {
        // Whoever makes up pods must not talk us into fallback.
        if decision.standing == Standing::Unknown {
            return;
        }
        let went = match worked {
            Err(_) | Ok(Err(Neutral::Deadline)) => Went::Missed,
            Ok(Err(Neutral::Failed)) => Went::Failed,
            // That nothing is known is told by the data's own concerns: it is no failure of the work.
            Ok(_) => Went::Well,
        };
        self.health.went(went, began.elapsed());
    }

    async fn work(
        &self,
        decision: &Decision,
        ask: &Asked<'_>,
        names: Vec<String>,
        rules: &Rules,
        place: OwnedSemaphorePermit,
    ) -> Result<Worked, Neutral> {
        if names.is_empty() {
            return Err(Neutral::NothingKnown);
        }
        let in_flight = self.ledger.in_flight(names.iter().map(String::as_str), &decision.uid);
        let request =
            Arc::new(ScoreRequest { pods: vec![pod_request(ask.pod)], nodes: names, in_flight, explain: Some(false) });
        let began = Instant::now();
        let scored = self.scoring.score(&request, rules.preferences(), decision.standing, place).await;
        self.metrics.scored(began.elapsed());
        let scores = match scored {
            Ok(scores) => scores,
            Err(ScoringError::NotReady) => return Err(Neutral::NothingKnown),
            Err(error) if error.is_late() => return Err(Neutral::Deadline),
            Err(error) => {
                tracing::debug!(error = format!("{:#}", anyhow::Error::new(error)), "no scores");
                return Err(Neutral::Failed);
            }
        };
        let totals: Vec<Option<f64>> = scores.nodes.iter().map(|node| node.weighed(&rules.weights)).collect();
        if totals.iter().all(Option::is_none) {
            return Err(Neutral::NothingKnown);
        }
        let mut scored: Vec<Option<Scored>> = totals
            .iter()
            .zip(&scores.nodes)
            .map(|(total, node)| Some(Scored { score: (*total)?, uncertainty: node.uncertainty.unwrap_or_default() }))
            .collect();
        let is_critical = |place: usize| scores.nodes[place].severity == Some(Severity::Critical);
        // A node about to fail does not stretch the scale for the others.
        scored.iter_mut().enumerate().filter(|(place, _)| is_critical(*place)).for_each(|(_, scored)| *scored = None);
        let mut points = points(&scored, &rules.spread, decision.id.as_u128());
        quarantine(&mut points, is_critical);
        Ok(Worked { request, scores, totals, points })
    }
}

/// The candidates with the most points, one of which kube-scheduler will most likely take; none where all are equal.
fn best(names: &[String], points: &[u8]) -> Vec<String> {
    let most = points.iter().max();
    if points.iter().min() == most {
        return Vec::new();
    }
    names.iter().zip(points).filter(|(_, points)| Some(*points) == most).map(|(name, _)| name.clone()).collect()
}

/// A request whose pod could be read.
struct Asked<'a> {
    pod: &'a Pod,
}

#[cfg(test)]
mod tests;
