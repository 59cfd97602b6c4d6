//! When which node gets which incident.

use super::InjectArgs;
use cluster::{DAY_MS, GRID_STEP_MS, MINUTE_MS, grid_floor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use synthetic::InjectedFault;
use synthetic::noise::{between, generator};

/// An incident of one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    /// What.
    pub fault: InjectedFault,
    /// First moment.
    pub start: i64,
    /// The moment after the last one.
    pub end: i64,
    /// How bad, in 0..1.
    pub strength: f64,
}

/// Least distance of two incidents of one node, so that the windows of the second do not hold the first.
const REST_MS: i64 = 2 * cluster::HOUR_MS;

/// The incidents of the node in place `node` over `span`, in order; those of one node do not meet. Kinds that come late
/// only are drawn in the last part of the span.
pub fn plan(args: &InjectArgs, node: u64, span: (i64, i64)) -> Vec<Injection> {
    let mut random = generator(args.seed, "injected-incidents", node);
    let late_from = span.1 - ((span.1 - span.0) as f64 * args.late_share) as i64;
    let mut planned = Vec::new();
    let mut at = span.0;
    loop {
        let wait = -(1.0 - random.random::<f64>()).ln() * args.mean_days_between * DAY_MS as f64;
        let start = grid_floor(at + REST_MS + wait as i64, GRID_STEP_MS);
        let minutes = between(&mut random, args.shortest_minutes as f64, args.longest_minutes as f64).round() as i64;
        let end = start + minutes * MINUTE_MS;
        let strength = between(&mut random, 0.5, 1.0);
        let fault = draw(args, start >= late_from, &mut random);
        if end >= span.1 {
            return planned;
        }
        planned.push(Injection { fault, start, end, strength });
        at = end;
    }
}

fn draw(args: &InjectArgs, is_late: bool, random: &mut ChaCha8Rng) -> InjectedFault {
    let kinds: Vec<InjectedFault> =
        InjectedFault::ALL.into_iter().filter(|fault| is_late || !args.late_kinds.contains(fault)).collect();
    kinds[random.random_range(0..kinds.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_keep_their_distance_and_late_kinds_come_late() {
        let args = InjectArgs {
            late_kinds: vec![InjectedFault::DiskSaturation, InjectedFault::NoisyNeighbour],
            late_share: 0.3,
            mean_days_between: 0.5,
            ..InjectArgs::default()
        };
        let span = (0, 60 * DAY_MS);
        let planned = plan(&args, 3, span);
        assert!(planned.len() > 60, "{}", planned.len());
        assert!(planned.windows(2).all(|pair| pair[1].start - pair[0].end >= REST_MS - GRID_STEP_MS));
        for incident in &planned {
            let minutes = (incident.end - incident.start) / MINUTE_MS;
            assert!((30..=90).contains(&minutes) && (0.5..1.0).contains(&incident.strength), "{incident:?}");
            if args.late_kinds.contains(&incident.fault) {
                assert!(incident.start >= 42 * DAY_MS, "{incident:?}");
            }
        }
        let kinds = |from: i64| -> std::collections::BTreeSet<InjectedFault> {
            planned.iter().filter(|incident| incident.start >= from).map(|incident| incident.fault).collect()
        };
        assert_eq!(kinds(42 * DAY_MS).len(), 6);
        assert_eq!(plan(&args, 3, span), planned);
        assert_ne!(plan(&args, 4, span), planned);
    }
}
