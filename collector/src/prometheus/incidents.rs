//! `raw/incidents`: node conditions and alerts, as spans from the first bad moment to the last.

use super::frames::{integers, text, texts, time};
use super::identity::{Identity, Owner};
use super::reply::Series;
use anyhow::Context;
use chrono::NaiveDate;
use cluster::INCIDENTS;
use polars::prelude::{DataFrame, PolarsResult};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use store::{Store, date_of};

/// Two bad moments that are no further apart belong to one incident. Five minutes: the time for which Prometheus itself
/// holds a sample to be valid.
pub const JOIN_MS: i64 = 5 * cluster::MINUTE_MS;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The node.
    pub node: String,
    /// What it was.
    pub kind: String,
    /// info, warning or critical.
    pub severity: String,
    /// First bad moment.
    pub started_at: i64,
    /// Last bad moment; `None` while it lasts.
    pub ended_at: Option<i64>,
    /// condition or alert.
    pub source: String,
}

/// The bad moments of one thing at one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadMoments {
    /// The node.
    pub node: String,
    /// What it is.
    pub kind: String,
    severity: String,
    source: String,
    /// In order.
    pub moments: BTreeSet<i64>,
}

/// Reads the points of node conditions: each is a bad moment.
pub fn from_conditions(series: &[Series], identity: &Identity) -> Vec<BadMoments> {
    let named = series.iter().filter_map(|one| {
        let condition = one.label("condition")?;
        let (kind, severity) = match condition {
            "Ready" => ("not_ready".to_owned(), "critical"),
            other => (snake_case(other), "warning"),
        };
        Some((one, kind, severity.to_owned()))
    });
    gather(named, identity, "condition")
}

/// Reads the points of `ALERTS`: each is a moment at which the alert fired. Alerts that name no node are left out.
pub fn from_alerts(series: &[Series], identity: &Identity) -> Vec<BadMoments> {
    let named = series.iter().filter_map(|one| {
        let severity = match one.label("severity") {
            Some("critical" | "page" | "error") => "critical",
            Some("info" | "none" | "notice") => "info",
            _ => "warning",
        };
        Some((one, one.label("alertname")?.to_owned(), severity.to_owned()))
    });
    gather(named, identity, "alert")
}

fn gather<'a>(
    named: impl Iterator<Item = (&'a Series, String, String)>,
    identity: &Identity,
    source: &'static str,
) -> Vec<BadMoments> {
    let mut all: BTreeMap<(String, String), BadMoments> = BTreeMap::new();
    for (series, kind, severity) in named {
        let Some(owner) = identity.owner(&series.labels) else { continue };
        for (ts, _) in series.points.iter().filter(|(_, value)| !value.is_nan()) {
            // An address that passed on speaks of whom it belonged to at the moment.
            let node = match &owner {
                Owner::Always(node) => Some(node.clone()),
                Owner::Varies => identity.node_at(&series.labels, *ts).map(|found| found.0),
            };
            let Some(node) = node.filter(|node| !identity.is_ignored(node)) else { continue };
            let bad = all.entry((node.clone(), kind.clone())).or_insert_with(|| BadMoments {
                node,
                kind: kind.clone(),
                severity: severity.clone(),
                source: source.to_owned(),
                moments: BTreeSet::new(),
            });
            bad.moments.insert(*ts);
        }
    }
    all.into_values().collect()
}

/// `MemoryPressure` → `memory_pressure`, `PIDPressure` → `pid_pressure`.
fn snake_case(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (at, character) in characters.iter().enumerate() {
        let begins_word = character.is_uppercase()
            && at > 0
            && (characters[at - 1].is_lowercase() || characters.get(at + 1).is_some_and(|next| next.is_lowercase()));
        if begins_word {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

/// All incidents of the table, and which days have changed since they were read.
#[derive(Debug, Default)]
pub struct Book {
    all: Vec<Incident>,
    dirty: BTreeSet<NaiveDate>,
}

impl Book {
    /// Reads the table; it has few rows.
    ///
    /// # Errors
    /// When a part is damaged.
    pub fn read(store: &Store) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for date in store.days(&INCIDENTS)? {
            let frame = store.read_day(&INCIDENTS, date, &[])?;
            all.extend(rows(&frame).with_context(|| format!("failed to read incidents of {date}"))?);
        }
        Ok(Self { all, dirty: BTreeSet::new() })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Takes in all that was bad within `window`. The same window again changes nothing. `newest` tells that nothing is
    /// known after it, so that what is bad at its end still lasts.
    pub fn absorb(&mut self, window: &Range<i64>, bad: &[BadMoments], newest: bool) {
        let mut spans: Vec<Incident> = bad.iter().flat_map(|one| one.spans(window, newest)).collect();
        // What lasted when it was last looked at lasted until this window began, and ends there unless it goes on.
        let ours = |one: &Incident| matches!(one.source.as_str(), "condition" | "alert");
        let touched = |one: &Incident| {
            let ended = one.ended_at.unwrap_or(one.started_at.max(window.start));
            ours(one)
                && one.started_at < window.end + JOIN_MS
                && (one.ended_at.is_none() || ended >= window.start - JOIN_MS)
        };
        let (old, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.all).into_iter().partition(touched);
        self.all = rest;
        let before = old.clone();
        spans.extend(old.into_iter().map(|mut one| {
            if one.ended_at.is_none() && one.started_at < window.end {
                one.ended_at = Some(one.started_at.max(window.start));
            }
            one
        }));
        let after = union(spans);
        let changed =
            before.iter().filter(|one| !after.contains(one)).chain(after.iter().filter(|one| !before.contains(one)));
        self.dirty.extend(changed.map(|one| date_of(one.started_at)));
        self.all.extend(after);
    }

    /// Writes the days that have changed.
    ///
    /// # Errors
    /// When the disk is full; what is not written is tried again by the next call.
    pub fn save(&mut self, store: &Store) -> anyhow::Result<()> {
        while let Some(date) = self.dirty.first().copied() {
            let of_day: Vec<&Incident> = self.all.iter().filter(|one| date_of(one.started_at) == date).collect();
            let doing = || format!("failed to write incidents of {date}");
            let frame = frame(&of_day).with_context(doing)?;
            store.replace_day(&INCIDENTS, date, &frame).with_context(doing)?;
            self.dirty.remove(&date);
        }
        Ok(())
    }
}

impl BadMoments {
    fn spans(&self, window: &Range<i64>, newest: bool) -> Vec<Incident> {
        let mut spans: Vec<Incident> = Vec::new();
        let mut last = i64::MIN;
        for moment in self.moments.range(window.clone()) {
            match spans.last_mut() {
                Some(open) if moment - last <= JOIN_MS => open.ended_at = Some(*moment),
                _ => spans.push(Incident {
                    node: self.node.clone(),
                    kind: self.kind.clone(),
                    severity: self.severity.clone(),
                    started_at: *moment,
                    ended_at: Some(*moment),
                    source: self.source.clone(),
                }),
            }
            last = *moment;
        }
        if let Some(open) = spans.last_mut()
            && newest
            && window.end - last <= JOIN_MS
        {
            open.ended_at = None;
        }
        spans
    }
}

/// Joins spans of the same thing that overlap or nearly touch.
fn union(mut spans: Vec<Incident>) -> Vec<Incident> {
    spans.sort_by(|a, b| (&a.node, &a.kind, &a.source, a.started_at).cmp(&(&b.node, &b.kind, &b.source, b.started_at)));
    let mut joined: Vec<Incident> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last)
                if (&last.node, &last.kind, &last.source) == (&span.node, &span.kind, &span.source)
                    && last.ended_at.is_none_or(|ended| span.started_at - ended <= JOIN_MS) =>
            {
                last.ended_at = last.ended_at.zip(span.ended_at).map(|(a, b)| a.max(b));
            }
            _ => joined.push(span),
        }
    }
    joined
}

fn frame(rows: &[&Incident]) -> PolarsResult<DataFrame> {
    let all = || rows.iter();
    DataFrame::new(
        rows.len(),
        vec![
            text("node", all().map(|row| Some(row.node.as_str()))),
            text("kind", all().map(|row| Some(row.kind.as_str()))),
            text("severity", all().map(|row| Some(row.severity.as_str()))),
            time("started_at", all().map(|row| Some(row.started_at)))?,
            time("ended_at", all().map(|row| row.ended_at))?,
            text("source", all().map(|row| Some(row.source.as_str()))),
        ],
    )
}

fn rows(frame: &DataFrame) -> PolarsResult<Vec<Incident>> {
    let (node, kind, severity) = (texts(frame, "node")?, texts(frame, "kind")?, texts(frame, "severity")?);
    let (started, ended, source) =
        (integers(frame, "started_at")?, integers(frame, "ended_at")?, texts(frame, "source")?);
    Ok((0..frame.height())
        .map(|at| Incident {
            node: node[at].clone().unwrap_or_default(),
            kind: kind[at].clone().unwrap_or_default(),
            severity: severity[at].clone().unwrap_or_default(),
            started_at: started[at].unwrap_or_default(),
            ended_at: ended[at],
            source: source[at].clone().unwrap_or_default(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::{HOUR_MS, MINUTE_MS};

    fn bad(moments: impl IntoIterator<Item = i64>) -> Vec<BadMoments> {
        vec![BadMoments {
            node: "a".into(),
            kind: "not_ready".into(),
            severity: "critical".into(),
            source: "condition".into(),
            moments: moments.into_iter().map(|minute| minute * MINUTE_MS).collect(),
        }]
    }

    fn spans(book: &Book) -> Vec<(i64, Option<i64>)> {
        let mut spans: Vec<_> = book
            .all
            .iter()
            .map(|one| (one.started_at / MINUTE_MS, one.ended_at.map(|ended| ended / MINUTE_MS)))
            .collect();
        spans.sort_unstable();
        spans
    }

    #[test]
    fn an_incident_goes_on_over_the_border_of_two_windows() {
        let mut book = Book::default();
        book.absorb(&(0..HOUR_MS), &bad((10..20).chain(50..60)), true);
        assert_eq!(spans(&book), [(10, Some(19)), (50, None)]);
        book.absorb(&(HOUR_MS..2 * HOUR_MS), &bad(60..70), true);
        assert_eq!(spans(&book), [(10, Some(19)), (50, Some(69))]);
    }

    #[test]
    fn what_does_not_go_on_has_ended_at_the_border() {
        let mut book = Book::default();
        book.absorb(&(0..HOUR_MS), &bad(50..60), true);
        book.absorb(&(HOUR_MS..2 * HOUR_MS), &[], true);
        assert_eq!(spans(&book), [(50, Some(60))]);
    }

    #[test]
    fn the_same_window_again_and_older_ones_later_change_nothing() {
        let (early, late) = (bad((10..20).chain(58..60)), bad(60..65));
        let mut forth = Book::default();
        forth.absorb(&(0..HOUR_MS), &early, false);
        forth.absorb(&(HOUR_MS..2 * HOUR_MS), &late, true);
        let mut back = Book::default();
        back.absorb(&(HOUR_MS..2 * HOUR_MS), &late, true);
        back.absorb(&(0..HOUR_MS), &early, false);
        back.absorb(&(0..HOUR_MS), &early, false);
        assert_eq!(spans(&forth), [(10, Some(19)), (58, Some(64))]);
        assert_eq!(spans(&back), spans(&forth));
    }

    #[test]
    fn the_table_gives_back_what_was_written_and_keeps_other_sources() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let label = Incident {
            node: "a".into(),
            kind: "memory_leak".into(),
            severity: "warning".into(),
            started_at: 11 * MINUTE_MS,
            ended_at: None,
            source: "synthetic".into(),
        };
        let mut book = Book { all: vec![label.clone()], dirty: [date_of(0)].into() };
        book.absorb(&(0..HOUR_MS), &bad(10..20), true);
        book.save(&store).expect("saved");
        let mut again = Book::read(&store).expect("read");
        assert!(again.all.contains(&label));
        assert_eq!(spans(&again), spans(&book));
        again.absorb(&(0..HOUR_MS), &bad(10..20), true);
        assert!(again.dirty.is_empty(), "nothing new, nothing to write");
    }

    #[test]
    fn conditions_read_as_words() {
        for (condition, kind) in [
            ("MemoryPressure", "memory_pressure"),
            ("PIDPressure", "pid_pressure"),
            ("NetworkUnavailable", "network_unavailable"),
        ] {
            assert_eq!(snake_case(condition), kind);
        }
    }
}
