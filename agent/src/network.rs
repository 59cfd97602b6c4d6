//! The network while it learns: burn's tensors, automatic differentiation and Adam.

use crate::learner::LearnError;
use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Tensor, TensorData, activation};
use models::placement::{Layer, PlacementNetwork};

/// Weights with what Adam remembers of them. Biases are matrices of one row, the linear part is one of one column.
#[derive(Clone)]
pub(crate) struct Parameter {
    pub rows: usize,
    pub columns: usize,
    value: Tensor<2>,
    memory: Option<AdamState<2>>,
}

/// What Adam remembers of a parameter, as numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Memory {
    pub time: usize,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

/// All parameters: weight and bias by layer, the linear part last.
pub(crate) struct Trainable {
    device: Device,
    adam: Adam,
    pub parameters: Vec<Parameter>,
    features: Vec<String>,
}

/// A batch of examples.
pub(crate) struct Batch {
    /// Rows one after the other.
    pub rows: Vec<f32>,
    /// What each row's value should be.
    pub targets: Vec<f32>,
    /// What each error counts.
    pub weights: Vec<f32>,
}

/// What an update found before it changed the weights.
pub(crate) struct Fitted {
    pub loss: f64,
    /// Value − target, by example.
    pub errors: Vec<f32>,
}

fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(0);
    #[cfg(not(feature = "cuda"))]
    Device::flex()
}

fn numbers(tensor: Tensor<2>) -> Result<Vec<f32>, LearnError> {
    tensor.into_data().try_into_vec::<f32>().map_err(|error| LearnError::Library { reason: error.to_string() })
}

impl Trainable {
    pub fn new(network: &PlacementNetwork) -> Self {
        let device = device();
        let parameter = |values: &[f32], rows: usize, columns: usize| Parameter {
            rows,
            columns,
            value: Tensor::<2>::from_data(TensorData::new(values.to_vec(), [rows, columns]), &device)
                .autodiff()
                .require_grad(),
            memory: None,
        };
        let mut parameters = Vec::new();
        for layer in network.layers() {
            parameters.push(parameter(&layer.weights, layer.inputs, layer.outputs));
            parameters.push(parameter(&layer.bias, 1, layer.outputs));
        }
        parameters.push(parameter(network.skip(), network.skip().len(), 1));
        // 1e-8 as in the paper (Kingma and Ba 2015); the library's own default is 1e-5.
        let adam = AdamConfig::new().with_epsilon(1e-8).build();
        Self { device, adam, parameters, features: network.features().to_vec() }
    }

    /// The values of rows.
    fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        let layers = self.parameters.len() / 2;
        let mut hidden = rows.clone();
        for at in 0..layers {
            hidden = hidden.matmul(self.parameters[2 * at].value.clone()) + self.parameters[2 * at + 1].value.clone();
            if at + 1 < layers {
                hidden = activation::relu(hidden);
            }
        }
        hidden + rows.matmul(self.parameters[2 * layers].value.clone())
    }

    fn tensor(&self, values: Vec<f32>, rows: usize, columns: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, [rows, columns]), &self.device).autodiff()
    }

    /// The values of rows by the library's own forward pass.
    #[cfg(test)]
    pub fn values(&self, rows: Vec<f32>) -> Result<Vec<f32>, LearnError> {
        let width = self.features.len();
        let count = rows.len() / width;
        numbers(self.forward(self.tensor(rows, count, width)).inner())
    }

    /// One step of Adam on the weighted Huber loss.
    pub fn fit(&mut self, batch: Batch, huber: f64, rate: f64) -> Result<Fitted, LearnError> {
        let (count, width) = (batch.targets.len(), self.features.len());
        let rows = self.tensor(batch.rows, count, width);
        let targets = self.tensor(batch.targets, count, 1);
        let weights = self.tensor(batch.weights, count, 1);
        let error = self.forward(rows) - targets;
        let size = error.clone().abs();
        let small = size.clone().clamp_max(huber);
        // δ |e| − δ²/2 above δ, e²/2 below: with s = min(|e|, δ) both are s²/2 + δ (|e| − s).
        let loss = (small.clone().square().mul_scalar(0.5) + (size - small).mul_scalar(huber)) * weights;
        let loss = loss.mean();
        let mut gradients = loss.backward();
        let loss = f64::from(loss.inner().into_scalar::<f32>());
        let errors = numbers(error.inner())?;
        for parameter in &mut self.parameters {
            let Some(gradient) = parameter.value.grad_remove(&mut gradients) else { continue };
            let value = parameter.value.clone().inner();
            let (value, memory) = self.adam.step(rate, value, gradient, parameter.memory.take());
            parameter.value = value.autodiff().require_grad();
            parameter.memory = memory;
        }
        Ok(Fitted { loss, errors })
    }

    /// The weights as a network that serves.
    pub fn network(&self) -> Result<PlacementNetwork, LearnError> {
        let mut values = self.values_of(|parameter| numbers(parameter.value.clone().inner()))?;
        let skip = values.pop().unwrap_or_default();
        let layers = values
            .chunks_exact(2)
            .zip(self.parameters.chunks_exact(2))
            .map(|(values, of)| Layer {
                inputs: of[0].rows,
                outputs: of[0].columns,
                weights: values[0].clone(),
                bias: values[1].clone(),
            })
            .collect();
        Ok(PlacementNetwork::new(self.features.clone(), skip, layers)?)
    }

    fn values_of<T>(&self, of: impl Fn(&Parameter) -> Result<T, LearnError>) -> Result<Vec<T>, LearnError> {
        self.parameters.iter().map(of).collect()
    }

    /// What Adam remembers, by parameter.
    pub fn memories(&self) -> Result<Vec<Option<Memory>>, LearnError> {
        self.values_of(|parameter| {
            let Some(memory) = &parameter.memory else { return Ok(None) };
            let AdaptiveMomentumState { time, moment_1, moment_2, .. } = memory.momentum.clone();
            Ok(Some(Memory { time, first: numbers(moment_1)?, second: numbers(moment_2)? }))
        })
    }

    /// Gives back what [`Trainable::memories`] told.
    pub fn remember(&mut self, memories: Vec<Option<Memory>>) {
        let device = self.device.clone();
        for (parameter, memory) in self.parameters.iter_mut().zip(memories) {
            let shape = [parameter.rows, parameter.columns];
            let tensor = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, shape), &device);
            parameter.memory = memory.map(|memory| {
                AdamState::new(AdaptiveMomentumState::new(memory.time, tensor(memory.first), tensor(memory.second)))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::fresh_network;
    use models::placement::Scratch;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn network() -> PlacementNetwork {
        let mut chance = ChaCha8Rng::seed_from_u64(3);
        let names = (0..38).map(|at| format!("feature_{at}")).collect();
        let skip = (0..38).map(|_| chance.random_range(-1.0..1.0)).collect();
        fresh_network(names, skip, &[64, 32], &mut chance).expect("a network")
    }

    #[test]
    fn the_serving_pass_agrees_with_the_library() {
        let mut network = network();
        // A step of learning first, so that the last layer, which begins at zero, takes part.
        let mut trainable = Trainable::new(&network);
        let mut chance = ChaCha8Rng::seed_from_u64(4);
        let rows: Vec<f32> = (0..38 * 203).map(|_| chance.random_range(-2.0..2.0)).collect();
        for _ in 0..20 {
            let targets = (0..203).map(|at| (at % 7) as f32).collect();
            let batch = Batch { rows: rows.clone(), targets, weights: vec![1.0; 203] };
            trainable.fit(batch, 1.0, 1e-2).expect("an update");
        }
        network = trainable.network().expect("a network");
        let mut served = Vec::new();
        network.score(&rows, &mut Scratch::default(), &mut served).expect("whole rows");
        let library = trainable.values(rows).expect("values");
        let worst = served.iter().zip(&library).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "{worst}");
        assert!(network.layers()[2].weights.iter().any(|weight| *weight != 0.0));
    }

    #[test]
    fn adam_and_huber_by_hand() {
        // One weight w = 0 on x = 1, target 5, δ = 1: the loss is 5 − ½ and its slope −1; Adam's first step is the rate.
        let layer = Layer { inputs: 1, outputs: 1, weights: vec![0.0], bias: vec![0.0] };
        let network = PlacementNetwork::new(vec!["x".into()], vec![0.0], vec![layer]).expect("a network");
        let mut trainable = Trainable::new(&network);
        let batch = Batch { rows: vec![1.0], targets: vec![5.0], weights: vec![1.0] };
        let fitted = trainable.fit(batch, 1.0, 0.01).expect("an update");
        assert!((fitted.loss - 4.5).abs() < 1e-6 && fitted.errors == [-5.0], "{} {:?}", fitted.loss, fitted.errors);
        let after = trainable.network().expect("a network");
        assert!((after.skip()[0] - 0.01).abs() < 1e-6 && (after.layers()[0].bias[0] - 0.01).abs() < 1e-6);
        let memory = trainable.memories().expect("numbers")[0].clone().expect("a memory");
        // β₁ = 0.9 and β₂ = 0.999 of the gradient −1.
        assert!(memory.time == 1 && (memory.first[0] + 0.1).abs() < 1e-6 && (memory.second[0] - 1e-3).abs() < 1e-6);
    }
}
