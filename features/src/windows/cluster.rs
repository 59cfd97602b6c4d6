//! What the nodes have in common at one moment.

use super::recent::Recent;
use super::rolling::{RollingSum, fixed};
use super::snapshot::{BadSnapshot, check};
use super::{DAY, HOUR, SCALE};
use crate::settings::WindowRules;
use crate::slot::Slot;
use serde::{Deserialize, Serialize};

/// A node at or above this utilization is hot.
pub(crate) const HOT: f32 = cluster::HOT_UTILIZATION as f32;

/// Cluster means of one resource; NaN = missing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClusterLevel {
    pub now: f32,
    pub mean_1h: f32,
    pub mean_24h: f32,
    pub change_1h: f32,
    pub change_24h: f32,
    pub hot_share: f32,
}

/// The state of the whole cluster at one grid time, which every node's row of that time shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClusterContext {
    pub(crate) cpu: ClusterLevel,
    pub(crate) memory: ClusterLevel,
    pub(crate) nodes: f32,
}

impl ClusterContext {
    /// Nothing is known of the cluster.
    pub const UNKNOWN: Self = {
        const NAN: f32 = f32::NAN;
        let level =
            ClusterLevel { now: NAN, mean_1h: NAN, mean_24h: NAN, change_1h: NAN, change_24h: NAN, hot_share: NAN };
        Self { cpu: level, memory: level, nodes: NAN }
    };
}

/// Sums over the nodes at one grid time. Integers, so that the order of the nodes does not matter.
#[derive(Debug, Clone, Copy, Default)]
struct Gathered {
    count: i64,
    total: i64,
    hot: i64,
}

impl Gathered {
    fn add(&mut self, mean: f32) {
        if !mean.is_nan() {
            self.count += 1;
            // 2^24 nodes at the largest utilization still fit with half of the windows' scale.
            self.total = self.total.saturating_add(fixed(f64::from(mean), GATHER_SCALE));
            self.hot += i64::from(mean >= HOT);
        }
    }

    fn mean(&self) -> f32 {
        if self.count == 0 { f32::NAN } else { (self.total as f64 / GATHER_SCALE / self.count as f64) as f32 }
    }
}

const GATHER_SCALE: f64 = (1_i64 << 32) as f64;

/// A day of one resource's cluster mean.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LevelWindows {
    means: Recent,
    hours: Recent,
    hour: RollingSum,
    day: RollingSum,
}

impl LevelWindows {
    fn new() -> Self {
        Self {
            means: Recent::new(DAY + 1),
            hours: Recent::new(HOUR + 1),
            hour: RollingSum::default(),
            day: RollingSum::default(),
        }
    }

    fn push(&mut self, gathered: Gathered, rules: &WindowRules) -> ClusterLevel {
        let now = gathered.mean();
        let present = |value: f32| (!value.is_nan()).then(|| fixed(f64::from(value), SCALE));
        self.hour.step(present(now), present(self.means.ago(HOUR - 1)));
        self.day.step(present(now), present(self.means.ago(DAY - 1)));
        self.means.push(now);
        let mean_1h = self.hour.mean(rules.least_slots(HOUR), SCALE) as f32;
        self.hours.push(mean_1h);
        ClusterLevel {
            now,
            mean_1h,
            mean_24h: self.day.mean(rules.least_slots(DAY), SCALE) as f32,
            change_1h: mean_1h - self.hours.ago(HOUR),
            change_24h: now - self.means.ago(DAY),
            hot_share: if gathered.count == 0 { f32::NAN } else { gathered.hot as f32 / gathered.count as f32 },
        }
    }
}

/// A day of the cluster's means.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "State", into = "State")]
pub struct ClusterWindows {
    rules: WindowRules,
    cpu: LevelWindows,
    memory: LevelWindows,
    current: ClusterContext,
}

impl ClusterWindows {
    /// A cluster of which nothing is known yet.
    pub fn new(rules: WindowRules) -> Self {
        Self { rules, cpu: LevelWindows::new(), memory: LevelWindows::new(), current: ClusterContext::UNKNOWN }
    }

    /// The context of the newest grid time.
    pub const fn current(&self) -> ClusterContext {
        self.current
    }

    /// Takes in the slots of all nodes that end at the next grid time, in any order.
    pub(crate) fn push<'a>(&mut self, slots: impl Iterator<Item = &'a Slot>) -> ClusterContext {
        let (mut cpu, mut memory, mut nodes) = (Gathered::default(), Gathered::default(), 0_u32);
        for slot in slots {
            cpu.add(slot.cpu.mean);
            memory.add(slot.memory.mean);
            nodes += u32::from(slot.samples > 0);
        }
        self.current = ClusterContext {
            cpu: self.cpu.push(cpu, &self.rules),
            memory: self.memory.push(memory, &self.rules),
            nodes: nodes as f32,
        };
        self.current
    }
}

/// What travels: the same, before anyone has checked its lengths.
#[derive(Serialize, Deserialize)]
struct State {
    rules: WindowRules,
    cpu: LevelWindows,
    memory: LevelWindows,
    current: ClusterContext,
}

impl From<ClusterWindows> for State {
    fn from(windows: ClusterWindows) -> Self {
        let ClusterWindows { rules, cpu, memory, current } = windows;
        Self { rules, cpu, memory, current }
    }
}

impl TryFrom<State> for ClusterWindows {
    type Error = BadSnapshot;

    fn try_from(State { rules, cpu, memory, current }: State) -> Result<Self, BadSnapshot> {
        for level in [&cpu, &memory] {
            check("slots of a day of the cluster", DAY + 1, level.means.keep())?;
            check("slots of an hour of the cluster", HOUR + 1, level.hours.keep())?;
        }
        Ok(Self { rules, cpu, memory, current })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Level;

    fn slot(cpu: f32) -> Slot {
        Slot { cpu: Level { mean: cpu, variance: 0.0, max: cpu }, samples: 10, ..Slot::EMPTY }
    }

    #[test]
    fn silent_nodes_do_not_count_as_idle() {
        let mut windows = ClusterWindows::new(WindowRules::default());
        let context = windows.push([slot(0.5), slot(0.9), Slot::EMPTY].iter());
        assert_eq!((context.cpu.now, context.cpu.hot_share, context.nodes), (0.7, 0.5, 2.0));
        assert!(context.memory.now.is_nan());
    }

    #[test]
    fn changes_compare_with_an_hour_and_a_day_ago() {
        let mut windows = ClusterWindows::new(WindowRules::default());
        let mut last = ClusterContext::UNKNOWN;
        // A ramp of 0.001 per slot: an hour is 0.012, a day 0.288.
        for step in 0..400 {
            last = windows.push([slot(step as f32 * 0.001)].iter());
        }
        assert!((last.cpu.change_1h - 0.012).abs() < 1e-6, "{last:?}");
        assert!((last.cpu.change_24h - 0.288).abs() < 1e-6);
    }
}
