//! `trainer anomaly results`: the figures of `docs/anomaly-results.md` for one set.
//!
//! [`alarm_results`] judges the detector of a features dataset whose incidents are labelled; [`labelled`] judges detectors
//! of plain columns on machines whose incidents experts labelled.

pub mod labelled;
mod python;

pub use python::PythonPeers;

use super::train::Votes;
use super::{
    AlarmScores, AnomalySettings, Chosen, History, Judged, KindScores, TrainedDetector, VoteChoice, evaluate,
    train_detector,
};
use crate::folds::{Window, is_held_out};
use cluster::NodeName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Figures of one detector on one part of the nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmLine {
    /// `all`, `known` or `unseen` nodes.
    pub nodes: String,
    /// `detector` or `z-score`.
    pub detector: String,
    /// On the test.
    pub scores: AlarmScores,
    /// Of kinds that no incident before the test had.
    pub unseen_kinds: KindScores,
}

/// The figures of one features dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmResults {
    /// Tells the document from other sets' ones.
    pub form: String,
    /// The set's name.
    pub set: String,
    /// The seed that its incidents were drawn by, if it was said.
    pub incident_seed: Option<u64>,
    /// The features dataset.
    pub dataset: String,
    /// Nodes.
    pub nodes: usize,
    /// Nodes that neither trained nor chose anything.
    pub unseen_nodes: Vec<String>,
    /// Kinds that no incident before the test had.
    pub unseen_kinds: Vec<String>,
    /// What members, vote and threshold were learned from.
    pub learn: Window,
    /// What the figures come from.
    pub test: Window,
    /// How.
    pub settings: AnomalySettings,
    /// Wall time of the training.
    pub seconds: f64,
    /// How vote and threshold were chosen; absent where a stated share of readings decided.
    pub chosen: Option<Chosen>,
    /// Incidents that were injected into replays of the test, and those that were found, by kind.
    pub injected: BTreeMap<String, KindScores>,
    /// The figures.
    pub lines: Vec<AlarmLine>,
}

/// Trains on the nodes that are not held out and judges on all of them, beside the z-score.
///
/// The z-score knows the past of every node, also of those that are held out, since it has no other way to read a node;
/// its threshold comes from the others.
///
/// # Errors
/// A history that is too short, a share that leaves no node on one side.
pub fn alarm_results(
    set: &str,
    dataset: &str,
    history: &History,
    settings: &AnomalySettings,
    held_out: f64,
    incident_seed: Option<u64>,
) -> anyhow::Result<AlarmResults> {
    let is_unseen = |node: &str| held_out > 0.0 && is_held_out(&NodeName::new(node), held_out, settings.seed);
    let known = history.of_nodes(|node| !is_unseen(node))?;
    anyhow::ensure!(
        !known.nodes.is_empty(),
        "a share of {held_out} holds out all {} nodes, none is left to train on",
        history.nodes.len()
    );
    let trained = train_detector(&known, settings)?;
    let unseen = history.of_nodes(is_unseen)?;
    let unseen_kinds = unseen_kinds(history, &known, trained.test);
    let parts = [("all", history), ("known", &known), ("unseen", &unseen)];
    let mut lines = Vec::new();
    for (nodes, part) in parts.into_iter().filter(|(_, part)| !part.nodes.is_empty()) {
        let own = Judged::of(&trained.detector, part, trained.test)?.scores;
        for (detector, scores) in
            [("detector", own), ("z-score", judge_zscore(part, &trained, settings.aftermath_hours))]
        {
            let of_unseen = unseen_kinds.iter().filter_map(|kind| scores.kinds.get(kind));
            let unseen_kinds = of_unseen.fold(KindScores::default(), |sum, kind| KindScores {
                incidents: sum.incidents + kind.incidents,
                found: sum.found + kind.found,
            });
            lines.push(AlarmLine { nodes: nodes.to_owned(), detector: detector.to_owned(), scores, unseen_kinds });
        }
    }
    Ok(AlarmResults {
        form: "alarms".to_owned(),
        set: set.to_owned(),
        incident_seed,
        dataset: dataset.to_owned(),
        nodes: history.nodes.len(),
        unseen_nodes: unseen.nodes.clone(),
        unseen_kinds: unseen_kinds.into_iter().collect(),
        learn: trained.learn,
        test: trained.test,
        settings: settings.clone(),
        seconds: trained.seconds,
        chosen: match trained.choice {
            VoteChoice::ByEvidence(chosen) => Some(chosen),
            VoteChoice::ByShare(_) => None,
        },
        injected: trained.injected,
        lines,
    })
}

/// Kinds of the test that no incident of a known node before it had.
fn unseen_kinds(history: &History, known: &History, test: Window) -> BTreeSet<String> {
    let kinds = |history: &History, is_before: bool| -> BTreeSet<String> {
        let labels = history.labels.iter().flatten();
        labels.filter(|label| (label.started_at < test.from) == is_before).map(|label| label.kind.clone()).collect()
    };
    kinds(history, false).difference(&kinds(known, true)).cloned().collect()
}

/// The z-score on a part of the nodes; it knows the past of each of them, its threshold is the known nodes'.
fn judge_zscore(history: &History, trained: &TrainedDetector, aftermath_hours: f64) -> AlarmScores {
    let votes = Votes::of_zscore(history, trained.learn, aftermath_hours);
    let odd = history.odd();
    evaluate(&votes.timeline(history, &odd, &trained.detector), trained.test, trained.z_threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::tests::made_up;

    #[test]
    fn held_out_nodes_teach_nothing_and_are_judged() {
        let history = made_up(6, 10, true);
        let settings = AnomalySettings::default();
        let results = alarm_results("made-up", "d", &history, &settings, 0.4, Some(5)).expect("results");
        assert!((1..6).contains(&results.unseen_nodes.len()), "{:?}", results.unseen_nodes);
        let line = |nodes: &str, detector: &str| {
            results.lines.iter().find(|line| line.nodes == nodes && line.detector == detector).expect("a line")
        };
        let (all, known, unseen) = (line("all", "detector"), line("known", "detector"), line("unseen", "detector"));
        assert_eq!(all.scores.incidents, known.scores.incidents + unseen.scores.incidents);
        assert_eq!(all.scores.found, known.scores.found + unseen.scores.found);
        assert!(unseen.scores.recall > Some(0.8), "{:?}", unseen.scores);
        // Whatever happens to a held-out node before the test changes no figure of the others.
        let mut other = history.clone();
        let place = other.nodes.iter().position(|node| results.unseen_nodes.contains(node)).expect("a node");
        other.labels[place].clear();
        let again = alarm_results("made-up", "d", &other, &settings, 0.4, Some(5)).expect("results");
        let of_known = |results: &AlarmResults| -> Vec<AlarmLine> {
            results.lines.iter().filter(|line| line.nodes == "known").cloned().collect()
        };
        assert_eq!(of_known(&results), of_known(&again));
        let error = alarm_results("made-up", "d", &history, &settings, 1.0, None).expect_err("none left");
        assert!(error.to_string().contains("holds out all 6 nodes"), "{error:#}");
    }

    #[test]
    fn kinds_that_come_in_the_test_alone_are_counted_apart() {
        let mut history = made_up(4, 10, true);
        for label in history.labels.iter_mut().flatten().filter(|label| label.started_at > 8 * cluster::DAY_MS) {
            label.kind = "never_seen".to_owned();
        }
        let results = alarm_results("made-up", "d", &history, &AnomalySettings::default(), 0.0, None).expect("results");
        assert_eq!(results.unseen_kinds, ["never_seen"]);
        assert_eq!(results.lines[0].unseen_kinds.incidents, 8);
        assert!(results.lines.iter().all(|line| line.nodes != "unseen"));
    }
}
