//! Where a model comes from.

use super::{ModelName, ServedModel};
use anyhow::Context;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tracking::Tracker;
use tracking::promotion::tags;

/// Where a model comes from.
#[derive(Clone)]
pub enum Origin {
    /// The version that an alias of the registry points at.
    Alias {
        /// The registry.
        tracker: Arc<dyn Tracker>,
        /// Such as `champion`.
        alias: String,
    },
    /// A folder, as `trainer` writes it. Its version is the hash of what it holds.
    Folder(PathBuf),
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias { tracker, alias } => write!(f, "@{alias} of {}", tracker.describe()),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
        }
    }
}

impl Origin {
    /// The version that should serve; `None` where the registry has none under this alias.
    pub(super) async fn version(&self, name: ModelName) -> anyhow::Result<Option<String>> {
        match self {
            Self::Alias { tracker, alias } => {
                let model = name.as_str();
                let version = tracking::optional(tracker.version_by_alias(model, alias).await);
                let version = version.with_context(|| format!("failed to look up `{model}@{alias}`"))?;
                Ok(version.map(|version| version.version))
            }
            Self::Folder(folder) => {
                let path = folder.join(models::artifact::METADATA_FILE);
                Ok(Some(runtime::files::sha256_file(&path)?[..12].to_owned()))
            }
        }
    }

    /// Reads a version and checks all of it.
    pub(super) async fn fetch(&self, name: ModelName, version: &str) -> anyhow::Result<ServedModel> {
        let model = name.as_str();
        let (blobs, semver) = match self {
            Self::Alias { tracker, .. } => {
                let looked_up = tracker.version(model, version).await;
                let registered =
                    looked_up.with_context(|| format!("failed to look up version {version} of `{model}`"))?.tags;
                let folder = tempfile::tempdir().context("failed to make a temporary folder for a model")?;
                let fetched = tracker.fetch_version(model, version, folder.path()).await;
                fetched.with_context(|| format!("failed to fetch version {version} of `{model}`"))?;
                (runtime::files::read_folder(folder.path())?, registered.get(tags::SEMVER).cloned())
            }
            Self::Folder(folder) => (runtime::files::read_folder(folder)?, None),
        };
        let served = ServedModel::read(name, version, blobs);
        let served = served.with_context(|| format!("version {version} of `{model}` is not usable"))?;
        Ok(ServedModel { semver: semver.or(served.semver), ..served })
    }
}
