//! Randomness: one generator per purpose, and noise that remembers.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// The generator for one purpose (such as `pod-noise` of pod 7). Streams of different purposes are independent, so
/// adding a purpose changes nothing else, and the order of threads does not matter.
pub fn generator(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    // FNV-1a, 64 bits: fixed for all time, unlike the standard library's hasher.
    let bytes = purpose.bytes().chain(index.to_le_bytes());
    let stream =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    generator.set_stream(stream);
    generator
}

/// A draw from the normal distribution with mean 0 and deviation 1.
pub fn normal(generator: &mut ChaCha8Rng) -> f64 {
    generator.sample(StandardNormal)
}

/// Uniform between two bounds.
pub fn between(generator: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * generator.random::<f64>()
}

/// First-order autoregressive noise: `x' = φ x + σ √(1 − φ²) ε`, stationary from its first value.
#[derive(Debug, Clone)]
pub struct Ar1 {
    generator: ChaCha8Rng,
    memory: f64,
    innovation: f64,
    value: f64,
}

impl Ar1 {
    /// Noise with standard deviation `deviation` whose correlation falls to 1/e over `steps` steps.
    pub fn new(mut generator: ChaCha8Rng, steps: f64, deviation: f64) -> Self {
        let memory = (-1.0 / steps.max(1e-3)).exp();
        let value = deviation * normal(&mut generator);
        Self { generator, memory, innovation: deviation * (1.0 - memory * memory).sqrt(), value }
    }

    /// The value of now.
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// Goes one step on and returns the new value.
    pub fn step(&mut self) -> f64 {
        self.value = self.memory * self.value + self.innovation * normal(&mut self.generator);
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_are_independent_and_repeatable() {
        let draw = |purpose, index| generator(7, purpose, index).random::<u64>();
        assert_eq!(draw("nodes", 0), draw("nodes", 0));
        assert_ne!(draw("nodes", 0), draw("nodes", 1));
        assert_ne!(draw("nodes", 0), draw("pods", 0));
    }

    #[test]
    fn the_noise_has_the_deviation_and_memory_it_was_asked_for() {
        let mut noise = Ar1::new(generator(1, "test", 0), 20.0, 0.5);
        let values: Vec<f64> = (0..200_000).map(|_| noise.step()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let lagged = values.windows(21).map(|window| (window[0] - mean) * (window[20] - mean)).sum::<f64>()
            / (values.len() - 20) as f64;
        assert!((variance.sqrt() - 0.5).abs() < 0.02, "deviation {}", variance.sqrt());
        assert!((lagged / variance - (-1.0_f64).exp()).abs() < 0.05, "correlation {}", lagged / variance);
    }
}
