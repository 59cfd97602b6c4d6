//! What a load model forecasts, computed from a node's five-minute series.

use crate::GRID_STEP_MS;
use cluster::{HOUR_MS, Resource};
use serde::{Deserialize, Serialize};

/// Slots of five minutes in an hour.
const HOUR_SLOTS: usize = (HOUR_MS / GRID_STEP_MS) as usize;

/// An hour's mean needs this many of its twelve slots: three quarters, the usual rule for a valid hourly value (Directive
/// 2008/50/EC, Annex XI asks for 45 minutes of an hour).
pub const MIN_HOUR_SLOTS: usize = HOUR_SLOTS * 3 / 4;

/// Which figure of the future is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// Mean of the hour that ends at `t + horizon`: the rows stamped in `(t + horizon - 1 h, t + horizon]`, of which at
    /// least [`MIN_HOUR_SLOTS`] must be known.
    HourMean,
    /// The five-minute mean stamped `t + horizon`.
    FiveMinute,
}

/// Utilization of one resource at one horizon, as seen from a row stamped `t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// CPU or memory.
    pub resource: Resource,
    /// Mean of an hour or of five minutes.
    pub kind: TargetKind,
    /// How far ahead, in hours.
    pub horizon_hours: u32,
}

/// The horizons that Berth forecasts, in hours.
pub const HORIZON_HOURS: [u32; 3] = [1, 2, 4];

impl Target {
    /// The mean of the hour that ends `horizon_hours` ahead.
    pub const fn hour_mean(resource: Resource, horizon_hours: u32) -> Self {
        Self { resource, kind: TargetKind::HourMean, horizon_hours }
    }

    /// The five-minute mean `horizon_hours` ahead.
    pub const fn five_minute(resource: Resource, horizon_hours: u32) -> Self {
        Self { resource, kind: TargetKind::FiveMinute, horizon_hours }
    }

    /// Such as `cpu_hour_mean_1h` or `memory_five_minute_4h`.
    pub fn name(&self) -> String {
        let kind = match self.kind {
            TargetKind::HourMean => "hour_mean",
            TargetKind::FiveMinute => "five_minute",
        };
        format!("{}_{kind}_{}h", self.resource, self.horizon_hours)
    }

    /// The column of `features/node_history` that the target is made of.
    pub const fn column(&self) -> &'static str {
        match self.resource {
            Resource::Cpu => "cpu_utilization",
            Resource::Memory => "memory_utilization",
        }
    }

    /// Grid rows from `t` to the last one that the target needs.
    pub const fn horizon_slots(&self) -> usize {
        self.horizon_hours as usize * HOUR_SLOTS
    }

    /// The target of every row of one node.
    ///
    /// `grid`: the node's five-minute utilization on the complete grid, one value per step of five minutes without
    /// holes, NaN = missing. Returns as many values; NaN where the five minutes or too much of the hour is missing, or
    /// the end of either lies beyond the grid.
    pub fn values(&self, grid: &[f32]) -> Vec<f32> {
        let ahead = self.horizon_slots();
        let at = |row: usize| -> f32 {
            let end = row + ahead;
            match self.kind {
                _ if end >= grid.len() => f32::NAN,
                TargetKind::FiveMinute => grid[end],
                TargetKind::HourMean => hour_mean(&grid[end + 1 - HOUR_SLOTS..=end]),
            }
        };
        (0..grid.len()).map(at).collect()
    }
}

/// The mean of an hour's five-minute values, oldest first; NaN where fewer than [`MIN_HOUR_SLOTS`] are known.
fn hour_mean(slots: &[f32]) -> f32 {
    let known = slots.iter().filter(|value| !value.is_nan());
    let (sum, slots) = known.fold((0.0, 0), |(sum, slots), value| (sum + f64::from(*value), slots + 1));
    if slots < MIN_HOUR_SLOTS { f32::NAN } else { (sum / slots as f64) as f32 }
}

/// The newest hour of a node's five-minute utilization, for whoever learns what a forecast was worth as time goes on: its mean
/// is the target of the row an hour, two or four before, to the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecentHour([f32; HOUR_SLOTS]);

impl Default for RecentHour {
    /// Nothing is known yet.
    fn default() -> Self {
        Self([f32::NAN; HOUR_SLOTS])
    }
}

impl RecentHour {
    /// Takes in the next five minutes, NaN where they are missing.
    pub fn push(&mut self, utilization: f32) {
        self.0.rotate_left(1);
        self.0[HOUR_SLOTS - 1] = utilization;
    }

    /// The mean of the hour that ends with the newest five minutes; NaN where too much of it is missing.
    pub fn mean(&self) -> f32 {
        hour_mean(&self.0)
    }

    /// Whether nothing of the hour is known.
    pub fn is_silent(&self) -> bool {
        self.0.iter().all(|value| value.is_nan())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_one_hour_ahead_begins_right_after_the_row() {
        // Rows 1..=12 hold 1..=12, whose mean is 6.5; row 0 must not count itself.
        let grid: Vec<f32> = (0..24).map(|step| step as f32).collect();
        let values = Target::hour_mean(Resource::Cpu, 1).values(&grid);
        assert_eq!(values[0], 6.5);
        assert_eq!(values[11], 17.5);
        assert!(values[12..].iter().all(|value| value.is_nan()), "the last hour has no complete future");
    }

    #[test]
    fn at_two_hours_the_hour_begins_one_hour_ahead() {
        let grid: Vec<f32> = (0..30).map(|step| step as f32).collect();
        // Rows 13..=24, mean 18.5.
        assert_eq!(Target::hour_mean(Resource::Memory, 2).values(&grid)[0], 18.5);
        assert_eq!(Target::five_minute(Resource::Memory, 2).values(&grid)[0], 24.0);
    }

    #[test]
    fn an_hour_with_less_than_three_quarters_known_has_no_mean() {
        let mut grid: Vec<f32> = (0..40).map(|step| step as f32).collect();
        grid[1..=3].fill(f32::NAN);
        let values = Target::hour_mean(Resource::Cpu, 1).values(&grid);
        assert_eq!(values[0], 8.0, "the mean of 4..=12, the nine that are known");
        assert_eq!(values[3], 9.5, "the row itself may be missing");
        grid[4] = f32::NAN;
        let values = Target::hour_mean(Resource::Cpu, 1).values(&grid);
        assert!(values[0].is_nan(), "eight of twelve are too few");
        assert_eq!(values[1], 9.0, "the mean of 5..=13");
        assert!(Target::five_minute(Resource::Cpu, 1).values(&[0.0; 12]).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn the_hour_that_passes_is_the_target_of_the_rows_before_to_the_last_bit() {
        // Values whose sums round, with gaps.
        let value = |step: usize| {
            if step % 11 == 3 || (40..46).contains(&step) { f32::NAN } else { 0.1 + (step * step % 97) as f32 / 313.0 }
        };
        let grid: Vec<f32> = (0..200).map(value).collect();
        let mut recent = RecentHour::default();
        assert!(recent.is_silent());
        for (end, value) in grid.iter().enumerate() {
            recent.push(*value);
            for hours in HORIZON_HOURS {
                let target = Target::hour_mean(Resource::Cpu, hours);
                let Some(row) = end.checked_sub(target.horizon_slots()) else { continue };
                assert_eq!(target.values(&grid)[row].to_bits(), recent.mean().to_bits(), "row {row}, {hours} h ahead");
            }
        }
    }

    #[test]
    fn names_are_stable() {
        assert_eq!(Target::hour_mean(Resource::Cpu, 4).to_string(), "cpu_hour_mean_4h");
        assert_eq!(Target::five_minute(Resource::Memory, 1).to_string(), "memory_five_minute_1h");
    }
}
