//! The placement agent's network: one value per candidate node.
//!
//! This is the half that serves: plain arithmetic over reused buffers. How the weights are learned is the business of the
//! crate `agent`; a test there holds this forward pass to the one of the deep-learning library.

mod file;
mod forward;

pub use file::NETWORK_FILE;
pub use forward::Scratch;

use crate::ModelError;
use cluster::score::ValueScale;

/// One fully connected layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Values that come in.
    pub inputs: usize,
    /// Values that go out.
    pub outputs: usize,
    /// By input, then output.
    pub weights: Vec<f32>,
    /// By output.
    pub bias: Vec<f32>,
}

/// Scores a candidate from its row: `Q(x) = skip · x + mlp(x)`, with rectified linear units between the layers.
///
/// The linear part lets a network begin as a known rule and learn what the rule misses. Every candidate goes through the
/// same weights alone, so a cluster may have any size and the order of the nodes does not matter.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementNetwork {
    features: Vec<String>,
    skip: Vec<f32>,
    layers: Vec<Layer>,
    scale: ValueScale,
}

/// How the values of a network are read of which no scale was measured: that of the rule that ships (`trainer train placement`
/// prints it), which every agent begins as.
pub const DEFAULT_SCALE: ValueScale = ValueScale { full_difference: 0.42, noise: 0.031 };

/// Layers and units beyond this are no network of ours.
const MOST_UNITS: usize = 4_096;

impl PlacementNetwork {
    /// A network that reads `features`, in that order.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the layers do not follow each other from the features to one value;
    /// [`ModelError::Setting`] when a weight is not finite.
    pub fn new(features: Vec<String>, skip: Vec<f32>, layers: Vec<Layer>) -> Result<Self, ModelError> {
        let shape = |what, unit, expected, got| {
            if expected == got { Ok(()) } else { Err(ModelError::Shape { what, unit, expected, got }) }
        };
        if features.is_empty() || layers.is_empty() {
            return Err(ModelError::Empty { what: "the network's features or layers" });
        }
        shape("the linear part", "weights", features.len(), skip.len())?;
        let mut width = features.len();
        for layer in &layers {
            shape("a layer", "inputs", width, layer.inputs)?;
            if !(1..=MOST_UNITS).contains(&layer.outputs) {
                let got = layer.outputs.to_string();
                return Err(ModelError::Setting { setting: "units of a layer", rule: "1 to 4096", got });
            }
            shape("a layer", "weights", layer.inputs * layer.outputs, layer.weights.len())?;
            shape("a layer", "biases", layer.outputs, layer.bias.len())?;
            width = layer.outputs;
        }
        shape("the last layer", "outputs", 1, width)?;
        let all = layers.iter().flat_map(|layer| layer.weights.iter().chain(&layer.bias)).chain(&skip);
        if let Some(bad) = all.copied().find(|weight| !weight.is_finite()) {
            return Err(ModelError::Setting { setting: "weight", rule: "finite", got: bad.to_string() });
        }
        Ok(Self { features, skip, layers, scale: DEFAULT_SCALE })
    }

    /// The features in the order of a row.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// The linear part, by feature.
    pub fn skip(&self) -> &[f32] {
        &self.skip
    }

    /// The layers from the features to the value.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// How differences of its values are read.
    pub const fn scale(&self) -> ValueScale {
        self.scale
    }

    /// The same network whose differences are read by `scale`.
    pub fn with_scale(self, scale: ValueScale) -> Self {
        Self { scale, ..self }
    }

    /// Units of the hidden layers.
    pub fn hidden(&self) -> Vec<usize> {
        self.layers[..self.layers.len() - 1].iter().map(|layer| layer.outputs).collect()
    }

    /// How much each feature moves the value: mean of `|∂Q/∂x| × deviation of x` over `rows`, largest first, as shares.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when `rows` is not whole rows.
    pub fn importance(&self, rows: &[f32]) -> Result<Vec<crate::Importance>, ModelError> {
        let width = self.features.len();
        let mut scratch = Scratch::default();
        let mut base = Vec::new();
        self.score(rows, &mut scratch, &mut base)?;
        let count = base.len().max(1) as f32;
        let mut moves = Vec::with_capacity(width);
        for feature in 0..width {
            let column = || rows.iter().skip(feature).step_by(width);
            let mean = column().sum::<f32>() / count;
            let deviation = (column().map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt();
            if deviation == 0.0 {
                moves.push(0.0);
                continue;
            }
            let mut moved = rows.to_vec();
            moved.iter_mut().skip(feature).step_by(width).for_each(|value| *value += 0.1 * deviation);
            let mut after = Vec::new();
            self.score(&moved, &mut scratch, &mut after)?;
            moves.push(base.iter().zip(&after).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>());
        }
        let total = moves.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let entry =
            |(feature, moved): (&String, f64)| crate::Importance { feature: feature.clone(), share: moved / total };
        let mut list: Vec<_> = self.features.iter().zip(moves).map(entry).collect();
        list.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.feature.cmp(&b.feature)));
        Ok(list)
    }

    /// For each row what each feature adds to its value, against the mean of all rows in that feature: row-major, in the order
    /// of the features. Interactions count with every feature that takes part in them, so a row need not sum to its value.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when `rows` is not whole rows.
    pub fn contributions(&self, rows: &[f32]) -> Result<Vec<f32>, ModelError> {
        let width = self.features.len();
        let (mut scratch, mut base, mut without) = (Scratch::default(), Vec::new(), Vec::new());
        self.score(rows, &mut scratch, &mut base)?;
        let mut contributions = vec![0.0; rows.len()];
        let mut moved = rows.to_vec();
        for feature in 0..width {
            let mean = rows.iter().skip(feature).step_by(width).sum::<f32>() / base.len().max(1) as f32;
            moved.iter_mut().skip(feature).step_by(width).for_each(|value| *value = mean);
            self.score(&moved, &mut scratch, &mut without)?;
            let places = contributions.iter_mut().skip(feature).step_by(width);
            for (place, (value, other)) in places.zip(base.iter().zip(&without)) {
                *place = value - other;
            }
            let own = rows.iter().skip(feature).step_by(width);
            moved.iter_mut().skip(feature).step_by(width).zip(own).for_each(|(value, own)| *value = *own);
        }
        Ok(contributions)
    }
}

#[cfg(test)]
mod tests;
