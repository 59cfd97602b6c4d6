//! What each trained model answers to a request of the protocol, and how it describes itself.

use crate::protocol::{Datatype, InferRequest, InferResponse, Refusal, Tensor};
use crate::registry::{Algorithm, ServedModel};
use models::FeatureMatrix;
use models::anomaly::{Detector, Finding};
use models::load::{HeadKey, LoadPredictor, Quantile};
use models::placement::{PlacementNetwork, Scratch};
use serde_json::{Map, Value, json};
use server::gate::Work;
use std::sync::Arc;

/// The one input of the trained models: rows of their features.
pub const INPUT: &str = "features";
/// The parameter that asks for reasons.
pub const EXPLAIN: &str = "explain";
/// Reasons cost a hundred times a forecast, so they are given for so many rows at most.
pub const MOST_EXPLAINED: usize = 100;
/// Features that are named per finding.
const MOST_BLAMED: usize = 5;

/// Rows that are worked on before it is looked again whether somebody waits for them: some tens of milliseconds.
const AT_ONCE: usize = 4_096;

/// Answers.
///
/// # Errors
/// 400 when inputs do not fit the model; 413 for more than `most_rows` rows; 408 where nobody waits for the answer any more.
pub fn infer(
    model: &ServedModel,
    request: &InferRequest,
    most_rows: usize,
    work: &Work,
) -> Result<InferResponse, Refusal> {
    request.expect_only(&[INPUT])?;
    let (rows, values) = request.input(INPUT)?.rows(model.features().len())?;
    if rows > most_rows {
        return Err(Refusal::too_large(format!(
            "{rows} rows, at most {most_rows} are read at once: send several requests"
        )));
    }
    let explain = request.flag(EXPLAIN)?;
    if explain && rows > MOST_EXPLAINED {
        return Err(Refusal::bad(format!(
            "{rows} rows with `{EXPLAIN}`, at most {MOST_EXPLAINED} are explained at once"
        )));
    }
    let (outputs, explanations) = match &model.algorithm {
        Algorithm::Load { predictor, .. } => forecast(predictor, rows, values, explain, work)?,
        Algorithm::Placement(network) => value(network, &values, explain, work)?,
        Algorithm::Anomaly { detector, .. } => judge(detector, &values, explain, work)?,
    };
    let parameters = explanations.map_or_else(Map::new, |list| Map::from_iter([("explanations".to_owned(), list)]));
    Ok(InferResponse { model: model.name.as_str().to_owned(), version: model.version.clone(), outputs, parameters })
}

type Answer = (Vec<Tensor>, Option<Value>);

fn forecast(
    predictor: &LoadPredictor,
    rows: usize,
    values: Vec<f32>,
    explain: bool,
    work: &Work,
) -> Result<Answer, Refusal> {
    let mut outputs = Vec::new();
    let mut tell = |key: HeadKey, p50: Vec<f64>, p90: Vec<f64>| {
        for (quantile, line) in [(Quantile::P50, p50), (Quantile::P90, p90)] {
            outputs.push(Tensor::numbers(output_name(key, quantile), Datatype::Fp32, line));
        }
    };
    if rows == 1 && !explain {
        // A matrix of one row costs as much as its forecasts.
        for forecast in predictor.forecasts(&values) {
            let forecast = forecast.map_err(unfit)?;
            let line = |value: Option<f32>| vec![value.map_or(f64::NAN, f64::from)];
            tell(forecast.key, line(forecast.p50), line(forecast.p90));
        }
        return Ok((outputs, None));
    }
    let mut lines: Vec<(HeadKey, Vec<f64>, Vec<f64>)> =
        predictor.heads().iter().map(|head| (head.key(), Vec::with_capacity(rows), Vec::with_capacity(rows))).collect();
    for part in values.chunks(AT_ONCE * predictor.features().len().max(1)) {
        work.check()?;
        let x = matrix(predictor.features(), part)?;
        for ((_, p50, p90), head) in lines.iter_mut().zip(predictor.predict(&x).map_err(unfit)?) {
            p50.extend(head.p50.into_iter().map(f64::from));
            p90.extend(head.p90.into_iter().map(f64::from));
        }
    }
    for (key, p50, p90) in lines {
        tell(key, p50, p90);
    }
    let explanations = if explain {
        let x = matrix(predictor.features(), &values)?;
        let all = predictor.heads().iter().map(|head| head.explain(Quantile::P90, &x));
        let by_head = all.collect::<Result<Vec<_>, _>>().map_err(unfit)?;
        Some(json!((0..rows).map(|row| by_head.iter().map(|rows| &rows[row]).collect::<Vec<_>>()).collect::<Vec<_>>()))
    } else {
        None
    };
    Ok((outputs, explanations))
}

/// Whole rows of `features`.
fn matrix(features: &Arc<[String]>, values: &[f32]) -> Result<FeatureMatrix, Refusal> {
    let rows = values.len() / features.len().max(1);
    FeatureMatrix::new(Arc::clone(features), rows, values.to_vec()).map_err(unfit)
}

fn output_name(key: HeadKey, quantile: Quantile) -> String {
    format!("{}-{}", key.slug(), quantile.as_str())
}

fn value(network: &PlacementNetwork, values: &[f32], explain: bool, work: &Work) -> Result<Answer, Refusal> {
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let name = &network.features()[at % network.features().len()];
        return Err(Refusal::bad(format!(
            "row {} has no value of `{name}`; the agent reads none that is missing",
            at / network.features().len()
        )));
    }
    let (mut scratch, mut scores, mut part_scores) = (Scratch::default(), Vec::new(), Vec::new());
    for part in values.chunks(AT_ONCE * network.features().len().max(1)) {
        work.check()?;
        part_scores.clear();
        network.score(part, &mut scratch, &mut part_scores).map_err(unfit)?;
        scores.append(&mut part_scores);
    }
    let explanations =
        if explain && !scores.is_empty() { Some(json!(network.importance(values).map_err(unfit)?)) } else { None };
    let output = Tensor::numbers("value", Datatype::Fp32, scores.into_iter().map(f64::from).collect());
    Ok((vec![output], explanations))
}

/// From so many rows on it pays to take them through the forests together.
const TOGETHER: usize = 8;

fn judge(detector: &Detector, values: &[f32], explain: bool, work: &Work) -> Result<Answer, Refusal> {
    let mut told = Told::default();
    for part in values.chunks(AT_ONCE * detector.features().len().max(1)) {
        work.check()?;
        judge_part(detector, part, explain, &mut told)?;
    }
    let outputs = vec![
        Tensor::numbers("score", Datatype::Fp32, told.scores),
        Tensor::texts("severity", told.severities),
        Tensor::texts("kind", told.kinds),
    ];
    Ok((outputs, explain.then(|| json!(told.findings))))
}

/// What a detector says of rows.
#[derive(Default)]
struct Told {
    scores: Vec<f64>,
    severities: Vec<String>,
    kinds: Vec<String>,
    findings: Vec<Finding>,
}

fn judge_part(detector: &Detector, values: &[f32], explain: bool, told: &mut Told) -> Result<(), Refusal> {
    let mut surprises = Vec::new();
    if values.len() >= TOGETHER * detector.features().len() {
        surprises = detector.surprises(&matrix(detector.features(), values)?).map_err(unfit)?;
    }
    let mut surprises = surprises.chunks_exact(detector.members().len().max(1));
    for row in values.chunks_exact(detector.features().len().max(1)) {
        let reading = match surprises.next() {
            Some(surprises) => detector.reading(row, surprises),
            None => detector.read(row).map_err(unfit)?,
        };
        told.scores.push(f64::from(detector.score(&reading)));
        told.severities.push(detector.severity(&reading).map_or("", |severity| severity.as_str()).to_owned());
        told.kinds.push(reading.kind.as_str().to_owned());
        if explain {
            told.findings.push(detector.explain(row, MOST_BLAMED).map_err(unfit)?);
        }
    }
    Ok(())
}

fn unfit(error: models::ModelError) -> Refusal {
    Refusal::bad(error.to_string())
}

/// The names, types and shapes of a model's outputs.
pub fn outputs(model: &ServedModel) -> Vec<(String, Datatype)> {
    match &model.algorithm {
        Algorithm::Load { predictor, .. } => predictor
            .heads()
            .iter()
            .flat_map(|head| {
                [Quantile::P50, Quantile::P90].map(|quantile| (output_name(head.key(), quantile), Datatype::Fp32))
            })
            .collect(),
        Algorithm::Placement(_) => vec![("value".to_owned(), Datatype::Fp32)],
        Algorithm::Anomaly { .. } => vec![
            ("score".to_owned(), Datatype::Fp32),
            ("severity".to_owned(), Datatype::Bytes),
            ("kind".to_owned(), Datatype::Bytes),
        ],
    }
}

/// What `GET /v2/models/M` says.
pub fn describe(model: &ServedModel, versions: &[String]) -> Value {
    let tensor = |name: &str, datatype: Datatype, shape: &[i64]| json!({ "name": name, "datatype": datatype.as_str(), "shape": shape });
    let outputs: Vec<Value> = outputs(model).iter().map(|(name, datatype)| tensor(name, *datatype, &[-1])).collect();
    json!({
        "name": model.name.as_str(),
        "versions": versions,
        "platform": "berth",
        "inputs": [tensor(INPUT, Datatype::Fp32, &[-1, model.features().len() as i64])],
        "outputs": outputs,
        "parameters": { "features": model.features() },
    })
}
