//! Windows put aside and taken up again: a restarted server goes on where it stood, without replaying a week of samples.
//!
//! Only what a row can depend on is kept. Floats travel as their bits, so NaN and every last digit survive JSON.

use super::node::{Incident, NodeWindows};
use crate::settings::WindowRules;
use crate::slot::{Level, Plain, SlotBuilder};
use ::cluster::{NodeMetric, NodeSample};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One resource's past, oldest first. `means`, `variances`: bits of a week of slots. `peaks`: slots before the newest one,
/// and bits of their largest sample, for those that can still be a maximum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ResourceState {
    pub means: Vec<u32>,
    pub variances: Vec<u32>,
    pub peaks: Vec<(i64, u32)>,
}

/// One node's past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct HistoryState {
    pub cpu: ResourceState,
    pub memory: ResourceState,
    /// By metric, oldest first: bits of a day and one slot.
    pub plain: Vec<Vec<u32>>,
    /// Whether each slot of a day had samples, oldest first.
    pub seen: Vec<bool>,
    pub silent_slots: i64,
    pub filled: usize,
    pub incidents: Vec<Incident>,
}

/// A sample: its time and the bits of its values.
type SampleState = (i64, Vec<u64>);

/// All of [`NodeWindows`] that counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    pub(super) rules: WindowRules,
    pub(super) history: HistoryState,
    pub(super) builder: SlotBuilder,
    pub(super) open: Option<i64>,
    pub(super) pending: Vec<SampleState>,
    pub(super) ahead: u64,
}

/// A snapshot that no version of the windows has written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "window snapshot has {got} {what}, want {wanted}. It is damaged or from another version: warm the windows from raw samples instead"
)]
pub struct BadSnapshot {
    /// Of what there are too many or too few.
    pub what: &'static str,
    /// How many there should be.
    pub wanted: usize,
    /// How many there are.
    pub got: usize,
}

pub(super) fn check(what: &'static str, wanted: usize, got: usize) -> Result<(), BadSnapshot> {
    if wanted == got { Ok(()) } else { Err(BadSnapshot { what, wanted, got }) }
}

pub(super) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

impl ResourceState {
    /// The slots' levels, oldest first, as far as later rows can tell them apart.
    pub(super) fn levels(&self) -> Vec<Level> {
        let mut levels: Vec<Level> = self
            .means
            .iter()
            .zip(&self.variances)
            .map(|(mean, variance)| Level {
                mean: f32::from_bits(*mean),
                variance: f32::from_bits(*variance),
                max: f32::NAN,
            })
            .collect();
        let newest = levels.len().saturating_sub(1);
        for (age, peak) in &self.peaks {
            let place = usize::try_from(*age).ok().and_then(|age| newest.checked_sub(age));
            if let Some(level) = place.and_then(|place| levels.get_mut(place)) {
                level.max = f32::from_bits(*peak);
            }
        }
        levels
    }
}

impl HistoryState {
    /// The plain metrics of one slot of the last day.
    pub(super) fn plain_at(&self, slot: usize) -> [f32; Plain::COUNT] {
        let mut values = [f32::NAN; Plain::COUNT];
        for (value, series) in values.iter_mut().zip(&self.plain) {
            *value = series.get(slot).map_or(f32::NAN, |bits| f32::from_bits(*bits));
        }
        values
    }
}

pub(super) fn sample_state(sample: &NodeSample) -> SampleState {
    (sample.ts, sample.values.iter().map(|value| value.to_bits()).collect())
}

pub(super) fn sample_of(state: &SampleState) -> Result<NodeSample, BadSnapshot> {
    check("values in a sample", NodeMetric::COUNT, state.1.len())?;
    let mut sample = NodeSample::empty(state.0);
    for (value, bits) in sample.values.iter_mut().zip(&state.1) {
        *value = f64::from_bits(*bits);
    }
    Ok(sample)
}

impl NodeWindows {
    /// Puts the windows aside.
    pub fn snapshot(&self) -> Snapshot {
        let (rules, builder, open, pending, ahead) = self.parts();
        Snapshot {
            rules: rules.clone(),
            history: self.history().state(),
            builder: builder.clone(),
            open,
            pending: pending.map(sample_state).collect(),
            ahead,
        }
    }

    /// Takes the windows up again. They go on under the rules that they were put aside with.
    ///
    /// # Errors
    /// When the snapshot is damaged.
    pub fn restore(snapshot: &Snapshot) -> Result<Self, BadSnapshot> {
        let pending = snapshot.pending.iter().map(sample_of).collect::<Result<_, _>>()?;
        Self::from_parts(Arc::new(snapshot.rules.clone()), snapshot, pending)
    }
}

impl Serialize for NodeWindows {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.snapshot().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NodeWindows {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::restore(&Snapshot::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
