//! The detector as files: one per forest, and one JSON document that says how they belong together.

use super::classifier::CLASSIFIER_FILE;
use super::detector::{MOST_COLUMNS, MOST_MEMBERS, PlacedRule};
use super::finding::Normal;
use super::forest::MOST_PLACES;
use super::{
    AlarmSettings, AnomalyKind, Classifier, Detector, IsolationForest, Member, Middles, Reach, Rule, Scorer, Side,
    Tail, Vote,
};
use crate::ModelError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The document among the files.
pub const DETECTOR_FILE: &str = "detector.json";

/// Raised when an older reader would misread the document. Version 1 had forests alone, members of version 2 looked at both
/// sides, and version 3 had no classifier; all are read as they were.
const VERSION: u32 = 4;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    features: Vec<String>,
    normal: Vec<Normal>,
    members: Vec<StoredMember>,
    rules: Vec<Rule>,
    vote: Vote,
    threshold: f32,
    alarms: AlarmSettings,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMember {
    name: String,
    kind: AnomalyKind,
    /// The file of the forest or of the classifier, which its name tells; absent where the member has a reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reach: Option<Reach>,
    columns: Vec<usize>,
    /// Absent where the member looks at both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    middles: Option<Middles>,
    tail: Tail,
}

impl Detector {
    /// File name to bytes, the same bytes for the same detector.
    ///
    /// # Errors
    /// What an encoder refuses.
    pub fn to_files(&self) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
        let mut files = BTreeMap::new();
        let members = self.members.iter().map(|member| {
            let (file, reach) = match &member.scorer {
                Scorer::Forest(forest) => {
                    let file = format!("forest-{}.bin", member.name);
                    files.insert(file.clone(), forest.to_bytes());
                    (Some(file), None)
                }
                Scorer::Reach(reach) => (None, Some(reach.clone())),
                Scorer::Classifier(classifier) => {
                    files.insert(CLASSIFIER_FILE.to_owned(), classifier.file().to_vec());
                    (Some(CLASSIFIER_FILE.to_owned()), None)
                }
            };
            StoredMember {
                name: member.name.clone(),
                kind: member.kind,
                file,
                reach,
                columns: member.columns.clone(),
                middles: (member.middles.side() != Side::Both).then(|| member.middles.clone()),
                tail: member.tail.clone(),
            }
        });
        let document = Document {
            version: VERSION,
            features: self.features.to_vec(),
            normal: self.normal.clone(),
            members: members.collect(),
            rules: self.rules.iter().map(|rule| rule.rule.clone()).collect(),
            vote: self.vote.clone(),
            threshold: self.threshold,
            alarms: self.alarms,
        };
        let bytes = serde_json::to_vec_pretty(&document)
            .map_err(|reason| ModelError::library("anomaly-detector", "write its members", reason))?;
        files.insert(DETECTOR_FILE.to_owned(), bytes);
        Ok(files)
    }

    /// Reads what [`Detector::to_files`] wrote; other files are ignored.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] with the file and what is wrong with it.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, ModelError> {
        let file =
            |name: &str| files.get(name).map(Vec::as_slice).ok_or_else(|| ModelError::damaged(name, "it is missing"));
        let document: Document = serde_json::from_slice(file(DETECTOR_FILE)?)
            .map_err(|problem| ModelError::damaged(DETECTOR_FILE, problem))?;
        let damaged = |problem: String| Err(ModelError::damaged(DETECTOR_FILE, problem));
        if !(1..=VERSION).contains(&document.version) {
            return damaged(format!("its version is {}, this program reads 1 to {VERSION}", document.version));
        }
        let (features, count) = (document.features, document.members.len());
        if count == 0 || count > MOST_MEMBERS {
            return damaged(format!("it has {count} members, 1 to {MOST_MEMBERS} are possible"));
        }
        if document.normal.len() != features.len() {
            return damaged(format!("{} normal ranges for {} features", document.normal.len(), features.len()));
        }
        if !document.vote.is_sound(count) {
            return damaged(format!("its vote does not have one finite number for each of {count} members"));
        }
        if !document.threshold.is_finite() {
            return damaged("its threshold is not finite".to_owned());
        }
        let mut members = Vec::with_capacity(count);
        let mut places_left = MOST_PLACES;
        for StoredMember { name, kind, file: stored, reach, columns, middles, tail } in document.members {
            if columns.iter().any(|column| *column >= features.len()) || columns.len() > MOST_COLUMNS {
                return damaged(format!("member `{name}` reads columns that the detector does not have"));
            }
            let scorer = match (stored, reach) {
                (Some(stored), None) if stored == CLASSIFIER_FILE => {
                    let names: Vec<String> = columns.iter().map(|column| features[*column].clone()).collect();
                    Scorer::Classifier(Box::new(Classifier::from_file(file(&stored)?, &names)?))
                }
                (Some(stored), None) => {
                    let forest = IsolationForest::from_bytes_within(&stored, file(&stored)?, places_left)?;
                    places_left -= forest.places();
                    Scorer::Forest(forest)
                }
                (None, Some(reach)) if reach.is_sound() => Scorer::Reach(reach),
                _ => return damaged(format!("member `{name}` has neither a forest nor a sound reach, or both")),
            };
            let middles = middles.unwrap_or_default();
            let is_sound = middles.is_sound(columns.len()) && tail.is_sound();
            if columns.len() != scorer.width() || !is_sound {
                return damaged(format!("member `{name}` does not fit its scorer, the features or its calibration"));
            }
            members.push(Member { name, kind, columns, middles, scorer, tail });
        }
        let rules = document.rules.into_iter().map(|rule| PlacedRule::new(rule, &features));
        let rules = rules.collect::<Result<_, _>>().map_err(|problem| ModelError::damaged(DETECTOR_FILE, problem))?;
        Ok(Self {
            features: features.into(),
            members,
            rules,
            vote: document.vote,
            threshold: document.threshold,
            alarms: document.alarms,
            normal: document.normal,
        })
    }
}
