//! Time is UTC in milliseconds since the Unix epoch, everywhere.

/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// Features and forecasts live on a grid of five minutes.
///
/// The grid row stamped `t` summarises the samples in `[t - GRID_STEP_MS, t)`, so it never sees a sample at or after `t`.
pub const GRID_STEP_MS: i64 = 5 * MINUTE_MS;

/// The last grid point at or before `ts`; the least moment there is where none can be told.
pub const fn grid_floor(ts: i64, step: i64) -> i64 {
    ts.saturating_sub(ts.rem_euclid(step))
}

/// The first grid point strictly after `ts`: the stamp of the slot that a sample taken at `ts` belongs to.
pub const fn grid_ceil(ts: i64, step: i64) -> i64 {
    grid_floor(ts, step).saturating_add(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_on_the_border_belongs_to_the_slot_that_begins_there() {
        assert_eq!(grid_ceil(0, GRID_STEP_MS), 300_000);
        assert_eq!(grid_ceil(299_999, GRID_STEP_MS), 300_000);
        assert_eq!(grid_ceil(300_000, GRID_STEP_MS), 600_000);
    }

    #[test]
    fn times_before_the_epoch_round_downwards() {
        assert_eq!(grid_floor(-1, GRID_STEP_MS), -300_000);
    }

    #[test]
    fn times_at_the_ends_of_what_can_be_told_stay_there() {
        assert_eq!(grid_floor(i64::MIN, GRID_STEP_MS), i64::MIN);
        assert_eq!(grid_ceil(i64::MAX, GRID_STEP_MS), i64::MAX);
    }
}
