//! One step: is its last result still good; if not, run it until it ends well or is out of attempts.

use super::RunError;
use super::bind::Bound;
use super::fingerprint::{difference, hash_of};
use super::process::{Attempt, Ended};
use super::record::{ArtifactRecord, StepRecord, StepReport, StepState};
use super::schedule::Run;
use crate::plan::Step;
use runtime::files;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Exit codes that trying again does not change: wrong use, and a gate that said no.
const WRONG_USE: i32 = 2;
const GATE_REFUSED: i32 = 3;

/// How a step ended, and its result when it ended well.
pub(super) struct Outcome {
    pub report: StepReport,
    pub record: Option<StepRecord>,
}

/// A step that may start.
pub(super) struct StepRun<'a> {
    run: &'a Run<'a>,
    step: &'a Step,
    bound: Result<Bound, String>,
    start: Instant,
}

impl<'a> StepRun<'a> {
    /// # Errors
    /// When the step's program cannot be read.
    pub fn new(run: &'a Run<'a>, step: &'a Step, results: &BTreeMap<String, StepRecord>) -> Result<Self, RunError> {
        let bound = Bound::new(step, &run.id, &run.parameters, results, run.layout);
        Ok(Self { run, step, bound, start: Instant::now() })
    }

    /// Runs the step to its end.
    ///
    /// # Errors
    /// When the run's own files cannot be written. That the step fails is in the outcome.
    pub async fn run(self) -> Result<Outcome, RunError> {
        let bound = match &self.bound {
            Ok(bound) => bound,
            Err(input) => {
                let reason = format!("input `{input}` has no value yet: run the steps before it first");
                return Ok(self.outcome(StepState::Failed, 0, reason));
            }
        };
        let Some(program) = self.program() else {
            let name = self.step.command.first().map(ToString::to_string).unwrap_or_default();
            let reason = format!("program `{name}` is neither beside the runner nor in PATH");
            return Ok(self.outcome(StepState::Failed, 0, reason));
        };
        let inputs = self.run.surroundings.inputs(self.step, bound, &program)?;
        let why = match self.earlier(&inputs)? {
            Ok(record) => return Ok(self.skipped(record)),
            Err(why) => why,
        };
        self.run.progress.started(&self.step.name, &why);
        self.attempts(bound, &program, inputs, why).await
    }

    /// The file of the step's program: beside the runner, else in PATH.
    fn program(&self) -> Option<PathBuf> {
        let name = PathBuf::from(self.step.command.first()?.to_string());
        if name.components().count() > 1 {
            return name.is_file().then_some(name);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = self.run.program_folder.iter().cloned().chain(std::env::split_paths(&path));
        folders.map(|folder| folder.join(&name)).find(|file| file.is_file())
    }

    /// The earlier result that stands, or why there is none.
    fn earlier(&self, inputs: &BTreeMap<String, String>) -> Result<Result<StepRecord, String>, RunError> {
        let path = self.run.layout.step_record(&self.step.name);
        if self.run.selection.forces(&self.step.name) {
            return Ok(Err("asked for".to_owned()));
        }
        if !path.exists() {
            return Ok(Err("first time".to_owned()));
        }
        let Ok(record) = files::read_json::<StepRecord>(&path) else {
            return Ok(Err("the record of its last result is damaged".to_owned()));
        };
        let of_this_run = self.run.resumed && record.run == self.run.id;
        if !self.step.cached && !of_this_run {
            return Ok(Err("always runs".to_owned()));
        }
        if let Some(difference) = difference(&record.inputs, inputs) {
            return Ok(Err(difference));
        }
        for (name, artifact) in &record.artifacts {
            let file = self.run.layout.root().join(&artifact.path);
            if !file.exists() || hash_of(&file)? != artifact.sha256 {
                return Ok(Err(format!("its output `{name}` is gone or was changed")));
            }
        }
        Ok(Ok(record))
    }

    async fn attempts(
        &self,
        bound: &Bound,
        program: &Path,
        inputs: BTreeMap<String, String>,
        why: String,
    ) -> Result<Outcome, RunError> {
        let arguments = match bound.command(self.step) {
            Ok(command) => command,
            Err(name) => return Ok(self.outcome(StepState::Failed, 0, format!("there is no `{name}`"))),
        };
        let mut stop = self.run.stop.clone();
        let mut number = 1;
        loop {
            let pause = self.step.retry.pause_before(number);
            if tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok() {
                return Ok(self.outcome(StepState::Stopped, number - 1, "the run was asked to stop".to_owned()));
            }
            self.clear_outputs(bound)?;
            let ended = self.attempt(program, &arguments, number).await?;
            let failed = match ended {
                Ended::Code(0) => match self.result(bound, &inputs)? {
                    Ok(record) => return self.done(record, number, why),
                    Err(problem) => problem,
                },
                Ended::Code(GATE_REFUSED) => {
                    let mut outcome = self.outcome(StepState::Refused, number, "the gate said no".to_owned());
                    outcome.report.artifacts = written(bound);
                    return Ok(outcome);
                }
                Ended::Code(WRONG_USE) => {
                    let reason = "exit code 2: its command line or configuration is wrong".to_owned();
                    return Ok(self.outcome(StepState::Failed, number, reason));
                }
                Ended::Stopped => {
                    return Ok(self.outcome(StepState::Stopped, number, "the run was asked to stop".to_owned()));
                }
                Ended::Code(code) => format!("exit code {code}"),
                Ended::Signal(signal) => format!("ended by signal {signal}"),
                Ended::TimedOut(limit) => format!("took longer than its limit of {} s", limit.as_secs()),
            };
            if number > self.step.retry.count {
                return Ok(self.outcome(StepState::Failed, number, failed));
            }
            number += 1;
            self.run.progress.again(&self.step.name, &failed, number, self.step.retry.pause_before(number));
        }
    }

    async fn attempt(&self, program: &Path, arguments: &[String], number: u32) -> Result<Ended, RunError> {
        let log = self.run.layout.log(&self.run.id, &self.step.name);
        let head = format!("$ {} # attempt {number}\n", arguments.join(" "));
        append(&log, &head)?;
        let mut environment = self.step.environment.clone();
        if let Some(config) = &self.run.config {
            environment.push(("BERTH_CONFIG".to_owned(), config.display().to_string()));
        }
        let attempt = Attempt {
            program,
            arguments: arguments.get(1..).unwrap_or_default(),
            environment: &environment,
            log: &log,
            limit: self.step.time_limit,
            trace: self.run.layout.running().join(format!("{}.json", self.step.name)),
        };
        attempt.run(self.run.stop.clone()).await
    }

    /// An attempt starts with nothing that an earlier one left.
    fn clear_outputs(&self, bound: &Bound) -> Result<(), RunError> {
        let folder = self.run.layout.outputs(&self.run.id, &self.step.name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|source| RunError::file("remove", &folder, source))?;
        }
        let values = folder.join(".values");
        let wanted = if bound.output_parameters.is_empty() { &folder } else { &values };
        std::fs::create_dir_all(wanted).map_err(|source| RunError::file("create", wanted, source))
    }

    /// What a step that ended well has written, or what is missing.
    fn result(&self, bound: &Bound, inputs: &BTreeMap<String, String>) -> Result<Result<StepRecord, String>, RunError> {
        let mut artifacts = BTreeMap::new();
        for (name, (path, kind)) in &bound.output_artifacts {
            if !path.exists() {
                return Ok(Err(format!("exit code 0, but it did not write its output `{name}`")));
            }
            let relative = path.strip_prefix(self.run.layout.root()).unwrap_or(path).to_owned();
            let record = ArtifactRecord { path: relative, sha256: hash_of(path)?, kind: kind.clone() };
            artifacts.insert(name.clone(), record);
        }
        let mut parameters = BTreeMap::new();
        for (name, kind) in &self.step.output_parameters {
            let text = bound.output_parameters.get(name).and_then(|path| std::fs::read_to_string(path).ok());
            let value: Option<Value> = text.as_deref().and_then(|text| kind.read(text));
            let Some(value) = value else {
                return Ok(Err(format!("exit code 0, but its output `{name}` is absent or no {kind}")));
            };
            parameters.insert(name.clone(), value);
        }
        let seconds = self.start.elapsed().as_secs_f64();
        Ok(Ok(StepRecord { run: self.run.id.clone(), inputs: inputs.clone(), artifacts, parameters, seconds }))
    }

    fn done(&self, record: StepRecord, attempts: u32, why: String) -> Result<Outcome, RunError> {
        files::write_json(&self.run.layout.step_record(&self.step.name), &record)?;
        let mut outcome = self.outcome(StepState::Done, attempts, why);
        outcome.report.artifacts = self.paths(&record);
        outcome.record = Some(record);
        Ok(outcome)
    }

    fn skipped(&self, record: StepRecord) -> Outcome {
        let reason = match record.run == self.run.id {
            true => "done before this run was interrupted".to_owned(),
            false => format!("inputs unchanged since run {}", record.run),
        };
        let mut outcome = self.outcome(StepState::Skipped, 0, reason);
        outcome.report.log = None;
        outcome.report.artifacts = self.paths(&record);
        outcome.record = Some(record);
        outcome
    }

    fn paths(&self, record: &StepRecord) -> BTreeMap<String, PathBuf> {
        let path = |artifact: &ArtifactRecord| self.run.layout.root().join(&artifact.path);
        record.artifacts.iter().map(|(name, artifact)| (name.clone(), path(artifact))).collect()
    }

    fn outcome(&self, state: StepState, attempts: u32, reason: String) -> Outcome {
        let log = (attempts > 0).then(|| self.run.layout.log(&self.run.id, &self.step.name));
        let report = StepReport {
            name: self.step.name.clone(),
            state,
            seconds: self.start.elapsed().as_secs_f64(),
            attempts,
            reason,
            log,
            artifacts: BTreeMap::new(),
        };
        Outcome { report, record: None }
    }
}

/// The outputs that are there, of a step that did not end well.
fn written(bound: &Bound) -> BTreeMap<String, PathBuf> {
    let outputs = bound.output_artifacts.iter().map(|(name, (path, _))| (name.clone(), path.clone()));
    outputs.filter(|(_, path)| path.exists()).collect()
}

fn append(path: &Path, text: &str) -> Result<(), RunError> {
    use std::io::Write;
    let fail = |source| RunError::file("write", path, source);
    let mut file = std::fs::File::options().create(true).append(true).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)
}
