//! Room for large pods: how scarce it will be, and what a placement takes of it.

use crate::engine::Account;
use crate::world::{Node, Request, Scenario};
use cluster::{Bytes, Cores};

/// Shares of the capacity that are requested at the busiest moment from which room begins to be, and is, scarce.
const SCARCE: (f64, f64) = (0.8, 1.1);

/// The 90th percentile of each request among the pods with or without GPUs, and how scarce room will be for them.
pub(super) fn large(scenario: &Scenario, with_gpus: bool) -> (Request, f64) {
    let pods: Vec<&Request> =
        scenario.pods.iter().map(|pod| &pod.request).filter(|request| (request.gpus > 0) == with_gpus).collect();
    if pods.is_empty() {
        return (Request::default(), 0.0);
    }
    let upper = |mut values: Vec<u64>| {
        values.sort_unstable();
        values[values.len() * 9 / 10]
    };
    let cpu = upper(pods.iter().map(|request| request.cpu.millicores()).collect());
    let memory = upper(pods.iter().map(|request| request.memory.get()).collect());
    let gpus = if with_gpus { upper(pods.iter().map(|request| u64::from(request.gpus)).collect()) } else { 0 };
    let gpu_milli = if with_gpus { 1_000 } else { 0 };
    let request = Request {
        gpus: gpus as u8,
        gpu_milli,
        ..Request::new(Cores::from_millicores(cpu.max(1)), Bytes::new(memory.max(1)))
    };
    let scarcity = (busiest(scenario, with_gpus) - SCARCE.0) / (SCARCE.1 - SCARCE.0);
    (request, scarcity.clamp(0.0, 1.0))
}

/// The largest share of the cluster's CPU, memory or (when looked at) GPUs that is requested at any moment.
fn busiest(scenario: &Scenario, with_gpus: bool) -> f64 {
    let gpu_milli = |request: &Request| f64::from(request.gpus) * f64::from(request.gpu_milli);
    let amounts = |request: &Request| [request.cpu.millicores() as f64, request.memory.as_f64(), gpu_milli(request)];
    let mut changes: Vec<(i64, f64, [f64; 3])> = Vec::with_capacity(2 * scenario.pods.len());
    for pod in &scenario.pods {
        changes.push((pod.arrives_ms, 1.0, amounts(&pod.request)));
        if let Some(runs) = pod.runs_ms {
            changes.push((pod.arrives_ms.saturating_add(runs), -1.0, amounts(&pod.request)));
        }
    }
    changes.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let sum = |value: &dyn Fn(&Node) -> f64| scenario.nodes.iter().map(value).sum::<f64>().max(1.0);
    let all = [
        sum(&|node| node.cpu.millicores() as f64),
        sum(&|node| node.memory.as_f64()),
        sum(&|node| 1_000.0 * f64::from(node.gpus)),
    ];
    let looked_at = if with_gpus { 3 } else { 2 };
    let (mut now, mut most) = ([0.0; 3], 0.0_f64);
    for (_, sign, amounts) in changes {
        for resource in 0..looked_at {
            now[resource] += sign * amounts[resource];
            most = most.max(now[resource] / all[resource]);
        }
    }
    most
}

/// How many pods of `large` a node takes after `more`, as a real number.
pub(super) fn room(account: &Account, large: &Request, more: &Request) -> f64 {
    let left = |free: u64, more: u64| free.saturating_sub(more) as f64;
    let cpu =
        left(account.cpu.saturating_sub(account.cpu_requested), more.cpu.millicores()) / large.cpu.millicores() as f64;
    let memory =
        left(account.memory.saturating_sub(account.memory_requested), more.memory.get()) / large.memory.as_f64();
    let plain = cpu.min(memory).floor();
    if large.gpus == 0 {
        return plain;
    }
    // A share fits beside others as long as some GPU that is in use has room for it.
    let opens_another = more.gpus == 1 && more.gpu_milli < 1_000 && !fits_beside(account, more);
    let taken = if more.gpu_milli == 1_000 { more.gpus } else { u8::from(opens_another) };
    plain.min(f64::from(account.gpu_free_whole.saturating_sub(taken) / large.gpus))
}

/// Whether a share goes to a GPU that is in use already. The account only knows the freest GPU; when that is a whole one,
/// the others are unknown and taken for full.
fn fits_beside(account: &Account, share: &Request) -> bool {
    account.gpu_free_most < 1_000 && account.gpu_free_most >= share.gpu_milli
}

/// A request as a share of `large`, by the resource of which it takes most.
pub(super) fn size(request: &Request, large: &Request) -> f64 {
    let cpu = request.cpu.millicores() as f64 / large.cpu.millicores() as f64;
    let memory = request.memory.as_f64() / large.memory.as_f64();
    let gpus = if large.gpus == 0 {
        0.0
    } else {
        f64::from(request.gpus) * f64::from(request.gpu_milli) / (1_000.0 * f64::from(large.gpus))
    };
    cpu.max(memory).max(gpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PodWords, cores, gib, node, pod, scenario};
    use cluster::MINUTE_MS;

    #[test]
    fn room_for_large_pods_by_hand() {
        let mut account = Account::new(&node("a", "8", 32));
        account.ready = true;
        let large = Request::new(cores("3"), gib(4));
        assert_eq!(room(&account, &large, &Request::default()), 2.0);
        assert_eq!(room(&account, &large, &Request::new(cores("2"), gib(1))), 2.0, "6 cores are left");
        assert_eq!(room(&account, &large, &Request::new(cores("2100m"), gib(1))), 1.0);
        assert_eq!(size(&Request::new(cores("1"), gib(2)), &large), 0.5);
    }

    #[test]
    fn room_is_scarce_when_most_of_it_is_requested_at_once() {
        let pods = vec![
            pod("a", "2", 1).runs_for(10 * MINUTE_MS),
            pod("b", "2", 1).arrives_at(10 * MINUTE_MS),
            pod("c", "1", 1),
        ];
        let scenario = scenario(vec![node("a", "4", 16)], pods).checked().expect("a scenario");
        assert_eq!(busiest(&scenario, false), 0.75, "the first ends as the second begins");
    }
}
