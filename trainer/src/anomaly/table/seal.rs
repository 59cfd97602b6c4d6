//! The artifact of a detector of somebody's table: the same folder as the nodes' detector, with the table's plan in it.

use super::{TableSettings, TableTraining, ThresholdChoice};
use detection::plan::TABLE_PLAN;
use models::artifact::{Artifact, ArtifactDraft, DatasetReference};
use std::collections::BTreeMap;

/// Seals a trained detector. `name` and `hash` are the table's.
///
/// # Errors
/// What an encoder refuses.
pub fn seal_table(
    trained: &TableTraining,
    name: &str,
    hash: &str,
    settings: &TableSettings,
    trained_at: &str,
) -> anyhow::Result<Artifact> {
    let mut hyper_parameters: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    let table = serde_json::to_value(settings)?;
    hyper_parameters.extend(table.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    hyper_parameters.insert(TABLE_PLAN.to_owned(), serde_json::to_value(&trained.profile.plan)?);
    let kind = if settings.extension == 0 { "isolation forests" } else { "extended isolation forests" };
    let chosen = match trained.choice {
        ThresholdChoice::ByCost { .. } => "threshold by cost on labelled rows",
        ThresholdChoice::ByShare { .. } => "threshold by a stated share of readings",
    };
    let points = trained.test.as_ref();
    let figures = [
        ("test_rows", (trained.tested.1 > 0).then_some(trained.tested.1 as f64)),
        ("test_flagged_share", trained.test_flagged),
        ("point_precision", points.and_then(|points| points.precision)),
        ("point_recall", points.and_then(|points| points.recall)),
        ("point_false_positive_rate", points.and_then(|points| points.false_positive_rate)),
        ("point_roc_auc", points.and_then(|points| points.roc_auc)),
        ("point_pr_auc", points.and_then(|points| points.pr_auc)),
    ];
    let draft = ArtifactDraft {
        algorithm: format!("ensemble of {} {kind}, {chosen}", trained.detector.members().len()),
        code: format!("trainer {}", env!("CARGO_PKG_VERSION")),
        trained_at: trained_at.to_owned(),
        training_seconds: trained.seconds,
        dataset: DatasetReference { id: name.to_owned(), hash: hash.to_owned() },
        hyper_parameters,
        metrics: figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        ..ArtifactDraft::default()
    };
    Ok(Artifact::of_anomaly_detector(&trained.detector, draft)?)
}
