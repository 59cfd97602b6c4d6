//! A challenger that answers for some workloads, and leaves by itself when it does worse than the champion.
//!
//! - [`log`]: what was decided, kept for ever. [`split`]: which workloads the challenger has.
//! - [`analysis`]: champion and challenger beside each other, with confidence sequences and limits; [`quality`]: how forecasts
//!   turned out; [`choices`]: how the chosen nodes fared; [`alarms`]: how often detectors cry; [`stats`].
//! - [`command`]: `serving rollout …`.
//!
//! The challengers are those of [`crate::shadow`]: without a percentage they are compared and never answer.

pub mod alarms;
pub mod analysis;
pub mod choices;
pub mod command;
mod heed;
pub mod log;
mod promote;
pub mod quality;
mod scoring;
pub mod split;
mod standing;
pub mod stats;
mod text;

pub use analysis::{Report, RolloutArgs};
pub use log::{RolloutLog, Share, Versions};
pub use score_api::Arm;

use crate::metrics::Metrics;
use crate::nodes::ClusterView;
use crate::registry::Registry;
use crate::shadow::Shadow;
use analysis::Analysis;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use standing::Standing;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The rollout of one server.
#[derive(Debug)]
pub struct Rollout {
    /// The challengers.
    pub shadow: Arc<Shadow>,
    champions: Arc<Registry>,
    log: RolloutLog,
    limits: RolloutArgs,
    metrics: Arc<Metrics>,
    share: RwLock<Share>,
    /// A share that was taken back and whose line could not be written yet.
    held_back: Mutex<Option<(Share, String)>>,
    analysis: Mutex<Analysis>,
    /// Length of the log when it was last read.
    seen: Mutex<Option<u64>>,
    files: Files,
}

/// Where the analysis is kept.
#[derive(Debug)]
struct Files {
    /// For people and `serving rollout status`.
    report: PathBuf,
    /// For the next start.
    snapshot: PathBuf,
}

/// Where the newest report is, below a data root.
pub fn report_path(root: &Path) -> PathBuf {
    root.join("serving/rollout-report.json")
}

/// What holds, as people and programs read it.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Percent of workloads that the challenger should answer for.
    pub percent: f64,
    /// The versions that this was decided for.
    pub challenger: Versions,
    /// Whether it answers now, or why not.
    pub answers: bool,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The limit that the challenger passes, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breach: Option<String>,
    /// The comparison; absent where no challenger is in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

impl Rollout {
    /// Goes on from what the log and the last analysis below `root` say.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn open(
        root: &Path,
        shadow: Arc<Shadow>,
        champions: Arc<Registry>,
        limits: RolloutArgs,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let files = Files { report: report_path(root), snapshot: root.join("serving/rollout.snapshot") };
        let analysis = read_snapshot(&files.snapshot).unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "the comparison of champion and challenger begins anew");
            Analysis::default()
        });
        let rollout = Self {
            shadow,
            champions,
            log: RolloutLog::below(root),
            limits,
            metrics,
            share: RwLock::default(),
            held_back: Mutex::default(),
            analysis: Mutex::new(analysis),
            seen: Mutex::default(),
            files,
        };
        rollout.look(true)?;
        Ok(rollout)
    }

    /// Percent of workloads that the challenger answers for at this moment: 0 while it cannot.
    fn percent_at_work(&self) -> f64 {
        if self.share.read().unwrap_or_else(PoisonError::into_inner).percent <= 0.0 {
            return 0.0;
        }
        let share = self.share();
        if self.standing(&share) == Standing::Ready { share.percent } else { 0.0 }
    }

    /// What holds now.
    pub fn status(&self) -> Status {
        let share = self.share();
        let standing = self.standing(&share);
        let known = self.shadow.differs(&self.champions);
        let report = known.then(|| lock(&self.analysis).report(&self.limits));
        Status {
            answers: share.percent > 0.0 && standing == Standing::Ready,
            waits_for: match standing {
                Standing::Waiting(reason) | Standing::Gone(reason) if share.percent > 0.0 => Some(reason),
                _ => None,
            },
            percent: share.percent,
            challenger: share.challenger,
            breach: report.as_ref().and_then(Report::breach).map(|breach| breach.sentence),
            report,
        }
    }

    fn share(&self) -> Share {
        self.share.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn standing(&self, share: &Share) -> Standing {
        standing::of(share, &self.shadow.challengers, self.shadow.view().is_some())
    }

    /// Takes in a refresh: `make` works out what the challengers see, where there are some.
    pub fn take_in(&self, champion: &ClusterView, make: impl FnOnce(&Registry) -> anyhow::Result<ClusterView>) {
        if !self.shadow.differs(&self.champions) {
            self.shadow.forget();
            // Whoever looks should not see a comparison that has ended.
            if self.files.report.exists() {
                self.tell();
            }
            return;
        }
        match make(&self.shadow.challengers) {
            Ok(challenger) => {
                self.shadow.compare_nodes(&self.champions, champion, &challenger);
                let mut analysis = lock(&self.analysis);
                if analysis.champion != champion.versions || analysis.challenger != challenger.versions {
                    *analysis = Analysis::new(champion.versions.clone(), challenger.versions.clone(), champion.at);
                }
                analysis.quality.take_in(champion, |name| challenger.nodes.get(name)?.forecasts.as_deref());
                analysis.alarms.take_in(champion, &challenger);
                analysis.choices.settle(champion);
                drop(analysis);
                self.shadow.put(challenger);
            }
            Err(error) => {
                // Without a view of its own the challenger answers for nobody.
                self.shadow.forget();
                tracing::warn!(error = format!("{error:#}"), "the challengers cannot forecast the nodes");
            }
        }
        self.tell();
    }

    /// Writes the report for whoever looks, and counts.
    fn tell(&self) {
        let status = self.status();
        if let Some(report) = &status.report {
            self.metrics.rollout_quality(report);
        }
        let written = serde_json::to_value(&status).map_err(anyhow::Error::from);
        let written = written.and_then(|status| Ok(runtime::files::write_json(&self.files.report, &status)?));
        if let Err(error) = written {
            tracing::warn!(error = format!("{error:#}"), "the rollout's report could not be written");
        }
    }

    /// Puts the analysis aside for the next start.
    pub fn save(&self) {
        let bytes = rmp_serde::to_vec(&Snapshot::of(lock(&self.analysis).clone()));
        let written = bytes.map_err(anyhow::Error::from).and_then(|bytes| {
            use std::io::Write;
            Ok(runtime::files::write_atomic(&self.files.snapshot, |writer| writer.write_all(&bytes))?)
        });
        if let Err(error) = written {
            tracing::warn!(error = format!("{error:#}"), "the rollout's analysis could not be written");
        }
    }
}

/// What is on disk between two starts.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    code: String,
    analysis: Analysis,
}

impl Snapshot {
    fn of(analysis: Analysis) -> Self {
        Self { code: code(), analysis }
    }
}

fn code() -> String {
    format!("serving {}", env!("CARGO_PKG_VERSION"))
}

fn read_snapshot(path: &Path) -> anyhow::Result<Analysis> {
    if !path.exists() {
        return Ok(Analysis::default());
    }
    let doing = || format!("the rollout's analysis `{}` is not usable", path.display());
    let bytes = std::fs::read(path).with_context(doing)?;
    let snapshot: Snapshot = rmp_serde::from_slice(&bytes).with_context(doing)?;
    if snapshot.code != code() {
        bail!("{}: it is of {}", doing(), snapshot.code);
    }
    Ok(snapshot.analysis)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
