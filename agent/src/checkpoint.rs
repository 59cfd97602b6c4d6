//! A learner as bytes: weights, target weights, Adam's memory, replay and generator, so that a killed training goes on as
//! if nothing had happened.
//!
//! Eight bytes with the length of a JSON header, the header, then numbers in little-endian order. The header has the
//! SHA-256 of the numbers.

use crate::learner::{LearnError, Learner};
use crate::network::Memory;
use crate::settings::DqnSettings;
use crate::transition::{End, Transition};
use models::placement::{Layer, PlacementNetwork};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Raised when an older reader would misread a checkpoint.
const FORMAT: &str = "berth-agent-checkpoint-1";

/// A checkpoint that cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not ours, cut, or changed.
    #[error("the checkpoint is damaged: {problem}")]
    Damaged {
        /// What is wrong.
        problem: String,
    },
    /// Of another training.
    #[error(
        "the checkpoint is of another training: its {what} is {got}, this one's is {expected}. Remove it to start anew, or train with the same settings"
    )]
    Other {
        /// What differs.
        what: &'static str,
        /// Here.
        expected: String,
        /// In the checkpoint.
        got: String,
    },
    /// What was read does not work, or what is to be written cannot be read out.
    #[error("the checkpoint cannot be used")]
    Learner(#[from] LearnError),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    settings: DqnSettings,
    features: Vec<String>,
    updates: u64,
    episodes: u64,
    /// Position of the generator in its stream, as text: it has 128 bits.
    generator: String,
    /// Shape (inputs, outputs) by layer.
    layers: Vec<(usize, usize)>,
    /// Steps that Adam has made, by parameter; absent before the first.
    adam: Vec<Option<usize>>,
    transitions: usize,
    replay_next: usize,
    bytes: usize,
    sha256: String,
}

fn damaged(problem: impl std::fmt::Display) -> CheckpointError {
    CheckpointError::Damaged { problem: problem.to_string() }
}

impl Learner {
    /// Everything that the next update depends on.
    ///
    /// # Errors
    /// When the weights cannot be read out.
    pub fn save(&self) -> Result<Vec<u8>, CheckpointError> {
        let mut body = Writer::default();
        for network in [&self.network, &self.target] {
            body.floats(network.skip());
            network.layers().iter().for_each(|layer| {
                body.floats(&layer.weights);
                body.floats(&layer.bias);
            });
        }
        let memories = self.online.memories()?;
        for memory in memories.iter().flatten() {
            body.floats(&memory.first);
            body.floats(&memory.second);
        }
        for at in 0..self.replay.len() {
            body.transition(self.replay.get(at));
            body.0.extend(self.replay.tree.get(at).to_le_bytes());
        }
        body.0.extend(self.replay.tree.highest.to_le_bytes());
        let header = Header {
            format: FORMAT.to_owned(),
            settings: self.settings.clone(),
            features: self.network.features().to_vec(),
            updates: self.updates,
            episodes: self.episodes,
            generator: self.chance.get_word_pos().to_string(),
            layers: self.network.layers().iter().map(|layer| (layer.inputs, layer.outputs)).collect(),
            adam: memories.iter().map(|memory| memory.as_ref().map(|memory| memory.time)).collect(),
            transitions: self.replay.len(),
            replay_next: self.replay.next,
            bytes: body.0.len(),
            sha256: digest(&body.0),
        };
        let text = serde_json::to_vec(&header).map_err(damaged)?;
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text);
        bytes.extend(body.0);
        Ok(bytes)
    }

    /// The learner that [`Learner::save`] wrote, if it is of this training.
    ///
    /// # Errors
    /// [`CheckpointError`] that says what is damaged or differs.
    pub fn load(bytes: &[u8], settings: &DqnSettings, features: &[String]) -> Result<Self, CheckpointError> {
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| damaged("it is shorter than 8 bytes"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > rest.len() {
            return Err(damaged("its header is longer than the file"));
        }
        let (text, body) = rest.split_at(length);
        let header: Header = serde_json::from_slice(text).map_err(damaged)?;
        if header.format != FORMAT {
            return Err(damaged(format!("its format is `{}`, expected `{FORMAT}`", header.format)));
        }
        let got = digest(body);
        if body.len() != header.bytes || got != header.sha256 {
            return Err(damaged(format!(
                "it has {} bytes with SHA-256 `{got}`, its header says {} with `{}`",
                body.len(),
                header.bytes,
                header.sha256
            )));
        }
        let other = |what, expected: String, got: String| CheckpointError::Other { what, expected, got };
        if header.settings.hidden != settings.hidden {
            let (expected, got) = (format!("{:?}", settings.hidden), format!("{:?}", header.settings.hidden));
            return Err(other("network shape (hidden units)", expected, got));
        }
        if header.features != features {
            let (expected, got) = (features.len().to_string(), header.features.len().to_string());
            return Err(other("list of features (by number)", expected, got));
        }
        if header.settings != *settings {
            return Err(other("set of settings", format!("{settings:?}"), format!("{:?}", header.settings)));
        }
        Self::restore(header, &mut Reader(body))
    }

    fn restore(header: Header, body: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let mut network = || -> Result<PlacementNetwork, CheckpointError> {
            let skip = body.floats(header.features.len())?;
            let mut layers = Vec::new();
            for (inputs, outputs) in header.layers.iter().copied() {
                let weights =
                    body.floats(inputs.checked_mul(outputs).ok_or_else(|| damaged("a layer is too large"))?)?;
                layers.push(Layer { inputs, outputs, weights, bias: body.floats(outputs)? });
            }
            Ok(PlacementNetwork::new(header.features.clone(), skip, layers).map_err(LearnError::from)?)
        };
        let (online, target) = (network()?, network()?);
        let mut chance = ChaCha8Rng::seed_from_u64(header.settings.seed);
        chance.set_word_pos(header.generator.parse().map_err(damaged)?);
        let width = header.features.len();
        let mut learner = Self::with(header.settings, online, chance);
        let shapes: Vec<usize> = learner.online.parameters.iter().map(|of| of.rows * of.columns).collect();
        if header.adam.len() != shapes.len() {
            return Err(damaged("it has another number of weights than layers"));
        }
        let mut memories = Vec::new();
        for (time, count) in header.adam.into_iter().zip(shapes) {
            memories.push(match time {
                Some(time) => Some(Memory { time, first: body.floats(count)?, second: body.floats(count)? }),
                None => None,
            });
        }
        learner.online.remember(memories);
        learner.target = target;
        let mut priorities = Vec::with_capacity(header.transitions);
        for _ in 0..header.transitions {
            learner.observe(body.transition(width)?)?;
            priorities.push(body.double()?);
        }
        if learner.settings.priority.is_some() {
            priorities.into_iter().enumerate().for_each(|(place, value)| learner.replay.tree.set(place, value));
        }
        learner.replay.tree.highest = body.double()?;
        (learner.replay.next, learner.updates, learner.episodes) =
            (header.replay_next, header.updates, header.episodes);
        if body.0.is_empty() { Ok(learner) } else { Err(damaged(format!("{} bytes are left over", body.0.len()))) }
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn floats(&mut self, values: &[f32]) {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn transition(&mut self, transition: &Transition) {
        self.floats(&transition.row);
        self.floats(&[transition.reward, transition.discount]);
        self.0.push(u8::from(transition.end.terminated) | u8::from(transition.end.truncated) << 1);
        self.0.extend((transition.next.len() as u32).to_le_bytes());
        self.floats(&transition.next);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| damaged("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, CheckpointError> {
        (0..count).map(|_| Ok(f32::from_le_bytes(self.take::<4>()?))).collect()
    }

    fn double(&mut self) -> Result<f64, CheckpointError> {
        Ok(f64::from_le_bytes(self.take::<8>()?))
    }

    fn transition(&mut self, width: usize) -> Result<Transition, CheckpointError> {
        let row = self.floats(width)?;
        let [reward, discount] = [f32::from_le_bytes(self.take()?), f32::from_le_bytes(self.take()?)];
        let [flags] = self.take::<1>()?;
        let count = u32::from_le_bytes(self.take()?) as usize;
        let end = End { terminated: flags & 1 == 1, truncated: flags & 2 == 2 };
        Ok(Transition { row, reward, discount, next: self.floats(count)?, end })
    }
}
