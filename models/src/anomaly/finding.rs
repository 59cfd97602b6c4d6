//! Why a reading is what it is.

use super::{AnomalyKind, Detector, Severity};
use crate::ModelError;
use serde::{Deserialize, Serialize};

/// What was usual of a feature in training: its 1 % and 99 % quantiles and its median over the rows that were not part of
/// an incident. Absent where the feature was never known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normal {
    /// 1 % of the values lie below.
    pub low: Option<f32>,
    /// Half of them do.
    pub median: Option<f32>,
    /// 1 % lie above.
    pub high: Option<f32>,
}

impl Normal {
    pub(super) fn of(values: impl Iterator<Item = f32>) -> Self {
        let mut sorted: Vec<f32> = values.filter(|value| value.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        let at = |level: f64| sorted.get((level * sorted.len().saturating_sub(1) as f64).round() as usize).copied();
        Self { low: at(0.01), median: at(0.5), high: at(0.99) }
    }
}

/// A feature's part in a finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Blame {
    /// Which feature.
    pub feature: String,
    /// Its value; absent where it is missing.
    pub value: Option<f32>,
    /// What was usual.
    pub normal: Normal,
    /// Its share of the vote, 0 to 1; the shares of all features that raised it sum to 1.
    pub share: f64,
}

/// A reading with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Of this reading alone, without hysteresis.
    pub severity: Option<Severity>,
    /// What it is about.
    pub kind: AnomalyKind,
    /// 0 (as ever) to 1 (certain); one half is the threshold.
    pub score: f32,
    /// The features that raised the vote, the most first.
    pub blame: Vec<Blame>,
}

impl Detector {
    /// The reading of one row with the `most` features that raised it.
    ///
    /// A member's part in the vote is shared among its features by their credits
    /// ([`crate::anomaly::IsolationForest::contributions`], or their part of a length); those that made it look usual get nothing. Where a rule holds,
    /// its feature is to blame alone.
    ///
    /// # Errors
    /// A row of another width.
    pub fn explain(&self, row: &[f32], most: usize) -> Result<Finding, ModelError> {
        let mut surprises = vec![0.0; self.members.len()];
        self.surprises_of(row, &mut surprises)?;
        let reading = self.reading(row, &surprises);
        let mut shares = vec![0.0; self.features.len()];
        if let Some(rule) = self.rule_of(row) {
            shares[rule.feature] = 1.0;
        } else {
            self.share_out(row, &surprises, &mut shares)?;
        }
        let mut order: Vec<usize> = (0..shares.len()).filter(|feature| shares[*feature] > 0.0).collect();
        order.sort_by(|left, right| shares[*right].total_cmp(&shares[*left]).then(left.cmp(right)));
        let blame = order.into_iter().take(most).map(|feature| Blame {
            feature: self.features[feature].clone(),
            value: Some(row[feature]).filter(|value| !value.is_nan()),
            normal: self.normal[feature],
            share: shares[feature],
        });
        Ok(Finding {
            severity: self.severity(&reading),
            kind: reading.kind,
            score: self.score(&reading),
            blame: blame.collect(),
        })
    }

    fn share_out(&self, row: &[f32], surprises: &[f32], shares: &mut [f64]) -> Result<(), ModelError> {
        for (place, member) in self.members.iter().enumerate() {
            let part = f64::from(self.vote.share(surprises, place));
            if part <= 0.0 {
                continue;
            }
            let mut values = vec![f32::NAN; member.columns.len()];
            member.fill(row, &mut values);
            let mut credits = vec![0.0; values.len()];
            member.scorer.credits(&values, &mut credits)?;
            let raised: f64 = credits.iter().map(|credit| credit.max(0.0)).sum();
            for (column, credit) in member.columns.iter().zip(credits) {
                if raised > 0.0 {
                    shares[*column] += part * credit.max(0.0) / raised;
                }
            }
        }
        let sum: f64 = shares.iter().sum();
        if sum > 0.0 {
            for share in shares {
                *share /= sum;
            }
        }
        Ok(())
    }
}
