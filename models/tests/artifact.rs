//! Packing a load predictor and refusing what is not whole.

mod common;

use models::artifact::{Artifact, ArtifactDraft, DatasetReference, METADATA_FILE, schema_hash};
use std::collections::BTreeMap;
use std::sync::OnceLock;

type Blobs = BTreeMap<String, Vec<u8>>;

fn blobs() -> Blobs {
    static BLOBS: OnceLock<Blobs> = OnceLock::new();
    BLOBS
        .get_or_init(|| {
            let draft = ArtifactDraft {
                algorithm: "gradient-boosted trees (XGBoost)".to_owned(),
                code: "trainer 0.1.0".to_owned(),
                trained_at: "2026-11-21T03:00:00Z".to_owned(),
                training_seconds: 12.5,
                dataset: DatasetReference { id: "node_history-abc".to_owned(), hash: "abc".to_owned() },
                metrics: [("cpu-1h/mae".to_owned(), 0.031), ("cpu-1h/undefined".to_owned(), f64::NAN)].into(),
                ..ArtifactDraft::default()
            };
            let artifact = Artifact::of_load_predictor(&common::predictor(), draft).expect("it packs");
            artifact.into_blobs().expect("it packs")
        })
        .clone()
}

fn refusal(blobs: Blobs) -> String {
    let error = Artifact::from_blobs(blobs).expect_err("it must be refused");
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

fn edited(file: &str, edit: impl FnOnce(String) -> String) -> Blobs {
    let mut blobs = blobs();
    let text = String::from_utf8(blobs[file].clone()).expect("a text");
    blobs.insert(file.to_owned(), edit(text).into_bytes());
    blobs
}

#[test]
fn what_was_packed_comes_back() {
    let names: Vec<String> = blobs().into_keys().collect();
    assert_eq!(
        names,
        [
            "MLmodel",
            "MODEL_CARD.md",
            "code/berth_load_predictor.py",
            "cpu-1h-p50.ubj",
            "cpu-1h-p90.ubj",
            "heads.json",
            "memory-4h-p50.ubj",
            "memory-4h-p90.ubj",
            "metadata.json",
            "requirements.txt"
        ]
    );
    let artifact = Artifact::from_blobs(blobs()).expect("it is whole");
    let (x, _) = common::rows(50, 0.1, 20);
    let loaded = artifact.load_predictor().expect("it is one");
    assert_eq!(loaded.predict(&x).expect("known"), common::predictor().predict(&x).expect("known"));
    let metadata = artifact.metadata();
    assert_eq!(metadata.name, "load-predictor");
    assert_eq!(metadata.features, common::FEATURES);
    assert_eq!(metadata.metrics["cpu-1h/undefined"], None);
    assert!(!metadata.top_features.is_empty());
    assert_eq!(artifact.into_blobs().expect("it packs"), blobs());
}

#[test]
fn the_schema_hash_is_sha256_of_the_lines() {
    // printf 'a\nb\n' | sha256sum
    let names = ["a".to_owned(), "b".to_owned()];
    assert_eq!(schema_hash(&names), "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2");
}

#[test]
fn damaged_artifacts_are_refused_with_the_reason() {
    let mut none = blobs();
    none.remove(METADATA_FILE);
    assert!(
        refusal(none)
            .starts_with("the artifact has no `metadata.json`, so nothing proves what it is. It has: MLmodel, ")
    );

    let mut missing = blobs();
    missing.remove("heads.json");
    assert_eq!(refusal(missing), "the artifact lacks `heads.json`, which its metadata lists");

    let mut flipped = blobs();
    if let Some(byte) = flipped.get_mut("cpu-1h-p50.ubj").and_then(|bytes| bytes.last_mut()) {
        *byte ^= 1;
    }
    assert!(refusal(flipped).starts_with("`cpu-1h-p50.ubj` of the artifact is damaged: it has "));

    let mut cut = blobs();
    cut.insert("heads.json".to_owned(), Vec::new());
    assert!(
        refusal(cut)
            .contains("it has 0 bytes with SHA-256 `e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855`")
    );

    let version = refusal(edited(METADATA_FILE, |text| text.replace("\"format_version\": 1", "\"format_version\": 9")));
    assert!(version.starts_with("the artifact has format version 9, this program reads 1."), "{version}");

    let renamed = refusal(edited(METADATA_FILE, |text| text.replace("\"slot_of_day\",", "\"slot_of_week\",")));
    assert!(renamed.starts_with("the artifact's feature list has hash `"), "{renamed}");

    let unknown = refusal(edited(METADATA_FILE, |text| text.replace("\"code\":", "\"coed\":")));
    assert!(unknown.starts_with("`metadata.json` is damaged or not ours: unknown field `coed`"), "{unknown}");

    let half = refusal(edited(METADATA_FILE, |text| text[..text.len() / 2].to_owned()));
    assert!(half.starts_with("`metadata.json` is damaged or not ours: EOF"), "{half}");
}

#[test]
fn foreign_models_are_refused() {
    let draft = ArtifactDraft { name: "anomaly-detector".to_owned(), ..ArtifactDraft::default() };
    let error = Artifact::new(draft, BTreeMap::new()).load_predictor().map(|_| ()).expect_err("another model");
    assert_eq!(error.to_string(), "the artifact is a `anomaly-detector`, expected a `load-predictor`");

    let artifact = Artifact::from_blobs(blobs()).expect("it is whole");
    artifact.expect_features(&common::names(&common::FEATURES)).expect("the same");
    let mut other = common::names(&common::FEATURES);
    other[3] = "hour".to_owned();
    let error = artifact.expect_features(&other).expect_err("another feature").to_string();
    assert!(error.starts_with("the model reads 5 features, there are 5 here; the first that differs is number 3: the model reads `slot_of_day`, here is `hour`."), "{error}");
    let error = artifact.expect_features(&other[..3]).expect_err("too few").to_string();
    assert!(error.contains("5 features, there are 3 here; the first 3 agree"), "{error}");
}

#[test]
fn files_beside_the_artifact_do_not_matter() {
    let mut more = blobs();
    more.insert("report.html".to_owned(), b"<html>".to_vec());
    let artifact = Artifact::from_blobs(more).expect("it is whole");
    assert!(!artifact.files().contains_key("report.html"));
}

#[test]
fn the_card_and_mlmodel_say_what_matters() {
    let text = |file: &str| String::from_utf8(blobs()[file].clone()).expect("a text");
    let card = text("MODEL_CARD.md");
    for part in [
        "# load-predictor (not registered yet)",
        "| cpu-1h/mae | 0.03100 |",
        "| cpu-1h/undefined | not defined |",
        "`node_history-abc`",
    ] {
        assert!(card.contains(part), "{part} is not in\n{card}");
    }
    let mlmodel = text("MLmodel");
    for part in [
        "loader_module: berth_load_predictor",
        "model_format: ubj",
        "\"name\":\"slot_of_day\"",
        "\"name\":\"memory-4h-p90\"",
    ] {
        assert!(mlmodel.contains(part), "{part} is not in\n{mlmodel}");
    }
}
