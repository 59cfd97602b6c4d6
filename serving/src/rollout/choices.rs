//! What the choices of both arms were worth: the node that scored best for a pod is looked at again when an hour has passed, and gets the
//! load part of what really happened there, by the strategy that chose it. So an agent is judged by outcomes, not by its own numbers.
//!
//! Two things may make one arm look worse by chance. Hours differ, and whoever looks all the time finds a bad one: that is what the
//! sequence over time is for. And the arms have other workloads, shared out once, by hash: a workload counts as one observation
//! in the interval over workloads. A challenger is worse where both say so.

use super::Arm;
use super::analysis::Shares;
use super::quality::{LATE, last_hour};
use super::stats::Mean;
use crate::nodes::ClusterView;
use cluster::score::{Quantiles, Strategy};
use cluster::{HOUR_MS, MINUTE_MS, NodeName, Resource};
use models::evidence::{BLOCK_MS, BlockSequence, SequenceInterval};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A workload's choice is put aside this often: the hours that they are about overlap.
const EVERY: i64 = 5 * MINUTE_MS;
/// Choices that wait for their hour, and workloads that are known: at most so many.
const MOST: usize = 100_000;

/// A choice of which it is not known yet what it was worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Awaited {
    arm: Arm,
    /// Place in `workloads`.
    workload: u32,
    node: NodeName,
    /// What it was chosen by. Earlier versions kept none.
    #[serde(default)]
    strategy: Strategy,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Workload {
    /// When a choice was put aside last.
    noted: Option<i64>,
    champion: Mean,
    challenger: Mean,
}

/// Choices of two arms, and what they were worth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    workloads: Vec<Workload>,
    places: BTreeMap<String, u32>,
    /// By the end of their hour.
    awaited: BTreeMap<i64, Vec<Awaited>>,
    lost: u64,
    /// Losses of the block that is being filled, by arm.
    open: OpenBlock,
    /// Challenger less champion, by block.
    difference: BlockSequence,
}

/// What both arms lost since a block began. Arms are compared within a block: a bad hour is bad for both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct OpenBlock {
    since: Option<i64>,
    champion: Mean,
    challenger: Mean,
}

impl Choices {
    /// Where a workload's next choice is to be noted, if one is wanted at this moment.
    pub fn wants(&mut self, workload: &str, at: i64) -> Option<u32> {
        let place = match self.places.get(workload) {
            Some(place) => *place,
            None if self.workloads.len() >= MOST => return None,
            None => {
                let place = self.workloads.len() as u32;
                self.workloads.push(Workload::default());
                self.places.insert(workload.to_owned(), place);
                place
            }
        };
        let noted = self.workloads[place as usize].noted;
        noted.is_none_or(|noted| at - noted >= EVERY).then_some(place)
    }

    /// The node that scored best for a pod of the workload at `place`.
    pub fn note(&mut self, arm: Arm, workload: u32, node: NodeName, at: i64, strategy: Strategy) {
        self.workloads[workload as usize].noted = Some(at);
        if self.waiting() >= MOST {
            self.lost += 1;
            return;
        }
        self.awaited.entry(at + HOUR_MS).or_default().push(Awaited { arm, workload, node, strategy });
    }

    /// Judges the choices whose hour has passed.
    pub fn settle(&mut self, view: &ClusterView) {
        self.close(view.at);
        let later = self.awaited.split_off(&(view.at + 1));
        for (due, awaited) in std::mem::replace(&mut self.awaited, later) {
            for choice in awaited {
                let worth = worth(view, &choice.node, choice.strategy).filter(|_| view.at - due <= LATE);
                let workload = &mut self.workloads[choice.workload as usize];
                match (worth, choice.arm) {
                    (Some(worth), Arm::Champion) => {
                        workload.champion.add(worth);
                        self.open.champion.add(worth);
                    }
                    (Some(worth), Arm::Challenger) => {
                        workload.challenger.add(worth);
                        self.open.challenger.add(worth);
                    }
                    (None, _) => self.lost += 1,
                }
            }
        }
    }

    /// Ends the block that is being filled once it is long enough. One in which an arm had no choice says nothing.
    fn close(&mut self, at: i64) {
        let since = *self.open.since.get_or_insert(at);
        if at - since < BLOCK_MS {
            return;
        }
        let OpenBlock { champion, challenger, .. } =
            std::mem::replace(&mut self.open, OpenBlock { since: Some(at), ..OpenBlock::default() });
        if let Some((champion, challenger)) = champion.mean().zip(challenger.mean()) {
            // The block has ended: its value is known at its beginning and closed by now.
            self.difference.add(since, champion - challenger, 1.0);
        }
        self.difference.advance(at);
    }

    /// Choices that wait for their hour.
    pub fn waiting(&self) -> usize {
        self.awaited.values().map(Vec::len).sum()
    }

    /// Choices of which nobody will know what they were worth: their node has no samples any more, no refresh came at the right time, or
    /// too many were waiting.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// What was lost by the choices of both arms: 1 less the load part of what happened. `interval` says how sure the difference is
    /// over time; the ends are those of the less sure of the two intervals.
    pub fn losses(&self, limit: f64, interval: impl Fn(&BlockSequence) -> SequenceInterval) -> Shares {
        let of = |pick: fn(&Workload) -> Mean| {
            let mut all = Mean::default();
            self.workloads.iter().filter_map(|workload| pick(workload).mean()).for_each(|worth| all.add(1.0 - worth));
            all
        };
        let (champion, challenger) = (of(|workload| workload.champion), of(|workload| workload.challenger));
        let (over_workloads, over_time) = (challenger.less(champion), interval(&self.difference));
        let both = |pick: fn(&SequenceInterval) -> Option<f64>, wider: fn(f64, f64) -> f64| {
            pick(&over_workloads).zip(pick(&over_time)).map(|(one, other)| wider(one, other))
        };
        Shares {
            champion: champion.mean(),
            challenger: challenger.mean(),
            difference: SequenceInterval {
                value: over_workloads.value,
                low: both(|difference| difference.low, f64::min),
                high: both(|difference| difference.high, f64::max),
            },
            limit: Some(limit),
        }
    }
}

/// The load part of the hour that has just passed.
fn worth(view: &ClusterView, node: &NodeName, strategy: Strategy) -> Option<f64> {
    let happened = |resource| Some((resource, Quantiles::certain(f64::from(last_hour(view, node, resource)?))));
    strategy.load_part(Resource::ALL.into_iter().filter_map(happened))
}
