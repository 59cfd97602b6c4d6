//! Does the simulator's kube-scheduler decide as the real one does? Replays what a real one decided, pod by pod: scores the feasible
//! nodes with the simulator's default profile, looks whether the pod's real node is among the equally best, then binds the pod to that
//! real node, so that one difference does not lead to the next. `deploy/e2e` runs it.
//!
//! Usage: `agreement RECORD.json`, where the record is `{"nodes": […], "pods": […]}`: objects as the API server gives them, pods in the
//! order in which they were decided, `spec.nodeName` empty where none was found.

mod record;

use anyhow::{Context, ensure};
use record::{Record, Unread};
use serde::Serialize;
use simulator::engine::{EngineSettings, Simulation};
use simulator::policy::{KubeScheduler, Policy, Reach};
use simulator::world::NodeId;
use std::collections::HashSet;
use std::path::PathBuf;

/// Scores are sums of whole numbers.
const EQUAL: f64 = 1e-6;

#[derive(Debug, Default, Serialize)]
struct Agreement {
    /// Pods that were decided.
    pods: usize,
    /// Their node is among the best, or neither found one.
    agree: usize,
    /// The share that would agree if each node were drawn by lot among the feasible ones.
    chance: f64,
    /// The real node is none that the simulator would offer, or one of the two found none.
    infeasible: usize,
    /// What the simulator has no word for, and how often it was met.
    unread: Unread,
    disagreements: Vec<Disagreement>,
}

#[derive(Debug, Serialize)]
struct Disagreement {
    pod: String,
    node: String,
    score: Option<f64>,
    best: Vec<String>,
    best_score: Option<f64>,
}

fn main() -> anyhow::Result<()> {
    let path: PathBuf = std::env::args().nth(1).context("usage: agreement RECORD.json")?.into();
    let text = runtime::files::read_text(&path)?;
    let record: Record = serde_json::from_str(&text).with_context(|| format!("`{}` is no record", path.display()))?;
    let (scenario, unread) = record.scenario()?;
    let mut simulation = Simulation::new(&scenario, EngineSettings::default(), 1);
    let mut policy = KubeScheduler::default();
    let mut found: Vec<NodeId> = Vec::new();
    let mut told = Agreement { unread, ..Agreement::default() };
    let mut decided = HashSet::new();
    while let Some(pod) = simulation.next_pod() {
        // One that found no node is tried again and again, of which the record knows nothing.
        if !decided.insert(pod) {
            simulation.park(pod);
            continue;
        }
        simulation.candidates(pod, Reach::All, &mut found);
        let mut scores = vec![0.0; found.len()];
        policy.score(&simulation.ask(pod), &simulation.view(), &found, &mut scores);
        let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let is_best = |score: f64| score > best - EQUAL;
        let spec = scenario.pod(pod);
        let place = spec.recorded.and_then(|node| found.iter().position(|candidate| *candidate == node));
        told.pods += 1;
        let agrees = match (spec.recorded, place) {
            (None, _) => found.is_empty(),
            (Some(_), Some(place)) => is_best(scores[place]),
            (Some(_), None) => false,
        };
        told.infeasible +=
            usize::from(spec.recorded.is_some() != place.is_some() || (place.is_none() && !found.is_empty()));
        let equals = scores.iter().filter(|score| is_best(**score)).count();
        told.chance += if found.is_empty() { 1.0 } else { equals as f64 / found.len() as f64 };
        told.agree += usize::from(agrees);
        if !agrees {
            let name = |node: NodeId| scenario.node(node).name.as_str().to_owned();
            told.disagreements.push(Disagreement {
                pod: spec.name.clone(),
                node: spec.recorded.map(name).unwrap_or_default(),
                score: place.map(|place| scores[place]),
                best: found
                    .iter()
                    .zip(&scores)
                    .filter(|(_, score)| is_best(**score))
                    .map(|(node, _)| name(*node))
                    .collect(),
                best_score: best.is_finite().then_some(best),
            });
        }
        match spec.recorded {
            Some(node) => simulation.bind(pod, node),
            None => simulation.park(pod),
        }
    }
    ensure!(told.pods > 0, "`{}` has no pods", path.display());
    told.chance /= told.pods as f64;
    println!("{}", serde_json::to_string_pretty(&told)?);
    Ok(())
}
