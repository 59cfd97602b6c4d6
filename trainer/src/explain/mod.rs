//! `trainer explain`: why a forecast is what it is, in words and bars.

mod words;

pub use words::{describe, text};

use crate::evaluate::POINTS;
use crate::rows::LoadRows;
use crate::train::ModelFolder;
use anyhow::Context;
use cluster::{GRID_STEP_MS, HOUR_MS, NodeName};
use models::load::{HeadKey, Quantile};
use report::chart::{Bars, bars};
use report::{Page, Table, Tone};
use runtime::WrongUse;
use serde::Serialize;

/// A row older than this says nothing about the time that was asked for.
const OLDEST_ROW_MS: i64 = HOUR_MS;

/// One feature's part in a forecast.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// The feature.
    pub feature: String,
    /// What it means.
    pub meaning: String,
    /// Its value; absent when it was missing.
    pub value: Option<f32>,
    /// What it added, in points.
    pub points: f64,
}

/// One explained forecast.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedHead {
    /// Which head, such as `cpu-1h`.
    pub head: String,
    /// `p50` or `p90`.
    pub quantile: &'static str,
    /// The forecast in points; absent when nothing recent is known.
    pub forecast_points: Option<f64>,
    /// The P90 beside it, in points.
    pub p90_points: Option<f64>,
    /// What the model says of a node of which it knows nothing, in points.
    pub start_points: f64,
    /// What features added, largest first.
    pub parts: Vec<Part>,
    /// What the calibration and the limits (not below 0, P90 not below P50) added, in points.
    pub correction_points: f64,
    /// What came, in points, where it is known already.
    pub observed_points: Option<f64>,
    /// The baseline answers, for want of skill.
    pub fallback: bool,
}

/// All forecasts of a node at a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The node.
    pub node: NodeName,
    /// The row that was explained: the newest at or before the time asked for.
    pub ts: i64,
    /// The model, by the hash of its files.
    pub model: String,
    /// Whether the model learned from this hour; then the explanation is of a fit, not of a forecast.
    pub in_training: bool,
    /// By head.
    pub heads: Vec<ExplainedHead>,
}

/// Explains the forecasts that `model` makes of `node` at `at`.
///
/// # Errors
/// When the node is unknown, has no row near that time, or the dataset does not fit the model.
pub fn explain(
    model: &ModelFolder,
    rows: &LoadRows,
    node: &NodeName,
    at: i64,
    quantile: Quantile,
    head: Option<HeadKey>,
) -> anyhow::Result<Explained> {
    if !rows.nodes.contains(node) {
        let known: Vec<&str> = rows.nodes.iter().take(20).map(NodeName::as_str).collect();
        let more = rows.nodes.len().saturating_sub(known.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(WrongUse(format!("the dataset has no node `{node}`. It has: {}{more}", known.join(", "))).into());
    }
    let row = rows.row_at(node, at).filter(|&row| at - rows.ts[row] <= OLDEST_ROW_MS).ok_or_else(|| {
        let index = rows.nodes.iter().position(|known| known == node).unwrap_or_default() as u32;
        let span = rows.node_span(index).map_or_else(String::new, |span| {
            format!(
                " Its rows run from {} to {} UTC",
                crate::text_table::minute(span.from),
                crate::text_table::minute(span.until - GRID_STEP_MS)
            )
        });
        WrongUse(format!("node `{node}` has no row in the hour before {} UTC.{span}", crate::text_table::minute(at)))
    })?;
    let x = rows.x.select_rows(&[row])?;
    let mut heads = Vec::new();
    for own in model.predictor.heads().iter().filter(|own| head.is_none_or(|wanted| own.key() == wanted)) {
        let x = x.select_columns(own.features()).context("the dataset does not fit the model")?;
        let explanation = own.explain(quantile, &x)?.pop().context("no explanation came back")?;
        let forecast = own.predict_row(x.row(0))?;
        let key = own.key();
        let observed = rows.target(features::TargetKind::HourMean, key.resource, key.horizon)[row];
        heads.push(ExplainedHead {
            head: key.slug(),
            quantile: quantile.as_str(),
            forecast_points: explanation.forecast.map(points),
            p90_points: forecast.p90.map(points),
            start_points: points(explanation.start),
            parts: explanation
                .contributions
                .iter()
                .map(|part| Part {
                    feature: part.feature.clone(),
                    meaning: describe(&part.feature),
                    value: part.value,
                    points: points(part.contribution),
                })
                .collect(),
            correction_points: points(explanation.correction),
            observed_points: observed.is_finite().then(|| points(observed)),
            fallback: own.fallback(),
        });
    }
    anyhow::ensure!(
        !heads.is_empty(),
        "the model has no such head. It has: {}",
        crate::validate::wanted_heads().join(", ")
    );
    Ok(Explained {
        node: node.clone(),
        ts: rows.ts[row],
        model: model.hash.clone(),
        in_training: rows.ts[row] < model.trained_until,
        heads,
    })
}

fn points(ratio: f32) -> f64 {
    f64::from(ratio) * POINTS
}

/// The explanation as a page.
pub fn page(explained: &Explained) -> String {
    let subtitle = format!(
        "node {} at {} UTC, model {}",
        explained.node,
        crate::text_table::minute(explained.ts),
        &explained.model[..explained.model.len().min(12)]
    );
    let mut page = Page::new("Why this forecast?", subtitle);
    for head in &explained.heads {
        let value = head.forecast_points.map_or_else(|| "unknown".to_owned(), |points| format!("{points:.1} points"));
        page = page.tile(format!("{} {}", head.head, head.quantile), value, Tone::Plain);
    }
    if explained.in_training {
        page = page.note(
            "The model has learned from this hour: this explains a fit, not a forecast of something unseen.",
            Tone::Warn,
        );
    }
    for head in &explained.heads {
        let top = &head.parts[..head.parts.len().min(8)];
        let names: Vec<&str> = top.iter().map(|part| part.feature.as_str()).collect();
        let values: Vec<f64> = top.iter().map(|part| part.points).collect();
        let mut table = Table::new(["feature", "what it is", "value", "points added"]);
        for part in &head.parts {
            table.row([
                part.feature.clone(),
                part.meaning.clone(),
                part.value.map_or_else(|| "missing".to_owned(), |value| format!("{value:.4}")),
                format!("{:+.3}", part.points),
            ]);
        }
        page = page
            .section(&head.head)
            .text(&words::sentence(head))
            .chart(
                "Points added by the strongest features",
                bars(&Bars { y_label: "points", categories: &names, series: &[("contribution", &values)] }),
            )
            .folded_table("all features", &table);
    }
    page.html()
}
