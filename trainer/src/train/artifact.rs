//! The artifact folder: model files, metadata, card, report. Whole or absent.

use super::TrainedLoad;
use crate::recipe::Recipe;
use crate::train::LoadSettings;
use anyhow::Context;
use models::artifact::{Artifact, ArtifactDraft, ArtifactMetadata, DatasetReference, METADATA_FILE};
use models::load::{HEADS_FILE, LoadPredictor, OFFSETS_FILE};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use store::DatasetVersion;

/// Tells which tracking run made the model; beside the artifact, not part of it.
pub const RUN_FILE: &str = "run.json";

/// The content of [`RUN_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReference {
    /// The run's id.
    pub run_id: String,
    /// The store that has it, as it describes itself.
    pub store: String,
}

/// Where the fresh fit lies in a model's folder, as an artifact of its own.
pub const FRESH_FOLDER: &str = "fresh";

/// A model folder that was read and checked.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// What it is.
    pub metadata: ArtifactMetadata,
    /// The model.
    pub predictor: LoadPredictor,
    /// The first moment that it has learned nothing from, in UTC milliseconds.
    pub trained_until: i64,
    /// Names what it forecasts: see [`model_hash`].
    pub hash: String,
    /// The same recipe fitted up to the end of the history, if there is one.
    pub fresh: Option<Box<ModelFolder>>,
}

/// The setting under which the metadata keeps the first moment that nothing was learned from.
const TRAINED_UNTIL: &str = "trained_until_ms";

/// A trained predictor as it goes to disk.
#[derive(Debug)]
pub struct Sealed {
    /// What is judged.
    pub judged: Artifact,
    /// What is to serve once that has passed.
    pub fresh: Option<Artifact>,
}

impl Sealed {
    /// The files of the fresh fit, by their place in the model's folder.
    ///
    /// # Errors
    /// Metadata that JSON cannot hold.
    pub fn fresh_files(&self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let Some(fresh) = &self.fresh else { return Ok(Vec::new()) };
        let blobs = fresh.clone().into_blobs()?;
        Ok(blobs.into_iter().map(|(name, bytes)| (format!("{FRESH_FOLDER}/{name}"), bytes)).collect())
    }
}

/// Seals a trained predictor and its fresh fit.
///
/// # Errors
/// What an encoder refuses.
pub fn seal(
    trained: &TrainedLoad,
    dataset: &DatasetVersion,
    settings: &LoadSettings,
    recipe: &Recipe,
    trained_at: &str,
) -> anyhow::Result<Sealed> {
    let mut hyper_parameters: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    for value in [serde_json::to_value(settings)?, serde_json::to_value(recipe)?] {
        hyper_parameters
            .extend(value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    }
    for head in &trained.heads {
        hyper_parameters.insert(format!("columns_{}", head.key.slug()), serde_json::to_value(head.fit.columns)?);
    }
    let metrics: BTreeMap<String, f64> = trained
        .heads
        .iter()
        .flat_map(|head| {
            head.scores
                .iter()
                .flat_map(|scores| scores.figures())
                .map(|(name, value)| (format!("{}.{name}", head.key.slug()), value))
        })
        .collect();
    let draft = |trained_until: i64, fresh_fit_of: Option<String>| {
        let mut hyper_parameters = hyper_parameters.clone();
        hyper_parameters.insert(TRAINED_UNTIL.to_owned(), trained_until.into());
        ArtifactDraft {
            algorithm: "gradient-boosted trees (XGBoost)".into(),
            code: format!("trainer {}", env!("CARGO_PKG_VERSION")),
            trained_at: trained_at.to_owned(),
            training_seconds: trained.seconds,
            dataset: DatasetReference { id: dataset.id.clone(), hash: dataset.hash.clone() },
            hyper_parameters,
            metrics: metrics.clone(),
            heads: trained.heads.iter().map(|head| head.fit.fitted.evidence.clone()).collect(),
            fresh_fit_of,
            ..ArtifactDraft::default()
        }
    };
    let judged = Artifact::of_load_predictor(&trained.predictor, draft(trained.test_from(), None))?;
    let hash = model_hash(judged.metadata());
    let fresh = trained.fresh.as_ref();
    let fresh = fresh.map(|fresh| Artifact::of_load_predictor(fresh, draft(trained.span.until, Some(hash))));
    Ok(Sealed { judged, fresh: fresh.transpose()? })
}

/// Writes an artifact and further files (a report) as a folder. It is built beside the old one and renamed, so a killed
/// run leaves the old folder or the new one.
///
/// # Errors
/// When the disk is full or not writable.
pub fn write_model(folder: &Path, artifact: Artifact, extra: &[(&str, &[u8])]) -> anyhow::Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("failed to create `{}`", parent.display()))?;
    let building = tempfile::Builder::new()
        .prefix(".model-")
        .suffix(".tmp")
        .tempdir_in(parent)
        .with_context(|| format!("failed to build a model in `{}`", parent.display()))?;
    for (name, bytes) in artifact
        .into_blobs()?
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .chain(extra.iter().copied())
    {
        runtime::files::write_atomic(&building.path().join(name), |writer| std::io::Write::write_all(writer, bytes))?;
    }
    let place = || format!("failed to put the model in place at `{}`", folder.display());
    open_to_all(building.path()).with_context(place)?;
    if folder.exists() {
        let old = tempfile::Builder::new().prefix(".old-").suffix(".tmp").tempdir_in(parent).with_context(place)?;
        std::fs::rename(folder, old.path().join("model")).with_context(place)?;
    }
    std::fs::rename(building.keep(), folder).with_context(place)
}

/// Temporary folders are private to their owner; a finished one follows the usual `rwxr-xr-x`.
fn open_to_all(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

/// Reads a model folder and checks it: every file against its hash, the features against their schema, a fresh fit against
/// the model that it belongs to.
///
/// # Errors
/// When the folder is no artifact, is damaged, or holds another model.
pub fn read_model(folder: &Path) -> anyhow::Result<ModelFolder> {
    let (mut own, mut fresh) = (BTreeMap::new(), BTreeMap::new());
    for (name, bytes) in runtime::files::read_folder(folder)? {
        match name.strip_prefix(FRESH_FOLDER).and_then(|rest| rest.strip_prefix('/')) {
            Some(name) => fresh.insert(name.to_owned(), bytes),
            None => own.insert(name, bytes),
        };
    }
    let mut model = read_blobs(folder, own)?;
    if !fresh.is_empty() {
        let place = folder.join(FRESH_FOLDER);
        let fresh = read_blobs(&place, fresh)?;
        anyhow::ensure!(
            fresh.metadata.fresh_fit_of.as_ref() == Some(&model.hash),
            "`{}` is not a fresh fit of the model in `{}`. Train it again",
            place.display(),
            folder.display()
        );
        model.fresh = Some(Box::new(fresh));
    }
    Ok(model)
}

fn read_blobs(folder: &Path, blobs: BTreeMap<String, Vec<u8>>) -> anyhow::Result<ModelFolder> {
    let artifact = Artifact::from_blobs(blobs).with_context(|| format!("`{}` is no usable model", folder.display()))?;
    let predictor =
        artifact.load_predictor().with_context(|| format!("`{}` is no usable load predictor", folder.display()))?;
    let metadata = artifact.metadata().clone();
    let trained_until = metadata.hyper_parameters.get(TRAINED_UNTIL).and_then(serde_json::Value::as_i64).with_context(|| {
        format!("`{}` does not say until when the model has learned (`{TRAINED_UNTIL}`). Train it again with this version", folder.join(METADATA_FILE).display())
    })?;
    let hash = model_hash(&metadata);
    Ok(ModelFolder { metadata, predictor, trained_until, hash, fresh: None })
}

/// SHA-256 over the files that forecast (boosters, how they belong together, where the P90's shifts begin): two models with the same hash answer
/// the same, whenever they were trained.
pub fn model_hash(metadata: &ArtifactMetadata) -> String {
    let lines: String = metadata
        .files
        .iter()
        .filter(|(name, _)| name.ends_with(".ubj") || [HEADS_FILE, OFFSETS_FILE].contains(&name.as_str()))
        .map(|(name, digest)| format!("{} {name}\n", digest.sha256))
        .collect();
    runtime::files::sha256(lines.as_bytes())
}
