//! One decision: what was asked, what was answered, and why.

use crate::health::State;
use crate::kubernetes::Pod;
use crate::ledger::{Binding, Standing};
use crate::moment::Moment;
use crate::rollout::Neutral;
use crate::rules::Mode;
use cluster::HOT_UTILIZATION;
use cluster::score::Parts;
use score_api::NodeScore;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Candidates that are kept by name with all their parts; of the others there is a number.
pub const BEST: usize = 10;

/// A candidate among the best.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub node: String,
    /// 0..1; absent where nothing is known.
    pub score: Option<f64>,
    /// What the score is made of.
    pub parts: Parts,
    /// Scores that are closer than this are as good as equal.
    pub uncertainty: Option<f64>,
    /// The highest P90 forecast with the pod, as a share of allocatable, where that is remembered.
    #[serde(default)]
    pub peak: Option<f64>,
    /// 0 to 10, as kube-scheduler reads it.
    pub points: u8,
    /// Cores that are on their way to it, where that is remembered.
    pub in_flight_cores: Option<f64>,
}

/// A candidate that is kept as a number: enough to tell later how the pod's node compares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brief {
    /// Hash of its name.
    pub name: u64,
    /// Not a number where nothing is known.
    pub score: f32,
    /// The load part; not a number where there is none.
    pub load: f32,
    /// The highest P90 forecast with the pod; not a number where there is none.
    pub peak: f32,
    /// As kube-scheduler reads it.
    pub points: u8,
}

/// What stands for a node's name in a [`Brief`].
pub fn hash_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// One decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Names it in records, explanations and events; what chance decides follows from it.
    pub id: Uuid,
    /// When kube-scheduler asked, UTC milliseconds.
    pub ts: i64,
    /// The same by a clock that never steps: ages are measured by it.
    pub asked: Instant,
    /// Whether the pod is one of the cluster's.
    pub standing: Standing,
    /// `prioritize` or `filter`.
    pub verb: &'static str,
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// Whose it is.
    pub workload: Option<String>,
    /// The mode in force.
    pub mode: Mode,
    /// Why the answer is neutral; `None` where scores were answered.
    pub neutral: Option<Neutral>,
    /// The state that held.
    pub state: State,
    /// Nodes that were offered.
    pub candidates: usize,
    /// The best of them, the best first; empty where nothing was scored.
    pub best: Vec<Line>,
    /// All of them.
    pub briefs: Vec<Brief>,
    /// The models that were asked.
    pub versions: BTreeMap<String, String>,
    /// Age of the newest refresh.
    pub data_age_seconds: Option<f64>,
    /// From the request to the answer.
    pub took: Duration,
    /// What the pod is expected to use, cores.
    pub expected_cores: Option<f64>,
    /// Forecasts and reasons of the best, as far as they were worked out.
    pub details: Option<Vec<NodeScore>>,
    /// Where the pod went.
    pub bound: Option<Binding>,
}

impl Decision {
    /// A decision that has not been made yet.
    pub fn new(verb: &'static str, pod: &Pod, standing: Standing, candidates: usize, mode: Mode, state: State) -> Self {
        let now = Moment::now();
        Self {
            id: Uuid::new_v4(),
            ts: now.wall,
            asked: now.clock,
            standing,
            verb,
            namespace: pod.metadata.namespace.clone(),
            pod: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            workload: pod.workload(),
            mode,
            neutral: None,
            state,
            candidates,
            best: Vec::new(),
            briefs: Vec::new(),
            versions: BTreeMap::new(),
            data_age_seconds: None,
            took: Duration::ZERO,
            expected_cores: None,
            details: None,
            bound: None,
        }
    }

    /// `scored` or `neutral`.
    pub const fn answer(&self) -> &'static str {
        if self.neutral.is_some() { "neutral" } else { "scored" }
    }

    /// What names the pod: its UID, or its name where somebody sent none.
    pub fn key(&self) -> String {
        if self.uid.is_empty() { format!("{}/{}", self.namespace, self.pod) } else { self.uid.clone() }
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let name = |text: &String| size_of::<String>() + text.len();
        let texts: usize = [&self.namespace, &self.pod, &self.uid].into_iter().chain(&self.workload).map(name).sum();
        let best: usize = self.best.iter().map(|line| size_of::<Line>() + line.node.len()).sum();
        let versions: usize = self.versions.iter().map(|(model, version)| name(model) + name(version)).sum();
        let details = serde_json::to_vec(&self.details).map_or(0, |text| text.len());
        let briefs = self.briefs.capacity() * size_of::<Brief>();
        // By its key it stands in three places.
        size_of::<Self>() + texts + best + versions + details + briefs + 3 * name(&self.key())
    }

    /// The best candidate, if any was scored.
    pub fn first(&self) -> Option<&Line> {
        self.best.first().filter(|line| line.score.is_some())
    }

    /// What is known of a candidate by its name.
    pub fn brief(&self, node: &str) -> Option<Brief> {
        let name = hash_of(node);
        self.briefs.iter().find(|brief| brief.name == name).copied()
    }

    /// Where the pod went, against where it would have done best; `None` before that is known, or where nothing was scored.
    pub fn outcome(&self) -> Option<Outcome> {
        let (bound, first) = (self.bound.as_ref()?, self.first()?);
        let (brief, best) = (self.brief(&bound.node)?, self.brief(&first.node)?);
        if !(brief.score.is_finite() && best.score.is_finite()) {
            return None;
        }
        let gain = f64::from(best.score - brief.score);
        // Half of the best one's uncertainty down and half of the other's up. A node that got nothing is not as good, whatever it scores.
        let as_good = gain <= first.uncertainty.unwrap_or_default() && (brief.points > 0 || best.points == 0);
        let is_hot = |brief: Brief| f64::from(brief.peak) > HOT_UTILIZATION;
        Some(Outcome { gain, agrees: bound.node == first.node || as_good, hot: is_hot(brief), best_hot: is_hot(best) })
    }
}

/// Where a pod went, against where it would have done best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The best candidate's score less that of the pod's node.
    pub gain: f64,
    /// It went to the best one, or to one that is as good.
    pub agrees: bool,
    /// Its node is forecast to pass 80 % with it.
    pub hot: bool,
    /// The best one is.
    pub best_hot: bool,
}
