//! A small detector of somebody's table.

#![allow(dead_code, reason = "each test file uses its own share")]

use detection::folder::LoadedDetector;
use detection::metrics::Metrics;
use detection::plan::{TABLE_PLAN, TablePlan};
use detection::stream::Engine;
use detection::stream::kafka::KafkaArgs;
use detection::table::Renamed;
use models::FeatureMatrix;
use models::anomaly::{
    AlarmSettings, AnomalyKind, DetectorSettings, ForestSettings, LabelledRows, MemberSettings, Side, fit_detector,
};
use models::artifact::{Artifact, ArtifactDraft};
use std::sync::Arc;

/// A repeatable draw between 0 and 1.
fn draw(number: usize) -> f32 {
    ((number.wrapping_mul(2_654_435_761) >> 7) % 10_007) as f32 / 10_007.0
}

/// Usual values of every column lie between 0.2 and 0.6, mostly in the middle; rows belong to a `node`.
pub fn detector(columns: &[&str]) -> LoadedDetector {
    let names: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    let plan = TablePlan {
        columns: names.clone(),
        time: None,
        entity: Some("node".into()),
        label: Some("label".into()),
        windows: vec![],
    };
    let rows = 2_000;
    // Means of four draws, since the edge of an even spread is not rare.
    let value =
        |row: usize, column: usize| 0.2 + (0..4).map(|at| draw(row * 8 + column * 4 + at)).sum::<f32>() / 4.0 * 0.4;
    let values = (0..rows).flat_map(|row| (0..names.len()).map(move |column| value(row, column))).collect();
    let x = FeatureMatrix::new(names.clone(), rows, values).expect("a matrix");
    let settings = DetectorSettings {
        forest: ForestSettings::default(),
        members: vec![MemberSettings {
            name: "values".into(),
            kind: AnomalyKind::Performance,
            columns: names,
            side: Side::Both,
        }],
        rules: vec![],
        alarms: AlarmSettings::default(),
        expected_share: 0.005,
    };
    let labels = LabelledRows { x: &x, odd: &vec![false; rows], usual: &vec![true; rows] };
    let fitted = fit_detector(&labels, &settings, 7).expect("a detector");
    let mut draft = ArtifactDraft::default();
    draft.hyper_parameters.insert(TABLE_PLAN.into(), serde_json::to_value(&plan).expect("JSON"));
    let artifact = Artifact::of_anomaly_detector(&fitted, draft).expect("an artifact");
    LoadedDetector::of(fitted, artifact.metadata().clone(), "a test".into()).expect("a plan")
}

pub fn engine(loaded: LoadedDetector) -> (Engine, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    (Engine::new(loaded, &Renamed::default(), Arc::clone(&metrics)), metrics)
}

/// Ends when nothing came for two seconds.
pub fn kafka_args(brokers: &str, input: &str, output: &str) -> KafkaArgs {
    KafkaArgs {
        kafka: Some(brokers.to_owned()),
        input_topic: Some(input.to_owned()),
        output_topic: Some(output.to_owned()),
        group: "anomaly".to_owned(),
        commit_interval: "1s".parse().expect("a span"),
        stop_when_idle: Some("2s".parse().expect("a span")),
        kafka_settings: vec![],
    }
}
