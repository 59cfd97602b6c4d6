//! Scores by whoever answers for each pod.

use super::split::arm_of;
use super::{Arm, Rollout, lock};
use crate::nodes::ClusterView;
use crate::score::{PodScores, ScoreAnswer, ScoreRequest, ScoreRules, score};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Why a part is missing when it is the models that lack something, and not the data.
const OF_MODELS: [&str; 4] = ["no_load_predictor", "no_forecast", "no_placement_agent", "no_anomaly_detector"];

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
        let arms: Vec<Arm> = request.pods.iter().map(|pod| arm_of(pod, percent)).collect();
        let challenger_view = self.shadow.view().filter(|_| arms.contains(&Arm::Challenger));
        let Some(challenger_view) = challenger_view else {
            let answer = self.by_champion(request, view, rules, now);
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
            let answer = self.by_champion(request, view, rules, now);
            each(request, &answer);
            return answer;
        };
        trial.pods.iter_mut().for_each(|pod| pod.arm = Arm::Challenger);
        self.note(Arm::Challenger, &trial, began);
        each(&theirs, &trial);
        if ours.pods.is_empty() {
            trial.challenger_models = Some(trial.models.clone());
            return trial;
        }
        let mut answer = self.by_champion(&ours, view, rules, now);
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

    fn by_champion(&self, request: &ScoreRequest, view: &ClusterView, rules: &ScoreRules, now: i64) -> ScoreAnswer {
        let began = Instant::now();
        let answer = score(request, view, &self.champions, Some(&self.shadow), rules, now);
        self.note(Arm::Champion, &answer, began);
        answer
    }

    fn note(&self, arm: Arm, answer: &ScoreAnswer, began: Instant) {
        // Without a challenger there is nothing to compare with.
        if self.shadow.view().is_none() {
            return;
        }
        let each = began.elapsed() / answer.pods.len().max(1) as u32;
        let mut analysis = lock(&self.analysis);
        for pod in &answer.pods {
            let failed = lacks(pod);
            analysis.scored(arm, failed, each, &self.limits);
            self.metrics.rollout_scored(arm, failed);
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
    pod.nodes.iter().any(|node| node.missing.iter().any(|reason| OF_MODELS.contains(reason)))
}

/// The request with the pods of one arm.
fn part(request: &ScoreRequest, arms: &[Arm], arm: Arm) -> ScoreRequest {
    let own = request.pods.iter().zip(arms).filter(|(_, of)| **of == arm).map(|(pod, _)| pod.clone());
    ScoreRequest {
        pods: own.collect(),
        nodes: request.nodes.clone(),
        in_flight: request.in_flight.clone(),
        explain: Some(request.detail()),
    }
}
