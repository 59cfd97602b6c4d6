//! Why a pod went where it went: for programs, as a page and for terminals.

use crate::decision::{Decision, Line};
use chrono::{DateTime, SecondsFormat};
use report::{Page, Table, Tone, printable};
use score_api::NodeScore;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A decision, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Names the decision in records and logs.
    pub id: String,
    /// When kube-scheduler asked, RFC 3339.
    pub at: String,
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Whose it is.
    pub workload: Option<String>,
    /// The mode in force.
    pub mode: String,
    /// `scored` or `neutral`.
    pub answer: String,
    /// Why the answer was neutral.
    pub reason: Option<String>,
    /// The state that held.
    pub state: String,
    /// Nodes that were offered.
    pub candidates: usize,
    /// Where the pod went, as far as it was seen.
    pub bound: Option<String>,
    /// Its score, its points, and what the best candidate's score is above it.
    pub bound_score: Option<f64>,
    /// 0 to 10.
    pub bound_points: Option<u8>,
    /// The best candidate's score less that of the pod's node.
    pub gain: Option<f64>,
    /// It went to the best candidate or to one as good.
    pub agrees: Option<bool>,
    /// What the pod is expected to use.
    pub expected_cores: Option<f64>,
    /// The best candidates.
    pub best: Vec<Line>,
    /// Forecasts and reasons of the very best, as `POST /v1/score` of serving tells them.
    pub details: Option<Vec<NodeScore>>,
    /// The models that were asked.
    pub versions: BTreeMap<String, String>,
    /// Age of the newest refresh of all nodes.
    pub data_age_seconds: Option<f64>,
    /// From the request to the answer.
    pub took_seconds: f64,
    /// The same in sentences.
    pub sentences: Vec<String>,
}

impl Explanation {
    /// Of a decision as far as it has come.
    pub fn of(decision: &Decision) -> Self {
        let outcome = decision.outcome();
        let bound = decision.bound.as_ref().map(|bound| bound.node.clone());
        let brief = bound.as_ref().and_then(|node| decision.brief(node));
        let at = DateTime::from_timestamp_millis(decision.ts).unwrap_or_default();
        let explanation = Self {
            id: decision.id.to_string(),
            at: at.to_rfc3339_opts(SecondsFormat::Millis, true),
            namespace: decision.namespace.clone(),
            pod: decision.pod.clone(),
            workload: decision.workload.clone(),
            mode: decision.mode.as_str().to_owned(),
            answer: decision.answer().to_owned(),
            reason: decision.neutral.map(|neutral| neutral.as_str().to_owned()),
            state: decision.state.as_str().to_owned(),
            candidates: decision.candidates,
            bound,
            bound_score: brief.map(|brief| f64::from(brief.score)).filter(|score| score.is_finite()),
            bound_points: brief.map(|brief| brief.points),
            gain: outcome.map(|outcome| outcome.gain),
            agrees: outcome.map(|outcome| outcome.agrees),
            expected_cores: decision.expected_cores,
            best: decision.best.clone(),
            details: decision.details.clone(),
            versions: decision.versions.clone(),
            data_age_seconds: decision.data_age_seconds,
            took_seconds: decision.took.as_secs_f64(),
            sentences: Vec::new(),
        };
        explanation.in_sentences()
    }

    /// The same with its sentences.
    pub fn in_sentences(self) -> Self {
        Self { sentences: self.in_words(), ..self }
    }

    fn in_words(&self) -> Vec<String> {
        let mut said = vec![match self.reason.as_deref() {
            None => format!("Of {} candidates kube-scheduler was told points from 0 to 10.", self.candidates),
            Some(reason) => {
                format!(
                    "kube-scheduler was told that all {} candidates are equal: {}.",
                    self.candidates,
                    meaning(reason)
                )
            }
        }];
        if let Some(first) = self.best.first().filter(|line| line.score.is_some()) {
            said.push(format!("The best was {} with a score of {:.2}.", first.node, first.score.unwrap_or_default()));
        }
        match (&self.bound, self.agrees, self.gain) {
            (Some(node), Some(true), _) => said.push(format!("The pod went to {node}: the best, or one as good.")),
            (Some(node), Some(false), Some(gain)) => said.push(format!(
                "The pod went to {node}, which scores {gain:.2} less: {}",
                if self.reason.is_some() {
                    "kube-scheduler chose it by itself."
                } else {
                    "its own plugins (requests, spreading, affinity) counted for more."
                }
            )),
            (Some(node), ..) => said.push(format!("The pod went to {node}.")),
            (None, ..) => said.push("Where the pod went has not been seen.".to_owned()),
        }
        for node in self.details.iter().flatten() {
            let reasons = node.explanation.iter().flat_map(|explanation| &explanation.reasons);
            said.extend(reasons.map(|reason| format!("{}: {reason}.", node.node)));
        }
        said
    }

    fn table(&self) -> Table {
        let mut table = Table::new(["node", "score", "points", "load", "placement", "anomaly", "cores on their way"]);
        let part = |part: Option<f64>| part.map_or("–".to_owned(), |part| format!("{part:.2}"));
        for line in &self.best {
            let is_bound = self.bound.as_ref() == Some(&line.node);
            let name = if is_bound { format!("{} ←", line.node) } else { line.node.clone() };
            let cells = [
                name,
                part(line.score),
                line.points.to_string(),
                part(line.parts.load),
                part(line.parts.placement),
                part(line.parts.anomaly),
                part(line.in_flight_cores),
            ];
            table.toned_row(cells.into_iter().map(|cell| (cell, if is_bound { Tone::Good } else { Tone::Plain })));
        }
        if let Some(bound) = self.bound.as_ref().filter(|bound| !self.best.iter().any(|line| line.node == **bound)) {
            let points = self.bound_points.map_or("–".to_owned(), |points| points.to_string());
            table.row([
                format!("{bound} ←"),
                part(self.bound_score),
                points,
                "–".into(),
                "–".into(),
                "–".into(),
                "–".into(),
            ]);
        }
        table
    }

    /// A page that a person reads.
    pub fn page(&self) -> String {
        let facts = format!(
            "{} · {} · mode {} · state {} · decision {}",
            self.workload.as_deref().unwrap_or("no workload"),
            self.at,
            self.mode,
            self.state,
            self.id
        );
        let tone = match self.agrees {
            Some(true) => Tone::Good,
            Some(false) => Tone::Warn,
            None => Tone::Plain,
        };
        let mut page = Page::new(format!("{}/{}", self.namespace, self.pod), facts)
            .tile("went to", self.bound.as_deref().unwrap_or("not seen"), tone)
            .tile("answer", self.answer.as_str(), Tone::Plain)
            .tile("candidates", self.candidates.to_string(), Tone::Plain)
            .tile("age of data", self.data_age_seconds.map_or("–".to_owned(), |age| format!("{age:.0} s")), Tone::Plain)
            .tile("took", format!("{:.2} ms", 1e3 * self.took_seconds), Tone::Plain);
        page = page.section("Why");
        page = self.sentences.iter().fold(page, |page, sentence| page.text(sentence));
        if !self.best.is_empty() {
            page = page.section("The best candidates").table(&self.table());
        }
        if !self.versions.is_empty() {
            let mut table = Table::new(["model", "version"]);
            for (name, version) in &self.versions {
                table.row([name.as_str(), version.as_str()]);
            }
            page = page.section("Models").table(&table);
        }
        page.html()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}/{}  {}\n{}, mode {}, state {}, {} in {:.2} ms, decision {}\n\n",
            self.namespace,
            self.pod,
            self.workload.as_deref().unwrap_or("no workload"),
            self.at,
            self.mode,
            self.state,
            self.answer,
            1e3 * self.took_seconds,
            self.id
        );
        self.sentences.iter().for_each(|sentence| text.push_str(&format!("- {sentence}\n")));
        if !self.best.is_empty() {
            text.push_str(&format!("\n{}", self.table().markdown()));
        }
        printable(&text).into_owned()
    }
}

/// What a reason means.
fn meaning(reason: &str) -> &str {
    match reason {
        "killed" => "influence is stopped by hand",
        "bad_pod" => "the pod could not be read",
        "exempt" => "the cluster depends on the pod, or it has no choice of nodes",
        "opted_out" => "the pod's annotation says so",
        "out_of_scope" => "the rules leave the pod out",
        "shadow" => "the mode is shadow",
        "not_in_canary" => "its workload is not in the canary's share",
        "fallback" => "the state was fallback",
        "deadline" => "scores were not there in time",
        "failed" => "scores could not be worked out",
        "nothing_known" => "nothing was known of any of them",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::State;
    use crate::kubernetes::Pod;
    use crate::ledger::Standing;
    use crate::rules::Mode;

    #[test]
    fn a_terminal_obeys_nothing_that_a_name_holds() {
        // No API server takes it, and a table that somebody wrote may hold it.
        let mut pod = Pod::default();
        (pod.metadata.name, pod.metadata.namespace) = ("web\u{1b}]0;owned\u{7}".into(), "shop".into());
        let decision = Decision::new("prioritize", &pod, Standing::Known, 2, Mode::Shadow, State::Healthy);
        let explanation = Explanation { workload: Some("shop/Job/\u{9b}2J".into()), ..Explanation::of(&decision) };
        let text = explanation.text();
        assert!(text.starts_with("shop/web\u{fffd}]0;owned\u{fffd}  shop/Job/\u{fffd}2J\n"), "{text}");
        assert!(!text.chars().any(|it| it.is_control() && it != '\n'));
    }
}
