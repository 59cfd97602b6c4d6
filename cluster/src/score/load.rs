//! The load part of a score: what the forecast says of a node with the pod on it.

use crate::{HOT_UTILIZATION, Resource, SATURATED_UTILIZATION, TARGET_UTILIZATION, VERY_HOT_UTILIZATION};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// 90th percentile of the normal distribution, in standard deviations.
pub const NORMAL_P90: f64 = 1.281_551_565_545;
/// No forecast is surer than this, in utilization: the load predictor's RMSE one hour ahead is 0.053 for CPU on the Alibaba
/// trace (docs/results.md), where most loads are far from a limit.
const LEAST_DEVIATION: f64 = 0.05;
/// With the strategy `pack` an empty node is worth this much of one at the target. A judgement: packing is worth something,
/// but less than headroom.
const EMPTY: f64 = 0.7;

/// Which nodes the load part prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Nodes that are unlikely to become hot. Nothing is gained by filling a node.
    #[default]
    Spread,
    /// Nodes that come near the target utilization: for clusters that remove empty nodes.
    Pack,
}

/// Two quantiles of a node's utilization in one hour to come, the pod included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// The level that it stays below nine times in ten.
    pub p90: f64,
}

/// A word that is not a strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid strategy, want `spread` or `pack`")]
pub struct UnknownStrategy(String);

impl Quantiles {
    /// A utilization that is known.
    pub const fn certain(utilization: f64) -> Self {
        Self { p50: utilization, p90: utilization }
    }

    /// The same node when its median comes true.
    pub const fn median(self) -> Self {
        Self::certain(self.p50)
    }

    /// The chance of passing `limit`, 0..1: of the normal distribution through both quantiles, whose deviation is 0.05 at
    /// least.
    pub fn chance_over(self, limit: f64) -> f64 {
        let deviation = ((self.p90 - self.p50) / NORMAL_P90).max(LEAST_DEVIATION);
        normal_above((limit - self.p50) / deviation)
    }
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Spread, Self::Pack];

    /// As in settings and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Pack => "pack",
        }
    }

    /// The load part of a node by its forecasts, 0..1: the worst hour and the scarcer resource decide. `None` without any.
    pub fn load_part(self, forecasts: impl IntoIterator<Item = (Resource, Quantiles)>) -> Option<f64> {
        match self {
            Self::Spread => forecasts.into_iter().map(|(_, hour)| spread_score(hour)).min_by(f64::total_cmp),
            Self::Pack => {
                let mut worst = [None::<f64>; Resource::ALL.len()];
                for (resource, hour) in forecasts {
                    let most = &mut worst[resource as usize];
                    *most = Some(most.map_or(hour.p90, |most| most.max(hour.p90)));
                }
                let scores = Resource::ALL.into_iter().zip(worst).filter_map(|(resource, most)| {
                    Some(match resource {
                        Resource::Cpu => pack_score(most?),
                        // Idle memory is worth as much as half-full memory: it cannot be lent to others.
                        Resource::Memory => pack_score(most?.max(TARGET_UTILIZATION)),
                    })
                });
                scores.min_by(f64::total_cmp)
            }
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text).ok_or_else(|| UnknownStrategy(text.to_owned()))
    }
}

/// 1 less the mean of the chances to pass 80 % and 90 %: flat at 1 while both are far, one half where the node is sure to lie
/// between them, 0 where it is sure to be above.
fn spread_score(hour: Quantiles) -> f64 {
    1.0 - 0.5 * (hour.chance_over(HOT_UTILIZATION) + hour.chance_over(VERY_HOT_UTILIZATION))
}

/// 1 at the target utilization, falling to 0 at saturation, and gently towards an empty node.
fn pack_score(utilization: f64) -> f64 {
    if utilization <= TARGET_UTILIZATION {
        EMPTY + (1.0 - EMPTY) * utilization.max(0.0) / TARGET_UTILIZATION
    } else {
        ((SATURATED_UTILIZATION - utilization) / (SATURATED_UTILIZATION - TARGET_UTILIZATION)).max(0.0)
    }
}

/// The chance that a standard normal value is above `z`. Zelen and Severo, in Abramowitz and Stegun (1964), 26.2.17; the error
/// is below 7.5e-8.
fn normal_above(z: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    let tail = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if z >= 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, proptest};

    fn close(got: f64, wanted: f64) -> bool {
        (got - wanted).abs() < 1e-4
    }

    fn cpu(p50: f64, p90: f64) -> (Resource, Quantiles) {
        (Resource::Cpu, Quantiles { p50, p90 })
    }

    #[test]
    fn chances_are_those_of_the_normal_distribution_through_both_quantiles() {
        // From a table of the normal distribution: Φ(1) = 0.84134, Φ(1.28155) = 0.9, Φ(2) = 0.97725, Φ(3) = 0.99865.
        for (z, above) in
            [(0.0, 0.5), (1.0, 0.15866), (NORMAL_P90, 0.1), (2.0, 0.02275), (3.0, 0.00135), (-1.0, 0.84134)]
        {
            assert!((normal_above(z) - above).abs() < 1e-5, "{z}: {}", normal_above(z));
        }
        // P90 is passed one time in ten, the median one time in two.
        let hour = Quantiles { p50: 0.6, p90: 0.8 };
        assert!(close(hour.chance_over(0.8), 0.1) && close(hour.chance_over(0.6), 0.5));
        // Sure of itself: a deviation of 0.05 all the same, so 0.75 is one deviation below 0.8.
        assert!(close(Quantiles::certain(0.75).chance_over(0.8), 0.15866));
        // Quantiles that have crossed count as sure.
        assert_eq!(Quantiles { p50: 0.75, p90: 0.5 }.chance_over(0.8), Quantiles::certain(0.75).chance_over(0.8));
    }

    #[test]
    fn spread_by_hand() {
        let part = |p50: f64, p90: f64| Strategy::Spread.load_part([cpu(p50, p90)]).expect("a part");
        // Idle or half full is the same: nothing is gained by filling a node.
        assert!(close(part(0.0, 0.05), 1.0) && close(part(0.5, 0.55), 1.0));
        // The median at 80 % with a deviation of 0.05: chances of one half and Φ(−2).
        assert!(close(part(0.8, 0.8), 1.0 - 0.5 * (0.5 + 0.02275)));
        // Surely between 80 and 90 %, with Φ(−1) on either side.
        assert!(close(part(0.85, 0.85), 0.5));
        assert!(close(part(1.2, 1.3), 0.0));
        // A wide forecast may become hot although its median is far from it: P90 at 0.9, deviation 0.3 ÷ 1.28155.
        assert!(close(part(0.6, 0.9), 1.0 - 0.5 * (normal_above(0.2 * NORMAL_P90 / 0.3) + 0.1)));
    }

    #[test]
    fn pack_by_hand() {
        let part = |p90: f64| Strategy::Pack.load_part([cpu(0.0, p90)]).expect("a part");
        for (utilization, score) in [(0.0, 0.7), (0.325, 0.85), (0.65, 1.0), (0.8, 0.5), (0.95, 0.0), (1.4, 0.0)] {
            assert!(close(part(utilization), score), "{utilization}");
        }
    }

    #[test]
    fn the_worst_hour_and_the_scarcer_resource_decide() {
        let memory = |p90: f64| (Resource::Memory, Quantiles { p50: p90, p90 });
        let of = |strategy: Strategy, hours: &[(Resource, Quantiles)]| strategy.load_part(hours.iter().copied());
        // By the fullest hour a node is at the target; memory at 0.8 is worth one half, idle memory takes nothing away.
        assert_eq!(of(Strategy::Pack, &[cpu(0.2, 0.3), cpu(0.5, 0.65)]), Some(1.0));
        assert!(of(Strategy::Pack, &[cpu(0.5, 0.65), memory(0.8)]).is_some_and(|part| close(part, 0.5)));
        assert_eq!(of(Strategy::Pack, &[cpu(0.5, 0.65), memory(0.1)]), Some(1.0));
        assert!(of(Strategy::Spread, &[cpu(0.2, 0.3), memory(0.85)]).is_some_and(|part| close(part, 0.5)));
        assert!(of(Strategy::Spread, &[cpu(0.85, 0.85), cpu(0.2, 0.2)]).is_some_and(|part| close(part, 0.5)));
        assert_eq!(of(Strategy::Spread, &[]), None);
        assert_eq!(of(Strategy::Pack, &[]), None);
    }

    #[test]
    fn a_strategy_is_named_as_in_settings() {
        assert_eq!("pack".parse(), Ok(Strategy::Pack));
        let error = "fill".parse::<Strategy>().expect_err("no strategy");
        assert_eq!(error.to_string(), "`fill` is not a valid strategy, want `spread` or `pack`");
    }

    proptest! {
        #[test]
        fn nothing_is_gained_by_filling_a_node(p50 in 0.0..1.5f64, wide in 0.0..0.5f64, more in 0.0..0.5f64) {
            let part = |more: f64| {
                Strategy::Spread.load_part([cpu(p50 + more, p50 + wide + more)]).expect("a part")
            };
            prop_assert!(part(more) <= part(0.0) + 1e-7, "{} {}", part(more), part(0.0));
        }

        #[test]
        fn parts_lie_between_0_and_1(p50 in -1.0..9.0f64, p90 in -1.0..9.0f64) {
            for strategy in Strategy::ALL {
                let part = strategy.load_part([cpu(p50, p90), (Resource::Memory, Quantiles { p50: p90, p90: p50 })]);
                prop_assert!(part.is_some_and(|part| (0.0..=1.0).contains(&part)), "{part:?}");
            }
        }
    }
}
