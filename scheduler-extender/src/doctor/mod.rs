//! `scheduler-extender doctor`: looks at everything that the extender depends on, before it is trusted with a cluster, and says what to do
//! about what is wrong.

mod checks;
mod rights;
mod scheduler;

pub use scheduler::scheduler_config;

use crate::run::Setup;
use report::printable;
use runtime::GateRefused;
use serde::Serialize;
use std::path::PathBuf;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As wanted.
    Ok,
    /// It works, but not as well as it could, or it could not be looked at.
    Warning,
    /// It does not work.
    Failed,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub said: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

impl Finding {
    fn ok(check: &'static str, said: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, said: said.into(), advice: String::new() }
    }

    fn warning(check: &'static str, said: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, said: said.into(), advice: advice.into() }
    }

    fn failed(check: &'static str, said: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Failed, said: said.into(), advice: advice.into() }
    }
}

/// What to look at.
#[derive(Debug)]
pub struct Patient {
    /// What `run` would be given.
    pub of: Setup,
    /// kube-scheduler's configuration, if it may be looked at.
    pub scheduler_config: Option<PathBuf>,
}

impl Patient {
    /// Looks at everything.
    pub async fn look(&self) -> Vec<Finding> {
        let mut findings = vec![checks::rules(self), checks::certificates(self)];
        findings.extend(checks::models(self).await);
        let named = checks::prometheus(self, &mut findings).await;
        checks::cluster(self, named.as_ref(), &mut findings).await;
        match &self.scheduler_config {
            Some(path) => findings.extend(scheduler_config(path, &self.of.limits, &self.of.tls)),
            None => findings.push(Finding::warning(
                "kube-scheduler",
                "its configuration was not looked at",
                "name the file with --scheduler-config",
            )),
        }
        findings
    }
}

/// Prints findings for people or programs.
///
/// # Errors
/// With exit code 3 where something does not work.
pub fn print(findings: &[Finding], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(findings)?);
    } else {
        for finding in findings {
            let mark = match finding.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Failed => "FAILED ",
            };
            println!("{mark}  {}: {}", finding.check, printable(&finding.said));
            if !finding.advice.is_empty() {
                println!("         → {}", printable(&finding.advice));
            }
        }
    }
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count();
    if failed > 0 {
        return Err(GateRefused(format!("{failed} of {} checks failed", findings.len())).into());
    }
    Ok(())
}
