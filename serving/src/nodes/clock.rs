//! Whether a moment that comes from outside can be now.
//!
//! A source whose clock is wrong would have its samples count as fresh for as long as it is wrong, or freeze the windows until the
//! time that it told has come. So its clock is held against ours at each look, and what is too far away is a failed refresh: what
//! is known grows old meanwhile and says so.

use cluster::MINUTE_MS;

/// A source's clock may be so far from ours. NTP keeps machines within a tenth of a second, and the default age from which on data is
/// stale, three minutes, is longer: a clock that is let in cannot hide a silence.
pub const MOST_SKEW: i64 = 2 * MINUTE_MS;
/// A sample may seem to come from so far in the future before it counts as stale: one refresh.
pub const MOST_AHEAD: i64 = 30_000;

/// A moment that cannot be now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Theirs and ours are too far apart.
    #[error(
        "the clock of `{server}` is {} s {} the clock of this machine, at most {} s are allowed: check time synchronisation (NTP) on both",
        skew.unsigned_abs() / 1_000,
        if *skew > 0 { "ahead of" } else { "behind" },
        MOST_SKEW / 1_000
    )]
    Skewed {
        /// Whose clock.
        server: String,
        /// Theirs less ours, milliseconds.
        skew: i64,
    },
    /// Both went back together.
    #[error(
        "the clock went back by {} s since the last refresh, at most {} s are allowed: the windows are started anew",
        by / 1_000,
        MOST_SKEW / 1_000
    )]
    WentBack {
        /// By how much, milliseconds.
        by: i64,
    },
}

/// What a source's clock tells, where ours says `local`. Both in UTC milliseconds.
///
/// # Errors
/// [`ClockError::Skewed`] where they are further apart than [`MOST_SKEW`].
pub fn check(server: &str, told: i64, local: i64) -> Result<i64, ClockError> {
    let skew = told.saturating_sub(local);
    if skew.unsigned_abs() > MOST_SKEW.unsigned_abs() {
        return Err(ClockError::Skewed { server: server.to_owned(), skew });
    }
    Ok(told)
}

/// Checks that time has not gone back behind `next`, the first moment that was not taken in, from which `until` follows.
///
/// # Errors
/// [`ClockError::WentBack`] where it has by more than [`MOST_SKEW`].
pub fn check_order(next: i64, until: i64) -> Result<(), ClockError> {
    let by = next.saturating_sub(until);
    if by > MOST_SKEW { Err(ClockError::WentBack { by }) } else { Ok(()) }
}

/// An age in seconds, for people. One that is a little below zero is two clocks that differ by that, and reads as zero; samples of
/// the future have an age below zero.
pub fn age_seconds(age: i64) -> f64 {
    (if age < -MOST_AHEAD { age } else { age.max(0) }) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::DAY_MS;

    #[test]
    fn a_clock_that_is_too_far_away_is_refused_with_the_direction_and_both_numbers() {
        let local = 1_780_272_000_000;
        for told in [local - MOST_SKEW, local - 1, local + MOST_SKEW] {
            assert_eq!(check("http://p", told, local), Ok(told));
        }
        for (told, said) in [
            (local + DAY_MS, "is 86400 s ahead of"),
            (local - MOST_SKEW - 1_000, "is 121 s behind"),
            (i64::MAX, "ahead of"),
            (i64::MIN, "behind"),
            (0, "behind"),
        ] {
            let error = check("http://p", told, local).expect_err("refused").to_string();
            assert!(error.contains(said) && error.contains("`http://p`") && error.contains("120 s"), "{error}");
        }
    }

    #[test]
    fn time_may_go_back_by_two_minutes_and_no_further() {
        assert_eq!(check_order(1_000_000, 1_000_000 - MOST_SKEW), Ok(()));
        assert_eq!(check_order(1_000_000, 2_000_000), Ok(()));
        assert_eq!(check_order(1_000_000, 1_000_000 - MOST_SKEW - 1), Err(ClockError::WentBack { by: MOST_SKEW + 1 }));
        assert!(check_order(i64::MAX, i64::MIN).is_err());
    }

    #[test]
    fn an_age_below_zero_is_told_once_it_is_more_than_two_clocks_that_differ() {
        assert_eq!([age_seconds(1_500), age_seconds(-30_000), age_seconds(-30_001)], [1.5, 0.0, -30.001]);
    }
}
