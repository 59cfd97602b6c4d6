//! A cost that no placement can beat, from a relaxation of each usage step.
//!
//! A pod that has arrived and cannot have ended yet either runs or waits, whatever was decided before; a minute of waiting costs
//! its weight, and while a pod runs its usage is that of the scenario, on whichever node. So the cost of a step is at least that of
//! this problem: let a part of such pods wait, each as little or as much as you like, and share the CPU that the others use among
//! the nodes as if it could be poured, so that hot and throttled minutes cost least. Requests count in sum: who runs must fit into
//! all nodes together, and no node can take more usage than the pods of densest usage that fit into it by requests. What a node's
//! usage costs is a staircase; the largest convex function below it stands for it, so the problem is solved by going for the
//! cheapest slope first.
//!
//! Memory kills, imbalance, stranded capacity and P95 are taken for free, and every step for itself: the bound is proven and not
//! tight.

use crate::outcome::CostWeights;
use crate::world::{Node, Pod, Scenario};
use cluster::{HOT_UTILIZATION, MINUTE_MS, VERY_HOT_UTILIZATION};

/// Sums of floats may differ by this share of themselves: limits are wider by it.
const ROUNDING: f64 = 1e-9;
/// Resources that requests are counted in: CPU, memory, thousandths of GPUs, places for pods.
const RESOURCES: usize = 4;
/// The engine does not count a pod as throttled that gets all but this share of what it wants.
const TOLERATED: f64 = 1e-3;

/// The cost per 1,000 node-minutes, as [`CostWeights::cost`] gives it, that no policy is below on this scenario.
pub fn lower_bound(scenario: &Scenario, weights: &CostWeights) -> f64 {
    let (can_run, never): (Vec<&Pod>, Vec<&Pod>) = scenario.pods.iter().partition(|pod| has_a_node(scenario, pod));
    let minutes = |ms: i64| ms.max(0) as f64 / MINUTE_MS as f64;
    let waits: f64 = never.iter().map(|pod| minutes(scenario.span_ms - pod.arrives_ms)).sum();
    let mut cost = weights.pending * waits;
    let (mut next, mut alive): (usize, Vec<&Pod>) = (0, Vec::new());
    let mut from_ms = 0;
    while from_ms < scenario.span_ms {
        let until_ms = (from_ms + scenario.usage_step_ms).min(scenario.span_ms);
        // Pods that are there for the whole step, and nodes that are there for any part of it.
        while can_run.get(next).is_some_and(|pod| pod.arrives_ms <= from_ms) {
            alive.push(can_run[next]);
            next += 1;
        }
        let ends_ms = |pod: &Pod| pod.runs_ms.map_or(i64::MAX, |runs| pod.arrives_ms.saturating_add(runs));
        alive.retain(|pod| ends_ms(pod) >= until_ms);
        let slot = scenario.slot(from_ms);
        let step = Step::new(scenario, &alive, slot, (from_ms, until_ms), weights);
        cost += step.cost(weights) * minutes(until_ms - from_ms);
        from_ms = until_ms;
    }
    let there = |node: &Node| {
        minutes(
            node.leaves_ms.unwrap_or(scenario.span_ms).min(scenario.span_ms) - node.joins_ms.clamp(0, scenario.span_ms),
        )
    };
    let node_minutes: f64 = scenario.nodes.iter().map(there).sum();
    // A little lower, for rounding in sums over thousands of steps.
    (1.0 - ROUNDING) * cost * 1_000.0 / node_minutes.max(f64::MIN_POSITIVE)
}

/// Whether any node can take the pod when it is empty.
fn has_a_node(scenario: &Scenario, pod: &Pod) -> bool {
    let rules = scenario.rules_of(pod.workload);
    let request = &pod.request;
    scenario.nodes.iter().any(|node| {
        node.cpu >= request.cpu
            && node.memory >= request.memory
            && node.gpus >= request.gpus
            && node.max_pods > 0
            && rules.admits(node)
    })
}

/// The relaxed problem of one usage step.
struct Step {
    /// CPU that the pods use, the most first.
    usage: Vec<f64>,
    /// How many must wait since all nodes together have no room.
    least_waiting: f64,
    /// What nodes cost by what the system alone uses.
    fixed: f64,
    /// CPU that can be shared out, and what a unit of it costs, the cheapest first.
    slopes: Vec<(f64, f64)>,
}

impl Step {
    fn new(
        scenario: &Scenario,
        alive: &[&Pod],
        slot: u64,
        (from_ms, until_ms): (i64, i64),
        weights: &CostWeights,
    ) -> Self {
        let pods: Vec<(f64, [f64; RESOURCES])> =
            alive.iter().map(|pod| (pod.usage.at(&scenario.series, slot).0, requests(pod))).collect();
        let there = || {
            scenario
                .nodes
                .iter()
                .filter(|node| node.joins_ms < until_ms && node.leaves_ms.is_none_or(|leaves| leaves > from_ms))
        };
        let mut capacity = [0.0; RESOURCES];
        for node in there() {
            capacity.iter_mut().zip(capacities(node)).for_each(|(sum, of)| *sum += of);
        }
        let waiting = |resource: usize| {
            least_waiting(pods.iter().map(|(_, request)| request[resource]).collect(), capacity[resource])
        };
        let least_waiting = (0..RESOURCES).map(waiting).fold(0.0, f64::max);
        let mut usage: Vec<f64> = pods.iter().map(|(usage, _)| *usage).collect();
        usage.sort_unstable_by(|a, b| b.total_cmp(a));
        let hold = Hold::new(&pods, &usage);
        let (mut fixed, mut slopes) = (0.0, Vec::new());
        let mut known: Vec<((u64, u64, u32), Vec<(f64, f64)>)> = Vec::new();
        for node in there() {
            let is_whole = node.joins_ms <= from_ms && node.leaves_ms.is_none_or(|leaves| leaves >= until_ms);
            let system = node.baseline.filter(|_| is_whole).map_or(0.0, |usage| usage.at(&scenario.series, slot).0);
            let shape = (node.cpu.millicores(), node.memory.get(), node.max_pods);
            // Nodes of one shape on which the system uses nothing are alike.
            let seen = known.iter().find(|(of, _)| *of == shape).filter(|_| system == 0.0);
            if let Some((_, of)) = seen {
                slopes.extend_from_slice(of);
                continue;
            }
            let stairs = Stairs {
                cpu: node.cpu.millicores() as f64,
                system,
                most: hold.most(node),
                widest: usage.first().copied().unwrap_or(0.0),
            };
            let (base, of) = stairs.hull(weights);
            fixed += base;
            slopes.extend_from_slice(&of);
            if system == 0.0 {
                known.push((shape, of));
            }
        }
        slopes.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
        Self { usage, least_waiting, fixed, slopes }
    }

    /// The least cost of a minute.
    fn cost(&self, weights: &CostWeights) -> f64 {
        // Whoever must wait is taken to be those that use most.
        let mut waiting = Waiting { usage: &self.usage, place: 0, taken: 0.0, cost: 0.0, weight: weights.pending };
        waiting.take_pods(self.least_waiting);
        let mut left: f64 =
            self.usage.iter().sum::<f64>() - self.usage[..waiting.place].iter().sum::<f64>() - waiting.taken;
        let mut filled: Vec<(f64, f64)> = Vec::new();
        let mut cost = self.fixed;
        for (length, slope) in &self.slopes {
            let part = left.min(*length);
            if part <= 0.0 {
                break;
            }
            filled.push((part, *slope));
            cost += part * slope;
            left -= part;
        }
        // What no node can take has to wait.
        waiting.take_usage(left);
        // More pods wait where that costs less than what they use at the steepest slope.
        while let Some((part, slope)) = filled.last_mut() {
            let Some((usage, rest)) = waiting.next() else { break };
            if *slope * usage <= weights.pending {
                break;
            }
            let moved = rest.min(*part);
            cost -= moved * *slope;
            waiting.take_usage(moved);
            *part -= moved;
            if *part <= 0.0 {
                filled.pop();
            }
        }
        cost + waiting.cost
    }
}

/// Pods that are made to wait, those of most usage first, in parts if need be.
struct Waiting<'a> {
    usage: &'a [f64],
    /// The pod that is next, and how much of it waits already.
    place: usize,
    taken: f64,
    cost: f64,
    weight: f64,
}

impl Waiting<'_> {
    /// What the next pod uses in all, and how much of that does not wait yet.
    fn next(&mut self) -> Option<(f64, f64)> {
        while self.usage.get(self.place).is_some_and(|usage| self.taken >= *usage) {
            (self.place, self.taken) = (self.place + 1, 0.0);
        }
        let usage = *self.usage.get(self.place)?;
        Some((usage, usage - self.taken))
    }

    fn take_pods(&mut self, mut count: f64) {
        self.cost += self.weight * count;
        while count >= 1.0 {
            (self.place, count) = (self.place + 1, count - 1.0);
        }
        self.place = self.place.min(self.usage.len());
        self.taken = self.usage.get(self.place).map_or(0.0, |usage| usage * count);
    }

    fn take_usage(&mut self, mut amount: f64) {
        while amount > 0.0 {
            let Some((usage, rest)) = self.next() else { return };
            let part = amount.min(rest);
            self.cost += self.weight * part / usage;
            self.taken += part;
            amount -= part;
        }
    }
}

fn requests(pod: &Pod) -> [f64; RESOURCES] {
    let request = &pod.request;
    let gpus = f64::from(request.gpus) * f64::from(request.gpu_milli);
    [request.cpu.millicores() as f64, request.memory.as_f64(), gpus, 1.0]
}

fn capacities(node: &Node) -> [f64; RESOURCES] {
    [node.cpu.millicores() as f64, node.memory.as_f64(), 1e3 * f64::from(node.gpus), f64::from(node.max_pods)]
}

/// The least number of pods that have to wait, in parts if need be, for the others to fit into `capacity`: the largest first.
fn least_waiting(mut requests: Vec<f64>, capacity: f64) -> f64 {
    let mut over = requests.iter().sum::<f64>() - capacity * (1.0 + ROUNDING);
    if over <= 0.0 {
        return 0.0;
    }
    requests.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut count = 0.0;
    for request in requests {
        if over <= request {
            return count + over / request;
        }
        (over, count) = (over - request, count + 1.0);
    }
    count
}

/// The most usage that fits into a node by requests: the fractional knapsack of CPU, of memory, and of places.
struct Hold {
    /// Requests and usage summed up, the densest usage first, of CPU and of memory.
    by: [Vec<(f64, f64)>; 2],
    /// Usage summed up, the most first.
    by_places: Vec<f64>,
}

impl Hold {
    fn new(pods: &[(f64, [f64; RESOURCES])], usage: &[f64]) -> Self {
        let sums = |resource: usize| {
            let mut order: Vec<(f64, f64)> = pods.iter().map(|(usage, request)| (request[resource], *usage)).collect();
            // usage ÷ request, without a division by 0.
            order.sort_unstable_by(|a, b| (b.1 * a.0).total_cmp(&(a.1 * b.0)));
            let mut sum = (0.0, 0.0);
            order
                .into_iter()
                .map(|(request, usage)| {
                    sum = (sum.0 + request, sum.1 + usage);
                    sum
                })
                .collect()
        };
        let mut sum = 0.0;
        let add = |usage: &f64| {
            sum += usage;
            sum
        };
        Self { by: [sums(0), sums(1)], by_places: usage.iter().map(add).collect() }
    }

    fn most(&self, node: &Node) -> f64 {
        let capacity = capacities(node);
        let knapsack = |resource: usize| {
            let (sums, room) = (&self.by[resource], capacity[resource] * (1.0 + ROUNDING));
            let whole = sums.partition_point(|(request, _)| *request <= room);
            let (requests, usage) = whole.checked_sub(1).map_or((0.0, 0.0), |last| sums[last]);
            let part = sums.get(whole).map_or(0.0, |next| (room - requests) / (next.0 - requests) * (next.1 - usage));
            usage + part
        };
        let places = (node.max_pods as usize).min(self.by_places.len());
        let by_places = places.checked_sub(1).map_or(0.0, |last| self.by_places[last]);
        knapsack(0).min(knapsack(1)).min(by_places)
    }
}

/// What a minute of a node costs by the CPU that pods use on it.
struct Stairs {
    cpu: f64,
    /// CPU that the system uses.
    system: f64,
    /// The most that pods can use there.
    most: f64,
    /// The most that any pod uses.
    widest: f64,
}

impl Stairs {
    /// The cost without any pod, and lengths and slopes of the largest convex function below the staircase, which begins there.
    fn hull(&self, weights: &CostWeights) -> (f64, Vec<(f64, f64)>) {
        let mut level = 0.0;
        let mut corners: Vec<(f64, f64)> = Vec::new();
        let steps = [(HOT_UTILIZATION, weights.hot_80), (VERY_HOT_UTILIZATION, weights.hot_90), (1.0, 0.0)];
        for (limit, more) in steps {
            let until = limit * self.cpu * (1.0 + ROUNDING) - self.system;
            if until >= 0.0 {
                corners.push((until.min(self.most), level));
            }
            level += more;
        }
        // Whoever is throttled misses at most what it wants, so this many share what is missing.
        let missing = self.most * (1.0 - TOLERATED) - (self.cpu - self.system.min(self.cpu)) * (1.0 + ROUNDING);
        let throttled = if self.widest > 0.0 { (missing / self.widest).max(0.0) } else { 0.0 };
        corners.push((self.most, level + weights.throttled * throttled));
        let base = corners[0].1;
        let mut hull: Vec<(f64, f64)> = vec![(0.0, base)];
        let slope = |from: (f64, f64), to: (f64, f64)| (to.1 - from.1) / (to.0 - from.0);
        for corner in corners {
            // A corner straight above or below another says nothing that the lower one does not say.
            if corner.0 <= hull[hull.len() - 1].0 {
                continue;
            }
            while let [.., before, last] = hull[..]
                && slope(before, last) >= slope(last, corner)
            {
                hull.pop();
            }
            hull.push(corner);
        }
        (base, hull.windows(2).map(|pair| (pair[1].0 - pair[0].0, slope(pair[0], pair[1]))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PodWords, node, pod, scenario};

    fn bound(nodes: usize, pods: Vec<Pod>) -> f64 {
        let nodes = (0..nodes).map(|at| node(&format!("node-{at}"), "4", 16)).collect();
        lower_bound(&scenario(nodes, pods).checked().expect("a scenario"), &CostWeights::default())
    }

    fn close(got: f64, wanted: f64) -> bool {
        (got - wanted).abs() < 1e-4 * wanted.max(1.0)
    }

    #[test]
    fn a_cluster_with_room_for_all_costs_nothing() {
        assert_eq!(bound(2, vec![pod("a", "1", 1), pod("b", "2", 1)]), 0.0);
    }

    #[test]
    fn a_pod_that_no_node_can_take_waits_until_the_end() {
        // 60 minutes at 0.5, of 120 node-minutes: 250 per 1,000.
        assert!(close(bound(2, vec![pod("a", "5", 1)]), 250.0));
        // From the middle on it is half of that.
        assert!(close(bound(2, vec![pod("a", "5", 1).arrives_at(30 * MINUTE_MS)]), 125.0));
    }

    #[test]
    fn requests_that_do_not_fit_together_make_pods_wait() {
        // 10 of 8 cores are requested by pods of 2.5: 0.8 of a pod has to wait, 0.4 a minute, over 2 nodes: 200 per 1,000. They use
        // next to nothing.
        let pods = (0..4).map(|_| pod("a", "2500m", 1).uses(1.0, 0.1)).collect();
        assert!(close(bound(2, pods), 200.0));
    }

    #[test]
    fn more_usage_than_cool_nodes_hold_makes_hot_minutes_by_hand() {
        // One node of 4 cores, pods that request 1 core and use 0.9: 3.6 of 4 cores, 0.4 above 80 %. Hot up to 90 % costs 1. The corner
        // (3.6, 1) lies at the end of all usage, so the slope is 1 ÷ 0.4 a core: 1 a minute, 1,000 per 1,000. That one of them
        // waits costs 0.5 a minute and saves 0.9 of usage: 0.4 ÷ 0.9 of a pod are enough, 0.2222 a minute.
        let pods: Vec<Pod> = (0..4).map(|_| pod("a", "1", 1).uses(900.0, 0.1)).collect();
        assert!(close(bound(1, pods.clone()), 222.2222));
        let dear = CostWeights { pending: 100.0, ..CostWeights::default() };
        let one = scenario(vec![node("a", "4", 16)], pods).checked().expect("a scenario");
        assert!(close(lower_bound(&one, &dear), 1_000.0));
    }

    #[test]
    fn the_hull_of_a_staircase_by_hand() {
        let weights = CostWeights { throttled: 0.0, ..CostWeights::default() };
        // 10 cores, up to 12 in use: corners (8, 0), (9, 1), (10, 3), (12, 3). The line from (8, 0) to (12, 3) is below the others.
        let stairs = Stairs { cpu: 10.0, system: 0.0, most: 12.0, widest: 1.0 };
        let (base, slopes) = stairs.hull(&weights);
        assert_eq!((base, slopes.len()), (0.0, 2));
        assert!(close(slopes[0].0, 8.0) && slopes[0].1 == 0.0 && close(slopes[1].0, 4.0) && close(slopes[1].1, 0.75));
        // The system alone makes it hot: (0, 1) to begin with, and 3 from one core on. Up to 12 cores more.
        let (base, slopes) = Stairs { system: 8.5, ..stairs }.hull(&weights);
        assert_eq!(base, 1.0);
        assert!(close(slopes[0].0, 0.5) && slopes[0].1 == 0.0 && close(slopes[1].1, 2.0 / 11.5), "{slopes:?}");
        // At most half a core fits: it never becomes hot.
        let (base, slopes) = Stairs { cpu: 10.0, system: 0.0, most: 0.5, widest: 0.5 }.hull(&weights);
        assert_eq!((base, slopes), (0.0, vec![(0.5, 0.0)]));
    }

    #[test]
    fn knapsacks_and_waiting_pods_by_hand() {
        assert_eq!(least_waiting(vec![1.0, 4.0, 2.0], 7.0), 0.0);
        // 10 requested of 4: the 4 and two thirds of the 3 wait.
        assert!(close(least_waiting(vec![1.0, 4.0, 2.0, 3.0], 4.0), 1.0 + 2.0 / 3.0));
        // Usage and CPU requests: 3 of 1, 2 of 2, 1 of 1. Into 2 cores: the 3, and half of the 2.
        let pods = [(2.0, [2_000.0, 0.0, 0.0, 1.0]), (1.0, [1_000.0, 0.0, 0.0, 1.0]), (3.0, [1_000.0, 0.0, 0.0, 1.0])];
        let hold = Hold::new(&pods, &[3.0, 2.0, 1.0]);
        assert!(close(hold.most(&node("a", "2", 16)), 4.0));
        let mut narrow = node("a", "2", 16);
        narrow.max_pods = 1;
        assert!(close(hold.most(&narrow), 3.0));
    }
}
