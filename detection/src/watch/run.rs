//! Round and round: what is new, what is odd, who must know.

use super::alarms::{Change, ChangeKind, ClusterAlarms, Pace};
use super::alertmanager::Notifier;
use super::sliding::SlidingFeatures;
use crate::folder::LoadedDetector;
use crate::metrics::Metrics;
use crate::plan::InputPlan;
use clap::Args;
use cluster::{HOUR_MS, grid_floor};
use collector::prometheus::{Live, PrometheusError, Source};
use collector::raw::DropCounts;
use features::{FeatureSettings, GRID_STEP_MS};
use runtime::WrongUse;
use runtime::http::HttpArgs;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// How a live cluster is watched, section `[trainer.anomaly_watch]`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchArgs {
    /// Address of Alertmanager, such as http://alertmanager:9093; without it findings are only printed
    #[arg(long, env = "BERTH_ALERTMANAGER_URL", value_name = "URL")]
    pub alertmanager: Option<String>,
    /// How often to look; a critical anomaly is told so long after its sample at the latest
    #[arg(long, env = "BERTH_ANOMALY_EVERY", default_value = "10s", value_name = "SPAN")]
    pub every: Span,
    /// How much history to read first: long windows look back seven days
    #[arg(long, env = "BERTH_ANOMALY_WARM", default_value = "7d", value_name = "SPAN")]
    pub warm: Span,
    /// Distance of samples in that history; it divides five minutes
    #[arg(long, env = "BERTH_ANOMALY_WARM_STEP", default_value = "1m", value_name = "SPAN")]
    pub warm_step: Span,
    /// How often standing alerts are sent again; they end by themselves after four times as long
    #[arg(long, env = "BERTH_ANOMALY_RESEND", default_value = "1m", value_name = "SPAN")]
    pub resend: Span,
    /// Hours and holidays as the detector was trained on: section `[features.build]`.
    #[arg(skip)]
    #[serde(skip)]
    pub features: FeatureSettings,
}

/// What a watch came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WatchSummary {
    /// Which detector.
    pub model: String,
    /// Which server.
    pub server: String,
    /// Rounds that were made.
    pub rounds: u64,
    /// Nodes that are known at the end.
    pub nodes: usize,
    /// Odd readings on the grid by severity.
    pub anomalies_detected: BTreeMap<&'static str, u64>,
    /// Alarms that were raised.
    pub alarms_raised: u64,
    /// Alarms that ended.
    pub alarms_ended: u64,
    /// Alarms that stand.
    pub alarms_standing: usize,
    /// Rounds in which Prometheus gave no answer.
    pub rounds_without_answer: u64,
    /// Samples that came too late or twice.
    pub late_samples: u64,
    /// Values that were left out, by reason.
    pub drops: DropCounts,
    /// Alerts that Alertmanager took, standing ones again and again.
    pub alerts_sent: u64,
    /// Requests that Alertmanager did not take.
    pub alert_failures: u64,
    /// Alerts that it has not taken at the end.
    pub alerts_waiting: usize,
    /// Time spent on features and scores.
    pub processing_seconds: f64,
}

/// History is read in pieces of this length.
const PIECE: i64 = 6 * HOUR_MS;
/// Hysteresis is brought up to date over this span before the first look, so that a restart forgets no alarm.
const REPLAYED: i64 = 2 * HOUR_MS;
/// Who the nodes are is looked at this often; a new node waits no longer.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

impl WatchArgs {
    /// Checks the values.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        let divides = |span: Span| span.millis() >= 1_000 && GRID_STEP_MS % span.millis() == 0;
        for (key, span) in [("every", self.every), ("warm_step", self.warm_step)] {
            if !divides(span) {
                return Err(WrongUse(format!(
                    "`{key}` of [trainer.anomaly_watch] must be at least 1s and divide 5m, got {span}"
                )));
            }
        }
        if self.resend.millis() < 1_000 {
            return Err(WrongUse(format!(
                "`resend` of [trainer.anomaly_watch] must be at least 1s, got {}",
                self.resend
            )));
        }
        Ok(())
    }
}

/// Watches until `stop` resolves; or, where the source names a first or a last moment, walks through that span of history as
/// if it were now. `print` hears of every change.
///
/// # Errors
/// Wrong settings, a detector of somebody's table, too few nodes at the start. A server that is away is waited for.
pub async fn watch(
    source: &Source,
    http: &HttpArgs,
    loaded: &LoadedDetector,
    args: &WatchArgs,
    metrics: Arc<Metrics>,
    mut print: impl FnMut(&Change) -> anyhow::Result<()>,
    stop: impl Future<Output = std::io::Result<()>>,
) -> anyhow::Result<WatchSummary> {
    args.validate()?;
    let InputPlan::Features(selection) = &loaded.plan else {
        let message = format!(
            "`{}` was trained on a table, not on the features of nodes. Train one with `trainer train anomaly`",
            loaded.origin
        );
        return Err(WrongUse(message).into());
    };
    let every = args.every.millis();
    let coarsest = args.warm_step.millis().max(every);
    let rules = args.features.rules(coarsest)?;
    let notifier = match &args.alertmanager {
        Some(url) => Some(Notifier::new(url, http, args.resend.0, Arc::clone(&metrics))?),
        None => None,
    };
    tokio::pin!(stop);
    let mut live = Live::new(source)?;
    let mut answers = Answers { is_away: false, without: 0, metrics: Arc::clone(&metrics) };
    let first = loop {
        match live.now().await {
            Ok(now) => break now,
            Err(error) => answers.missed(error)?,
        }
        tokio::select! {
            stopped = &mut stop => { stopped?; return Ok(WatchSummary::default()) }
            () = tokio::time::sleep(args.every.0) => {}
        }
    };
    let replayed = (source.args.from.is_some() || source.args.to.is_some()).then(|| source.span(first)).transpose()?;
    let begin = grid_floor(replayed.as_ref().map_or(first, |span| span.start), GRID_STEP_MS);
    let warm_from = grid_floor(begin - args.warm.millis().max(REPLAYED), GRID_STEP_MS);
    let mut watcher = Watcher {
        sliding: SlidingFeatures::new(rules, warm_from),
        alarms: ClusterAlarms::new(loaded.detector.clone(), selection.clone(), every),
        notifier,
        metrics,
        every,
        next_grid: begin - REPLAYED,
        summary: WatchSummary {
            model: loaded.origin.clone(),
            server: live.server().to_owned(),
            ..WatchSummary::default()
        },
    };
    live.look_around(begin).await?;
    watcher.warm(&mut live, warm_from..begin, args.warm_step.millis()).await?;
    answers.came();
    for change in watcher.standing() {
        watcher.tell(&change, &mut print)?;
    }
    watcher.flush().await;
    tracing::info!(server = live.server(), nodes = watcher.alarms.nodes(), every = %args.every, "watching");
    let mut next = begin;
    let mut kept_house = Instant::now();
    let mut ticks = tokio::time::interval(args.every.0);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let until = match &replayed {
            Some(span) if next >= span.end => break,
            Some(span) => Ok(span.end.min(next + HOUR_MS)),
            None => {
                tokio::select! {
                    stopped = &mut stop => { stopped?; break }
                    _ = ticks.tick() => {}
                }
                // The sample of this very moment counts: a row ends where the next sample would be.
                live.now().await.map(|now| grid_floor(now, every) + every)
            }
        };
        let visited = match until {
            Ok(until) if until > next => {
                let visit = watcher.visit(&mut live, next..until, replayed.is_none(), &mut print);
                tokio::select! {
                    stopped = &mut stop => { stopped?; break }
                    visited = visit => visited.map(|()| until),
                }
            }
            Ok(_) => Ok(next),
            Err(error) => Err(error),
        };
        match visited {
            Ok(until) => {
                next = until;
                answers.came();
            }
            Err(error) => answers.missed(error)?,
        }
        if kept_house.elapsed() >= HOUSEKEEPING && replayed.is_none() {
            kept_house = Instant::now();
            if let Err(error) = live.look_around(next).await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "who the nodes are cannot be told now, going on with those that are known"
                );
            }
        }
        watcher.flush().await;
    }
    watcher.flush().await;
    Ok(watcher.summary(&live, &answers))
}

/// Whether Prometheus answers.
struct Answers {
    is_away: bool,
    without: u64,
    metrics: Arc<Metrics>,
}

impl Answers {
    fn came(&mut self) {
        self.metrics.connected("prometheus", true);
        if std::mem::replace(&mut self.is_away, false) {
            tracing::info!("prometheus is back, what was missed is caught up");
        }
    }

    /// A server that is away is waited for; anything else ends the watch.
    fn missed(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        if error.chain().all(|cause| !cause.is::<PrometheusError>()) {
            return Err(error);
        }
        self.without += 1;
        self.metrics.connected("prometheus", false);
        self.metrics.retried("prometheus");
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(error = format!("{error:#}"), "prometheus gives no samples, trying again");
        }
        Ok(())
    }
}

struct Watcher {
    sliding: SlidingFeatures,
    alarms: ClusterAlarms,
    notifier: Option<Notifier>,
    metrics: Arc<Metrics>,
    every: i64,
    /// The next grid time whose rows the slow alarms have not seen.
    next_grid: i64,
    summary: WatchSummary,
}

impl Watcher {
    /// Reads history, and brings the alarms up to date over its last hours without telling anyone.
    async fn warm(&mut self, live: &mut Live<'_>, span: Range<i64>, step: i64) -> anyhow::Result<()> {
        let pieces: Vec<i64> = (span.start..span.end).step_by(PIECE as usize).collect();
        let bar = runtime::progress::bar(pieces.len() as u64, "reading history");
        for from in pieces {
            let piece = from..(from + PIECE).min(span.end);
            let samples = live.samples(&piece, step).await?;
            let bad = live.bad_moments(&piece, step).await?;
            block_in_place(|| {
                for (node, samples) in &samples {
                    self.sliding.push(node, samples);
                }
                self.sliding.push_bad_moments(&piece, step, &bad);
                self.sliding.settle(piece.end.min(self.next_grid - GRID_STEP_MS))
            })?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        block_in_place(|| {
            while self.next_grid <= span.end {
                self.slow()?;
            }
            anyhow::Ok(())
        })
    }

    fn slow(&mut self) -> anyhow::Result<Vec<Change>> {
        let rows = self.sliding.on_grid(self.next_grid)?;
        self.next_grid += GRID_STEP_MS;
        self.alarms.push(&rows, Pace::Slow)
    }

    /// Every alarm that stands, as if it were raised now.
    fn standing(&self) -> Vec<Change> {
        let raised = |alarm: &super::alarms::NodeAlarm| Change {
            change: ChangeKind::Raised,
            at: alarm.since,
            alarm: alarm.clone(),
        };
        self.alarms.standing().map(raised).collect()
    }

    /// Takes in the samples of `times` and looks at every step of it.
    async fn visit(
        &mut self,
        live: &mut Live<'_>,
        times: Range<i64>,
        is_live: bool,
        print: &mut impl FnMut(&Change) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let samples = live.samples(&times, self.every).await?;
        let bad = live.bad_moments(&times, self.every).await?;
        for (node, samples) in &samples {
            self.sliding.push(node, samples);
        }
        self.sliding.push_bad_moments(&times, self.every, &bad);
        for end in (times.start + self.every..=times.end).step_by(self.every as usize) {
            let began = Instant::now();
            let before: u64 = self.alarms.readings().values().sum();
            let changes = block_in_place(|| self.round(end))?;
            let after: u64 = self.alarms.readings().values().sum();
            tracing::debug!(end, odd = after - before, changes = changes.len(), "looked");
            let seconds = began.elapsed().as_secs_f64();
            self.summary.processing_seconds += seconds;
            self.metrics.round(self.alarms.nodes() as u64, seconds);
            self.summary.rounds += 1;
            for change in &changes {
                if is_live && change.change == ChangeKind::Raised {
                    let newest = end - self.every;
                    let now = chrono::Utc::now().timestamp_millis();
                    self.metrics.detected_after((now - newest).max(0) as f64 / 1e3);
                }
                self.tell(change, print)?;
            }
            if !changes.is_empty() {
                self.flush().await;
            }
        }
        Ok(())
    }

    fn round(&mut self, end: i64) -> anyhow::Result<Vec<Change>> {
        let mut changes = Vec::new();
        while self.next_grid <= end {
            changes.extend(self.slow()?);
        }
        let rows = self.sliding.ending_at(end)?;
        changes.extend(self.alarms.push(&rows, Pace::Quick)?);
        Ok(changes)
    }

    fn tell(&mut self, change: &Change, print: &mut impl FnMut(&Change) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if change.change == ChangeKind::Raised {
            self.summary.alarms_raised += 1;
            self.metrics.anomaly(change.alarm.severity.as_str());
        } else {
            self.summary.alarms_ended += 1;
        }
        if let Some(notifier) = &mut self.notifier {
            notifier.note(change);
        }
        print(change)
    }

    async fn flush(&mut self) {
        if let Some(notifier) = &mut self.notifier {
            notifier.flush().await;
        }
    }

    fn summary(self, live: &Live<'_>, answers: &Answers) -> WatchSummary {
        let (alerts_sent, alert_failures) = self.notifier.as_ref().map_or((0, 0), Notifier::counts);
        WatchSummary {
            nodes: self.alarms.nodes(),
            anomalies_detected: self
                .alarms
                .readings()
                .iter()
                .map(|(severity, count)| (severity.as_str(), *count))
                .collect(),
            alarms_standing: self.alarms.standing().count(),
            rounds_without_answer: answers.without,
            late_samples: self.sliding.late(),
            drops: live.drops().clone(),
            alerts_sent,
            alert_failures,
            alerts_waiting: self.notifier.as_ref().map_or(0, Notifier::waiting),
            ..self.summary
        }
    }
}

impl WatchSummary {
    /// For people.
    pub fn text(&self) -> String {
        let odd: Vec<String> =
            self.anomalies_detected.iter().map(|(severity, count)| format!("{count} {severity}")).collect();
        format!(
            "rounds {}, nodes {}, odd readings: {}, alarms raised {}, ended {}, standing {}, processing {:.2} s\n\
             prometheus {}: {} rounds without an answer, {} samples late, {} values left out\n\
             alertmanager: {} alerts taken, {} requests failed, {} alerts waiting\nmodel {}\n",
            self.rounds,
            self.nodes,
            if odd.is_empty() { "none".to_owned() } else { odd.join(", ") },
            self.alarms_raised,
            self.alarms_ended,
            self.alarms_standing,
            self.processing_seconds,
            self.server,
            self.rounds_without_answer,
            self.late_samples,
            self.drops,
            self.alerts_sent,
            self.alert_failures,
            self.alerts_waiting,
            self.model
        )
    }
}
