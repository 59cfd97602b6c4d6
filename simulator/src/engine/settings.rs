//! How the cluster behaves, whatever the scenario.

use clap::Args;
use runtime::WrongUse;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Section `[simulator.engine]`.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSettings {
    /// Distance of telemetry samples
    #[arg(long, env = "BERTH_SIMULATOR_TELEMETRY_STEP", default_value = "30s")]
    pub telemetry_step: Span,
    /// How late a sample is when a policy sees it
    #[arg(long, env = "BERTH_SIMULATOR_TELEMETRY_DELAY", default_value = "30s")]
    pub telemetry_delay: Span,
    /// From the kill of a pod to its return to the queue; doubled with each further kill, up to 5 minutes
    #[arg(long, env = "BERTH_SIMULATOR_RESTART_DELAY", default_value = "10s")]
    pub restart_delay: Span,
    /// From the moment room is made to the next try of pods that fit nowhere (kube-scheduler's podMaxBackoffSeconds)
    #[arg(long, env = "BERTH_SIMULATOR_RETRY_DELAY", default_value = "10s")]
    pub retry_delay: Span,
    /// Share of the nodes that is scored, in percent; 0 for kube-scheduler's own rule (50 - nodes / 125, at least 5)
    #[arg(long, env = "BERTH_SIMULATOR_PERCENTAGE_OF_NODES_TO_SCORE", default_value_t = 0)]
    pub percentage_of_nodes_to_score: u32,
}

impl Default for EngineSettings {
    fn default() -> Self {
        let seconds = |count| Span(Duration::from_secs(count));
        Self {
            telemetry_step: seconds(30),
            telemetry_delay: seconds(30),
            restart_delay: seconds(10),
            retry_delay: seconds(10),
            percentage_of_nodes_to_score: 0,
        }
    }
}

impl EngineSettings {
    /// Checks the values.
    ///
    /// # Errors
    /// [`WrongUse`] that names the setting, the limit and the value.
    pub fn check(&self) -> Result<(), WrongUse> {
        if !(1_000..=3_600_000).contains(&self.telemetry_step.millis()) {
            return Err(WrongUse(format!("--telemetry-step is {}, want 1s to 1h", self.telemetry_step)));
        }
        // A day-old sample is no telemetry any more, and the engine keeps every sample that is on its way.
        if self.telemetry_delay.millis() > 86_400_000 {
            return Err(WrongUse(format!("--telemetry-delay is {}, want at most 1day", self.telemetry_delay)));
        }
        for (name, span) in [("--restart-delay", self.restart_delay), ("--retry-delay", self.retry_delay)] {
            if !(1..=86_400_000).contains(&span.millis()) {
                return Err(WrongUse(format!("{name} is {span}, want 1ms to 1day")));
            }
        }
        if self.percentage_of_nodes_to_score > 100 {
            let value = self.percentage_of_nodes_to_score;
            return Err(WrongUse(format!("--percentage-of-nodes-to-score is {value}, want 0 to 100")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused_with_the_limit() {
        let base = EngineSettings::default();
        assert!(base.check().is_ok());
        let seconds = |count| Span(Duration::from_secs(count));
        for (settings, named) in [
            (EngineSettings { telemetry_step: seconds(0), ..base.clone() }, "--telemetry-step is 0s"),
            (EngineSettings { telemetry_delay: seconds(90_000), ..base.clone() }, "--telemetry-delay"),
            (EngineSettings { restart_delay: seconds(0), ..base.clone() }, "--restart-delay"),
            (EngineSettings { percentage_of_nodes_to_score: 101, ..base }, "is 101, want 0 to 100"),
        ] {
            let error = settings.check().expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
