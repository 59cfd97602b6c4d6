//! Starts each step when all that it depends on has ended well.

use super::fingerprint::Surroundings;
use super::progress::Progress;
use super::record::{StepRecord, StepReport, StepState};
use super::step::{Outcome, StepRun};
use super::{Layout, RunError, Selection};
use crate::plan::{Plan, Step};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tokio::sync::watch;

/// All that the steps of one run share.
pub(super) struct Run<'a> {
    pub plan: &'a Plan,
    pub layout: &'a Layout,
    pub id: String,
    pub parameters: BTreeMap<String, Value>,
    /// Results of this very run stand, also those of steps that are never taken from the cache.
    pub resumed: bool,
    pub selection: &'a Selection,
    pub surroundings: Surroundings,
    pub program_folder: Option<PathBuf>,
    pub config: Option<PathBuf>,
    pub parallel: usize,
    pub progress: Progress,
    pub stop: watch::Receiver<bool>,
}

impl Run<'_> {
    /// Runs all steps. `save` is called after each with the reports so far.
    ///
    /// # Errors
    /// When the run's own files cannot be written; steps that are going on are then ended.
    pub async fn all(
        &self,
        mut save: impl FnMut(&[StepReport]) -> Result<(), RunError>,
    ) -> Result<Vec<StepReport>, RunError> {
        let mut results: BTreeMap<String, StepRecord> = BTreeMap::new();
        let mut reports: BTreeMap<String, StepReport> = BTreeMap::new();
        let mut started: BTreeSet<&str> = BTreeSet::new();
        let mut going = FuturesUnordered::new();
        loop {
            for step in &self.plan.steps {
                if started.contains(step.name.as_str()) || !step.after.iter().all(|name| reports.contains_key(name)) {
                    continue;
                }
                let Some(reason) = self.reason_not_to_run(step, &reports) else {
                    if going.len() < self.parallel {
                        started.insert(&step.name);
                        going.push(StepRun::new(self, step, &results)?.run());
                    }
                    continue;
                };
                started.insert(&step.name);
                if let Some(record) = self.earlier_result(step) {
                    results.insert(step.name.clone(), record);
                }
                let report = not_run(step, reason);
                self.progress.ended(&report);
                reports.insert(step.name.clone(), report);
            }
            if let Some(outcome) = going.next().await {
                let Outcome { report, record } = outcome?;
                self.progress.ended(&report);
                if let Some(record) = record {
                    results.insert(report.name.clone(), record);
                }
                reports.insert(report.name.clone(), report);
                save(&self.in_order(&reports))?;
            } else if started.len() == self.plan.steps.len() {
                return Ok(self.in_order(&reports));
            }
        }
    }

    /// The last good result of a step that is left out on purpose.
    fn earlier_result(&self, step: &Step) -> Option<StepRecord> {
        let record = runtime::files::read_json(&self.layout.step_record(&step.name)).ok();
        record.filter(|_| !self.selection.runs(self.plan, &step.name))
    }

    fn reason_not_to_run(&self, step: &Step, reports: &BTreeMap<String, StepReport>) -> Option<String> {
        if !self.selection.runs(self.plan, &step.name) {
            return Some("not asked for".to_owned());
        }
        let not_good = |name: &&String| {
            let good = reports.get(*name).is_some_and(|report| report.state.is_good());
            // A step that was left out on purpose stands with its earlier result.
            !good && self.selection.runs(self.plan, name)
        };
        if let Some(before) = step.after.iter().find(not_good) {
            let state = reports.get(before).map_or(StepState::NotRun, |report| report.state);
            return Some(format!("`{before}`: {state}"));
        }
        self.stop.borrow().then(|| "the run was asked to stop".to_owned())
    }

    fn in_order(&self, reports: &BTreeMap<String, StepReport>) -> Vec<StepReport> {
        self.plan.steps.iter().filter_map(|step| reports.get(&step.name).cloned()).collect()
    }
}

fn not_run(step: &Step, reason: String) -> StepReport {
    StepReport {
        name: step.name.clone(),
        state: StepState::NotRun,
        seconds: 0.0,
        attempts: 0,
        reason,
        log: None,
        artifacts: BTreeMap::new(),
    }
}
