//! The forward pass.

use super::PlacementNetwork;
use crate::ModelError;
use ndarray::linalg::{general_mat_mul, general_mat_vec_mul};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};

/// Rows that go through the layers together: enough to read each weight once for many rows, few enough that their hidden
/// units stay in the second-level cache.
const BLOCK: usize = 256;

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
        if !rows.len().is_multiple_of(width) {
            let (expected, got) = (rows.len().next_multiple_of(width), rows.len());
            return Err(ModelError::Shape { what: "the candidates", unit: "values", expected, got });
        }
        scores.clear();
        let widest = self.layers.iter().map(|layer| layer.outputs).max().unwrap_or(1);
        let most = BLOCK.min(rows.len() / width);
        scratch.front.resize(most * widest, 0.0);
        scratch.back.resize(most * widest, 0.0);
        for block in rows.chunks(BLOCK * width) {
            let count = block.len() / width;
            for (at, layer) in self.layers.iter().enumerate() {
                let output = &mut scratch.back[..count * layer.outputs];
                output.chunks_exact_mut(layer.outputs).for_each(|row| row.copy_from_slice(&layer.bias));
                let input = if at == 0 { block } else { &scratch.front[..count * layer.inputs] };
                let input = matrix(input, count, layer.inputs)?;
                let weights = matrix(&layer.weights, layer.inputs, layer.outputs)?;
                let mut sums = ArrayViewMut2::from_shape((count, layer.outputs), &mut *output).map_err(misshapen)?;
                general_mat_mul(1.0, &input, &weights, 1.0, &mut sums);
                if at + 1 < self.layers.len() {
                    output.iter_mut().for_each(|value| *value = value.max(0.0));
                }
                std::mem::swap(&mut scratch.front, &mut scratch.back);
            }
            // The linear part comes on top of the last layer's one value per row.
            let values = &mut scratch.front[..count];
            let mut sums = ArrayViewMut1::from(&mut *values);
            general_mat_vec_mul(1.0, &matrix(block, count, width)?, &ArrayView1::from(&self.skip), 1.0, &mut sums);
            scores.extend_from_slice(values);
        }
        Ok(())
    }
}

fn matrix(values: &[f32], rows: usize, columns: usize) -> Result<ArrayView2<'_, f32>, ModelError> {
    ArrayView2::from_shape((rows, columns), values).map_err(misshapen)
}

/// Shapes were checked when the network was made.
fn misshapen(error: ndarray::ShapeError) -> ModelError {
    ModelError::damaged("the placement network", error)
}
