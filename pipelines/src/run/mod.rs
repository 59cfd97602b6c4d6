//! Runs a plan on this machine.
//!
//! Steps that do not wait for each other run at the same time. A step whose inputs are those of its last good result is
//! skipped when the definition allows it. A step that fails is tried again as the definition says; exit code 2 (wrong
//! use) and 3 (a gate said no) are final. What depends on a step that did not end well is not run; the rest goes on.
//! State is written after each step, so a run that failed, was stopped or killed goes on where it was.

mod bind;
mod error;
mod fingerprint;
mod layout;
mod process;
mod progress;
mod prune;
mod record;
mod schedule;
mod select;
mod step;

pub use error::RunError;
pub use layout::Layout;
pub use record::{ArtifactRecord, RunRecord, RunState, StepRecord, StepReport, StepState};
pub use select::Selection;

use crate::plan::Plan;
use chrono::{DateTime, SecondsFormat, Utc};
use fingerprint::Surroundings;
use progress::Progress;
pub(crate) use progress::seconds;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};
use tokio::sync::watch;

/// How to run a plan.
#[derive(Debug, Clone)]
pub struct Options {
    /// Data root; runs are kept in its folder `pipeline`.
    pub data: PathBuf,
    /// Values for the pipeline's parameters, as typed.
    pub parameters: BTreeMap<String, String>,
    /// Which steps, and which of them in any case.
    pub selection: Selection,
    /// Go on with the newest run, which did not end well, with its parameters.
    pub resume: bool,
    /// At most this many steps at the same time, at least 1.
    pub parallel: usize,
    /// Keep this many newest runs; older ones go when no step's last good result is in them.
    pub keep: usize,
    /// The configuration file that the steps read; its content counts as an input of every step.
    pub config: Option<PathBuf>,
    /// Where programs are looked up before PATH.
    pub program_folder: Option<PathBuf>,
}

/// The parameter of a pipeline that takes the data root, unless it is given.
const DATA_PARAMETER: &str = "data";

/// Runs a plan until it ends or `stop` becomes true. How the steps ended is in the record.
///
/// # Errors
/// When the run cannot start, or its own files cannot be written.
pub async fn execute(plan: &Plan, options: &Options, stop: watch::Receiver<bool>) -> Result<RunRecord, RunError> {
    options.selection.check(plan)?;
    std::fs::create_dir_all(&options.data).map_err(|source| RunError::file("create", &options.data, source))?;
    let data = options.data.canonicalize().map_err(|source| RunError::file("find", &options.data, source))?;
    let layout = Layout::new(&data);
    let _lock = layout.lock()?;
    for step in process::end_left_behind(&layout.running())? {
        tracing::warn!(step, "ended a step that a killed run had left behind");
    }
    let mut record = if options.resume {
        unfinished(plan, &layout)?
    } else {
        let parameters = parameters(plan, options, &data)?;
        new_run(plan, &layout, parameters)?
    };
    let start = Instant::now();
    let run = schedule::Run {
        plan,
        layout: &layout,
        id: record.id.clone(),
        parameters: record.parameters.clone(),
        resumed: options.resume,
        selection: &options.selection,
        surroundings: Surroundings::read(options.config.as_deref())?,
        program_folder: options.program_folder.clone(),
        config: options.config.clone(),
        parallel: options.parallel.max(1),
        progress: Progress::new(plan),
        stop,
    };
    let done = run.all(|steps| {
        let mut so_far = record.clone();
        so_far.steps = steps.to_vec();
        so_far.seconds = start.elapsed().as_secs_f64();
        Ok(runtime::files::write_json(&layout.run_record(&so_far.id), &so_far)?)
    });
    record.steps = done.await?;
    record.seconds = start.elapsed().as_secs_f64();
    record.state = state_of(&record.steps, &options.selection, plan);
    runtime::files::write_json(&layout.run_record(&record.id), &record)?;
    prune::old_runs(&layout, options.keep, &record.id)?;
    Ok(record)
}

fn new_run(plan: &Plan, layout: &Layout, parameters: BTreeMap<String, Value>) -> Result<RunRecord, RunError> {
    let now = DateTime::<Utc>::from(SystemTime::now());
    let id = layout.new_run(now)?;
    let record = RunRecord {
        pipeline: plan.name.clone(),
        parameters,
        started_at: now.to_rfc3339_opts(SecondsFormat::Secs, true),
        seconds: 0.0,
        state: RunState::Running,
        steps: Vec::new(),
        folder: layout.run(&id),
        id,
    };
    runtime::files::write_json(&layout.run_record(&record.id), &record)?;
    Ok(record)
}

/// The newest run, when it did not end well.
fn unfinished(plan: &Plan, layout: &Layout) -> Result<RunRecord, RunError> {
    let nothing = || RunError::NothingToResume { root: layout.root().to_owned() };
    let newest = layout.run_ids()?.pop().ok_or_else(nothing)?;
    let mut record = layout.read_run(&newest)?;
    if record.state == RunState::Done {
        return Err(nothing());
    }
    if record.pipeline != plan.name {
        return Err(RunError::OtherPipeline { run: newest, was: record.pipeline, is: plan.name.clone() });
    }
    record.state = RunState::Running;
    record.folder = layout.run(&record.id);
    Ok(record)
}

/// The value of every parameter of the pipeline.
fn parameters(plan: &Plan, options: &Options, data: &std::path::Path) -> Result<BTreeMap<String, Value>, RunError> {
    if let Some(name) = options.parameters.keys().find(|name| !plan.parameters.contains_key(*name)) {
        let known = plan.parameters.keys().cloned().collect::<Vec<_>>().join("`, `");
        return Err(RunError::UnknownParameter { pipeline: plan.name.clone(), name: name.clone(), known });
    }
    let mut values = BTreeMap::new();
    for (name, declared) in &plan.parameters {
        let value = match options.parameters.get(name) {
            Some(text) => declared.parameter_type.read(text).ok_or_else(|| RunError::ParameterType {
                name: name.clone(),
                value: text.clone(),
                wanted: declared.parameter_type,
            })?,
            None if name == DATA_PARAMETER => Value::String(data.display().to_string()),
            None => declared.default_value.clone().ok_or_else(|| RunError::MissingParameter { name: name.clone() })?,
        };
        values.insert(name.clone(), value);
    }
    Ok(values)
}

fn state_of(steps: &[StepReport], selection: &Selection, plan: &Plan) -> RunState {
    let any = |state: StepState| steps.iter().any(|step| step.state == state);
    // A selection leaves steps out on purpose.
    let missing = |step: &&StepReport| step.state == StepState::NotRun && selection.runs(plan, &step.name);
    if any(StepState::Stopped) {
        RunState::Stopped
    } else if any(StepState::Failed) {
        RunState::Failed
    } else if any(StepState::Refused) {
        RunState::Refused
    } else if steps.iter().any(|step| missing(&step)) {
        RunState::Stopped
    } else {
        RunState::Done
    }
}
