//! The policies by name.

use super::{
    BestFit, Coldest, DotProduct, Foresight, GreedyOracle, KubeScheduler, Learned, LeastUsed,
    LoadVariationRiskBalancing, MostAllocated, Policy, Random, Recorded, RoundRobin, Scorer, TargetLoadPacking,
};
use crate::engine::{EngineSettings, run};
use crate::foresight::{SearchSettings, search};
use crate::outcome::{CostWeights, Outcome};
use crate::world::Scenario;
use clap::ValueEnum;
use cluster::score::PartWeights;
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
    /// Forecast of load and expected usage alone
    Predictor,
    /// The learned network alone (needs --agent)
    Agent,
    /// Forecast and network by their weights; there is no anomaly detector here, and the rest is scaled up (needs --agent)
    Combined,
    /// Knows the future usage and lifetime of every pod, and places one after the other (formerly `oracle`)
    #[value(alias = "oracle")]
    #[serde(alias = "oracle")]
    GreedyOracle,
    /// Knows the same, and searches long for the cheapest placement: the least cost that is known
    SearchOracle,
}

impl PolicyKind {
    /// Those that a comparison runs where none are named.
    pub const COMPARED: [Self; 12] = [
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
        Self::Predictor,
        Self::GreedyOracle,
    ];

    /// A fresh policy for one run of `scenario`.
    ///
    /// `scorer` is what the learned policies score by; without an agent they leave that part out.
    pub fn build<'a>(self, scenario: &'a Scenario, weights: &CostWeights, scorer: &Scorer) -> Box<dyn Policy + 'a> {
        let learned = |name, parts| Box::new(Learned::new(name, Scorer { weights: parts, ..scorer.clone() }));
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
            Self::Predictor => learned("predictor", PartWeights::LOAD),
            Self::Agent => learned("agent", PartWeights::PLACEMENT),
            Self::Combined => learned("combined", scorer.weights),
            Self::GreedyOracle | Self::SearchOracle => {
                Box::new(GreedyOracle::new(scenario, weights.clone(), Foresight::ALL[0]))
            }
        }
    }

    /// Whether it knows what is to come: no policy that can be used.
    pub const fn knows_the_future(self) -> bool {
        matches!(self, Self::GreedyOracle | Self::SearchOracle)
    }

    /// Runs `scenario`. The outcome of [`PolicyKind::GreedyOracle`] is the cheapest of its foresights and of the two simple
    /// policies that are hardest to beat; that of [`PolicyKind::SearchOracle`] is what [`search`] finds.
    pub fn run(
        self,
        scenario: &Scenario,
        engine: &EngineSettings,
        weights: &CostWeights,
        scorer: &Scorer,
        seed: u64,
    ) -> Outcome {
        let once = |policy: &mut dyn Policy| run(scenario, engine, policy, seed);
        if self == Self::SearchOracle {
            return search(scenario, engine, weights, &SearchSettings::default(), seed);
        }
        if self != Self::GreedyOracle {
            return once(self.build(scenario, weights, scorer).as_mut());
        }
        let simple = [Self::KubeScheduler, Self::LeastUsed].map(|kind| kind.build(scenario, weights, scorer));
        let [simple_best, other] = simple.map(|mut policy| once(policy.as_mut()));
        let foreseen =
            Foresight::ALL.map(|foresight| once(&mut GreedyOracle::new(scenario, weights.clone(), foresight)));
        let cheaper = |best: Outcome, other| if weights.cost(&other) < weights.cost(&best) { other } else { best };
        let best = foreseen.into_iter().chain([other]).fold(simple_best, cheaper);
        Outcome { policy: self.name(), ..best }
    }

    /// Whether it cannot do its work without a learned network.
    pub const fn needs_agent(self) -> bool {
        matches!(self, Self::Agent | Self::Combined)
    }

    /// The name in tables and flags.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
