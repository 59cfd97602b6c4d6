//! Cuts of history by time. Nothing here ever cuts by random rows: neighbouring rows share most of their samples, so a
//! random cut would let a model see the answers.
//!
//! A row at time t knows samples before t and its target ends at t + horizon. A row may train only when its target ends
//! before the next window begins; the rows in between are purged:
//! ```text
//! |-------- train --------|purge|-- stop --|purge|-- calibration --|purge|------ test ------|
//! ```

use cluster::{GRID_STEP_MS, HOUR_MS, NodeName, grid_floor};
use serde::{Deserialize, Serialize};

/// Row times from `from` (included) to `until` (excluded), in UTC milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First row time.
    pub from: i64,
    /// First row time that is no longer in it.
    pub until: i64,
}

impl Window {
    /// Whether a row at `ts` lies in it.
    pub const fn contains(&self, ts: i64) -> bool {
        self.from <= ts && ts < self.until
    }

    /// Whether what lasts from `start` to `end` has a moment in it.
    pub const fn meets(&self, start: i64, end: i64) -> bool {
        start < self.until && end >= self.from
    }

    /// Its parts one after the other, `count` of them, as long as each other on the grid; the last takes what is left over.
    pub fn blocks(&self, count: i64) -> impl Iterator<Item = Self> + use<> {
        let Self { from, until } = *self;
        let edge = move |place: i64| match place == count {
            true => until,
            false => grid_floor(from + (until - from) * place / count, GRID_STEP_MS),
        };
        (0..count).map(move |place| Self { from: if place == 0 { from } else { edge(place) }, until: edge(place + 1) })
    }

    /// Its length in hours.
    pub fn hours(&self) -> f64 {
        (self.until - self.from) as f64 / HOUR_MS as f64
    }
}

/// History that is too short to be cut.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "history covers {got_hours:.1} hours, {wanted_hours:.1} are needed to {doing}. Collect more days or choose smaller windows"
)]
pub struct TooShort {
    /// What the history was wanted for.
    pub doing: &'static str,
    /// What there is.
    pub got_hours: f64,
    /// What is needed at least.
    pub wanted_hours: f64,
}

/// How the final cut is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SplitSettings {
    /// Share of the whole span that is tested on, at its end.
    pub test_share: f64,
    /// Share of what comes before the test that calibrates the P90, at its end.
    pub calibration_share: f64,
    /// Share of what comes before the calibration that decides when boosting stops, at its end.
    pub stop_share: f64,
}

/// The final cut of a history, for one horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Rows to fit on while the number of rounds is looked for.
    pub train: Window,
    /// Rows that tell when to stop.
    pub stop: Window,
    /// Rows that calibrate the P90; they come after everything that the boosters were fitted on.
    pub calibration: Window,
    /// Rows that nothing was fitted, stopped or calibrated on.
    pub test: Window,
}

impl Split {
    /// Rows to fit on again once rounds, blend and shift are chosen: everything before the test, purged.
    pub const fn refit(&self) -> Window {
        Window { from: self.train.from, until: self.calibration.until }
    }
}

/// One step of rolling-origin cross-validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    /// Everything known before the origin, purged.
    pub train: Window,
    /// What follows.
    pub validation: Window,
}

/// The shortest window that anything is fitted, calibrated or judged on: less has too few independent hours.
pub const SHORTEST_WINDOW_MS: i64 = 3 * HOUR_MS;

/// Cuts `span` for a target that ends `horizon_ms` after its row.
///
/// # Errors
/// When a window would be shorter than [`SHORTEST_WINDOW_MS`].
pub fn final_split(span: Window, settings: &SplitSettings, horizon_ms: i64) -> Result<Split, TooShort> {
    split_before(span, cut(span.from, span.until, settings.test_share), settings, horizon_ms)
}

/// The same with a test that begins at `test_from`.
///
/// # Errors
/// See [`final_split`].
pub fn split_before(
    span: Window,
    test_from: i64,
    settings: &SplitSettings,
    horizon_ms: i64,
) -> Result<Split, TooShort> {
    let calibration_from = cut(span.from, test_from, settings.calibration_share);
    let stop_from = cut(span.from, calibration_from, settings.stop_share);
    let split = Split {
        train: Window { from: span.from, until: stop_from - horizon_ms },
        stop: Window { from: stop_from, until: calibration_from - horizon_ms },
        calibration: Window { from: calibration_from, until: test_from - horizon_ms },
        test: Window { from: test_from, until: span.until },
    };
    let windows = [split.train, split.stop, split.calibration, split.test];
    if windows.iter().all(|window| window.until - window.from >= SHORTEST_WINDOW_MS) {
        return Ok(split);
    }
    // The window with the smallest share decides how much history is needed.
    let length = (span.until - span.from).max(1) as f64;
    let test_share = (span.until - test_from) as f64 / length;
    let before_calibration = (1.0 - test_share) * (1.0 - settings.calibration_share);
    let shares = [
        test_share,
        (1.0 - test_share) * settings.calibration_share,
        before_calibration * settings.stop_share,
        before_calibration * (1.0 - settings.stop_share),
    ];
    let smallest = shares.into_iter().fold(f64::INFINITY, f64::min).max(1e-6);
    let wanted_hours = (SHORTEST_WINDOW_MS + horizon_ms) as f64 / HOUR_MS as f64 / smallest;
    Err(TooShort { doing: "train, stop, calibrate and test", got_hours: span.hours(), wanted_hours })
}

/// Where the last `share` of a span begins, on the grid.
fn cut(from: i64, until: i64, share: f64) -> i64 {
    let length = (until - from) as f64 * share.clamp(0.0, 1.0);
    grid_floor(until - length as i64, GRID_STEP_MS)
}

/// `folds` origins, the last `folds × validation_ms` of `span` being validated on one window after the other. Each fold
/// trains on everything before its window, purged by the horizon.
///
/// # Errors
/// When the first fold would train on less than one validation window or less than [`SHORTEST_WINDOW_MS`].
pub fn rolling_origin(span: Window, folds: usize, validation_ms: i64, horizon_ms: i64) -> Result<Vec<Fold>, TooShort> {
    let validation_ms = grid_floor(validation_ms, GRID_STEP_MS).max(SHORTEST_WINDOW_MS);
    let count = folds.max(1) as i64;
    let first = span.until - count * validation_ms;
    let shortest_train = validation_ms.max(SHORTEST_WINDOW_MS);
    if first - horizon_ms - span.from < shortest_train {
        let wanted = count * validation_ms + horizon_ms + shortest_train;
        return Err(TooShort {
            doing: "cross-validate",
            got_hours: span.hours(),
            wanted_hours: wanted as f64 / HOUR_MS as f64,
        });
    }
    let fold = |index: i64| {
        let origin = first + index * validation_ms;
        Fold {
            train: Window { from: span.from, until: origin - horizon_ms },
            validation: Window { from: origin, until: origin + validation_ms },
        }
    };
    Ok((0..count).map(fold).collect())
}

/// Whether a node belongs to the `share` (0..1) of nodes that a "new node" claim is tested on and that never train.
/// By a hash of its name, so that the choice is the same in every run and does not change when nodes come or go.
pub fn is_held_out(node: &NodeName, share: f64, seed: u64) -> bool {
    let digest = runtime::files::sha256(format!("{seed}/{node}").as_bytes());
    let place = u32::from_str_radix(&digest[..8], 16).unwrap_or(u32::MAX);
    f64::from(place) < share * (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::DAY_MS;
    use proptest::prelude::*;

    const SETTINGS: SplitSettings = SplitSettings { test_share: 0.3, calibration_share: 0.2, stop_share: 0.2 };

    #[test]
    fn the_final_cut_agrees_with_a_calculation_by_hand() {
        let split = final_split(Window { from: 0, until: 10 * DAY_MS }, &SETTINGS, 4 * HOUR_MS).expect("ten days");
        assert_eq!(split.test, Window { from: 7 * DAY_MS, until: 10 * DAY_MS });
        // Calibration begins at 7 × 0.8 = 5.6 days, 483.84 million ms, on the grid 483.6; the stop slice at 0.8 of that,
        // 386.88 million, on the grid 386.7.
        assert_eq!(split.calibration, Window { from: 483_600_000, until: 7 * DAY_MS - 4 * HOUR_MS });
        assert_eq!(split.stop.from, 386_700_000);
        assert_eq!(split.refit(), Window { from: 0, until: 7 * DAY_MS - 4 * HOUR_MS });
    }

    #[test]
    fn a_history_that_is_too_short_says_how_much_is_needed() {
        let error = final_split(Window { from: 0, until: DAY_MS }, &SETTINGS, 4 * HOUR_MS).expect_err("one day");
        // The test begins at 16.75 hours, 0.698 of the span, on the grid. The smallest window is the stop slice,
        // 0.698 × 0.8 × 0.2 = 0.1117 of the span: (3 + 4) hours ÷ 0.1117 = 62.7 hours.
        assert!(error.to_string().contains("24.0 hours, 62.7 are needed"), "{error}");
        let error = rolling_origin(Window { from: 0, until: DAY_MS }, 3, DAY_MS, HOUR_MS).expect_err("one day");
        assert!(error.to_string().contains("97.0 are needed to cross-validate"), "{error}");
    }

    #[test]
    fn held_out_nodes_are_the_same_in_every_run() {
        let nodes: Vec<NodeName> = (0..400).map(|at| NodeName::new(format!("node-{at}"))).collect();
        let held = |share| nodes.iter().filter(|node| is_held_out(node, share, 1)).count();
        assert_eq!((held(0.0), held(1.0)), (0, 400));
        assert!((60..=100).contains(&held(0.2)), "{}", held(0.2));
    }

    proptest! {
        #[test]
        fn no_train_target_reaches_into_a_later_window(
            start in 0_i64..1_000, days in 4_i64..120, horizon in 1_i64..=4,
            test_share in 0.1_f64..0.4, calibration_share in 0.1_f64..0.3, stop_share in 0.1_f64..0.3,
        ) {
            let span = Window { from: start * GRID_STEP_MS, until: start * GRID_STEP_MS + days * DAY_MS };
            let settings = SplitSettings { test_share, calibration_share, stop_share };
            if let Ok(split) = final_split(span, &settings, horizon * HOUR_MS) {
                for (earlier, later) in [(split.train, split.stop), (split.stop, split.calibration), (split.calibration, split.test), (split.refit(), split.test)] {
                    prop_assert!(earlier.from < earlier.until && later.from < later.until);
                    // The last row in `earlier` is one step before its end; its target ends a horizon later.
                    prop_assert!(earlier.until - GRID_STEP_MS + horizon * HOUR_MS < later.from);
                }
                prop_assert_eq!(split.test.until, span.until);
            }
        }

        #[test]
        fn folds_roll_forward_without_overlap(days in 5_i64..60, folds in 1_usize..6, validation_hours in 6_i64..48, horizon in 1_i64..=4) {
            let span = Window { from: 0, until: days * DAY_MS };
            let Ok(folds) = rolling_origin(span, folds, validation_hours * HOUR_MS, horizon * HOUR_MS) else { return Ok(()) };
            for fold in &folds {
                prop_assert_eq!(fold.train.from, span.from);
                prop_assert!(fold.train.until - GRID_STEP_MS + horizon * HOUR_MS < fold.validation.from);
            }
            for pair in folds.windows(2) {
                prop_assert_eq!(pair[0].validation.until, pair[1].validation.from);
                prop_assert!(pair[0].train.until < pair[1].train.until);
            }
            prop_assert_eq!(folds.last().map(|fold| fold.validation.until), Some(span.until));
        }
    }
}
