//! The recurrent peer: an LSTM (Hochreiter and Schmidhuber, 1997) with forget gates that begin open, on labelled sequences.
//! Automatic differentiation and Adam are burn's; the cell is written out, since it is six lines and burn's own layers
//! would be a second copy of the library's features.

use super::supervised::{class_weights, training_rows};
use super::{CompareSettings, Scored, Task};
use burn::optim::{Adam, AdamConfig, AdamState, Optimizer};
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

/// Sequences of one step of Adam.
const BATCH: usize = 128;
/// Adam's rate: three times the paper's, since the network is small and sees few batches.
const RATE: f64 = 3e-3;
/// Standardised values beyond it count as it: one wild reading would else fill the gates.
const FARTHEST: f32 = 10.0;
/// Sequences that are scored together.
const SCORED: usize = 4_096;

pub(super) fn score(task: &Task, settings: &CompareSettings) -> anyhow::Result<Scored> {
    let began = Instant::now();
    let rows = training_rows(task, settings);
    let inputs = Inputs::new(task, settings.lstm_sequence, &task.train_rows());
    let y: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(task.odd[*row]))).collect();
    let weights = class_weights(&y);
    let mut network = Network::new(inputs.width, settings);
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed.wrapping_add(1));
    let mut order: Vec<usize> = (0..rows.len()).collect();
    for _ in 0..settings.lstm_epochs {
        order.shuffle(&mut random);
        for batch in order.chunks(BATCH) {
            let sequences: Vec<usize> = batch.iter().map(|place| rows[*place]).collect();
            let targets = batch.iter().map(|place| y[*place]).collect();
            let weights = batch.iter().map(|place| weights[*place]).collect();
            let loss = network.learn(&inputs, &sequences, targets, weights);
            anyhow::ensure!(loss.is_finite(), "the loss of the LSTM is {loss}. Give fewer units or layers");
        }
    }
    let fit_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut scores = Vec::with_capacity(task.odd.len());
    let all: Vec<usize> = (0..task.odd.len()).collect();
    for rows in all.chunks(SCORED) {
        scores.extend(network.odds(&inputs, rows)?);
    }
    Ok(Scored { scores, fit_seconds, score_seconds: began.elapsed().as_secs_f64() })
}

/// Standardised readings, and where each sequence begins.
struct Inputs {
    width: usize,
    steps: usize,
    values: Vec<f32>,
    /// The first reading of the series that each reading belongs to.
    first: Vec<usize>,
}

impl Inputs {
    fn new(task: &Task, steps: usize, teach: &[usize]) -> Self {
        let (x, width) = (&task.history.x, task.history.x.width());
        let mut values = x.values().to_vec();
        for column in 0..width {
            let known = || teach.iter().map(|row| f64::from(x.row(*row)[column])).filter(|value| !value.is_nan());
            let count = known().count().max(1) as f64;
            let mean = known().sum::<f64>() / count;
            let deviation = (known().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            let scale = if deviation > 1e-9 * mean.abs() { deviation } else { 1.0 };
            for value in values.iter_mut().skip(column).step_by(width) {
                // What is missing is as usual.
                let scaled = if value.is_nan() { 0.0 } else { ((f64::from(*value) - mean) / scale) as f32 };
                *value = scaled.clamp(-FARTHEST, FARTHEST);
            }
        }
        let mut first = vec![0; x.rows()];
        for span in &task.history.spans {
            first[span.clone()].fill(span.start);
        }
        Self { width, steps, values, first }
    }

    /// The readings of the sequences that end with `rows`, `back` steps before their ends; a series that is too young
    /// repeats its first one.
    fn step(&self, rows: &[usize], back: usize) -> Vec<f32> {
        let at = |row: &usize| row.saturating_sub(back).max(self.first[*row]) * self.width;
        rows.iter().flat_map(|row| &self.values[at(row)..at(row) + self.width]).copied().collect()
    }
}

/// A matrix that is learned.
struct Parameter {
    value: Tensor<2>,
    memory: Option<AdamState<2>>,
}

/// Layers of `[input, hidden] × 4 hidden` weights with a bias each, and a line from the last hidden state to the log-odds.
struct Network {
    device: Device,
    adam: Adam,
    units: usize,
    parameters: Vec<Parameter>,
}

impl Network {
    fn new(width: usize, settings: &CompareSettings) -> Self {
        let device = Device::flex();
        let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
        let units = settings.lstm_units;
        let mut parameters = Vec::new();
        let mut add = |values: Vec<f32>, rows: usize, columns: usize| {
            let value = Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), &device);
            parameters.push(Parameter { value: value.autodiff().require_grad(), memory: None });
        };
        for layer in 0..settings.lstm_layers {
            let inputs = units + if layer == 0 { width } else { units };
            let bound = (6.0 / (inputs + units) as f32).sqrt();
            add((0..inputs * 4 * units).map(|_| random.random_range(-bound..bound)).collect(), inputs, 4 * units);
            // Input, forget, cell, output: the forget gates begin open.
            add((0..4 * units).map(|unit| f32::from(u8::from(unit / units == 1))).collect(), 1, 4 * units);
        }
        add(vec![0.0; units], units, 1);
        add(vec![0.0], 1, 1);
        Self { device, adam: AdamConfig::new().with_epsilon(1e-8).build(), units, parameters }
    }

    /// The log-odds of the sequences that end with `rows`. `of` gives the parameters, with or without their gradients.
    fn forward(
        &self,
        inputs: &Inputs,
        rows: &[usize],
        of: impl Fn(usize) -> Tensor<2>,
        leaf: impl Fn(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let tensor = |values: Vec<f32>, columns: usize| {
            leaf(Tensor::<2>::from_data(TensorData::new(values, [rows.len(), columns]), &self.device))
        };
        let layers = (self.parameters.len() - 2) / 2;
        let nothing = || tensor(vec![0.0; rows.len() * self.units], self.units);
        let mut state: Vec<(Tensor<2>, Tensor<2>)> = (0..layers).map(|_| (nothing(), nothing())).collect();
        for back in (0..inputs.steps).rev() {
            let mut input = tensor(inputs.step(rows, back), inputs.width);
            for (layer, (hidden, cell)) in state.iter_mut().enumerate() {
                let gates = Tensor::cat(vec![input, hidden.clone()], 1).matmul(of(2 * layer)) + of(2 * layer + 1);
                let gate = |place: usize| gates.clone().narrow(1, place * self.units, self.units);
                let kept = activation::sigmoid(gate(1)) * cell.clone();
                *cell = kept + activation::sigmoid(gate(0)) * gate(2).tanh();
                *hidden = activation::sigmoid(gate(3)) * cell.clone().tanh();
                input = hidden.clone();
            }
        }
        let last = state.pop().map_or_else(nothing, |(hidden, _)| hidden);
        last.matmul(of(2 * layers)) + of(2 * layers + 1)
    }

    /// One step of Adam on the weighted cross-entropy; returns the loss before it.
    fn learn(&mut self, inputs: &Inputs, rows: &[usize], targets: Vec<f32>, weights: Vec<f32>) -> f64 {
        let count = rows.len();
        let column =
            |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [count, 1]), &self.device).autodiff();
        let logits =
            self.forward(inputs, rows, |place| self.parameters[place].value.clone(), |tensor| tensor.autodiff());
        let (targets, weights) = (column(targets), column(weights));
        // ln(1 + e^z) − y z, written so that no exponent grows: max(z, 0) − y z + ln(1 + e^−|z|).
        let soft = (logits.clone().abs().neg().exp() + 1.0).log();
        let loss = ((logits.clone().clamp_min(0.0) - targets * logits + soft) * weights).mean();
        let mut gradients = loss.backward();
        let loss = f64::from(loss.inner().into_scalar::<f32>());
        for parameter in &mut self.parameters {
            let Some(gradient) = parameter.value.grad_remove(&mut gradients) else { continue };
            let value = parameter.value.clone().inner();
            let (value, memory) = self.adam.step(RATE, value, gradient.clamp(-1.0, 1.0), parameter.memory.take());
            parameter.value = value.autodiff().require_grad();
            parameter.memory = memory;
        }
        loss
    }

    /// The chance of each sequence to end within an incident, by a network that has seen both classes as often.
    fn odds(&self, inputs: &Inputs, rows: &[usize]) -> anyhow::Result<Vec<f32>> {
        let logits = self.forward(inputs, rows, |place| self.parameters[place].value.clone().inner(), |tensor| tensor);
        activation::sigmoid(logits)
            .into_data()
            .try_into_vec::<f32>()
            .map_err(|error| anyhow::anyhow!("the tensor library gave no numbers: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cell by hand, in plain arithmetic.
    fn by_hand(network: &Network, inputs: &Inputs, row: usize) -> f32 {
        let numbers = |place: usize| -> Vec<f32> {
            network.parameters[place].value.clone().inner().into_data().try_into_vec().expect("numbers")
        };
        let (weights, bias, line, offset) = (numbers(0), numbers(1), numbers(2), numbers(3));
        let units = network.units;
        let sigmoid = |z: f32| 1.0 / (1.0 + (-z).exp());
        let (mut hidden, mut cell) = (vec![0.0; units], vec![0.0; units]);
        for back in (0..inputs.steps).rev() {
            let input = [inputs.step(&[row], back), hidden.clone()].concat();
            let gate = |place: usize, unit: usize| {
                let column = place * units + unit;
                bias[column]
                    + input.iter().enumerate().map(|(at, value)| value * weights[at * 4 * units + column]).sum::<f32>()
            };
            for unit in 0..units {
                cell[unit] = sigmoid(gate(1, unit)) * cell[unit] + sigmoid(gate(0, unit)) * gate(2, unit).tanh();
                hidden[unit] = sigmoid(gate(3, unit)) * cell[unit].tanh();
            }
        }
        sigmoid(offset[0] + hidden.iter().zip(&line).map(|(hidden, weight)| hidden * weight).sum::<f32>())
    }

    fn inputs() -> Inputs {
        // A reading is odd where the one two steps before was 1: nothing but the order of time tells.
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let values = (0..600).map(|_| f32::from(u8::from(random.random::<f32>() < 0.3))).collect();
        Inputs { width: 1, steps: 4, values, first: vec![0; 600] }
    }

    fn small() -> CompareSettings {
        CompareSettings { lstm_units: 8, ..CompareSettings::default() }
    }

    #[test]
    fn the_library_agrees_with_the_cell_by_hand_and_learns_what_only_the_order_tells() {
        let inputs = inputs();
        let mut network = Network::new(1, &small());
        let rows: Vec<usize> = (2..600).collect();
        let y: Vec<f32> = rows.iter().map(|row| inputs.values[row - 2]).collect();
        let mut losses = Vec::new();
        for _ in 0..250 {
            losses.push(network.learn(&inputs, &rows, y.clone(), vec![1.0; rows.len()]));
        }
        assert!((losses[0] - 2_f64.ln()).abs() < 1e-5, "it begins undecided: {}", losses[0]);
        assert!(losses[249] < 0.1, "{}", losses[249]);
        let odds = network.odds(&inputs, &[0, 5, 77]).expect("numbers");
        for (odds, row) in odds.iter().zip([0, 5, 77]) {
            assert!((odds - by_hand(&network, &inputs, row)).abs() < 1e-5, "row {row}");
        }
    }

    #[test]
    fn sequences_do_not_reach_into_the_series_before() {
        let inputs = Inputs { width: 1, steps: 3, values: vec![1.0, 2.0, 3.0, 4.0], first: vec![0, 0, 2, 2] };
        assert_eq!(inputs.step(&[3], 2), [3.0]);
        assert_eq!(inputs.step(&[1, 3], 1), [1.0, 3.0]);
    }
}
