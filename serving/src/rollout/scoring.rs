//! Scores by whoever answers for each pod.

use super::split::arm_of;
use super::{Arm, Rollout, lock};
use crate::nodes::ClusterView;
use crate::score::{ScoreRules, score};
use cluster::NodeName;
use score_api::{PodScores, ScoreAnswer, ScoreRequest};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

impl Rollout {
    /// Scores the pods. `each` hears of what every arm was asked and what it answered. A challenger that breaks down is
    /// stood in for by the champion.
    pub fn score(
        &self,
        request: &ScoreRequest,
        view: &ClusterView,
        rules: &ScoreRules,
        now: i64,
        mut each: impl FnMut(&ScoreRequest, &ScoreAnswer),
    ) -> ScoreAnswer {
        let percent = self.percent_at_work();
        // While one arm has all pods, there is nothing to compare their choices with.
        let at = (percent > 0.0).then_some(view.at);
        let arms: Vec<Arm> = request.pods.iter().map(|pod| arm_of(pod, percent)).collect();
        let challenger_view = self.shadow.view().filter(|_| arms.contains(&Arm::Challenger));
        let Some(challenger_view) = challenger_view else {
            let answer = self.by_champion(request, view, rules, now, at);
            each(request, &answer);
            return answer;
        };
        let (ours, theirs) = (part(request, &arms, Arm::Champion), part(request, &arms, Arm::Challenger));
        let began = Instant::now();
        // A fault of a version that is on trial must not be felt by a pod.
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            score(&theirs, &challenger_view, &self.shadow.challengers, None, rules, now)
        }));
        let Ok(mut trial) = attempt else {
            tracing::error!("the challenger's scores ended in a panic, the champion answers");
            self.note_failed(theirs.pods.len(), began);
            let answer = self.by_champion(request, view, rules, now, None);
            each(request, &answer);
            return answer;
        };
        trial.pods.iter_mut().for_each(|pod| pod.arm = Arm::Challenger);
        self.note(Arm::Challenger, &theirs, &trial, began, at);
        each(&theirs, &trial);
        if ours.pods.is_empty() {
            trial.challenger_models = Some(trial.models.clone());
            return trial;
        }
        let mut answer = self.by_champion(&ours, view, rules, now, at);
        each(&ours, &answer);
        answer.challenger_models = Some(trial.models);
        let (mut own, mut tried) = (std::mem::take(&mut answer.pods).into_iter(), trial.pods.into_iter());
        let next = |arm: &Arm| match arm {
            Arm::Champion => own.next(),
            Arm::Challenger => tried.next(),
        };
        answer.pods = arms.iter().filter_map(next).collect();
        answer
    }

    fn by_champion(
        &self,
        request: &ScoreRequest,
        view: &ClusterView,
        rules: &ScoreRules,
        now: i64,
        at: Option<i64>,
    ) -> ScoreAnswer {
        let began = Instant::now();
        let answer = score(request, view, &self.champions, Some(&self.shadow), rules, now);
        self.note(Arm::Champion, request, &answer, began, at);
        answer
    }

    /// Counts what an arm answered; with a moment, its choices are put aside as well.
    fn note(&self, arm: Arm, request: &ScoreRequest, answer: &ScoreAnswer, began: Instant, at: Option<i64>) {
        // Without a challenger there is nothing to compare with.
        if self.shadow.view().is_none() {
            return;
        }
        let each = began.elapsed() / answer.pods.len().max(1) as u32;
        let mut analysis = lock(&self.analysis);
        for (asked, pod) in request.pods.iter().zip(&answer.pods) {
            let failed = lacks(pod);
            analysis.scored(arm, failed, each, &self.limits);
            self.metrics.rollout_scored(arm, failed);
            // A pod that belongs to nobody comes once: nothing is learned from it but by many of its like.
            let Some((at, workload)) = at.zip(asked.workload.as_ref()) else { continue };
            if let Some(place) = analysis.choices.wants(workload, at)
                && let Some(best) = pod.nodes.iter().max_by(|one, other| one.score.total_cmp(&other.score))
            {
                analysis.choices.note(arm, place, NodeName::new(&best.node), at, answer.strategy);
            }
        }
    }

    fn note_failed(&self, pods: usize, began: Instant) {
        let mut analysis = lock(&self.analysis);
        for _ in 0..pods {
            analysis.scored(Arm::Challenger, true, began.elapsed(), &self.limits);
            self.metrics.rollout_scored(Arm::Challenger, true);
        }
    }
}

/// Whether the versions at work could not give a part of any node's score.
fn lacks(pod: &PodScores) -> bool {
    pod.nodes.iter().any(|node| node.missing.iter().any(|reason| reason.is_of_models()))
}

/// The request with the pods of one arm.
fn part(request: &ScoreRequest, arms: &[Arm], arm: Arm) -> ScoreRequest {
    let own = request.pods.iter().zip(arms).filter(|(_, of)| **of == arm).map(|(pod, _)| pod.clone());
    ScoreRequest {
        pods: own.collect(),
        nodes: request.nodes.clone(),
        in_flight: request.in_flight.clone(),
        explain: Some(request.wants_explanations()),
    }
}
