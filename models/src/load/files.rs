//! The load predictor as files: one XGBoost UBJ per booster, and one JSON document that says how they belong together.

use super::head::Part;
use super::{Baseline, Conformal, HeadKey, LoadHead, LoadPredictor, Quantile, StartOffsets};
use crate::learners::BoostedTrees;
use crate::{ModelError, Regressor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The document among the files.
pub const HEADS_FILE: &str = "heads.json";

/// Where the shifts of the served P90 begin, where they do not begin at 0.
pub const OFFSETS_FILE: &str = "offsets.json";

/// Raised when an older reader would misread the document.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    features: Vec<String>,
    heads: Vec<Head>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    key: HeadKey,
    baseline: Baseline,
    conformal: Conformal,
    p50: Option<Booster>,
    p90: Option<Booster>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Booster {
    file: String,
    blend: f32,
    features: Vec<String>,
}

impl LoadPredictor {
    /// File name to bytes, the same bytes for the same predictor.
    ///
    /// # Errors
    /// What an encoder refuses.
    pub fn to_files(&self) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
        let mut files = BTreeMap::new();
        let mut heads = Vec::with_capacity(self.heads().len());
        for head in self.heads() {
            let mut booster = |quantile: Quantile| -> Result<Option<Booster>, ModelError> {
                let Some((model, blend)) = head.booster(quantile) else { return Ok(None) };
                let file = format!("{}-{}.ubj", head.key().slug(), quantile.as_str());
                files.insert(file.clone(), model.to_bytes()?);
                Ok(Some(Booster { file, blend, features: model.features().to_vec() }))
            };
            let (p50, p90) = (booster(Quantile::P50)?, booster(Quantile::P90)?);
            heads.push(Head {
                key: head.key(),
                baseline: head.baseline().clone(),
                conformal: head.conformal().clone(),
                p50,
                p90,
            });
        }
        let document = Document { version: VERSION, features: self.features().to_vec(), heads };
        let bytes = serde_json::to_vec_pretty(&document)
            .map_err(|reason| ModelError::library("load-predictor", "write its heads", reason))?;
        files.insert(HEADS_FILE.to_owned(), bytes);
        if !self.start_offsets().is_empty() {
            let bytes = serde_json::to_vec(self.start_offsets())
                .map_err(|reason| ModelError::library("load-predictor", "write its offsets", reason))?;
            files.insert(OFFSETS_FILE.to_owned(), bytes);
        }
        Ok(files)
    }

    /// Reads what [`LoadPredictor::to_files`] wrote; other files are ignored.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] with the file and what is wrong with it.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, ModelError> {
        let document: Document = serde_json::from_slice(file(files, HEADS_FILE)?)
            .map_err(|problem| ModelError::damaged(HEADS_FILE, problem))?;
        if document.version != VERSION {
            return Err(ModelError::damaged(
                HEADS_FILE,
                format!("its version is {}, this program reads {VERSION}", document.version),
            ));
        }
        let features: Arc<[String]> = document.features.into();
        let load = |booster: Option<Booster>| -> Result<Option<Part>, ModelError> {
            let Some(booster) = booster else { return Ok(None) };
            let model = BoostedTrees::from_bytes(&booster.file, file(files, &booster.file)?, &booster.features)?;
            Ok(Some(Part { model: Arc::new(model) as Arc<dyn Regressor>, blend: booster.blend }))
        };
        let heads = document.heads.into_iter().map(|head| {
            LoadHead::new(
                head.key,
                Arc::clone(&features),
                head.baseline,
                load(head.p50)?,
                load(head.p90)?,
                head.conformal,
            )
        });
        let heads = heads.collect::<Result<Vec<_>, _>>()?;
        let start: StartOffsets = match files.get(OFFSETS_FILE) {
            Some(bytes) => {
                serde_json::from_slice(bytes).map_err(|problem| ModelError::damaged(OFFSETS_FILE, problem))?
            }
            None => StartOffsets::default(),
        };
        if !start.is_sane() {
            return Err(ModelError::damaged(OFFSETS_FILE, "a shift is not a number from -1 to 1"));
        }
        let predictor = Self::new(heads).map_err(|problem| ModelError::damaged(HEADS_FILE, problem))?;
        Ok(predictor.starting_at(start))
    }
}

fn file<'a>(files: &'a BTreeMap<String, Vec<u8>>, name: &str) -> Result<&'a [u8], ModelError> {
    files.get(name).map(Vec::as_slice).ok_or_else(|| ModelError::damaged(name, "it is missing"))
}
