//! One reading after the other becomes a verdict.

use crate::folder::LoadedDetector;
use crate::plan::Trail;
use clap::ValueEnum;
use models::anomaly::{AlarmState, AnomalyKind, Blame, Severity};
use serde::Serialize;
use std::collections::HashMap;

/// What is recommended. Nothing here acts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Give the node no new pods.
    Quarantine,
    /// Look at it.
    Watch,
    /// Do nothing.
    Ignore,
}

impl Response {
    /// What is recommended while an alarm of this severity stands.
    pub fn of(alarm: Option<Severity>) -> Self {
        match alarm {
            Some(Severity::Critical) => Self::Quarantine,
            Some(Severity::Warning) => Self::Watch,
            Some(Severity::Info) | None => Self::Ignore,
        }
    }

    /// In lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Watch => "watch",
            Self::Ignore => "ignore",
        }
    }
}

/// What is said of one reading.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// 0 (as ever) to 1 (certain); one half is the threshold.
    pub score: f32,
    /// Of this reading alone.
    pub severity: Option<Severity>,
    /// Of its entity, after hysteresis: several odd readings in a row raise it, several usual ones end it.
    pub alarm: Option<Severity>,
    /// What it is about, where the reading is odd or an alarm stands.
    #[serde(rename = "type")]
    pub kind: Option<AnomalyKind>,
    /// What is recommended.
    pub response: Response,
    /// The features to blame, the most first, with their normal range; empty where the reading is usual.
    pub blame: Vec<Blame>,
}

/// What is known of one entity.
#[derive(Debug, Clone, Default)]
struct Entity {
    trail: Trail,
    alarm: AlarmState,
    last: Option<i64>,
    used: u64,
}

/// Where a reading stands in its entity's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// After those before it, or without a time.
    Next,
    /// Older than one that came before: it was scored, and changed neither windows nor alarm.
    Late,
}

/// A detector with the state of every entity.
#[derive(Debug)]
pub struct Scorer {
    loaded: LoadedDetector,
    entities: HashMap<String, Entity>,
    most_entities: usize,
    clock: u64,
    forgotten: u64,
    features: Vec<f32>,
}

/// Memory for the windows of all entities. A guess that leaves room on small machines.
const WINDOW_BYTES: usize = 256 << 20;
/// What an entity takes beside its window.
const ENTITY_BYTES: usize = 256;
/// Features that are blamed at most.
const MOST_BLAMED: usize = 5;

impl Scorer {
    /// A detector that has seen nothing yet.
    pub fn new(loaded: LoadedDetector) -> Self {
        let window = loaded.plan.longest() * (loaded.plan.columns().len() * size_of::<f32>() + 16);
        let most_entities = (WINDOW_BYTES / (window + ENTITY_BYTES)).max(2);
        Self { loaded, entities: HashMap::new(), most_entities, clock: 0, forgotten: 0, features: Vec::new() }
    }

    /// The detector.
    pub fn loaded(&self) -> &LoadedDetector {
        &self.loaded
    }

    /// Entities whose windows and alarms are kept.
    pub fn entities(&self) -> usize {
        self.entities.len()
    }

    /// Entities that were forgotten because there were more than memory allows; theirs begin anew when they come back.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The verdict on one reading. `values` are the plan's columns, NaN where missing.
    ///
    /// # Errors
    /// Values of another width.
    pub fn score(&mut self, entity: &str, time: Option<i64>, values: &[f32]) -> anyhow::Result<(Verdict, Order)> {
        self.clock += 1;
        if !self.entities.contains_key(entity) {
            self.make_room();
            self.entities.insert(entity.to_owned(), Entity::default());
        }
        let Some(state) = self.entities.get_mut(entity) else { anyhow::bail!("`{entity}` has no state") };
        state.used = self.clock;
        self.loaded.plan.expand(&state.trail, values, &mut self.features);
        let detector = &self.loaded.detector;
        let reading = detector.read(&self.features)?;
        let severity = detector.severity(&reading);
        let is_late = matches!((time, state.last), (Some(time), Some(last)) if time < last);
        if !is_late {
            state.trail.push(values, self.loaded.plan.longest());
            state.alarm.push(severity, reading.certain, detector.alarms());
            state.last = time.or(state.last);
        }
        let alarm = state.alarm.current();
        // Reasons cost ten times a reading, and a usual one has none.
        let blame = match severity {
            Some(_) => detector.explain(&self.features, MOST_BLAMED)?.blame,
            None => Vec::new(),
        };
        let verdict = Verdict {
            score: detector.score(&reading),
            severity,
            alarm,
            kind: (severity.is_some() || alarm.is_some()).then_some(reading.kind),
            response: Response::of(alarm),
            blame,
        };
        Ok((verdict, if is_late { Order::Late } else { Order::Next }))
    }

    /// Forgets the half that was silent the longest when there are too many.
    fn make_room(&mut self) {
        if self.entities.len() < self.most_entities {
            return;
        }
        let mut used: Vec<u64> = self.entities.values().map(|entity| entity.used).collect();
        used.sort_unstable();
        let middle = used[used.len() / 2];
        let before = self.entities.len();
        self.entities.retain(|_, entity| entity.used >= middle);
        let gone = before - self.entities.len();
        self.forgotten += gone as u64;
        tracing::warn!(
            gone,
            kept = self.entities.len(),
            "more entities than memory allows, those silent the longest are forgotten"
        );
    }
}

/// The features to blame as one line of text.
pub fn blame_text(blame: &[Blame]) -> String {
    let number = |value: Option<f32>| value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:.4}"));
    let parts: Vec<String> = blame
        .iter()
        .map(|blame| {
            format!(
                "{} {} (usual {} to {}) {:.0} %",
                blame.feature,
                number(blame.value),
                number(blame.normal.low),
                number(blame.normal.high),
                100.0 * blame.share
            )
        })
        .collect();
    parts.join("; ")
}
