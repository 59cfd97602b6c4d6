//! What each trained model answers to a request of the protocol, and how it describes itself.

use crate::protocol::{Datatype, InferRequest, InferResponse, Refusal, Tensor};
use crate::registry::{Algorithm, ServedModel};
use models::FeatureMatrix;
use models::anomaly::Detector;
use models::load::{HeadKey, LoadPredictor, Quantile};
use models::placement::{PlacementNetwork, Scratch};
use serde_json::{Map, Value, json};

/// The one input of the trained models: rows of their features.
pub const INPUT: &str = "features";
/// The parameter that asks for reasons.
pub const EXPLAIN: &str = "explain";
/// Reasons cost a hundred times a forecast, so they are given for so many rows at most.
pub const MOST_EXPLAINED: usize = 100;
/// Features that are named per finding.
const MOST_BLAMED: usize = 5;

/// Answers.
///
/// # Errors
/// 400 when inputs do not fit the model; 413 for more than `most_rows` rows.
pub fn infer(model: &ServedModel, request: &InferRequest, most_rows: usize) -> Result<InferResponse, Refusal> {
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
        Algorithm::Load { predictor, .. } => forecast(predictor, rows, values, explain)?,
        Algorithm::Placement(network) => value(network, &values, explain)?,
        Algorithm::Anomaly { detector, .. } => judge(detector, rows, &values, explain)?,
    };
    let parameters = explanations.map_or_else(Map::new, |list| Map::from_iter([("explanations".to_owned(), list)]));
    Ok(InferResponse { model: model.name.as_str().to_owned(), version: model.version.clone(), outputs, parameters })
}

type Answer = (Vec<Tensor>, Option<Value>);

fn forecast(predictor: &LoadPredictor, rows: usize, values: Vec<f32>, explain: bool) -> Result<Answer, Refusal> {
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
    let x = FeatureMatrix::new(predictor.features().clone(), rows, values).map_err(unfit)?;
    for head in predictor.predict(&x).map_err(unfit)? {
        let line = |line: Vec<f32>| line.into_iter().map(f64::from).collect();
        tell(head.key, line(head.p50), line(head.p90));
    }
    let explanations = if explain {
        let all = predictor.heads().iter().map(|head| head.explain(Quantile::P90, &x));
        let by_head = all.collect::<Result<Vec<_>, _>>().map_err(unfit)?;
        Some(json!((0..rows).map(|row| by_head.iter().map(|rows| &rows[row]).collect::<Vec<_>>()).collect::<Vec<_>>()))
    } else {
        None
    };
    Ok((outputs, explanations))
}

fn output_name(key: HeadKey, quantile: Quantile) -> String {
    format!("{}-{}", key.slug(), quantile.as_str())
}

fn value(network: &PlacementNetwork, values: &[f32], explain: bool) -> Result<Answer, Refusal> {
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let name = &network.features()[at % network.features().len()];
        return Err(Refusal::bad(format!(
            "row {} has no value of `{name}`; the agent reads none that is missing",
            at / network.features().len()
        )));
    }
    let (mut scratch, mut scores) = (Scratch::default(), Vec::new());
    network.score(values, &mut scratch, &mut scores).map_err(unfit)?;
    let explanations =
        if explain && !scores.is_empty() { Some(json!(network.importance(values).map_err(unfit)?)) } else { None };
    let output = Tensor::numbers("value", Datatype::Fp32, scores.into_iter().map(f64::from).collect());
    Ok((vec![output], explanations))
}

/// From so many rows on it pays to take them through the forests together.
const TOGETHER: usize = 8;

fn judge(detector: &Detector, rows: usize, values: &[f32], explain: bool) -> Result<Answer, Refusal> {
    let (mut scores, mut severities, mut kinds, mut findings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut surprises = Vec::new();
    if rows >= TOGETHER {
        let x = FeatureMatrix::new(detector.features().clone(), rows, values.to_vec()).map_err(unfit)?;
        surprises = detector.surprises(&x).map_err(unfit)?;
    }
    let mut surprises = surprises.chunks_exact(detector.members().len().max(1));
    for row in values.chunks_exact(detector.features().len().max(1)) {
        let reading = match surprises.next() {
            Some(surprises) => detector.reading(row, surprises),
            None => detector.read(row).map_err(unfit)?,
        };
        scores.push(f64::from(detector.score(&reading)));
        severities.push(detector.severity(&reading).map_or("", |severity| severity.as_str()).to_owned());
        kinds.push(reading.kind.as_str().to_owned());
        if explain {
            findings.push(detector.explain(row, MOST_BLAMED).map_err(unfit)?);
        }
    }
    let outputs = vec![
        Tensor::numbers("score", Datatype::Fp32, scores),
        Tensor::texts("severity", severities),
        Tensor::texts("kind", kinds),
    ];
    Ok((outputs, explain.then(|| json!(findings))))
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
