//! Where a model comes from.

use super::{ModelName, ServedModel};
use anyhow::Context;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tracking::{Decision, ModelVersion, Tracker};

/// Tags as `trainer` names them: hash of the files that forecast; that of the judged model, for a fresh fit of its recipe; why a
/// version was taken back.
const MODEL_HASH: &str = "model_hash";
const FRESH_FIT_OF: &str = "fresh_fit_of";
const WITHDRAWN: &str = "withdrawn";

/// The version that should serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Which.
    pub version: String,
    /// Hash of the judged model, where it is a fresh fit of that one's recipe.
    pub fresh_fit_of: Option<String>,
    /// When it was registered, UTC milliseconds; 0 for a folder.
    pub since: i64,
}

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
    pub(super) async fn find(&self, name: ModelName) -> anyhow::Result<Option<Found>> {
        match self {
            Self::Alias { tracker, alias } => {
                let model = name.as_str();
                let version = tracking::optional(tracker.version_by_alias(model, alias).await);
                let version = version.with_context(|| format!("failed to look up `{model}@{alias}`"))?;
                Ok(version.map(|version| Found {
                    fresh_fit_of: version.tags.get(FRESH_FIT_OF).cloned(),
                    since: version.created_at.timestamp_millis(),
                    version: version.version,
                }))
            }
            Self::Folder(folder) => {
                let path = folder.join(models::artifact::METADATA_FILE);
                let version = runtime::files::sha256_file(&path)?[..12].to_owned();
                Ok(Some(Found { version, fresh_fit_of: None, since: 0 }))
            }
        }
    }

    /// The version whose files that forecast have this hash; `None` where the registry has none, or where there is no registry.
    pub(super) async fn by_hash(&self, name: ModelName, hash: &str) -> anyhow::Result<Option<String>> {
        let Self::Alias { tracker, .. } = self else { return Ok(None) };
        let versions = tracker.versions(name.as_str()).await;
        let versions = versions.with_context(|| format!("failed to list versions of `{}`", name.as_str()))?;
        let is_it = |version: &ModelVersion| version.tags.get(MODEL_HASH).map(String::as_str) == Some(hash);
        Ok(versions.into_iter().find(is_it).map(|version| version.version))
    }

    /// Moves the alias from a version to another, if it still names the first; what was moved is tagged with the reason. The same
    /// again changes nothing.
    pub(super) async fn give_back(
        &self,
        name: ModelName,
        (from, to): (&str, &str),
        decision: &Decision,
    ) -> anyhow::Result<bool> {
        let Self::Alias { tracker, alias } = self else { return Ok(false) };
        let model = name.as_str();
        let now = self.find(name).await?.map(|found| found.version);
        if now.as_deref() != Some(from) {
            return Ok(false);
        }
        // First the alias that serves: a kill after this leaves the right version at work.
        let moved = tracker.set_alias(model, alias, to, decision).await;
        moved.with_context(|| format!("failed to move `{model}@{alias}` back to version {to}"))?;
        let tagged = tracker.set_version_tag(model, from, WITHDRAWN, &decision.why).await;
        tagged.with_context(|| format!("failed to tag version {from} of `{model}`"))?;
        Ok(true)
    }

    /// Reads a version and checks all of it.
    pub(super) async fn fetch(&self, name: ModelName, version: &str) -> anyhow::Result<ServedModel> {
        let model = name.as_str();
        let blobs = match self {
            Self::Alias { tracker, .. } => {
                let folder = tempfile::tempdir().context("failed to make a temporary folder for a model")?;
                let fetched = tracker.fetch_version(model, version, folder.path()).await;
                fetched.with_context(|| format!("failed to fetch version {version} of `{model}`"))?;
                runtime::files::read_folder(folder.path())?
            }
            Self::Folder(folder) => runtime::files::read_folder(folder)?,
        };
        ServedModel::read(name, version, blobs).with_context(|| format!("version {version} of `{model}` is not usable"))
    }
}
