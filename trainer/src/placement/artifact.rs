//! The artifact `placement-agent`.

use super::state::code;
use super::{Clusters, Trained, clusters};
use anyhow::Context;
use models::artifact::{Artifact, ArtifactDraft, ArtifactMetadata, DatasetReference};
use models::placement::{NETWORK_FILE, PlacementNetwork};
use simulator::outcome::CostWeights;
use std::collections::BTreeMap;
use std::path::Path;

/// A placement agent's folder that was read and checked.
#[derive(Debug, Clone)]
pub struct PlacementFolder {
    /// What it is.
    pub metadata: ArtifactMetadata,
    /// The network.
    pub network: PlacementNetwork,
    /// Names what it answers: SHA-256 of the network's file.
    pub hash: String,
}

/// Seals a trained network.
///
/// # Errors
/// What an encoder refuses.
pub fn seal_placement(
    trained: &Trained,
    clusters: Clusters<'_>,
    weights: &CostWeights,
    trained_at: &str,
) -> anyhow::Result<Artifact> {
    let mut hyper_parameters: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    let settings = clusters.settings;
    let kinds: Vec<String> = clusters::LEARNED.iter().map(|shape| format!("{shape:?}").to_lowercase()).collect();
    for value in [serde_json::to_value(settings)?, serde_json::json!({ "cost_weights": weights, "clusters": kinds })] {
        hyper_parameters
            .extend(value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    }
    // Made-up clusters come from these settings alone, so their hash names what was learned from.
    let made_from = serde_json::to_vec(&hyper_parameters)?;
    hyper_parameters.extend(trained.began_as().map(|start| ("began_as".to_owned(), start.rule.clone().into())));
    let scale = trained.network.scale();
    let mut metrics = BTreeMap::from([
        ("updates".to_owned(), trained.updates as f64),
        ("value_full_difference".to_owned(), scale.full_difference),
        ("value_noise".to_owned(), scale.noise),
    ]);
    if let Some(point) = trained.curve.last() {
        metrics.insert("last_reward".to_owned(), point.reward);
        metrics.insert("last_loss".to_owned(), point.loss);
    }
    if let Some(kept) = trained.kept() {
        metrics.insert("against_kube_looked_at".to_owned(), kept.against_kube);
        metrics.insert("kept_after_episodes".to_owned(), kept.episode as f64);
    }
    for start in &trained.starts {
        metrics.insert(format!("against_kube_start.{}", start.rule), start.against_kube);
    }
    let made_up =
        || DatasetReference { id: format!("simulated-{}", kinds.join("-")), hash: runtime::files::sha256(&made_from) };
    let draft = ArtifactDraft {
        algorithm: "linear rule (the cheapest of several, searched on by the cross-entropy method), corrected by a deep Q-network \
                    (double DQN, n-step returns); one network that scores every candidate"
            .into(),
        code: code(),
        trained_at: trained_at.to_owned(),
        training_seconds: trained.seconds,
        dataset: clusters.history.map_or_else(made_up, |history| history.dataset.clone()),
        hyper_parameters,
        metrics,
        top_features: trained.network.importance(&trained.sample)?.into_iter().take(20).collect(),
        ..ArtifactDraft::default()
    };
    Ok(Artifact::of_placement_agent(&trained.network, draft)?)
}

/// Reads the folder and checks it: every file against its hash, the network against the features of this program.
///
/// # Errors
/// When the folder is no artifact, is damaged, holds another model, or reads other features.
pub fn read_placement(folder: &Path) -> anyhow::Result<PlacementFolder> {
    let refused = || format!("`{}` is no usable placement agent", folder.display());
    let artifact = Artifact::from_blobs(runtime::files::read_folder(folder)?).with_context(refused)?;
    let network = artifact.placement_agent().with_context(refused)?;
    artifact.expect_features(&features::cluster_state::names()).with_context(refused)?;
    let metadata = artifact.metadata().clone();
    let hash = metadata.files.get(NETWORK_FILE).map(|digest| digest.sha256.clone()).unwrap_or_default();
    Ok(PlacementFolder { metadata, network, hash })
}

#[cfg(test)]
mod tests {
    use super::super::PlacementSettings;
    use super::*;
    use crate::train::write_model;

    fn trained() -> Trained {
        let settings = PlacementSettings {
            episodes: 2,
            search_rounds: 1,
            nodes: 6,
            days: 0.25,
            updates: 5,
            hours: 1,
            hidden: vec![8],
            ..PlacementSettings::default()
        };
        let clusters = Clusters { settings: &settings, history: None };
        super::super::train(clusters, &CostWeights::default(), None, |_| ()).expect("trained")
    }

    #[test]
    fn a_folder_comes_back_and_a_damaged_or_foreign_one_is_refused() {
        let trained = trained();
        let settings = PlacementSettings::default();
        let sealed = || {
            let clusters = Clusters { settings: &settings, history: None };
            seal_placement(&trained, clusters, &CostWeights::default(), "2026-11-21T00:00:00Z").expect("an artifact")
        };
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("placement-agent");
        write_model(&folder, sealed(), &[("report.html", b"page")]).expect("written");
        let read = read_placement(&folder).expect("read");
        assert_eq!(read.network, trained.network);
        assert!(read.metadata.metrics["updates"].is_some() && !read.metadata.top_features.is_empty());
        for name in ["MODEL_CARD.md", "MLmodel", "code/berth_placement_agent.py"] {
            assert!(folder.join(name).exists(), "{name}");
        }
        let refused = || format!("{:#}", read_placement(&folder).expect_err("refused"));
        let file = folder.join(NETWORK_FILE);
        let mut bytes = std::fs::read(&file).expect("bytes");
        *bytes.last_mut().expect("a byte") ^= 1;
        std::fs::write(&file, &bytes).expect("written");
        assert!(refused().contains("damaged"), "{}", refused());
        assert!(format!("{:#}", crate::train::read_model(&folder).expect_err("refused")).contains("damaged"));
        write_model(&folder, sealed(), &[]).expect("written");
        let wrong_kind = format!("{:#}", crate::train::read_model(&folder).expect_err("another model"));
        assert!(wrong_kind.contains("placement-agent"), "{wrong_kind}");
        std::fs::remove_file(folder.join("metadata.json")).expect("removed");
        assert!(refused().contains("metadata.json"));
    }
}
