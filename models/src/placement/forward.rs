//! The forward pass.

use super::PlacementNetwork;
use crate::ModelError;

/// Rows that go through the layers together: enough to read each weight once for several rows, few enough that their
/// hidden units stay in the first-level cache.
const BLOCK: usize = 16;
/// Outputs that are summed side by side; four registers of a 128-bit machine.
const LANES: usize = 16;

/// Buffers of a forward pass, kept between calls so that none is allocated per node.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    front: Vec<f32>,
    back: Vec<f32>,
}

impl PlacementNetwork {
    /// Scores rows that lie one after the other; `scores` is filled with one value per row. Time: linear in rows.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when `rows` is not whole rows.
    pub fn score(&self, rows: &[f32], scratch: &mut Scratch, scores: &mut Vec<f32>) -> Result<(), ModelError> {
        let width = self.features.len();
        if rows.len() % width != 0 {
            let (expected, got) = (rows.len().next_multiple_of(width), rows.len());
            return Err(ModelError::Shape { what: "the candidates", unit: "values", expected, got });
        }
        scores.clear();
        let widest = self.layers.iter().map(|layer| layer.outputs).max().unwrap_or(1);
        scratch.front.resize(BLOCK * widest, 0.0);
        scratch.back.resize(BLOCK * widest, 0.0);
        for block in rows.chunks(BLOCK * width) {
            let count = block.len() / width;
            let last = self.layers.len() - 1;
            for (at, layer) in self.layers.iter().enumerate() {
                let input = if at == 0 { block } else { &scratch.front[..count * layer.inputs] };
                let output = &mut scratch.back[..count * layer.outputs];
                apply(&layer.weights, &layer.bias, input, layer.inputs, output, layer.outputs);
                if at < last {
                    output.iter_mut().for_each(|value| *value = value.max(0.0));
                }
                std::mem::swap(&mut scratch.front, &mut scratch.back);
            }
            for (row, value) in block.chunks(width).zip(&scratch.front) {
                let linear: f32 = row.iter().zip(&self.skip).map(|(value, weight)| value * weight).sum();
                scores.push(value + linear);
            }
        }
        Ok(())
    }
}

/// `output = input × weights + bias`, row by row.
fn apply(weights: &[f32], bias: &[f32], input: &[f32], inputs: usize, output: &mut [f32], outputs: usize) {
    for (row, out) in input.chunks_exact(inputs).zip(output.chunks_exact_mut(outputs)) {
        let mut from = 0;
        while from + LANES <= outputs {
            let mut sums = [0.0_f32; LANES];
            sums.copy_from_slice(&bias[from..from + LANES]);
            for (value, of_input) in row.iter().zip(weights.chunks_exact(outputs)) {
                // A length that the compiler knows keeps the sums in registers.
                if let Some(lanes) = of_input[from..].first_chunk::<LANES>() {
                    for (sum, weight) in sums.iter_mut().zip(lanes) {
                        *sum += value * weight;
                    }
                }
            }
            out[from..from + LANES].copy_from_slice(&sums);
            from += LANES;
        }
        for place in from..outputs {
            let of_output = weights.iter().skip(place).step_by(outputs);
            out[place] = bias[place] + row.iter().zip(of_output).map(|(value, weight)| value * weight).sum::<f32>();
        }
    }
}
