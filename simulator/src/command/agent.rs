//! `--agent`: a trained network for the policies that need one.

use crate::learning::Scores;
use anyhow::Context;
use clap::Args;
use cluster::score::ValueScale;
use models::artifact::Artifact;
use models::placement::{PlacementNetwork, Scratch};
use std::path::PathBuf;
use std::sync::Arc;

/// Where the learned network is.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// Folder of a placement agent, as `trainer train placement` writes it: for the policies `agent` and `combined`
    #[arg(long, env = "BERTH_AGENT", value_name = "DIR")]
    pub agent: Option<PathBuf>,
}

impl AgentArgs {
    /// Reads and checks the network, if one is named.
    ///
    /// # Errors
    /// When the folder is no artifact, is damaged, holds another model, or one that reads other features.
    pub fn load(&self) -> anyhow::Result<Option<Arc<dyn Scores>>> {
        let Some(folder) = &self.agent else { return Ok(None) };
        let refused = || format!("`{}` is no usable placement agent", folder.display());
        let artifact = Artifact::from_blobs(runtime::files::read_folder(folder)?).with_context(refused)?;
        let network = artifact.placement_agent().with_context(refused)?;
        artifact.expect_features(&features::cluster_state::names()).with_context(refused)?;
        Ok(Some(Arc::new(Network(network))))
    }
}

/// A network as the simulator sees it.
#[derive(Debug)]
pub struct Network(pub PlacementNetwork);

impl Scores for Network {
    fn score(&self, rows: &[f32], scores: &mut Vec<f32>) {
        // One per thread: a policy is asked thousands of times a second.
        thread_local!(static SCRATCH: std::cell::RefCell<Scratch> = std::cell::RefCell::default());
        SCRATCH.with_borrow_mut(|scratch| {
            if let Err(error) = self.0.score(rows, scratch, scores) {
                tracing::error!(%error, "the network cannot score these rows: all candidates are taken for equal");
                scores.clear();
                scores.resize(rows.len() / features::cluster_state::WIDTH, 0.0);
            }
        });
    }

    fn scale(&self) -> ValueScale {
        self.0.scale()
    }
}
