//! A fresh fit in its first day: nobody could judge it on hours that it had not learned from, so the model that was judged forecasts
//! beside it, and when the fresh fit turns out worse the judged one takes its place.

use super::ClusterView;
use crate::registry::{Judged, ServedModel};
use crate::rollout::quality::{ForecastErrors, Quality};
use cluster::NodeName;
use models::evidence::BlockSequence;
use models::load::LoadForecast;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Probability that a fresh fit that is no worse is ever taken back.
const ALPHA: f64 = 0.01;
/// No verdict before so many hours of forecasts.
const LEAST_HOURS: f64 = 8.0;

/// How both fits did since the fresh one began to serve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FreshWatch {
    /// The versions that are compared: the fresh fit, the judged model.
    versions: Option<(String, String)>,
    /// The fresh fit stands where a challenger does.
    quality: Quality,
}

/// A fresh fit that turned out worse than the judged model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Departure {
    /// The fresh fit's version.
    pub fresh: String,
    /// The judged model's version.
    pub judged: String,
    /// In a sentence.
    pub why: String,
    /// The figures.
    pub evidence: ForecastErrors,
}

impl FreshWatch {
    /// Takes in a refresh by `fresh`. `forecast` works out the judged model's forecasts of all nodes and is asked now and then.
    ///
    /// # Errors
    /// What `forecast` says.
    pub fn take_in(
        &mut self,
        view: &ClusterView,
        fresh: &ServedModel,
        judged: &Judged,
        forecast: impl FnOnce(&ServedModel) -> anyhow::Result<HashMap<NodeName, Vec<LoadForecast>>>,
    ) -> anyhow::Result<()> {
        let versions = Some((fresh.version.clone(), judged.model.version.clone()));
        if self.versions != versions {
            *self = Self { versions, ..Self::default() };
        }
        // The judged model stands where the champion does in a rollout: what it says is the view's place.
        let judged_forecasts = if self.quality.wants(view.at) { forecast(&judged.model)? } else { HashMap::new() };
        self.quality.take_in_pairs(view, |name| {
            let judged = judged_forecasts.get(name)?;
            Some((judged.as_slice(), view.nodes.get(name)?.forecasts.as_deref()?))
        });
        Ok(())
    }

    /// How both did so far; `None` where nothing is compared.
    pub fn errors(&self) -> Option<ForecastErrors> {
        self.versions.as_ref()?;
        Some(self.quality.errors(None, |sequence: &BlockSequence| sequence.interval(ALPHA, LEAST_HOURS)))
    }

    /// What is held against the fresh fit, beyond chance: its forecasts miss by more than `limit`, a share of a node, beyond
    /// the judged model's.
    pub fn departure(&self, limit: f64) -> Option<Departure> {
        let (fresh, judged) = self.versions.clone()?;
        let evidence = self.errors().filter(|errors| errors.difference.is_above(limit))?;
        let percent = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{:.2} %", 100.0 * value));
        let why = format!(
            "fresh fit {fresh} misses by {} of a node, judged model {judged} by {}: at least {} more over {:.0} hours, {} are allowed",
            percent(evidence.challenger),
            percent(evidence.champion),
            percent(evidence.difference.low),
            evidence.hours,
            percent(Some(limit))
        );
        Some(Departure { fresh, judged, why, evidence })
    }

    /// Nothing is watched any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{NodePods, NodeView};
    use crate::registry::ModelName;
    use chrono::Utc;
    use cluster::{HOUR_MS, MINUTE_MS};
    use features::cluster_state::NodeFacts;
    use features::{GridRows, catalogue};
    use models::artifact::{Artifact, ArtifactDraft};
    use models::load::{HeadKey, HeadSettings, LoadPredictor, fit_head};
    use models::{FeatureMatrix, FitOptions, FitRows};
    use std::sync::Arc;

    const START: i64 = 480_000 * HOUR_MS;

    fn model(version: &str) -> ServedModel {
        let names = ["cpu_mean_1h", "memory_mean_1h"].map(str::to_owned).to_vec();
        let values = (0..400).map(|at| (at % 97) as f32 / 100.0).collect();
        let x = FeatureMatrix::new(names, 200, values).expect("a matrix");
        let y: Vec<f32> = (0..200).map(|row| x.row(row)[0]).collect();
        let head = |key: HeadKey| {
            let baseline = vec![format!("{}_mean_1h", key.resource)];
            let mut settings = HeadSettings { baseline, ..HeadSettings::default() };
            (settings.median.rounds, settings.upper.rounds) = (2, 2);
            let data = models::load::HeadData { train: FitRows::new(&x, &y), selection: None, calibration: None };
            fit_head(key, &settings, &data, &FitOptions::seeded(1)).expect("it fits").head
        };
        let predictor = LoadPredictor::new(HeadKey::all().map(head).collect()).expect("heads");
        let artifact = Artifact::of_load_predictor(&predictor, ArtifactDraft::default()).expect("sealed");
        ServedModel::read(ModelName::LoadPredictor, version, artifact.into_blobs().expect("blobs")).expect("read")
    }

    /// Two nodes that stood at 0.5 in the last hour, forecast to stand at `forecast`.
    fn forecasts(forecast: f32) -> Vec<LoadForecast> {
        HeadKey::all()
            .map(|key| LoadForecast { key, p50: Some(forecast), p90: Some(forecast), fallback: false })
            .collect()
    }

    fn view(at: i64, forecast: f32) -> ClusterView {
        let names: Vec<NodeName> = ["a", "b"].map(NodeName::new).to_vec();
        let mut values = vec![f32::NAN; 2 * catalogue::len()];
        for place in 0..2 {
            for column in ["cpu_mean_1h", "memory_mean_1h"] {
                values[place * catalogue::len() + catalogue::index(column).expect("a feature")] = 0.5;
            }
        }
        let node = |row| NodeView {
            sampled_at: at,
            facts: NodeFacts::default(),
            pods: NodePods::default(),
            forecasts: Some(forecasts(forecast)),
            anomaly: None,
            row: Some(row),
        };
        ClusterView {
            at,
            nodes: names.iter().cloned().zip([node(0), node(1)]).collect(),
            rows: Arc::new(GridRows { ts: at, nodes: names, values }),
            ..ClusterView::default()
        }
    }

    /// Hours until a fresh fit departs that says `fresh` while the judged model says `judged` of nodes that come to 0.5.
    fn hours_until_departure(fresh: f32, judged: f32) -> Option<f64> {
        let (serving, beside) =
            (model("7"), Judged { model: Arc::new(model("6")), since: Utc::now().timestamp_millis() });
        let mut watch = FreshWatch::default();
        let departs = (START..START + 24 * HOUR_MS).step_by(5 * MINUTE_MS as usize).find(|at| {
            let told = |_: &ServedModel| {
                Ok(["a", "b"].map(NodeName::new).into_iter().map(|node| (node, forecasts(judged))).collect())
            };
            watch.take_in(&view(*at, fresh), &serving, &beside, told).expect("taken in");
            // What is known outlives a restart.
            watch = rmp_serde::from_slice(&rmp_serde::to_vec(&watch).expect("bytes")).expect("a watch");
            watch.departure(0.005).is_some()
        });
        if departs.is_some() {
            let departure = watch.departure(0.005).expect("a departure");
            assert_eq!((departure.fresh.as_str(), departure.judged.as_str()), ("7", "6"));
            assert!(
                departure.why.contains("at least 5.00 % more over 8 hours, 0.50 % are allowed"),
                "{}",
                departure.why
            );
        }
        departs.map(|at| (at - START) as f64 / HOUR_MS as f64)
    }

    #[test]
    fn a_fresh_fit_that_misses_by_more_departs_within_its_day_and_one_that_does_not_stays() {
        // Errors of 0.1 and 0.05; the first forecasts are about an hour later, and eight hours of them are wanted.
        assert_eq!(hours_until_departure(0.6, 0.55), Some(9.0));
        assert_eq!(hours_until_departure(0.55, 0.6), None);
        assert_eq!(hours_until_departure(0.553, 0.55), None, "less than half a point is nothing to speak of");
    }
}
