//! What a forest is grown with.

use super::depth::depth_limit;
use crate::ModelError;
use serde::{Deserialize, Serialize};

/// How a forest is grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForestSettings {
    /// Trees, 1 to 10,000. The paper's 100: scores settle well before.
    pub trees: usize,
    /// Rows that each tree is grown on, drawn without repetition; 2 to 8,192. The paper's 256; more rows help where
    /// anomalies are local.
    pub samples: usize,
    /// Features of a split beyond the first: 0 is the isolation forest of Liu, Ting and Zhou, more is the extended one of
    /// Hariri, Kind and Brunner, whose splits are slanted.
    pub extension: usize,
}

impl Default for ForestSettings {
    fn default() -> Self {
        Self { trees: 100, samples: 256, extension: 0 }
    }
}

impl ForestSettings {
    /// Checks every setting against the number of features.
    ///
    /// # Errors
    /// [`ModelError::Setting`] with the setting, its rule and what came.
    pub fn validate(&self, features: usize) -> Result<(), ModelError> {
        let wrong = |setting, rule, got: usize| Err(ModelError::Setting { setting, rule, got: got.to_string() });
        if !(1..=10_000).contains(&self.trees) {
            return wrong("trees", "between 1 and 10000", self.trees);
        }
        if !(2..=MAX_SAMPLES).contains(&self.samples) {
            return wrong("samples", "between 2 and 8192", self.samples);
        }
        if self.extension > 0 && self.extension >= features {
            return wrong("extension", "below the number of features", self.extension);
        }
        if features > MAX_FEATURES {
            return wrong("features", "at most 32767", features);
        }
        Ok(())
    }
}

/// Places for splits over all forests of a detector. A tree is kept as a full one, however few splits it has, so a file of twenty
/// kilobytes may ask for a gigabyte; this many take 128 MiB. Sixteen forests of the paper's size take a twentieth of it.
pub(in crate::anomaly) const MOST_PLACES: usize = 8 << 20;

impl ForestSettings {
    /// Places for splits that a forest of these settings has when each tree is grown on `samples` rows; none are set aside for slanted
    /// splits, of which only those that exist are kept.
    pub(in crate::anomaly) fn places(&self, samples: usize) -> usize {
        if self.extension > 0 { 0 } else { self.trees.saturating_mul((1 << depth_limit(samples)) - 1) }
    }
}

/// A tree is kept as a full one, so its memory doubles with each level; 8,192 rows make 13 levels, 96 KiB.
pub(super) const MAX_SAMPLES: usize = 8_192;

/// One bit of a 16-bit feature number says which side a missing value takes.
pub(super) const MAX_FEATURES: usize = 0x7fff;
