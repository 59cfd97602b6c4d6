//! The members together: one row in, one reading out.

use super::finding::Normal;
use super::{AlarmSettings, AnomalyKind, Classifier, IsolationForest, Middles, Reach, Severity, Tail, Vote};
use crate::{FeatureMatrix, ModelError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a member looks at its features.
#[derive(Debug, Clone, PartialEq)]
pub enum Scorer {
    /// What takes few splits to be alone is odd.
    Forest(IsolationForest),
    /// What lies far from the middle is odd.
    Reach(Reach),
    /// What resembles faults that were injected or labelled is odd.
    Classifier(Box<Classifier>),
}

impl Scorer {
    /// Features of a row.
    pub fn width(&self) -> usize {
        match self {
            Self::Forest(forest) => forest.width(),
            Self::Reach(reach) => reach.width(),
            Self::Classifier(classifier) => classifier.width(),
        }
    }

    fn score_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        match self {
            Self::Forest(forest) => forest.score_row(row),
            Self::Reach(reach) => reach.score_row(row),
            Self::Classifier(classifier) => classifier.score_row(row),
        }
    }

    /// What each feature puts into the score, in the scorer's own terms.
    pub(super) fn credits(&self, row: &[f32], credits: &mut [f64]) -> Result<(), ModelError> {
        match self {
            Self::Forest(forest) => forest.contributions(row, credits),
            Self::Reach(reach) => {
                reach.credits(row, credits);
                Ok(())
            }
            Self::Classifier(classifier) => classifier.credits(row, credits),
        }
    }
}

/// One member of the ensemble.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Such as `cpu-short`.
    pub name: String,
    /// What its anomalies are about.
    pub kind: AnomalyKind,
    /// Places of its features in the detector's.
    pub columns: Vec<usize>,
    /// On which side of their middles its anomalies lie.
    pub middles: Middles,
    /// Looks at these features.
    pub scorer: Scorer,
    /// Calibrates its scores.
    pub tail: Tail,
}

/// What no forest can learn, since it hardly ever happens while history is collected: a rule that is certain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// `feature` is missing while `while_known` is there: the cluster knows the node, the node does not answer.
    Missing {
        /// The feature that is missing.
        feature: String,
        /// The feature that proves that somebody measured.
        while_known: String,
    },
    /// `feature` is known and below `limit`.
    Below {
        /// Which feature.
        feature: String,
        /// Its limit.
        limit: f32,
    },
}

impl Rule {
    /// The feature to blame.
    pub fn feature(&self) -> &str {
        match self {
            Self::Missing { feature, .. } | Self::Below { feature, .. } => feature,
        }
    }
}

/// A rule with the places of its features.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlacedRule {
    pub rule: Rule,
    pub feature: usize,
    other: usize,
}

impl PlacedRule {
    pub fn new(rule: Rule, features: &[String]) -> Result<Self, ModelError> {
        let find = |name: &str| crate::matrix::position_of(features, name, "a rule of the anomaly detector");
        let feature = find(rule.feature())?;
        let other = match &rule {
            Rule::Missing { while_known, .. } => find(while_known)?,
            Rule::Below { .. } => feature,
        };
        Ok(Self { rule, feature, other })
    }

    fn holds(&self, row: &[f32]) -> bool {
        match self.rule {
            Rule::Missing { .. } => row[self.feature].is_nan() && !row[self.other].is_nan(),
            Rule::Below { limit, .. } => row[self.feature] < limit,
        }
    }
}

/// What the detector says of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The vote of the members: see [`Vote`].
    pub vote: f32,
    /// A rule holds, so that the reading is critical and needs no repetition.
    pub certain: bool,
    /// What it is about: of the member that put most into the vote, or of the rule.
    pub kind: AnomalyKind,
}

/// The ensemble. Reads rows of its features; `NaN` is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    pub(super) features: Arc<[String]>,
    pub(super) members: Vec<Member>,
    pub(super) rules: Vec<PlacedRule>,
    pub(super) vote: Vote,
    /// The vote from which on a reading is a warning.
    pub(super) threshold: f32,
    pub(super) alarms: AlarmSettings,
    /// By feature, what was usual in training.
    pub(super) normal: Vec<Normal>,
}

/// A row's members, on the stack.
pub(super) const MOST_MEMBERS: usize = 24;
/// A row's features of one member, on the stack.
pub(super) const MOST_COLUMNS: usize = 64;

impl Detector {
    /// The features of a row, in order.
    pub fn features(&self) -> &Arc<[String]> {
        &self.features
    }

    /// The members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How the members vote.
    pub fn vote(&self) -> &Vote {
        &self.vote
    }

    /// The vote from which on a reading is a warning.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// When readings become alarms.
    pub fn alarms(&self) -> &AlarmSettings {
        &self.alarms
    }

    /// The same with another vote and its threshold.
    #[must_use]
    pub fn with_vote(self, vote: Vote, threshold: f32) -> Self {
        Self { vote, threshold, ..self }
    }

    /// The same with other rules of when readings become alarms.
    #[must_use]
    pub fn with_alarms(self, alarms: AlarmSettings) -> Self {
        Self { alarms, ..self }
    }

    /// The reading of one row. Nothing is allocated.
    ///
    /// # Errors
    /// A row of another width.
    pub fn read(&self, row: &[f32]) -> Result<Reading, ModelError> {
        let mut surprises = [0.0; MOST_MEMBERS];
        let surprises = &mut surprises[..self.members.len()];
        self.surprises_of(row, surprises)?;
        Ok(self.reading(row, surprises))
    }

    /// The severity of a reading.
    pub fn severity(&self, reading: &Reading) -> Option<Severity> {
        if reading.certain {
            return Some(Severity::Critical);
        }
        self.alarms.severity(reading.vote, self.threshold)
    }

    /// A reading as a number from 0 (as ever) to 1 (certain): `vote ÷ (vote + threshold)`, so that one half is the
    /// threshold.
    pub fn score(&self, reading: &Reading) -> f32 {
        if reading.certain {
            return 1.0;
        }
        let vote = reading.vote.max(0.0);
        if vote + self.threshold > 0.0 { vote / (vote + self.threshold) } else { 0.0 }
    }

    pub(super) fn surprises_of(&self, row: &[f32], surprises: &mut [f32]) -> Result<(), ModelError> {
        ModelError::columns(self.features.len(), row.len())?;
        for (surprise, member) in surprises.iter_mut().zip(&self.members) {
            let mut values = [f32::NAN; MOST_COLUMNS];
            let values = &mut values[..member.columns.len()];
            member.fill(row, values);
            *surprise = member.tail.surprise(member.scorer.score_row(values)?);
        }
        Ok(())
    }

    /// The reading of a row whose members' surprises are known.
    pub fn reading(&self, row: &[f32], surprises: &[f32]) -> Reading {
        let vote = self.vote.of(surprises);
        if self.rules.iter().any(|rule| rule.holds(row)) {
            return Reading { vote, certain: true, kind: AnomalyKind::Availability };
        }
        // The classifier knows faults of every kind, so the most surprised of the others says which one this is.
        let of_one_kind = |member: &usize| !matches!(self.members[*member].scorer, Scorer::Classifier(_));
        let has_classifier = !(0..self.members.len()).all(|member| of_one_kind(&member));
        let part = |member| if has_classifier { surprises[member] } else { self.vote.share(surprises, member) };
        let shares = (0..self.members.len()).filter(of_one_kind).map(|member| (part(member), member));
        let most = shares.max_by(|left, right| left.0.total_cmp(&right.0).then(right.1.cmp(&left.1)));
        let kind = most.map_or(AnomalyKind::Performance, |(_, member)| self.members[member].kind);
        Reading { vote, certain: false, kind }
    }

    pub(super) fn rule_of(&self, row: &[f32]) -> Option<&PlacedRule> {
        self.rules.iter().find(|rule| rule.holds(row))
    }

    /// The surprises of all members for each row, row-major: votes can be tried on them without scoring again.
    ///
    /// # Errors
    /// Other features than the detector's.
    pub fn surprises(&self, x: &FeatureMatrix) -> Result<Vec<f32>, ModelError> {
        x.expect_names(&self.features)?;
        let of = |member: &Member| -> Result<Vec<f32>, ModelError> {
            let mut surprises = member.scores(x)?;
            surprises.iter_mut().for_each(|score| *score = member.tail.surprise(*score));
            Ok(surprises)
        };
        let by_member = self.members.par_iter().map(of).collect::<Result<Vec<_>, _>>()?;
        Ok((0..x.rows()).flat_map(|row| by_member.iter().map(move |surprises| surprises[row])).collect())
    }
}

impl Member {
    /// Puts what it sees of a row of the detector's features into `values`.
    pub(super) fn fill(&self, row: &[f32], values: &mut [f32]) {
        for (value, column) in values.iter_mut().zip(&self.columns) {
            *value = row[*column];
        }
        self.middles.clip(values);
    }

    /// The scorer's scores for each row of the detector's features.
    pub(super) fn scores(&self, x: &FeatureMatrix) -> Result<Vec<f32>, ModelError> {
        let mut values = own_values(x, &self.columns);
        self.middles.clip(&mut values);
        match &self.scorer {
            Scorer::Forest(forest) => {
                let mut scores = vec![0.0; x.rows()];
                forest.score(&values, &mut scores)?;
                Ok(scores)
            }
            Scorer::Reach(reach) => Ok(reach.scores(&values)),
            Scorer::Classifier(classifier) => classifier.scores(values),
        }
    }
}

/// The values of `columns`, row-major.
pub(super) fn own_values(x: &FeatureMatrix, columns: &[usize]) -> Vec<f32> {
    let rows = x.values().chunks_exact(x.width());
    rows.flat_map(|row| columns.iter().map(|column| row[*column])).collect()
}
