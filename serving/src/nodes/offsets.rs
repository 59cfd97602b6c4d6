//! What becomes known of forecasts, and the P90 that follows it: the live side of [`OffsetTracker`].
//!
//! The trainer replays the same tracker over rows of the grid, so here too it goes on in steps of the grid: at each one the hour
//! that has just ended teaches, then the rows of that moment are forecast and put aside. Between two steps the shifts stay.

use crate::registry::ServedModel;
use cluster::{HOUR_MS, NodeName, Resource, grid_floor};
use features::{GRID_STEP_MS, GridRows, RecentHour, Target, catalogue};
use models::load::{HeadKey, LoadForecast, OffsetTracker, Tally};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// After a longer pause than this no forecast waits for its hour any more, and the steps in between are not caught up with.
const CATCH_UP: i64 = 5 * HOUR_MS;

/// Trackers of the load predictors at work, and the last hour of every node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveOffsets {
    /// The grid time of the newest step; 0 before the first.
    at: i64,
    hours: BTreeMap<NodeName, [RecentHour; 2]>,
    models: Vec<Followed>,
}

/// One version at work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Followed {
    /// Names its content.
    hash: String,
    tracker: OffsetTracker,
}

impl LiveOffsets {
    /// The grid times up to `until` that are to be stepped through, oldest first.
    pub fn due(&self, until: i64) -> impl Iterator<Item = i64> + use<> {
        let last = grid_floor(until, GRID_STEP_MS);
        let first = if self.at > 0 { self.at + GRID_STEP_MS } else { last };
        let due: Range<i64> = first.max(last - CATCH_UP)..last + 1;
        due.step_by(GRID_STEP_MS as usize)
    }

    /// One step of the grid: what became known at the time of `rows`, then a forecast by each of `models`, the champion
    /// first. A version that is not among them any more is forgotten: its misses say nothing about another one.
    ///
    /// # Errors
    /// What the champion refuses; another model that fails has no shifts.
    pub fn step(&mut self, rows: &GridRows, models: &[Arc<ServedModel>]) -> anyhow::Result<()> {
        self.know(rows);
        let mut known = std::mem::take(&mut self.models);
        let mut outcome = Ok(());
        for (place, model) in models.iter().enumerate() {
            let hash = model.short_hash();
            if self.models.iter().any(|other| other.hash == hash) {
                continue;
            }
            let followed = match known.iter().position(|other| other.hash == hash) {
                Some(at) => Some(known.swap_remove(at)),
                None => model.offset_tracker()?.map(|tracker| Followed { hash, tracker }),
            };
            let Some(mut followed) = followed else { continue };
            match issue(&mut followed.tracker, &self.hours, rows, model) {
                Ok(()) => {}
                Err(error) if place == 0 => outcome = Err(error),
                Err(error) => {
                    let version = &model.version;
                    tracing::warn!(version, error = format!("{error:#}"), "failed to follow the P90 of a challenger");
                }
            }
            self.models.push(followed);
        }
        outcome
    }

    /// The last hour of every node, with the five minutes that `rows` end with.
    fn know(&mut self, rows: &GridRows) {
        let missed = if self.at > 0 { (rows.ts - self.at) / GRID_STEP_MS - 1 } else { 0 };
        for hours in self.hours.values_mut().flatten() {
            (0..missed.min(HOUR_MS / GRID_STEP_MS)).for_each(|_| hours.push(f32::NAN));
        }
        for node in &rows.nodes {
            self.hours.entry(node.clone()).or_default();
        }
        let columns = Resource::ALL.map(|resource| catalogue::index(Target::hour_mean(resource, 1).column()));
        for (node, hours) in &mut self.hours {
            let row = rows.nodes.binary_search(node).ok().map(|place| rows.row(place));
            for (hour, column) in hours.iter_mut().zip(columns) {
                hour.push(row.zip(column).map_or(f32::NAN, |(row, column)| row[column]));
            }
        }
        self.hours.retain(|_, hours| !hours.iter().all(RecentHour::is_silent));
        self.at = rows.ts;
    }

    /// Forecasts of `nodes` by `model` as they are served now. A version that no step was made with yet begins where it says
    /// itself.
    ///
    /// # Errors
    /// A level that is not a share.
    pub fn served(
        &self,
        model: &ServedModel,
        nodes: &[NodeName],
        mut forecasts: Vec<Vec<LoadForecast>>,
    ) -> anyhow::Result<Vec<Vec<LoadForecast>>> {
        let hash = model.short_hash();
        let new;
        let tracker = match self.models.iter().find(|followed| followed.hash == hash) {
            Some(followed) => &followed.tracker,
            None => {
                let Some(tracker) = model.offset_tracker()? else { return Ok(forecasts) };
                new = tracker;
                &new
            }
        };
        for (node, forecasts) in nodes.iter().zip(&mut forecasts) {
            forecasts.iter_mut().for_each(|forecast| *forecast = tracker.served(node, *forecast));
        }
        Ok(forecasts)
    }

    /// Outcomes of the champion's P90 by head since this was asked last.
    pub fn take_tallies(&mut self) -> impl Iterator<Item = (HeadKey, Tally)> {
        self.models.first_mut().into_iter().flat_map(|champion| champion.tracker.take_tallies())
    }
}

/// What became known teaches, then the rows are forecast and put aside.
fn issue(
    tracker: &mut OffsetTracker,
    hours: &BTreeMap<NodeName, [RecentHour; 2]>,
    rows: &GridRows,
    model: &ServedModel,
) -> anyhow::Result<()> {
    for (node, hours) in hours {
        for resource in Resource::ALL {
            tracker.observe(rows.ts, node, resource, hours[resource as usize].mean());
        }
    }
    for (node, forecasts) in rows.nodes.iter().zip(model.all_forecasts(rows)?.into_iter().flatten()) {
        for forecast in forecasts {
            tracker.issue(rows.ts, node, forecast);
        }
    }
    tracker.forget(rows.ts);
    Ok(())
}
