//! One line per step: a spinner on a terminal while it is going on, a plain line when it has ended.

use super::record::{StepReport, StepState};
use crate::plan::Plan;
use indicatif::{MultiProgress, ProgressBar};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lines on standard error.
pub(super) struct Progress {
    terminal: Option<MultiProgress>,
    spinners: Mutex<BTreeMap<String, ProgressBar>>,
    width: usize,
}

impl Progress {
    pub fn new(plan: &Plan) -> Self {
        let width = plan.steps.iter().map(|step| step.name.len()).max().unwrap_or_default();
        let terminal = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { terminal, spinners: Mutex::default(), width }
    }

    /// A step starts. Without a terminal nothing is written yet.
    pub fn started(&self, step: &str, why: &str) {
        if let Some(terminal) = &self.terminal {
            let spinner = terminal.add(runtime::progress::spinner(&self.line(step, "running", why)));
            self.spinners.lock().unwrap_or_else(PoisonError::into_inner).insert(step.to_owned(), spinner);
        }
    }

    /// A step is tried again.
    pub fn again(&self, step: &str, failed: &str, attempt: u32, pause: Duration) {
        let text = format!("{failed}; attempt {attempt} in {} s", pause.as_secs_f64().round());
        match self.spinners.lock().unwrap_or_else(PoisonError::into_inner).get(step) {
            Some(spinner) => spinner.set_message(self.line(step, "retry", &text)),
            None => eprintln!("{}", self.line(step, "retry", &text)),
        }
    }

    /// A step has ended.
    pub fn ended(&self, report: &StepReport) {
        let time = match report.state {
            StepState::NotRun | StepState::Skipped => String::new(),
            _ => format!("{} ", seconds(report.seconds)),
        };
        let line = self.line(&report.name, &report.state.to_string(), &format!("{time}({})", report.reason));
        if let Some(spinner) = self.spinners.lock().unwrap_or_else(PoisonError::into_inner).remove(&report.name) {
            spinner.finish_and_clear();
        }
        match &self.terminal {
            // A line that cannot be drawn is no reason to end the run.
            Some(terminal) => drop(terminal.println(line)),
            None => eprintln!("{line}"),
        }
    }

    fn line(&self, step: &str, state: &str, text: &str) -> String {
        format!("{step:width$}  {state:8} {text}", width = self.width)
    }
}

/// A time for people: `0.4 s`, `75 s`, `12 min 5 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 119.5 {
        format!("{seconds:.0} s")
    } else {
        let whole = seconds.round();
        format!("{:.0} min {:.0} s", (whole / 60.0).floor(), whole % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_short() {
        assert_eq!([0.04, 9.94, 74.6, 119.4].map(seconds), ["0.0 s", "9.9 s", "75 s", "119 s"]);
        assert_eq!([119.5, 725.0].map(seconds), ["2 min 0 s", "12 min 5 s"]);
    }
}
