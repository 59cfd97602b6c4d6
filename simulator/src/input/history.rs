//! A user's own history: the raw tables that `collector` wrote.

mod nodes;
mod pods;

use super::InputError;
use crate::world::{Notes, Rules, Scenario};
use cluster::{DAY_MS, GRID_STEP_MS, NODE_METRICS, grid_floor};
use nodes::read_nodes;
use pods::read_pods;
use runtime::WrongUse;
use store::{Store, date_of};

/// Which part of the history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistorySettings {
    /// The last so many days.
    pub days: f64,
}

/// Grid of the reconstructed usage.
const STEP_MS: i64 = GRID_STEP_MS;

/// Reads `raw/node_metrics` and `raw/pods` into a scenario.
///
/// The tables tell how much each node used at each moment, and how much each pod used on average. A pod's course is taken
/// from its node: at each moment the pods of a node share what the node used in proportion to their means, so that the
/// recorded placement gives back the recorded utilization. What the pods cannot explain stays with the node.
///
/// # Errors
/// When the tables are empty, have no allocatable amounts, or no pod in the span.
pub fn read_history(store: &Store, settings: &HistorySettings) -> Result<Scenario, InputError> {
    if !(settings.days >= 1.0 / 24.0 && settings.days <= 3_660.0) {
        return Err(WrongUse(format!("--days is {}, want 0.05 to 3660", settings.days)).into());
    }
    let mut notes = Notes::default();
    let days = store.days(&NODE_METRICS)?;
    let Some(last_day) = days.last() else {
        return Err(InputError::History {
            what: "no node metrics".to_owned(),
            hint: "Run `collector collect` or `collector backfill` first",
        });
    };
    let (_, last_ms) = nodes::first_and_last_sample(store, *last_day)?;
    let end_ms = grid_floor(last_ms, STEP_MS) + STEP_MS;
    let asked_ms = grid_floor(end_ms - (settings.days * DAY_MS as f64) as i64, STEP_MS);
    let wanted: Vec<_> = days.iter().copied().filter(|day| *day >= date_of(asked_ms)).collect();
    // A history that is shorter than what was asked for begins with its first sample.
    let (first_ms, _) = nodes::first_and_last_sample(store, *wanted.first().unwrap_or(last_day))?;
    let start_ms = asked_ms.max(grid_floor(first_ms, STEP_MS));
    let measured = read_nodes(store, &wanted, start_ms, end_ms, &mut notes)?;
    let found = read_pods(store, &measured, start_ms, end_ms, &mut notes)?;
    notes.assume("a pod uses its recorded mean, and follows the course of the node that it really ran on");
    notes.assume("what the pods of a node cannot explain (system, page cache) stays with the node");
    notes.assume("limits, affinity and taints are not in the tables, so any node may take any pod that fits; DaemonSet and static pods stay where they were");
    let (nodes, series) = measured.into_nodes(&found.explained);
    Ok(Scenario {
        name: "history".to_owned(),
        origin_ms: start_ms,
        span_ms: end_ms - start_ms,
        usage_step_ms: STEP_MS,
        nodes,
        pods: found.pods,
        workloads: found.workloads,
        rules: std::iter::once(Rules::default()).chain(found.rules).collect(),
        series,
        notes,
    }
    .checked()?)
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
