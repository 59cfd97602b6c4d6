//! Moments that come from outside: bounded before anybody computes with them.

/// 2000-01-01T00:00:00Z, UTC milliseconds: no cluster has samples from before.
pub const EARLIEST_MS: i64 = 946_684_800_000;
/// 2200-01-01T00:00:00Z, UTC milliseconds. A time in milliseconds that is read as seconds lies in the year 58,000.
pub const LATEST_MS: i64 = 7_258_118_400_000;

/// Whether a moment in UTC milliseconds can be one of a cluster's history: in the years 2000 to 2199.
pub const fn is_plausible_moment(ts: i64) -> bool {
    EARLIEST_MS <= ts && ts < LATEST_MS
}

/// Seconds since the epoch as UTC milliseconds; `None` for what is not a number or outside the years 2000 to 2199.
pub fn moment_from_seconds(seconds: f64) -> Option<i64> {
    // A float that is no number or too large becomes 0 or the nearest integer there is, and both are refused.
    Some((seconds * 1e3).round() as i64).filter(|ts| is_plausible_moment(*ts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_outside_of_two_centuries_are_none() {
        assert_eq!(moment_from_seconds(1_795_910_400.25), Some(1_795_910_400_250));
        for seconds in
            [f64::NAN, f64::INFINITY, -1e300, 1e300, 0.0, -5.0, 946_684_799.9, 7_258_118_400.0, 1_795_910_400_000.0]
        {
            assert_eq!(moment_from_seconds(seconds), None, "{seconds}");
        }
        assert_eq!(moment_from_seconds(946_684_800.0), Some(EARLIEST_MS));
    }
}
