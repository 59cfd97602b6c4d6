//! What may change while the process runs: mode, share, weights, limits. They come from one TOML file that is looked at several times
//! a second; a file that cannot be used is refused, and what was in force stays.

mod book;

pub use book::{Book, LOOK_EVERY};

use crate::scoring::Preferences;
use anyhow::Context;
use cluster::score::{PartWeights, Strategy};
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Who is answered with scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nobody: scores are computed and kept, the answer is neutral.
    #[default]
    Shadow,
    /// A share of the workloads.
    Canary,
    /// All pods in scope.
    Active,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Shadow, Self::Canary, Self::Active];

    /// As in files and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Active => "active",
        }
    }
}

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Who is answered with scores.
    pub mode: Mode,
    /// In canary: the share of workloads, in percent.
    pub percent: f64,
    /// Stops all influence and all work at once.
    pub kill: bool,
    /// Whether the filter verb rejects anything.
    pub filter: bool,
    /// Whether pods that were placed by a score get an annotation, beside the event that they get in any case. It takes the right to change
    /// pods, which is that to run anything anywhere unless a policy limits it.
    pub annotate: bool,
    /// How much each part of a score counts.
    pub weights: PartWeights,
    /// Which nodes the load part prefers, where scores are worked out in this process.
    pub strategy: Strategy,
    /// Which pods.
    pub scope: Scope,
    /// From scores to points.
    pub spread: Spread,
    /// When influence ends by itself.
    pub guard: Guard,
    /// Taints on nodes that are critical.
    pub quarantine: Quarantine,
}

/// Which pods are in scope. An empty list limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// These namespaces only.
    pub namespaces: Vec<String>,
    /// Not these.
    pub exclude_namespaces: Vec<String>,
    /// Pods with all of these labels only.
    pub labels: BTreeMap<String, String>,
    /// Not those with any of these.
    pub exclude_labels: BTreeMap<String, String>,
    /// Pods of these profiles of the scheduler only.
    pub scheduler_names: Vec<String>,
}

/// From scores in 0..1 to points 0..10.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spread {
    /// Best and worst that are so far apart get all ten points between them; closer ones get fewer.
    pub full_at: f64,
    /// Scores that are closer than this are as good as equal, also where the forecast seems sure.
    pub epsilon: f64,
    /// The filter rejects a node whose forecast with the pod is over this utilization, 0.75 to 0.95.
    pub filter_over: f64,
}

/// Beyond one of these the answers are neutral until things are well again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Rates and times are those of the last so long, 1s to 60s.
    pub window: Span,
    /// Share of decisions that missed the deadline.
    pub miss_rate: f64,
    /// Share that failed.
    pub error_rate: f64,
    /// 99th percentile of the time that a decision takes.
    pub latency: Span,
    /// Share of nodes whose samples are stale.
    pub stale_nodes: f64,
    /// Least share of the cluster's nodes that the metrics know.
    pub matched_nodes: f64,
    /// Fewer decisions in the window than this tell nothing.
    pub least_decisions: u64,
    /// How long all must be well before influence begins again.
    pub recover_after: Span,
}

/// Taints on nodes with a standing critical anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// Whether nodes are tainted at all.
    pub taint: bool,
    /// What the taint does.
    pub effect: Effect,
    /// How long a node must have been critical.
    pub after: Span,
    /// How long it must have been well before it is free again.
    pub recover: Span,
    /// Largest share of the nodes that carries the taint at once.
    pub most: f64,
}

/// Effect of a taint, in Kubernetes' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Effect {
    /// New pods that do not tolerate it go elsewhere.
    #[default]
    NoSchedule,
    /// New pods go elsewhere where they can.
    PreferNoSchedule,
}

impl Effect {
    /// As in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
        }
    }
}

impl Default for Quarantine {
    fn default() -> Self {
        Self {
            taint: false,
            effect: Effect::default(),
            // Four looks at samples that come every half a minute; a calm of two.
            after: Span(Duration::from_secs(120)),
            recover: Span(Duration::from_secs(600)),
            most: 0.1,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            mode: Mode::Shadow,
            percent: 0.0,
            kill: false,
            filter: false,
            annotate: false,
            weights: PartWeights::DESIGN,
            strategy: Strategy::Spread,
            scope: Scope::default(),
            spread: Spread::default(),
            guard: Guard::default(),
            quarantine: Quarantine::default(),
        }
    }
}

impl Default for Spread {
    fn default() -> Self {
        Self { full_at: 0.2, epsilon: 0.02, filter_over: 0.95 }
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            window: Span(Duration::from_secs(60)),
            miss_rate: 0.1,
            error_rate: 0.05,
            // Between the deadline's default and the 100 ms at which kube-scheduler begins to log a pod as slow.
            latency: Span(Duration::from_millis(50)),
            stale_nodes: 0.5,
            matched_nodes: 0.9,
            least_decisions: 20,
            recover_after: Span(Duration::from_secs(15)),
        }
    }
}

impl Rules {
    /// What makes one score better than another.
    pub fn preferences(&self) -> Preferences {
        Preferences { weights: self.weights, strategy: self.strategy }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is absent, no TOML, or holds an unknown key or a value out of range.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Self::parse(&runtime::files::read_text(path)?, path)
    }

    fn parse(text: &str, path: &Path) -> anyhow::Result<Self> {
        let rules: Self = toml::from_str(text).with_context(|| format!("rules file `{}`", path.display()))?;
        rules.check().with_context(|| format!("rules file `{}`", path.display()))?;
        Ok(rules)
    }

    fn check(&self) -> anyhow::Result<()> {
        self.weights.check()?;
        let within = |key: &str, value: f64, low: f64, high: f64| {
            anyhow::ensure!((low..=high).contains(&value), "`{key}` is {value}, want {low} to {high}");
            Ok(())
        };
        within("percent", self.percent, 0.0, 100.0)?;
        within("spread.full_at", self.spread.full_at, 0.01, 1.0)?;
        within("spread.epsilon", self.spread.epsilon, 0.0, 0.5)?;
        within("spread.filter_over", self.spread.filter_over, 0.75, 0.95)?;
        within("guard.miss_rate", self.guard.miss_rate, 0.0, 1.0)?;
        within("guard.error_rate", self.guard.error_rate, 0.0, 1.0)?;
        within("guard.stale_nodes", self.guard.stale_nodes, 0.0, 1.0)?;
        within("guard.matched_nodes", self.guard.matched_nodes, 0.0, 1.0)?;
        within("quarantine.most", self.quarantine.most, 0.0, 0.5)?;
        let window = self.guard.window;
        anyhow::ensure!((1_000..=60_000).contains(&window.millis()), "`guard.window` is {window}, want 1s to 60s");
        anyhow::ensure!(
            self.guard.latency.millis() >= 1,
            "`guard.latency` is {}, want at least 1ms",
            self.guard.latency
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_say_nothing_are_the_defaults_and_those_hold() {
        let rules: Rules = toml::from_str("").expect("rules");
        assert_eq!((rules.clone(), rules.mode), (Rules::default(), Mode::Shadow));
        rules.check().expect("they hold");
        // What is written comes back.
        let text = toml::to_string(&rules).expect("TOML");
        assert_eq!(toml::from_str::<Rules>(&text).expect("rules"), rules);
    }

    #[test]
    fn the_readme_tells_the_defaults() {
        let readme = include_str!("../../README.md");
        let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
        assert_eq!(toml::from_str::<Rules>(block).expect("rules"), Rules::default());
    }
}
