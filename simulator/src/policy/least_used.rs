//! Least used by telemetry, with and without the pods that it does not show yet.

use super::{Policy, unknown_is_average};
use crate::engine::{Ask, View};
use crate::world::{NodeId, Request};

/// The node that is least used, by the same telemetry as every other policy and with what was bound since added.
///
/// As Koordinator's LoadAware (`pkg/scheduler/plugins/loadaware`): a pod that the telemetry does not show yet counts with
/// 85 % of its CPU request and 70 % of its memory request, 250 m and 200 MB without one; the score is the mean of the
/// unused shares of CPU and memory. A node without telemetry is taken for as used as the candidates on average: neutral,
/// where Koordinator gives it 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastUsed;

fn expected(request: &Request) -> (f64, f64) {
    let (cpu, memory) = (request.cpu.millicores() as f64, request.memory.as_f64());
    (if cpu > 0.0 { 0.85 * cpu } else { 250.0 }, if memory > 0.0 { 0.7 * memory } else { 200e6 })
}

impl Policy for LeastUsed {
    fn name(&self) -> &'static str {
        "least-used"
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let own = expected(&ask.request);
        for (score, node) in scores.iter_mut().zip(candidates) {
            let account = view.account(*node);
            *score = view.seen(*node).map_or(f64::NAN, |seen| {
                let mut more = own;
                for entry in view.bound_since(*node, seen.at_ms) {
                    let pod = expected(&entry.request);
                    more = (more.0 + pod.0, more.1 + pod.1);
                }
                let cpu = seen.cpu + more.0 / account.cpu as f64;
                let memory = seen.memory + more.1 / account.memory as f64;
                (1.0 - cpu + 1.0 - memory) * 50.0
            });
        }
        unknown_is_average(scores);
    }
}

/// Whatever node looked coldest when it was last measured: no account of what was bound since. It is here to show the
/// herd that this makes, which load-aware schedulers without such an account are known for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Coldest;

impl Policy for Coldest {
    fn name(&self) -> &'static str {
        "coldest"
    }

    fn score(&mut self, _ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        for (score, node) in scores.iter_mut().zip(candidates) {
            *score = view.seen(*node).map_or(f64::NAN, |seen| -seen.cpu);
        }
        unknown_is_average(scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{after_telemetry, cores, gib};

    #[test]
    fn the_unused_share_by_hand() {
        // 4 cores, 0.8 used; own and one in flight of 400 m each count 340 m: 0.2 + 0.17 = 0.37; memory of a request of
        // 0 counts 200 MB each, 400e6 ÷ 16 GiB = 0.0233.
        let score = after_telemetry(&mut LeastUsed, 800.0, Request::new(cores("400m"), gib(0)));
        let memory = 400e6 / (16.0 * f64::from(1 << 30));
        assert!((score - (1.0 - 0.37 + 1.0 - memory) * 50.0).abs() < 1e-6, "{score}");
        let naive = after_telemetry(&mut Coldest, 800.0, Request::new(cores("400m"), gib(0)));
        assert!((naive + 0.2).abs() < 1e-6, "what was bound since is not seen: {naive}");
    }

    #[test]
    fn a_silent_node_is_neither_idle_nor_full() {
        let mut scores = [10.0, f64::NAN, 30.0];
        unknown_is_average(&mut scores);
        assert_eq!(scores, [10.0, 20.0, 30.0]);
        let mut silent = [f64::NAN; 2];
        unknown_is_average(&mut silent);
        assert_eq!(silent, [0.0, 0.0]);
    }
}
