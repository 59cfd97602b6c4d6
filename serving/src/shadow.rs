//! A challenger beside the champion: it is asked the same, its answers are compared and never given.
//!
//! Forecasts and anomaly scores are compared for all nodes at each refresh, from the views that both make of them; the agents'
//! choices for pods that are scored, in a thread of their own behind a bounded queue, so that no request waits.

use crate::metrics::Metrics;
use crate::nodes::{ClusterView, NodeView};
use crate::registry::{Algorithm, ModelName, Registry, ServedModel};
use models::placement::{PlacementNetwork, Scratch};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Pods that wait to be compared. More than so many at once tell nothing that these do not.
const QUEUE: usize = 64;

/// How far challenger and champion are apart, since one of them changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Compared {
    /// The version that answers.
    pub champion: String,
    /// The version beside it.
    pub challenger: String,
    /// Forecasts, readings or choices that were compared.
    pub comparisons: u64,
    /// Mean absolute difference: utilization for forecasts, score for anomalies; none for choices, whose values have no
    /// common scale.
    pub mean_difference: f64,
    /// The largest one.
    pub largest_difference: f64,
    /// Share that agrees: forecasts within one point, the same severity, the same best node.
    pub agreement: f64,
    #[serde(skip)]
    sum: f64,
    #[serde(skip)]
    agreed: u64,
}

/// Forecasts that differ by less are the same to whoever places a pod.
const SAME_UTILIZATION: f64 = 0.01;

impl Compared {
    fn add(&mut self, difference: f64, agrees: bool) {
        self.comparisons += 1;
        self.sum += difference;
        self.agreed += u64::from(agrees);
        self.largest_difference = self.largest_difference.max(difference);
        self.mean_difference = self.sum / self.comparisons as f64;
        self.agreement = self.agreed as f64 / self.comparisons as f64;
    }
}

/// Candidates of one pod.
struct Choice {
    champion: Arc<ServedModel>,
    challenger: Arc<ServedModel>,
    rows: Vec<f32>,
}

/// The challengers, and what was found.
#[derive(Debug)]
pub struct Shadow {
    /// The alias that names them.
    pub alias: String,
    /// Those that are compared; champions stand in where there is none.
    pub challengers: Registry,
    /// The nodes as the challengers see them; none where they are the champions themselves.
    view: RwLock<Option<Arc<ClusterView>>>,
    found: Arc<Mutex<BTreeMap<ModelName, Compared>>>,
    choices: SyncSender<Choice>,
    metrics: Arc<Metrics>,
}

impl Shadow {
    /// Compares with these models.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(alias: String, challengers: Registry, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let (choices, waiting) = sync_channel(QUEUE);
        let found: Arc<Mutex<BTreeMap<ModelName, Compared>>> = Arc::default();
        let (for_thread, counted) = (Arc::clone(&found), Arc::clone(&metrics));
        let thread = std::thread::Builder::new().name("shadow".to_owned());
        // It ends with the queue.
        thread.spawn(move || compare_choices(&waiting, &for_thread, &counted))?;
        Ok(Self { alias, challengers, view: RwLock::default(), found, choices, metrics })
    }

    /// What was found so far.
    pub fn found(&self) -> BTreeMap<ModelName, Compared> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a version is another than the champion's.
    pub fn differs(&self, champions: &Registry) -> bool {
        ModelName::TRAINED.into_iter().any(|name| self.pair(champions, name).is_some())
    }

    /// The nodes as the challengers see them.
    pub fn view(&self) -> Option<Arc<ClusterView>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a newer view in place.
    pub fn put(&self, view: ClusterView) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(view));
    }

    /// There is no view any more.
    pub fn forget(&self) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Compares forecasts and anomaly scores of all nodes.
    pub fn compare_nodes(&self, champions: &Registry, ours: &ClusterView, theirs: &ClusterView) {
        for name in [ModelName::LoadPredictor, ModelName::AnomalyDetector] {
            let Some((champion, challenger)) = self.pair(champions, name) else { continue };
            let mut compared = start(&self.found, &champion, &challenger);
            for (node, our) in &ours.nodes {
                let Some(their) = theirs.nodes.get(node) else { continue };
                match name {
                    ModelName::LoadPredictor => compare_forecasts(&mut compared, our, their),
                    _ => compare_readings(&mut compared, our, their),
                }
            }
            keep(&self.found, name, compared, &self.metrics);
        }
    }

    /// Compares the choice of a node, when there is time; `rows` are those of the candidates.
    pub fn compare_choice(&self, champions: &Registry, rows: &[f32]) {
        if let Some((champion, challenger)) = self.pair(champions, ModelName::PlacementAgent)
            && self.choices.try_send(Choice { champion, challenger, rows: rows.to_vec() }).is_err()
        {
            self.metrics.shadow_skipped();
        }
    }

    /// Whether there are choices to compare.
    pub fn compares_choices(&self, champions: &Registry) -> bool {
        self.pair(champions, ModelName::PlacementAgent).is_some()
    }

    /// Both versions, where they differ.
    fn pair(&self, champions: &Registry, name: ModelName) -> Option<(Arc<ServedModel>, Arc<ServedModel>)> {
        let pair = champions.current(name).zip(self.challengers.current(name))?;
        (pair.0.version != pair.1.version).then_some(pair)
    }
}

type Found = Mutex<BTreeMap<ModelName, Compared>>;

/// What was found of this pair of versions; nothing where one of them is new.
fn start(found: &Found, champion: &ServedModel, challenger: &ServedModel) -> Compared {
    let known = found.lock().unwrap_or_else(PoisonError::into_inner).get(&champion.name).cloned();
    let same = |known: &Compared| known.champion == champion.version && known.challenger == challenger.version;
    known.filter(same).unwrap_or_else(|| Compared {
        champion: champion.version.clone(),
        challenger: challenger.version.clone(),
        ..Compared::default()
    })
}

fn keep(found: &Found, name: ModelName, compared: Compared, metrics: &Metrics) {
    metrics.shadow(name, &compared);
    found.lock().unwrap_or_else(PoisonError::into_inner).insert(name, compared);
}

fn compare_forecasts(compared: &mut Compared, ours: &NodeView, theirs: &NodeView) {
    let Some((ours, theirs)) = ours.forecasts.as_ref().zip(theirs.forecasts.as_ref()) else { return };
    for (our, their) in ours.iter().zip(theirs).filter(|(our, their)| our.key == their.key) {
        if let (Some(our), Some(their)) = (our.p90, their.p90) {
            let difference = f64::from((our - their).abs());
            compared.add(difference, difference <= SAME_UTILIZATION);
        }
    }
}

fn compare_readings(compared: &mut Compared, ours: &NodeView, theirs: &NodeView) {
    let Some((our, their)) = ours.anomaly.as_ref().zip(theirs.anomaly.as_ref()) else { return };
    compared.add(f64::from((our.score - their.score).abs()), our.severity == their.severity);
}

fn compare_choices(waiting: &Receiver<Choice>, found: &Found, metrics: &Metrics) {
    while let Ok(Choice { champion, challenger, rows }) = waiting.recv() {
        let (Algorithm::Placement(ours), Algorithm::Placement(theirs)) = (&champion.algorithm, &challenger.algorithm)
        else {
            continue;
        };
        let (Some(our), Some(their)) = (best(ours, &rows), best(theirs, &rows)) else { continue };
        let mut compared = start(found, &champion, &challenger);
        compared.add(0.0, our == their);
        keep(found, ModelName::PlacementAgent, compared, metrics);
    }
}

/// The place of the candidate with the highest value; the first of equals.
fn best(network: &PlacementNetwork, rows: &[f32]) -> Option<usize> {
    let (mut scratch, mut values) = (Scratch::default(), Vec::new());
    network.score(rows, &mut scratch, &mut values).ok()?;
    let ranked = values.iter().enumerate().max_by(|left, right| left.1.total_cmp(right.1).then(right.0.cmp(&left.0)));
    ranked.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_summed_up() {
        let mut compared = Compared::default();
        compared.add(0.0, true);
        compared.add(0.3, false);
        assert_eq!((compared.comparisons, compared.agreement, compared.largest_difference), (2, 0.5, 0.3));
        assert!((compared.mean_difference - 0.15).abs() < 1e-12);
    }
}
