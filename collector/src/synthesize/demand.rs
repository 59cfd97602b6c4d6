//! The demand of every workload, with the noise that clusters, zones and workloads share.

use super::plan::Plan;
use cluster::{DAY_MS, GRID_STEP_MS};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use synthetic::noise::{Ar1, generator};

/// Noise is drawn on the five-minute grid and joined by straight lines.
const SLOTS: usize = (DAY_MS / GRID_STEP_MS) as usize;

/// Noise from one day to the next.
struct Track {
    noise: Ar1,
}

impl Track {
    fn new(seed: u64, purpose: &str, index: usize, minutes: f64, deviation: f64) -> Self {
        Self { noise: Ar1::new(generator(seed, purpose, index as u64), minutes / 5.0, deviation) }
    }

    /// The values at the borders of the day's slots; the first one is the last of the day before.
    fn day(&mut self) -> Vec<f64> {
        let first = self.noise.value();
        std::iter::once(first).chain((0..SLOTS).map(|_| self.noise.step())).collect()
    }
}

/// Short surges of demand, such as a newsletter brings: about two in five days, 20 to 60 minutes each.
struct Surges {
    random: ChaCha8Rng,
    left: u32,
    height: f64,
}

impl Surges {
    fn step(&mut self) -> f64 {
        if self.left > 0 {
            self.left -= 1;
        } else if self.random.random::<f64>() < 0.4 / SLOTS as f64 {
            self.left = self.random.random_range(4..12);
            self.height = self.random.random_range(0.3..0.9);
        }
        if self.left > 0 { self.height } else { 0.0 }
    }
}

/// The demand of all workloads, to be read day by day.
pub struct Demand {
    cluster: Track,
    zones: Vec<Track>,
    workloads: Vec<(Track, Surges)>,
}

/// One day of it.
pub struct DemandDay {
    /// By workload and step: demand, 1 at the first day's peak. Empty for workloads without a demand.
    pub workloads: Vec<Vec<f32>>,
    /// By zone and step: a factor on the demand that this zone's pods get.
    pub zones: Vec<Vec<f32>>,
}

impl Demand {
    /// Starts the noise.
    pub fn new(seed: u64, plan: &Plan) -> Self {
        let zones = plan.machines.iter().map(|machine| machine.zone + 1).max().unwrap_or(1);
        let workloads = plan.workloads.iter().enumerate().map(|(index, workload)| {
            let surges = Surges { random: generator(seed, "surges", index as u64), left: 0, height: 0.0 };
            (Track::new(seed, "workload-noise", index, 110.0, workload.noise), surges)
        });
        Self {
            cluster: Track::new(seed, "cluster-noise", 0, 300.0, 0.07),
            zones: (0..zones).map(|zone| Track::new(seed, "zone-noise", zone, 150.0, 0.05)).collect(),
            workloads: workloads.collect(),
        }
    }

    /// The demand of the next day, which begins at `day`.
    pub fn day(&mut self, plan: &Plan, day: i64, step: i64) -> DemandDay {
        let cluster = self.cluster.day();
        let zones = self.zones.iter_mut().map(|zone| on_steps(&zone.day(), step, f64::exp)).collect();
        let workloads = self
            .workloads
            .iter_mut()
            .zip(&plan.workloads)
            .map(|((track, surges), workload)| {
                let noise = track.day();
                if workload.runs_to_end() {
                    return Vec::new();
                }
                let surge: Vec<f64> = (0..=SLOTS).map(|_| surges.step()).collect();
                let slots: Vec<f64> = (0..=SLOTS)
                    .map(|slot| {
                        let plain = workload.demand(day + slot as i64 * GRID_STEP_MS, plan.start);
                        plain * (noise[slot] + cluster[slot]).exp() * (1.0 + surge[slot])
                    })
                    .collect();
                on_steps(&slots, step, |value| value)
            })
            .collect();
        DemandDay { workloads, zones }
    }
}

/// Joins slot borders by straight lines, reads them at every step of the day, and applies `shape`.
fn on_steps(slots: &[f64], step: i64, shape: impl Fn(f64) -> f64) -> Vec<f32> {
    (0..DAY_MS / step)
        .map(|place| {
            let at = (place * step) as f64 / GRID_STEP_MS as f64;
            let slot = at as usize;
            let part = at - slot as f64;
            shape(slots[slot] * (1.0 - part) + slots[slot + 1] * part) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan::plan;
    use super::*;

    #[test]
    fn days_join_without_a_jump() {
        let plan = plan(1, 3, 0, 2 * DAY_MS);
        let mut demand = Demand::new(1, &plan);
        let (first, second) = (demand.day(&plan, 0, 30_000), demand.day(&plan, DAY_MS, 30_000));
        for (one, two) in first.zones.iter().zip(&second.zones) {
            assert!((one[2_879] - two[0]).abs() < 0.05, "{} then {}", one[2_879], two[0]);
            assert_eq!(one.len(), 2_880);
        }
    }
}
