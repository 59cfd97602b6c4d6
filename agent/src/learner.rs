//! Double DQN.

use crate::explore::best;
use crate::network::{Batch, Trainable};
use crate::replay::Replay;
use crate::settings::{DqnSettings, SettingError};
use crate::transition::Transition;
use models::ModelError;
use models::placement::{Layer, PlacementNetwork, Scratch};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Learning that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// A setting out of range.
    #[error("the settings of the learner do not work")]
    Setting(#[from] SettingError),
    /// Rows of another width.
    #[error("a transition has {got} values, the network reads {expected}")]
    Width {
        /// Values of a row.
        expected: usize,
        /// What came.
        got: usize,
    },
    /// A reward or a value that is no number.
    #[error("a transition has the reward {reward} and the discount {discount}, want finite numbers")]
    NotFinite {
        /// Its reward.
        reward: f32,
        /// Its discount.
        discount: f32,
    },
    /// The weights ran away.
    #[error("the loss of update {update} is {loss}: the step size of {rate} is too large for these rewards")]
    Diverged {
        /// Which update, from 0.
        update: u64,
        /// Its loss.
        loss: f64,
        /// Step size.
        rate: f64,
    },
    /// A network that does not fit together.
    #[error("the network does not work")]
    Network(#[from] ModelError),
    /// The deep-learning library refused.
    #[error("the deep-learning library failed: {reason}")]
    Library {
        /// Its own words.
        reason: String,
    },
}

/// What an update found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Mean Huber loss of the batch.
    pub loss: f64,
    /// Mean value of the batch's actions.
    pub value: f64,
}

/// Learns the values of actions from transitions.
pub struct Learner {
    pub(crate) settings: DqnSettings,
    pub(crate) online: Trainable,
    /// The online weights as they serve: actions and targets are computed with them.
    pub(crate) network: PlacementNetwork,
    pub(crate) target: PlacementNetwork,
    pub(crate) replay: Replay,
    pub(crate) chance: ChaCha8Rng,
    pub(crate) updates: u64,
    pub(crate) episodes: u64,
    scratch: Scratch,
}

impl Learner {
    /// A learner whose network reads `features` and begins as the rule `skip · x`.
    ///
    /// # Errors
    /// [`LearnError::Setting`], or a `skip` of another length.
    pub fn new(settings: DqnSettings, features: Vec<String>, skip: Vec<f32>) -> Result<Self, LearnError> {
        settings.check()?;
        let mut chance = ChaCha8Rng::seed_from_u64(settings.seed);
        let network = fresh_network(features, skip, &settings.hidden, &mut chance)?;
        Ok(Self::with(settings, network, chance))
    }

    pub(crate) fn with(settings: DqnSettings, network: PlacementNetwork, chance: ChaCha8Rng) -> Self {
        Self {
            online: Trainable::new(&network),
            target: network.clone(),
            replay: Replay::new(settings.capacity, settings.priority),
            network,
            chance,
            updates: 0,
            episodes: 0,
            scratch: Scratch::default(),
            settings,
        }
    }

    /// The settings.
    pub fn settings(&self) -> &DqnSettings {
        &self.settings
    }

    /// The network as it is now.
    pub fn network(&self) -> &PlacementNetwork {
        &self.network
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Episodes so far: what the schedules go by.
    pub fn episodes(&self) -> u64 {
        self.episodes
    }

    /// Transitions in memory.
    pub fn remembered(&self) -> usize {
        self.replay.len()
    }

    /// Counts an episode.
    pub fn end_episode(&mut self) {
        self.episodes += 1;
    }

    /// Takes a transition in.
    ///
    /// # Errors
    /// When it has another width, or its reward is no number.
    pub fn observe(&mut self, transition: Transition) -> Result<(), LearnError> {
        let expected = self.network.features().len();
        if transition.row.len() != expected || !transition.next.len().is_multiple_of(expected) {
            let got = if transition.row.len() == expected { transition.next.len() } else { transition.row.len() };
            return Err(LearnError::Width { expected, got });
        }
        let Transition { reward, discount, .. } = transition;
        if !(reward.is_finite() && discount.is_finite()) {
            return Err(LearnError::NotFinite { reward, discount });
        }
        self.replay.push(transition);
        Ok(())
    }

    /// One update: draws a batch and moves the weights towards its targets. `None` until a batch is there.
    ///
    /// The target of a transition is its return plus the discounted value of the best next action, where the online
    /// network says which is best and the target network what it is worth; nothing follows a terminated one.
    ///
    /// # Errors
    /// [`LearnError::Diverged`].
    pub fn update(&mut self) -> Result<Option<Update>, LearnError> {
        if self.replay.len() < self.settings.batch {
            return Ok(None);
        }
        let drawn = self.replay.draw(self.settings.batch, &mut self.chance);
        let (mut batch, mut next, mut counts) =
            (Batch { rows: Vec::new(), targets: Vec::new(), weights: Vec::new() }, Vec::new(), Vec::new());
        let width = self.network.features().len();
        for drawn in &drawn {
            let transition = self.replay.get(drawn.place);
            batch.rows.extend_from_slice(&transition.row);
            batch.weights.push(drawn.weight);
            let follows = if transition.end.terminated { &[][..] } else { &transition.next };
            next.extend_from_slice(follows);
            counts.push(follows.len() / width);
        }
        let (mut chosen_by, mut worth) = (Vec::new(), Vec::new());
        self.network.score(&next, &mut self.scratch, &mut chosen_by)?;
        self.target.score(&next, &mut self.scratch, &mut worth)?;
        let mut from = 0;
        for (drawn, count) in drawn.iter().zip(counts) {
            let transition = self.replay.get(drawn.place);
            let value = if count == 0 { 0.0 } else { worth[from + best(&chosen_by[from..from + count])] };
            batch.targets.push(transition.reward + transition.discount * value);
            from += count;
        }
        let targets = batch.targets.clone();
        let rate = self.settings.learning_rate_at(self.episodes);
        let fitted = self.online.fit(batch, self.settings.huber, rate)?;
        if !fitted.loss.is_finite() {
            return Err(LearnError::Diverged { update: self.updates, loss: fitted.loss, rate });
        }
        self.replay.judge(&drawn, &fitted.errors);
        self.network = self.online.network()?;
        self.updates += 1;
        if self.updates.is_multiple_of(self.settings.target_every) {
            self.target = self.network.clone();
        }
        let values = fitted.errors.iter().zip(&targets).map(|(error, target)| f64::from(error + target));
        Ok(Some(Update { loss: fitted.loss, value: values.sum::<f64>() / targets.len() as f64 }))
    }
}

/// Hidden weights by He et al. (2015), uniform; the last layer is zero, so that the network begins as its linear part.
pub(crate) fn fresh_network(
    features: Vec<String>,
    skip: Vec<f32>,
    hidden: &[usize],
    chance: &mut ChaCha8Rng,
) -> Result<PlacementNetwork, ModelError> {
    let mut inputs = features.len();
    let mut layers = Vec::new();
    for outputs in hidden {
        let bound = (6.0 / inputs.max(1) as f32).sqrt();
        let weights = (0..inputs * outputs).map(|_| chance.random_range(-bound..bound)).collect();
        layers.push(Layer { inputs, outputs: *outputs, weights, bias: vec![0.0; *outputs] });
        inputs = *outputs;
    }
    layers.push(Layer { inputs, outputs: 1, weights: vec![0.0; inputs], bias: vec![0.0] });
    PlacementNetwork::new(features, skip, layers)
}
