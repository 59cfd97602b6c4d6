//! Tables for people.

use crate::plan::Plan;
use crate::run::{RunRecord, RunState, StepReport, StepState};
use crate::spec::text_of;
use std::fmt;
use std::path::Path;

/// Lines of a failed step's log that are shown.
const LOG_LINES: usize = 12;
/// Outputs that people open.
const FOR_PEOPLE: [&str; 3] = ["system.HTML", "system.Markdown", "system.Model"];

/// How a run ended: a line per step, what failed, and where to look.
pub struct Summary<'a> {
    /// The run.
    pub record: &'a RunRecord,
    /// What it ran.
    pub plan: &'a Plan,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        let width = record.steps.iter().map(|step| step.name.len()).max().unwrap_or_default().max(4);
        writeln!(f, "\n{:width$}  {:8}  {:>12}  why", "step", "state", "time")?;
        for step in &record.steps {
            writeln!(f, "{:width$}  {:8}  {:>12}  {}", step.name, step.state, time(step), why(step))?;
        }
        let total = crate::run::seconds(record.seconds);
        writeln!(f, "{:width$}  {:8}  {total:>12}  run {}", "all", state(record.state), record.id)?;
        for step in &record.steps {
            problem(f, step)?;
        }
        self.where_to_look(f)
    }
}

impl Summary<'_> {
    fn where_to_look(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWhere to look:")?;
        for step in &self.record.steps {
            let kinds = self.plan.step(&step.name).map(|planned| &planned.output_artifacts);
            for (name, path) in &step.artifacts {
                let kind = kinds.and_then(|kinds| kinds.get(name)).map(String::as_str).unwrap_or_default();
                if FOR_PEOPLE.contains(&kind) {
                    writeln!(f, "  {} {name}: {}", step.name, path.display())?;
                }
            }
        }
        writeln!(f, "  logs and state of this run: {}", self.record.folder.display())
    }
}

fn why(step: &StepReport) -> String {
    match step.attempts {
        0 | 1 => step.reason.clone(),
        attempts => format!("{} ({attempts} attempts)", step.reason),
    }
}

fn time(step: &StepReport) -> String {
    match step.state {
        StepState::NotRun | StepState::Skipped => "-".to_owned(),
        _ => crate::run::seconds(step.seconds),
    }
}

fn state(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Done => "done",
        RunState::Refused => "refused",
        RunState::Failed => "failed",
        RunState::Stopped => "stopped",
    }
}

/// The end of the log of a step that did not end well.
fn problem(f: &mut fmt::Formatter<'_>, step: &StepReport) -> fmt::Result {
    let log = match (&step.log, step.state) {
        (Some(log), StepState::Failed | StepState::Refused) => log,
        _ => return Ok(()),
    };
    writeln!(f, "\n{} {}; the end of {}:", step.name, step.state, log.display())?;
    last_lines(log).iter().try_for_each(|line| writeln!(f, "  | {line}"))
}

fn last_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

/// The steps of a definition.
pub struct Outline<'a>(pub &'a Plan);

impl fmt::Display for Outline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pipeline {}", self.0.name)?;
        for (name, parameter) in &self.0.parameters {
            let default = parameter.default_value.as_ref().map(text_of).unwrap_or_default();
            writeln!(f, "  --param {name}={default}  {}", parameter.description.as_deref().unwrap_or_default())?;
        }
        for step in &self.0.steps {
            writeln!(f, "\n{}", step.name)?;
            let command: Vec<String> = step.command.iter().map(ToString::to_string).collect();
            writeln!(f, "  command: {}", command.join(" "))?;
            let after = step.after.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            writeln!(f, "  after:   {}", if after.is_empty() { "-" } else { &after })?;
            let cached = if step.cached { "when inputs changed" } else { "always" };
            let limit = step.time_limit.map_or("none".to_owned(), |limit| format!("{} s", limit.as_secs()));
            writeln!(f, "  runs:    {cached}; {} retries; time limit {limit}; image {}", step.retry.count, step.image)?;
        }
        Ok(())
    }
}

/// A line per run.
pub struct Runs<'a>(pub &'a [RunRecord]);

impl fmt::Display for Runs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "no runs yet");
        }
        writeln!(f, "{:24}  {:8}  {:>12}  pipeline", "run", "state", "time")?;
        for run in self.0 {
            let time = crate::run::seconds(run.seconds);
            writeln!(f, "{:24}  {:8}  {time:>12}  {}", run.id, state(run.state), run.pipeline)?;
        }
        Ok(())
    }
}
