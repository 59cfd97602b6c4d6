//! How the usage of a workload goes over time.

use crate::world::UsageSeries;
use cluster::{DAY_MS, HOUR_MS};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use std::f64::consts::TAU;

/// The form of a workload's usage around its mean of 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// Height of the daily wave, 0..1.
    pub daily: f64,
    /// Hour of its peak.
    pub peak_hour: f64,
    /// Standard deviation of the slow noise.
    pub noise: f64,
    /// Chance of a surge per day.
    pub surges: f64,
}

impl Course {
    /// Whole-day services, evening services, night batches: most of a cluster peaks together.
    pub fn service(chance: &mut ChaCha8Rng) -> Self {
        let peak_hour = match chance.random_range(0..10) {
            0..6 => 14.0 + chance.random_range(-2.0..2.0),
            6..8 => 20.0 + chance.random_range(-1.5..1.5),
            8 => 2.0 + chance.random_range(-1.0..1.0),
            _ => chance.random_range(0.0..24.0),
        };
        Self {
            daily: chance.random_range(0.2..0.85),
            peak_hour,
            noise: chance.random_range(0.03..0.15),
            surges: chance.random_range(0.0..0.7),
        }
    }

    /// A job works evenly.
    pub fn job(chance: &mut ChaCha8Rng) -> Self {
        Self { daily: 0.0, peak_hour: 0.0, noise: chance.random_range(0.02..0.1), surges: 0.0 }
    }

    /// The series over `slots` slots of `step_ms`, mean near 1. Memory follows CPU a little and is smoother.
    pub fn series(&self, slots: usize, step_ms: i64, chance: &mut ChaCha8Rng) -> Option<UsageSeries> {
        let normal = Normal::new(0.0, 1.0).ok()?;
        // First-order noise that forgets half in about half an hour.
        let keep = 0.5_f64.powf(step_ms as f64 / (0.5 * HOUR_MS as f64));
        let fresh = (1.0 - keep * keep).sqrt() * self.noise;
        let (mut drift, mut surge_left, mut surge_height) = (normal.sample(chance) * self.noise, 0_i64, 0.0);
        let surge_chance = self.surges * step_ms as f64 / DAY_MS as f64;
        let (mut cpu, mut memory) = (Vec::with_capacity(slots), Vec::with_capacity(slots));
        for slot in 0..slots {
            let hour = (slot as i64 * step_ms) as f64 / HOUR_MS as f64;
            let wave = (TAU * (hour - self.peak_hour) / 24.0).cos();
            drift = keep * drift + fresh * normal.sample(chance);
            if surge_left <= 0 && chance.random_bool(surge_chance.clamp(0.0, 1.0)) {
                surge_left = chance.random_range(5..60) * 60_000;
                surge_height = chance.random_range(0.4..1.5);
            }
            let surge = if surge_left > 0 { surge_height } else { 0.0 };
            surge_left -= step_ms;
            cpu.push(((1.0 + self.daily * wave) * (1.0 + drift) + surge).max(0.01) as f32);
            memory.push((1.0 + 0.15 * self.daily * wave + 0.3 * drift + 0.1 * surge).max(0.05) as f32);
        }
        UsageSeries::new(cpu, memory)
    }
}
