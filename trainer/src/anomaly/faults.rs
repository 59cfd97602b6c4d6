//! Faults that are put into replays of a history, so that there are hundreds of incidents to learn from and to choose by where
//! a dozen, or none, was labelled.

use super::History;
use crate::folds::Window;
use cluster::{GRID_STEP_MS, HOUR_MS, MINUTE_MS, NodeSample, grid_floor};
use features::Selection;
use features::offline::{Replay, replay};
use models::FeatureMatrix;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use synthetic::{Effect, InjectedFault, noise};

/// An incident that was put into a replay of one node's history.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultyStretch {
    /// What.
    pub fault: InjectedFault,
    /// First moment, UTC milliseconds.
    pub start: i64,
    /// Last moment.
    pub end: i64,
    /// Its rows in [`Faults::x`]: from the first that may see it to two hours after its end.
    pub rows: Range<usize>,
}

/// Injected incidents with the rows that a server would have seen. They do not meet, even where their hours do: each was
/// put into a history of its own.
#[derive(Debug, Clone)]
pub struct Faults {
    /// The incidents, in order of time.
    pub stretches: Vec<FaultyStretch>,
    /// When each row was knowable, UTC milliseconds.
    pub ts: Vec<i64>,
    /// The detector's features.
    pub x: FeatureMatrix,
}

/// Windows of hours and days remember an incident: an alarm there is as wrong as any other.
const AFTERMATH_MS: i64 = 2 * HOUR_MS;
/// As long to a labelled incident, so that none lies in the shadow of another.
const DISTANCE_MS: i64 = 2 * HOUR_MS;
/// Strengths from hardly felt to as bad as can be; `collector inject` begins at a half.
const STRENGTH: (f64, f64) = (0.3, 1.0);
/// Draws for one incident before it is given up: a short history full of labelled incidents has no room.
const DRAWS: usize = 40;

/// Shortest and longest incidents of a kind, in minutes. Lengths are drawn evenly by their logarithm. Guesses: from what a
/// scrape interval can see to what nobody leaves alone for longer.
const fn minutes(fault: InjectedFault) -> (f64, f64) {
    match fault {
        InjectedFault::NodeDown => (10.0, 60.0),
        InjectedFault::MemoryLeak => (30.0, 720.0),
        InjectedFault::CpuSaturation
        | InjectedFault::NetworkLoss
        | InjectedFault::DiskSaturation
        | InjectedFault::NoisyNeighbour => (10.0, 150.0),
    }
}

/// A leak has hardly begun before this share of its length; such rows teach nothing.
const LEAK_SHOWS_FROM: f64 = 0.3;

/// Puts `of_each` incidents of each of `kinds` into the hours of `window`, spread over nodes and times by `seed`, and replays
/// them. `None` where the raw samples of the history are gone. Kinds that a node's metrics cannot show are left out.
///
/// # Errors
/// When a raw file is damaged.
pub fn inject(
    history: &History,
    window: Window,
    kinds: &[InjectedFault],
    of_each: usize,
    seed: u64,
) -> anyhow::Result<Option<Faults>> {
    let Some(raw) = &history.raw else { return Ok(None) };
    let mut planned = Vec::new();
    for (place, fault) in kinds.iter().enumerate() {
        let mut random = noise::generator(seed, "injected-faults", place as u64);
        planned.extend((0..of_each).filter_map(|_| draw(history, window, *fault, &mut random)));
    }
    planned.sort_by_key(|planned| (planned.start, planned.node));
    let replays: Vec<Replay> = planned
        .iter()
        .map(|planned| Replay {
            node: history.nodes[planned.node].clone(),
            from: planned.start,
            until: planned.end + AFTERMATH_MS,
            change: Box::new(planned.effect()),
        })
        .collect();
    let selection = Selection::new(history.x.names())?;
    let rows = replay(&raw.tables, &raw.rules, &selection, &replays)?;
    let (mut ts, mut values, mut stretches) = (Vec::new(), Vec::new(), Vec::with_capacity(planned.len()));
    for (planned, rows) in planned.iter().zip(rows) {
        let from = ts.len();
        ts.extend(rows.ts);
        values.extend(rows.values);
        let Planned { fault, start, end, .. } = *planned;
        stretches.push(FaultyStretch { fault, start, end, rows: from..ts.len() });
    }
    let x = FeatureMatrix::new(history.x.names().to_vec(), ts.len(), values)?;
    Ok(Some(Faults { stretches, ts, x }))
}

impl Faults {
    /// For each row what it counts as an example of its fault: the rows of an incident count 1 together, so that long incidents
    /// do not drown short ones. Rows count that lie within the incident, of a leak once it has come some way; a node that is
    /// away shows nothing, and rules see it.
    pub fn lessons(&self) -> Vec<f32> {
        let mut lessons = vec![0.0; self.ts.len()];
        for stretch in self.stretches.iter().filter(|stretch| stretch.fault != InjectedFault::NodeDown) {
            let length = (stretch.end - stretch.start) as f64;
            let from = match stretch.fault {
                InjectedFault::MemoryLeak => stretch.start + (length * LEAK_SHOWS_FROM) as i64,
                _ => stretch.start,
            };
            let shows = |row: &usize| self.ts[*row] - GRID_STEP_MS >= from && self.ts[*row] <= stretch.end;
            let rows: Vec<usize> = stretch.rows.clone().filter(shows).collect();
            for row in &rows {
                lessons[*row] = 1.0 / rows.len() as f32;
            }
        }
        lessons
    }
}

struct Planned {
    node: usize,
    fault: InjectedFault,
    start: i64,
    end: i64,
    effect: Effect,
}

impl Planned {
    fn effect(&self) -> impl Fn(&mut NodeSample) + Send + Sync + use<> {
        let Self { fault, start, end, effect, .. } = *self;
        move |sample: &mut NodeSample| {
            if sample.ts < end {
                fault.apply(sample, (sample.ts - start) as f64 / (end - start) as f64, &effect);
            }
        }
    }
}

fn draw(history: &History, window: Window, fault: InjectedFault, random: &mut ChaCha8Rng) -> Option<Planned> {
    let (shortest, longest) = minutes(fault);
    for _ in 0..DRAWS {
        let minutes = (noise::between(random, shortest.ln(), longest.ln())).exp();
        let length = (minutes * MINUTE_MS as f64) as i64;
        let node = random.random_range(0..history.nodes.len());
        // What goes along is drawn too, so that nothing is learned that only the injected ones have.
        let effect = Effect {
            strength: noise::between(random, STRENGTH.0, STRENGTH.1),
            work: random.random(),
            load: random.random(),
        };
        let latest = window.until - AFTERMATH_MS - length;
        if latest <= window.from {
            continue;
        }
        let start = grid_floor(random.random_range(window.from..latest), GRID_STEP_MS);
        let end = start + length;
        let is_near = |label: &&features::labels::Label| {
            label.started_at < end + AFTERMATH_MS && label.ended_at.saturating_add(DISTANCE_MS) > start
        };
        if history.labels[node].iter().any(|label| is_near(&label)) || !shows(history, node, fault, start, end) {
            continue;
        }
        return Some(Planned { node, fault, start, end, effect });
    }
    None
}

/// Whether the node measured, around the whole incident, what the fault shows in.
fn shows(history: &History, node: usize, fault: InjectedFault, start: i64, end: i64) -> bool {
    let known = |columns: &[&str], row: usize| {
        let any = |matrix: &FeatureMatrix| {
            let mut places = columns.iter().filter_map(|column| matrix.names().iter().position(|name| name == column));
            places.any(|place| !matrix.row(row)[place].is_nan())
        };
        any(&history.x) || any(&history.plain)
    };
    let columns: &[&[&str]] = match fault {
        InjectedFault::CpuSaturation | InjectedFault::NoisyNeighbour => &[&["cpu_utilization"]],
        InjectedFault::MemoryLeak => &[&["memory_utilization"]],
        InjectedFault::NetworkLoss => &[&["network"]],
        InjectedFault::DiskSaturation => &[&["disk", "disk_io_time"]],
        // Without a count of pods a node that is away cannot be told from one that was never there.
        InjectedFault::NodeDown => &[&["memory_utilization"], &["pods_running"]],
    };
    let span = history.spans[node].clone();
    let ts = &history.ts[span.clone()];
    [start, end].into_iter().all(|at| {
        let place = ts.partition_point(|time| *time < at);
        // A row an hour away is no witness.
        ts.get(place).is_some_and(|time| *time - at < HOUR_MS)
            && columns.iter().all(|columns| known(columns, span.start + place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::tests::made_up;

    #[test]
    fn incidents_are_put_where_there_is_room_and_everything_is_measured() {
        let history = made_up(4, 10, true);
        let span = history.span();
        let window = Window { from: span.from, until: span.from + (span.until - span.from) / 2 };
        let mut random = noise::generator(3, "injected-faults", 0);
        let planned: Vec<Planned> =
            (0..300).filter_map(|_| draw(&history, window, InjectedFault::NoisyNeighbour, &mut random)).collect();
        assert!(planned.len() > 250, "{}", planned.len());
        let (shortest, longest) = minutes(InjectedFault::NoisyNeighbour);
        for Planned { node, start, end, .. } in &planned {
            assert!(*start >= window.from && end + AFTERMATH_MS <= window.until);
            let minutes = (end - start) as f64 / MINUTE_MS as f64;
            assert!((shortest - 1.0..=longest).contains(&minutes), "{minutes}");
            let is_near = |label: &&features::labels::Label| {
                label.started_at < end + AFTERMATH_MS && label.ended_at + DISTANCE_MS > *start
            };
            assert_eq!(history.labels[*node].iter().find(is_near), None);
        }
        let nodes: std::collections::BTreeSet<usize> = planned.iter().map(|planned| planned.node).collect();
        assert_eq!(nodes.len(), 4, "every node has some");
    }

    #[test]
    fn without_raw_tables_nothing_is_injected() {
        let history = made_up(2, 10, true);
        let faults = inject(&history, history.span(), &InjectedFault::ALL, 5, 1).expect("no file is read");
        assert!(faults.is_none());
    }

    #[test]
    fn a_leak_teaches_once_it_has_come_some_way_and_each_incident_counts_once() {
        let stretch = |fault, rows: Range<usize>| FaultyStretch { fault, start: 0, end: 10 * GRID_STEP_MS, rows };
        // Fifteen rows each, the first ten of them within the incident.
        let ts: Vec<i64> = (0..3).flat_map(|_| (1..=15).map(|slot| slot * GRID_STEP_MS)).collect();
        let faults = Faults {
            stretches: vec![
                stretch(InjectedFault::MemoryLeak, 0..15),
                stretch(InjectedFault::CpuSaturation, 15..30),
                stretch(InjectedFault::NodeDown, 30..45),
            ],
            ts,
            x: FeatureMatrix::new(vec!["nothing".to_owned()], 45, vec![0.0; 45]).expect("a matrix"),
        };
        let lessons = faults.lessons();
        // The first three rows of the leak show next to nothing: seven rows share its weight.
        assert_eq!(lessons[..3], [0.0; 3]);
        assert!(lessons[3..10].iter().all(|lesson| (*lesson - 1.0 / 7.0).abs() < 1e-6));
        assert!(lessons[15..25].iter().all(|lesson| (*lesson - 0.1).abs() < 1e-6));
        assert!(lessons[10..15].iter().chain(&lessons[25..]).all(|lesson| *lesson == 0.0));
    }
}
