//! One version of one model, ready to answer.

use super::ModelName;
use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use detection::plan::InputPlan;
use features::{GridRows, Selection, cluster_state};
use models::FeatureMatrix;
use models::anomaly::{Detector, Reading};
use models::artifact::{Artifact, ArtifactMetadata};
use models::load::{LoadForecast, LoadPredictor, OffsetRule, OffsetTracker};
use models::placement::PlacementNetwork;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What computes.
#[derive(Debug, Clone)]
pub enum Algorithm {
    /// Forecasts of rows.
    Load {
        /// The predictor.
        predictor: LoadPredictor,
        /// Its columns in the feature catalogue.
        selection: Selection,
    },
    /// Values of candidates.
    Placement(PlacementNetwork),
    /// Oddness of rows.
    Anomaly {
        /// The detector.
        detector: Box<Detector>,
        /// Its columns in the feature catalogue; absent where it was trained on somebody's table.
        selection: Option<Selection>,
    },
}

/// One version of one model.
#[derive(Debug, Clone)]
pub struct ServedModel {
    /// Which model.
    pub name: ModelName,
    /// Its version in the registry; the beginning of a hash for one from a folder.
    pub version: String,
    /// Its semantic version: the registry gives it, so the model's own files have none; `None` for one from a folder.
    pub semver: Option<String>,
    /// What it is.
    pub metadata: ArtifactMetadata,
    /// What computes.
    pub algorithm: Algorithm,
    /// Since when it is in memory.
    pub loaded_at: DateTime<Utc>,
}

impl ServedModel {
    /// Reads a folder's content: every file against its hash, the features against those that this program builds.
    ///
    /// # Errors
    /// When it is damaged, another model, or reads features that are unknown here.
    pub fn read(name: ModelName, version: &str, blobs: BTreeMap<String, Vec<u8>>) -> anyhow::Result<Self> {
        let artifact = Artifact::from_blobs(blobs)?;
        let algorithm = match name {
            ModelName::LoadPredictor => {
                let predictor = artifact.load_predictor()?;
                let selection =
                    Selection::new(predictor.features()).context("it reads a feature that is not built here")?;
                Algorithm::Load { predictor, selection }
            }
            ModelName::PlacementAgent => {
                let network = artifact.placement_agent()?;
                let built = cluster_state::names();
                ensure!(
                    network.features() == built,
                    "it reads {} features of `cluster_state`, of which not all are the {} that are built here",
                    network.features().len(),
                    built.len()
                );
                Algorithm::Placement(network)
            }
            ModelName::AnomalyDetector => {
                let detector = artifact.anomaly_detector()?;
                let selection = match InputPlan::of(artifact.metadata(), &detector)? {
                    InputPlan::Features(selection) => Some(selection),
                    InputPlan::Table(_) => None,
                };
                Algorithm::Anomaly { detector: Box::new(detector), selection }
            }
            ModelName::Combined => bail!("`combined` is made of the others and has no file"),
        };
        Ok(Self {
            name,
            version: version.to_owned(),
            semver: Some(artifact.metadata().version.clone()).filter(|version| !version.is_empty()),
            metadata: artifact.metadata().clone(),
            algorithm,
            loaded_at: Utc::now(),
        })
    }

    /// The columns of a row, in order.
    pub fn features(&self) -> &[String] {
        match &self.algorithm {
            Algorithm::Load { predictor, .. } => predictor.features(),
            Algorithm::Placement(network) => network.features(),
            Algorithm::Anomaly { detector, .. } => detector.features(),
        }
    }

    /// All forecasts for a node, from its row of the catalogue; `None` for another model than the load predictor.
    ///
    /// # Errors
    /// A value that no model reads.
    pub fn forecasts(&self, row: &[f32]) -> anyhow::Result<Option<Vec<LoadForecast>>> {
        let Algorithm::Load { predictor, selection } = &self.algorithm else { return Ok(None) };
        let own = picked(selection, row);
        Ok(Some(predictor.forecasts(&own).collect::<Result<_, _>>()?))
    }

    /// All forecasts for each row of the catalogue; `None` for another model than the load predictor.
    ///
    /// # Errors
    /// A value that no model reads.
    pub fn all_forecasts(&self, rows: &GridRows) -> anyhow::Result<Option<Vec<Vec<LoadForecast>>>> {
        let Algorithm::Load { predictor, selection } = &self.algorithm else { return Ok(None) };
        let heads = predictor.predict(&matrix(predictor.features(), selection, rows)?)?;
        Ok(Some((0..rows.nodes.len()).map(|row| heads.iter().map(|head| head.row(row)).collect()).collect()))
    }

    /// What makes its P90 the one that is served, with no outcome known yet; `None` for another model than the load predictor.
    ///
    /// # Errors
    /// A level that is not a share.
    pub fn offset_tracker(&self) -> anyhow::Result<Option<OffsetTracker>> {
        let Algorithm::Load { predictor, .. } = &self.algorithm else { return Ok(None) };
        let rules = OffsetRule::all(predictor, &self.metadata.heads);
        Ok(Some(OffsetTracker::new(rules, predictor.start_offsets().clone())?))
    }

    /// The detector, its own columns of each row of the catalogue, and what it reads there; `None` for another model, or for a
    /// detector of somebody's table.
    ///
    /// # Errors
    /// A value that no model reads.
    pub fn all_readings(&self, rows: &GridRows) -> anyhow::Result<Option<AllReadings<'_>>> {
        let Algorithm::Anomaly { detector, selection: Some(selection) } = &self.algorithm else { return Ok(None) };
        let x = matrix(detector.features(), selection, rows)?;
        let surprises = detector.surprises(&x)?;
        let of_row = surprises.chunks_exact(detector.members().len()).enumerate();
        let readings = of_row.map(|(row, surprises)| detector.reading(x.row(row), surprises)).collect();
        Ok(Some(AllReadings { detector, x, readings }))
    }

    /// The detector and its own columns of a node's row of the catalogue; `None` for another model, or for a detector of
    /// somebody's table.
    pub fn detector(&self, row: &[f32]) -> Option<(&Detector, Vec<f32>)> {
        let Algorithm::Anomaly { detector, selection: Some(selection) } = &self.algorithm else { return None };
        Some((detector, picked(selection, row)))
    }

    /// The beginning of the hash of its feature schema and files: names the content in logs.
    pub fn short_hash(&self) -> String {
        let mut text = self.metadata.feature_schema_hash.clone();
        for digest in self.metadata.files.values() {
            text.push_str(&digest.sha256);
        }
        runtime::files::sha256(text.as_bytes())[..12].to_owned()
    }
}

/// What a detector reads of all nodes.
#[derive(Debug)]
pub struct AllReadings<'a> {
    /// Who reads.
    pub detector: &'a Detector,
    /// Its own columns.
    pub x: FeatureMatrix,
    /// By row.
    pub readings: Vec<Reading>,
}

/// A model's columns of all rows of the catalogue.
fn matrix(names: &Arc<[String]>, selection: &Selection, rows: &GridRows) -> anyhow::Result<FeatureMatrix> {
    let count = rows.nodes.len();
    let mut values = vec![f32::NAN; count * selection.len()];
    for (place, own) in values.chunks_exact_mut(selection.len()).enumerate() {
        selection.pick(rows.row(place), own);
    }
    Ok(FeatureMatrix::new(Arc::clone(names), count, values)?)
}

/// A model's columns of a row of the catalogue.
fn picked(selection: &Selection, row: &[f32]) -> Vec<f32> {
    let mut own = vec![f32::NAN; selection.len()];
    selection.pick(row, &mut own);
    own
}
