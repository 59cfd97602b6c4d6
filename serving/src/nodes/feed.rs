//! Where samples and pods come from: a live Prometheus, or the raw tables of a data root as of their last sample.

use super::clock;
use super::shared::Shared;
use anyhow::{Context, ensure};
use cluster::{DAY_MS, HOUR_MS, NODE_METRICS, NodeName, NodeSample, PODS};
use collector::prometheus::incidents::BadMoments;
use collector::prometheus::pods::{PodFacts, PodName, PodRow, read_pods};
use collector::prometheus::{Live, Source};
use features::Incident;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use store::{Store, date_of};

/// Who the nodes are is looked at this often.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// A source of samples.
#[derive(Debug)]
pub enum Feed<'a> {
    /// A server. With an end (`--to`) it is asked as if it were that moment.
    Prometheus {
        /// The connection.
        live: Box<Live<'a>>,
        /// The moment that stands for now.
        fixed: Option<i64>,
        /// How far its clock was ahead of ours at the last look, milliseconds.
        skew: Option<i64>,
        /// Other replicas that read the same server.
        shared: Option<Box<Shared>>,
        /// When it was last looked who the nodes are.
        looked_around: Option<Instant>,
    },
    /// Files. Now is the moment after the last sample.
    Tables(Tables),
}

/// The raw tables of a data root, as they were when they were first asked.
#[derive(Debug)]
pub struct Tables {
    store: Store,
    /// The moment after the last sample, and the distance of samples.
    end: OnceLock<(i64, i64)>,
}

impl Tables {
    /// The tables below the store's root; nothing is read yet.
    pub const fn new(store: Store) -> Self {
        Self { store, end: OnceLock::new() }
    }

    fn end(&self) -> anyhow::Result<(i64, i64)> {
        if let Some(end) = self.end.get() {
            return Ok(*end);
        }
        let end = end_of(&self.store)?;
        Ok(*self.end.get_or_init(|| end))
    }
}

/// Samples by node, in order of time.
pub type Samples = Vec<(NodeName, Vec<NodeSample>)>;

impl<'a> Feed<'a> {
    /// A server's feed; nothing is asked yet.
    ///
    /// # Errors
    /// A setting that is not valid.
    pub fn prometheus(source: &'a Source) -> anyhow::Result<Self> {
        // A span that ends at the far end of time is cut at now.
        let fixed = match &source.args.to {
            Some(_) => Some(source.span(i64::MAX / 2)?.end),
            None => None,
        };
        Ok(Self::Prometheus {
            live: Box::new(Live::new(source)?),
            fixed,
            skew: None,
            shared: None,
            looked_around: None,
        })
    }

    /// Shares what is fetched with other replicas. Where time stands still there is nothing to share.
    pub fn share(&mut self, with: Shared) {
        if let Self::Prometheus { shared, fixed: None, .. } = self {
            *shared = Some(Box::new(with));
        }
    }

    /// Whether time stands still.
    pub fn is_fixed(&self) -> bool {
        !matches!(self, Self::Prometheus { fixed: None, .. })
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Prometheus { live, .. } => live.server().to_owned(),
            Self::Tables(tables) => format!("the raw tables below `{}`", tables.store.root().display()),
        }
    }

    /// The moment that is now, UTC milliseconds.
    ///
    /// # Errors
    /// A source that cannot be asked, or whose clock is too far from ours.
    pub async fn now(&mut self) -> anyhow::Result<i64> {
        match self {
            Self::Prometheus { fixed: Some(at), .. } => Ok(*at),
            Self::Prometheus { live, skew, .. } => trusted_now(live, skew).await,
            Self::Tables(tables) => Ok(tables.end()?.0),
        }
    }

    /// How far the source's clock was ahead of ours when it was asked last, milliseconds; `None` where time stands still.
    pub fn skew(&self) -> Option<i64> {
        match self {
            Self::Prometheus { skew, .. } => *skew,
            Self::Tables(_) => None,
        }
    }

    /// The distance of samples, where `wanted` can be chosen.
    pub fn step(&self, wanted: i64) -> anyhow::Result<i64> {
        match self {
            Self::Prometheus { .. } => Ok(wanted),
            Self::Tables(tables) => Ok(tables.end()?.1),
        }
    }

    /// Where a piece of history that begins at `start` should end: so much is held at once. Tables are read by whole days.
    pub fn piece_end(&self, start: i64) -> i64 {
        let length = if matches!(self, Self::Tables(_)) { DAY_MS } else { HOUR_MS };
        cluster::grid_ceil(start, length)
    }

    /// The samples of `times`; `step` is their distance where it can be chosen.
    pub async fn samples(&mut self, times: &Range<i64>, step: i64) -> anyhow::Result<Samples> {
        match self {
            Self::Prometheus { live, shared, looked_around, fixed, skew } => {
                let fetch = asked(live, looked_around, (*fixed, skew), async |live| live.samples(times, step).await);
                match shared {
                    Some(shared) => shared.get(times, step, fetch).await,
                    None => fetch.await,
                }
            }
            Self::Tables(tables) => samples_of(&tables.store, times),
        }
    }

    /// The pods that lived in `times`, with what they used.
    pub async fn pods(&mut self, times: &Range<i64>) -> anyhow::Result<PodFacts> {
        match self {
            Self::Prometheus { live, shared, looked_around, fixed, skew } => {
                let fetch = asked(live, looked_around, (*fixed, skew), async |live| live.pods(times).await);
                match shared {
                    Some(shared) => shared.get(times, 0, fetch).await,
                    None => fetch.await,
                }
            }
            Self::Tables(tables) => pods_of(&tables.store, times),
        }
    }

    /// What was bad about nodes at the steps of `times`, as a server tells it. Tables have whole incidents instead.
    pub async fn bad_moments(&mut self, times: &Range<i64>, step: i64) -> anyhow::Result<Option<Vec<BadMoments>>> {
        match self {
            Self::Prometheus { live, shared, looked_around, fixed, skew } => {
                let fetch =
                    asked(live, looked_around, (*fixed, skew), async |live| live.bad_moments(times, step).await);
                match shared {
                    Some(shared) => shared.get(times, step, fetch).await.map(Some),
                    None => fetch.await.map(Some),
                }
            }
            Self::Tables(_) => Ok(None),
        }
    }

    /// Incidents that began after `from`, by node, as tables hold them.
    pub fn incidents(&self, from: i64) -> anyhow::Result<HashMap<String, Vec<Incident>>> {
        match self {
            Self::Prometheus { .. } => Ok(HashMap::new()),
            Self::Tables(tables) => features::raw::incidents(&tables.store, date_of(from)),
        }
    }
}

/// Asks the server itself. Who the nodes are is looked at now and then, by whoever asks: a new node waits no longer. It is looked at as of
/// now, whatever is asked for: history may begin before the server does, and who is there now is who will be scored.
async fn asked<'a, T>(
    live: &mut Live<'a>,
    looked_around: &mut Option<Instant>,
    (fixed, skew): (Option<i64>, &mut Option<i64>),
    ask: impl AsyncFnOnce(&mut Live<'a>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if looked_around.is_none_or(|since| since.elapsed() >= HOUSEKEEPING) {
        let now = match fixed {
            Some(at) => at,
            None => trusted_now(live, skew).await?,
        };
        let found = live.look_around(now).await?;
        // Nobody there yet: it is looked again with the next question.
        *looked_around = (found > 0).then(Instant::now);
    }
    ask(live).await
}

/// The server's clock, where it can be trusted.
async fn trusted_now(live: &Live<'_>, skew: &mut Option<i64>) -> anyhow::Result<i64> {
    let told = live.now().await?;
    let local = chrono::Utc::now().timestamp_millis();
    *skew = Some(told.saturating_sub(local));
    Ok(clock::check(live.server(), told, local)?)
}

/// The moment after the last sample, and the distance of samples.
fn end_of(store: &Store) -> anyhow::Result<(i64, i64)> {
    let day = store.days(&NODE_METRICS)?.pop();
    let day = day.with_context(|| {
        format!(
            "no samples below `{}`. Run `collector` first, or name a server with --prometheus",
            store.root().display()
        )
    })?;
    let samples = features::raw::samples(store, day)?;
    let step = store.sample_interval(&NODE_METRICS)?;
    let last = samples.iter().filter_map(|(_, samples)| samples.last()).map(|sample| sample.ts).max();
    let (last, step) =
        last.zip(step).with_context(|| format!("the samples of {day} are too few to tell their distance"))?;
    Ok((last + step, step))
}

fn samples_of(store: &Store, times: &Range<i64>) -> anyhow::Result<Samples> {
    let mut by_node: BTreeMap<NodeName, Vec<NodeSample>> = BTreeMap::new();
    let days = date_of(times.start)..=date_of(times.end - 1);
    for day in store.days(&NODE_METRICS)?.into_iter().filter(|day| days.contains(day)) {
        for (node, samples) in features::raw::samples(store, day)? {
            let within = samples.into_iter().filter(|sample| times.contains(&sample.ts));
            by_node.entry(node).or_default().extend(within);
        }
    }
    Ok(by_node.into_iter().collect())
}

/// Pods are filed by the day of their creation, and some live for months.
fn pods_of(store: &Store, times: &Range<i64>) -> anyhow::Result<PodFacts> {
    ensure!(!times.is_empty(), "an empty span has no pods");
    let mut facts = PodFacts::default();
    let until = date_of(times.end - 1);
    for day in store.days(&PODS)?.into_iter().filter(|day| *day <= until) {
        for row in read_pods(store, day)? {
            let ended = row.finished_at.is_some_and(|at| at <= times.start);
            if ended || row.created_at >= times.end {
                continue;
            }
            let (cpu, memory) = hourly(&row, times);
            facts.cpu.extend(cpu);
            facts.memory.extend(memory);
            facts.rows.push(row);
        }
    }
    Ok(facts)
}

/// The tables keep a mean and a maximum of a pod's life: they stand for each of its hours.
fn hourly(row: &PodRow, times: &Range<i64>) -> (Option<Points>, Option<Points>) {
    let start = row.started_at.unwrap_or(row.created_at).max(times.start).max(times.end - DAY_MS);
    let end = row.finished_at.unwrap_or(times.end).min(times.end);
    let line = |value: f64| {
        let points = (start..end).step_by(HOUR_MS as usize).map(|at| (at, value)).collect();
        ((row.namespace.clone(), row.pod.clone()), points)
    };
    (row.cpu_used_cores_mean.map(line), row.memory_used_bytes_max.map(line))
}

type Points = (PodName, Vec<(i64, f64)>);
