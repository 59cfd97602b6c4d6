//! Which detector works: a folder, or the registered champion.

use super::super::Context;
use crate::registry;
use anyhow::Context as _;
use clap::Args;
use detection::folder::LoadedDetector;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    /// Folder of the detector [default: the registered champion]
    #[arg(long, env = "BERTH_ANOMALY_MODEL", value_name = "DIR")]
    model: Option<PathBuf>,
}

impl ModelArgs {
    /// Reads the folder, or fetches the champion.
    pub fn load(&self, context: &Context) -> anyhow::Result<LoadedDetector> {
        match &self.model {
            Some(folder) => LoadedDetector::read(folder),
            None => {
                let champion =
                    context.with_tracker(async |tracker| registry::fetch_detector_champion(tracker).await)?;
                let (version, folder) = champion.context(
                    "no detector is registered. Name a folder with --model, or train and register one first",
                )?;
                let origin = format!("{} version {version}", registry::ANOMALY_MODEL);
                LoadedDetector::of(folder.detector, folder.metadata, origin)
            }
        }
    }
}
