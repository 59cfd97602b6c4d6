//! The backfill again at every step, until SIGTERM. What a server or this process missed is caught up by itself, since
//! every visit asks for all that the tables lack.

use super::backfill::Collector;
use super::error::PrometheusError;
use super::mapping::TooFewMatched;
use super::settings::{Source, iso};
use std::ops::Range;
use std::time::{Duration, Instant};
use store::Store;

/// Who the nodes are, pods, and compaction are looked after this often; a new node waits no longer.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// Fetches every step until SIGTERM. Only changes of state are logged.
///
/// # Errors
/// When the settings are wrong, too few nodes can be told apart at the start, or the disk is full; a server that is away
/// is waited for.
pub async fn watch(source: &Source, store: &Store) -> anyhow::Result<()> {
    let mut collector = Collector::open(source, store).await?;
    let mut state = State::Starting;
    let mut kept_house: Option<Instant> = None;
    let mut ticks = tokio::time::interval(source.args.step.0);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    tracing::info!(server = collector.client.server(), step = %source.args.step, "watching");
    let stop = runtime::shutdown::requested();
    tokio::pin!(stop);
    loop {
        // A visit that is dropped here leaves whole chunks: each is written and noted before the next is asked for.
        let visited = tokio::select! {
            stopped = &mut stop => { stopped?; break }
            visited = async {
                ticks.tick().await;
                visit(&mut collector, source, &mut kept_house).await
            } => visited,
        };
        state = match visited {
            Ok(span) => state.visited(&span, &collector),
            Err(error) => state.failed(error)?,
        };
    }
    let summary = collector.take_summary();
    super::backfill::record(store, &summary)?;
    tracing::info!(rows = summary.rows, requests = summary.requests, left_out = %summary.drops, "stopped");
    Ok(())
}

async fn visit(
    collector: &mut Collector<'_>,
    source: &Source,
    kept_house: &mut Option<Instant>,
) -> anyhow::Result<Range<i64>> {
    let due = kept_house.is_none_or(|last| last.elapsed() >= HOUSEKEEPING);
    if due {
        collector.forget_setting();
    }
    let now = collector.client.now().await?;
    let span = source.span(now)?;
    collector.catch_up(&span, now, false).await?;
    if due {
        collector.pods(&span, now, false).await?;
        collector.compact(now)?;
        *kept_house = Some(Instant::now());
    }
    Ok(span)
}

/// What the last visit found.
enum State {
    Starting,
    Well { nodes: usize },
    Failing { since: Instant },
}

impl State {
    fn visited(self, span: &Range<i64>, collector: &Collector<'_>) -> Self {
        let nodes = collector.nodes();
        match self {
            Self::Starting => tracing::info!(until = %iso(span.end), nodes, rows = collector.summary.rows, "caught up"),
            Self::Failing { since } => {
                tracing::info!(until = %iso(span.end), away_seconds = since.elapsed().as_secs(), "prometheus is back, caught up");
            }
            Self::Well { nodes: before } if before != nodes => {
                tracing::info!(before, nodes, "the number of nodes changed")
            }
            Self::Well { .. } => {}
        }
        Self::Well { nodes }
    }

    fn failed(self, error: anyhow::Error) -> anyhow::Result<Self> {
        let answered = error.chain().all(|cause| !cause.is::<PrometheusError>());
        // At the start too few nodes mean wrong settings; later they mean that exporters are away for a while.
        let may_pass = !matches!(self, Self::Starting) && error.chain().any(|cause| cause.is::<TooFewMatched>());
        if answered && !may_pass {
            return Err(error);
        }
        Ok(match self {
            Self::Failing { since } => Self::Failing { since },
            Self::Starting | Self::Well { .. } => {
                tracing::warn!(error = format!("{error:#}"), "prometheus gives no history, trying again every step");
                Self::Failing { since: Instant::now() }
            }
        })
    }
}
