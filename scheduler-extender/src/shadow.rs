//! How kube-scheduler's choices compare with the best candidates: in shadow, what Berth would have been worth; in active mode, how
//! often it is followed.

use crate::decision::Outcome;
use serde::{Deserialize, Serialize};

/// Sums over outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Pods whose candidates were scored and whose node was seen.
    pub outcomes: u64,
    /// Of them, those that went to the best candidate or to one as good.
    pub agreed: u64,
    /// Sum of differences between the best candidate's score and that of the pod's node.
    pub gain: f64,
    /// Pods whose node was forecast to pass 80 % with them.
    pub hot: u64,
    /// The same, had they gone to the best candidate.
    pub best_hot: u64,
}

impl Tally {
    /// Adds one.
    pub fn add(&mut self, outcome: Outcome) {
        self.outcomes += 1;
        self.agreed += u64::from(outcome.agrees);
        self.gain += outcome.gain;
        self.hot += u64::from(outcome.hot);
        self.best_hot += u64::from(outcome.best_hot);
    }

    /// Adds those of another.
    fn add_all(&mut self, other: &Self) {
        self.outcomes += other.outcomes;
        self.agreed += other.agreed;
        self.gain += other.gain;
        self.hot += other.hot;
        self.best_hot += other.best_hot;
    }

    /// Share that agrees; not a number before the first.
    pub fn agreement(&self) -> f64 {
        self.agreed as f64 / self.outcomes as f64
    }

    /// Mean score that was left on the table.
    pub fn mean_gain(&self) -> f64 {
        self.gain / self.outcomes as f64
    }
}

/// How far neutral and scored answers led, since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Pods that kube-scheduler placed by itself.
    pub neutral: Tally,
    /// Pods that it placed with our scores.
    pub scored: Tally,
}

/// What `GET /v1/shadow` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shadow {
    /// Sums over all replicas.
    pub comparison: Comparison,
    /// How many of them are in it.
    pub replicas: usize,
    /// Those that did not answer, and why.
    pub silent: Vec<String>,
    /// The same in sentences.
    pub in_words: Vec<String>,
}

impl Comparison {
    /// Adds what another process has seen.
    pub fn add(&mut self, other: &Self) {
        self.neutral.add_all(&other.neutral);
        self.scored.add_all(&other.scored);
    }

    /// In words.
    pub fn sentences(&self) -> Vec<String> {
        let percent = |part: u64, all: u64| 100.0 * part as f64 / all.max(1) as f64;
        let of = |tally: &Tally, who: &str| {
            if tally.outcomes == 0 {
                return format!("no pod that was placed {who} has been seen yet");
            }
            format!(
                "{} pods were placed {who}: {:.1} % of them on the best candidate or one as good; the best would have scored {:.3} more on average; {:.1} % went to nodes that are forecast over 80 %, with the best candidates it would have been {:.1} %",
                tally.outcomes,
                100.0 * tally.agreement(),
                tally.mean_gain(),
                percent(tally.hot, tally.outcomes),
                percent(tally.best_hot, tally.outcomes),
            )
        };
        vec![of(&self.neutral, "by kube-scheduler alone"), of(&self.scored, "with Berth's scores")]
    }
}
