//! The policies by name.

use super::{
    BestFit, Coldest, DotProduct, Foresight, KubeScheduler, LeastUsed, LoadVariationRiskBalancing, MostAllocated,
    Oracle, Policy, Random, Recorded, RoundRobin, TargetLoadPacking,
};
use crate::engine::{EngineSettings, run};
use crate::outcome::{CostWeights, Outcome};
use crate::world::Scenario;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A policy that a command can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Any feasible node
    Random,
    /// One node after the other
    RoundRobin,
    /// kube-scheduler's default profile
    KubeScheduler,
    /// kube-scheduler with the strategy MostAllocated
    MostAllocated,
    /// The node on which least is left
    BestFit,
    /// The node whose free capacity is most like the request
    DotProduct,
    /// Trimaran: pack up to a target utilization
    TargetLoadPacking,
    /// Trimaran: balance mean and variation
    LoadVariationRiskBalancing,
    /// Least used by telemetry, pods in flight counted
    LeastUsed,
    /// Least used by telemetry alone, to show herding
    Coldest,
    /// Where the pod really ran (for histories)
    Recorded,
    /// Reads the future usage and lifetime of every pod
    Oracle,
}

impl PolicyKind {
    /// Those that a comparison runs where none are named.
    pub const COMPARED: [Self; 11] = [
        Self::Random,
        Self::RoundRobin,
        Self::KubeScheduler,
        Self::MostAllocated,
        Self::BestFit,
        Self::DotProduct,
        Self::TargetLoadPacking,
        Self::LoadVariationRiskBalancing,
        Self::Coldest,
        Self::LeastUsed,
        Self::Oracle,
    ];

    /// A fresh policy for one run of `scenario`.
    pub fn build<'a>(self, scenario: &'a Scenario, weights: &CostWeights) -> Box<dyn Policy + 'a> {
        match self {
            Self::Random => Box::new(Random),
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::KubeScheduler => Box::new(KubeScheduler::default()),
            Self::MostAllocated => Box::new(MostAllocated),
            Self::BestFit => Box::new(BestFit),
            Self::DotProduct => Box::new(DotProduct),
            Self::TargetLoadPacking => Box::new(TargetLoadPacking::default()),
            Self::LoadVariationRiskBalancing => Box::new(LoadVariationRiskBalancing::default()),
            Self::LeastUsed => Box::new(LeastUsed),
            Self::Coldest => Box::new(Coldest),
            Self::Recorded => Box::new(Recorded::new(scenario)),
            Self::Oracle => Box::new(Oracle::new(scenario, weights.clone(), Foresight::ALL[0])),
        }
    }

    /// Runs `scenario`. The oracle's outcome is the cheapest of its foresights and of the two simple policies that are
    /// hardest to beat: the best placement that is known in hindsight.
    pub fn run(self, scenario: &Scenario, engine: &EngineSettings, weights: &CostWeights, seed: u64) -> Outcome {
        let once = |policy: &mut dyn Policy| run(scenario, engine, policy, seed);
        if self != Self::Oracle {
            return once(self.build(scenario, weights).as_mut());
        }
        let simple = [Self::KubeScheduler, Self::LeastUsed].map(|kind| kind.build(scenario, weights));
        let [simple_best, other] = simple.map(|mut policy| once(policy.as_mut()));
        let foreseen = Foresight::ALL.map(|foresight| once(&mut Oracle::new(scenario, weights.clone(), foresight)));
        let cheaper = |best: Outcome, other| if weights.cost(&other) < weights.cost(&best) { other } else { best };
        let best = foreseen.into_iter().chain([other]).fold(simple_best, cheaper);
        Outcome { policy: self.name(), ..best }
    }

    /// The name in tables and flags.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
