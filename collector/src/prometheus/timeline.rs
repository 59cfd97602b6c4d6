//! Who had a name when: an address that passes from one node to another, an instance whose host is exchanged.

use std::collections::{BTreeMap, BTreeSet};

/// A stretch of time in which a name stood for one node or host. Both ends count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// First moment, UTC milliseconds.
    pub from: i64,
    /// Last moment.
    pub until: i64,
    /// Which node or host.
    pub name: String,
}

impl Run {
    /// The runs, in order of time, from the moments at which each holder was seen. A moment with two holders belongs to
    /// neither: that of one who left is repeated for a while by the server. Between two moments of the same holder the
    /// name is its own as well; what is held at `since` or later is held from then on.
    pub fn of<'a>(seen: impl Iterator<Item = (&'a str, impl Iterator<Item = i64>)>, since: i64) -> Vec<Self> {
        let mut holders: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
        for (name, moments) in seen {
            for ts in moments {
                holders.entry(ts).or_default().insert(name);
            }
        }
        let mut runs: Vec<Self> = Vec::new();
        let mut goes_on = false;
        for (ts, names) in &holders {
            let [name] = names.iter().copied().collect::<Vec<_>>()[..] else {
                goes_on = false;
                continue;
            };
            match runs.last_mut() {
                Some(run) if run.name == name => run.until = *ts,
                _ => runs.push(Self { from: *ts, until: *ts, name: name.to_owned() }),
            }
            goes_on = true;
        }
        if let Some(last) = runs.last_mut().filter(|last| goes_on && last.until >= since) {
            last.until = i64::MAX;
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(seen: &[(&str, &[i64])]) -> Vec<(i64, i64, String)> {
        let seen = seen.iter().map(|(name, moments)| (*name, moments.iter().copied()));
        Run::of(seen, 55).into_iter().map(|run| (run.from, run.until, run.name)).collect()
    }

    #[test]
    fn one_holder_after_the_other_and_nobody_in_between() {
        // `b` begins while `a` is still repeated, at 40: that moment is nobody's.
        let found = runs(&[("a", &[10, 20, 30, 40]), ("b", &[40, 50, 60])]);
        assert_eq!(found, [(10, 30, "a".into()), (50, i64::MAX, "b".into())]);
    }

    #[test]
    fn a_hole_in_one_holders_time_is_its_own() {
        assert_eq!(runs(&[("a", &[10, 50]), ("b", &[70])]), [(10, 50, "a".into()), (70, i64::MAX, "b".into())]);
    }

    #[test]
    fn who_was_not_seen_lately_does_not_keep_it() {
        assert_eq!(runs(&[("a", &[10, 50])]), [(10, 50, "a".into())]);
    }

    #[test]
    fn two_who_always_hold_it_together_never_hold_it() {
        assert_eq!(runs(&[("a", &[10, 20]), ("b", &[10, 20])]), []);
        assert_eq!(runs(&[]), []);
    }

    #[test]
    fn who_shares_it_at_the_end_does_not_keep_it() {
        assert_eq!(runs(&[("a", &[50, 60, 70]), ("b", &[70])]), [(50, 60, "a".into())]);
    }
}
