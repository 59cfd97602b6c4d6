//! Where a model comes from.

use super::{ModelName, ServedModel};
use anyhow::{Context, ensure};
use models::artifact::{METADATA_FILE, METADATA_SHA256_TAG};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tracking::promotion::{self, tags};
use tracking::{Decision, ModelVersion, Tracker};

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
                    fresh_fit_of: version.tags.get(tags::FRESH_FIT_OF).cloned(),
                    since: version.created_at.timestamp_millis(),
                    version: version.version,
                }))
            }
            Self::Folder(folder) => {
                let path = folder.join(METADATA_FILE);
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
        let is_it = |version: &ModelVersion| version.tags.get(tags::MODEL_HASH).map(String::as_str) == Some(hash);
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
        let moved = promotion::replace(&**tracker, model, alias, (from, to), decision).await;
        moved.with_context(|| format!("failed to move `{model}@{alias}` back to version {to}"))
    }

    /// Reads a version and checks all of it.
    pub(super) async fn fetch(&self, name: ModelName, version: &str) -> anyhow::Result<ServedModel> {
        let model = name.as_str();
        let (blobs, semver) = match self {
            Self::Alias { tracker, .. } => {
                let registered = tracker.version(model, version).await;
                let registered =
                    registered.with_context(|| format!("failed to look up version {version} of `{model}`"))?;
                let folder = tempfile::tempdir().context("failed to make a temporary folder for a model")?;
                let fetched = tracker.fetch_version(model, version, folder.path()).await;
                fetched.with_context(|| format!("failed to fetch version {version} of `{model}`"))?;
                let blobs = runtime::files::read_folder(folder.path())?;
                check_seal(&registered, &blobs)
                    .with_context(|| format!("version {version} of `{model}` is not what was registered"))?;
                (blobs, registered.tags.get(tags::SEMVER).cloned())
            }
            Self::Folder(folder) => (runtime::files::read_folder(folder)?, None),
        };
        let served = ServedModel::read(name, version, blobs);
        let served = served.with_context(|| format!("version {version} of `{model}` is not usable"))?;
        Ok(ServedModel { semver: semver.or(served.semver), ..served })
    }
}

/// Holds the hashes that lie beside a version's files against the one that the registry was told when the version passed its gate.
fn check_seal(registered: &ModelVersion, blobs: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    // Whoever reads the files says that it is absent.
    let Some(metadata) = blobs.get(METADATA_FILE) else { return Ok(()) };
    let got = runtime::files::sha256(metadata);
    match registered.tags.get(METADATA_SHA256_TAG) {
        Some(wanted) => ensure!(
            *wanted == got,
            "`{METADATA_FILE}` has the SHA-256 {got}, the registry says {wanted}: its files were changed since it was registered"
        ),
        // Versions of Berth 0.1 have none; the next release refuses them.
        None => tracing::warn!(
            model = registered.model,
            version = registered.version,
            "registered by an earlier version of Berth, without the SHA-256 of its metadata: accepted this once, train and register anew"
        ),
    }
    Ok(())
}
