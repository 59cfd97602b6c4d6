//! Where a training stands, as one file: the learning curve, the best network so far, and the learner.

use super::{PlacementSettings, Round, Start, start};
use agent::Learner;
use anyhow::{Context, ensure};
use models::placement::PlacementNetwork;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;

/// One episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Which, from 0.
    pub episode: u64,
    /// The cluster's kind.
    pub scenario: String,
    /// Cost of the run per 1,000 node-minutes, random choices included.
    pub cost: f64,
    /// Mean reward of a decision.
    pub reward: f64,
    /// Parts of it: performance, stability, efficiency.
    pub parts: [f64; 3],
    /// Mean loss of the updates after it.
    pub loss: f64,
    /// Mean value of the actions in these updates.
    pub value: f64,
    /// Share of random choices.
    pub epsilon: f64,
}

/// A look at clusters that it does not learn in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// After so many episodes.
    pub episode: u64,
    /// Mean cost there, without random choices.
    pub cost: f64,
    /// The typical ratio of it to kube-scheduler's on the same clusters, less 1.
    pub against_kube: f64,
}

/// All that a training needs to go on.
pub(super) struct State {
    pub learner: Learner,
    /// What each rule came to that it could have begun as.
    pub starts: Vec<Start>,
    /// The search for one more.
    pub rounds: Vec<Round>,
    pub curve: Vec<CurvePoint>,
    pub looks: Vec<Look>,
    /// The network of the cheapest look.
    pub best: PlacementNetwork,
    /// Seconds that learning has taken before this process.
    pub seconds: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    settings: PlacementSettings,
    /// Id of the history's dataset.
    dataset: Option<String>,
    code: String,
    seconds: f64,
    starts: Vec<Start>,
    rounds: Vec<Round>,
    curve: Vec<CurvePoint>,
    looks: Vec<Look>,
    best_bytes: usize,
    sha256: String,
}

impl State {
    /// Begins as the cheapest rule, which is the first look, so that learning that makes it worse is thrown away. `rules`:
    /// by feature, with what each came to.
    pub fn new(
        settings: &PlacementSettings,
        rules: Vec<(Vec<f32>, Start)>,
        rounds: Vec<Round>,
    ) -> anyhow::Result<Self> {
        let (mut rules, starts): (Vec<Vec<f32>>, Vec<Start>) = rules.into_iter().unzip();
        let cheapest = start::cheapest(&starts).context("there is no rule to begin as")?;
        let rule = rules.swap_remove(cheapest);
        let learner = Learner::new(settings.learner(), features::cluster_state::names(), rule)?;
        let best = learner.network().clone();
        let Start { cost, against_kube, .. } = starts[cheapest];
        let looks = vec![Look { episode: 0, cost, against_kube }];
        Ok(Self { learner, starts, rounds, curve: Vec::new(), looks, best, seconds: 0.0 })
    }

    /// Writes the file whole.
    pub fn write(&self, path: &Path, settings: &PlacementSettings, dataset: Option<&str>) -> anyhow::Result<()> {
        let (best, learner) = (self.best.to_bytes(), self.learner.save()?);
        let header = Header {
            settings: settings.clone(),
            dataset: dataset.map(str::to_owned),
            code: code(),
            seconds: self.seconds,
            starts: self.starts.clone(),
            rounds: self.rounds.clone(),
            curve: self.curve.clone(),
            looks: self.looks.clone(),
            best_bytes: best.len(),
            sha256: runtime::files::sha256(&best),
        };
        let text = serde_json::to_vec(&header)?;
        runtime::files::write_atomic(path, |writer| {
            writer.write_all(&text)?;
            writer.write_all(b"\n")?;
            writer.write_all(&best)?;
            writer.write_all(&learner)
        })?;
        Ok(())
    }

    /// Reads the file; `None` when there is none.
    pub fn read(path: &Path, settings: &PlacementSettings, dataset: Option<&str>) -> anyhow::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let refused = || {
            format!(
                "checkpoint `{}` cannot be gone on from. Remove it, or pass --restart, to begin anew",
                path.display()
            )
        };
        let bytes = std::fs::read(path).with_context(refused)?;
        Self::parse(&bytes, settings, dataset).map(Some).with_context(refused)
    }

    fn parse(bytes: &[u8], settings: &PlacementSettings, dataset: Option<&str>) -> anyhow::Result<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n').context("it has no header")?;
        let header: Header = serde_json::from_slice(&bytes[..end]).context("its header is damaged")?;
        let rest = &bytes[end + 1..];
        ensure!(
            header.settings == *settings,
            "it is of a training with other settings: {}",
            serde_json::to_string(&header.settings)?
        );
        let named = |dataset: Option<&str>| dataset.unwrap_or("no history").to_owned();
        ensure!(
            header.dataset.as_deref() == dataset,
            "it is of a training on {}, this is one on {}",
            named(header.dataset.as_deref()),
            named(dataset)
        );
        ensure!(header.code == code(), "it is of {}, this is {}", header.code, code());
        ensure!(rest.len() >= header.best_bytes, "it is cut off");
        let (best, learner) = rest.split_at(header.best_bytes);
        ensure!(runtime::files::sha256(best) == header.sha256, "its network is damaged: the SHA-256 differs");
        Ok(Self {
            learner: Learner::load(learner, &settings.learner(), &features::cluster_state::names())?,
            starts: header.starts,
            rounds: header.rounds,
            curve: header.curve,
            looks: header.looks,
            best: PlacementNetwork::from_bytes(best)?,
            seconds: header.seconds,
        })
    }
}

/// The program and its version.
pub(super) fn code() -> String {
    format!("trainer {}", env!("CARGO_PKG_VERSION"))
}
