//! Gaps that many nodes share: then it was the server or the collector that was away, not the nodes.

/// Share of the nodes then alive that must be silent together. A guess: a failing rack or zone stays below it.
const SHARED_BY: f64 = 0.8;

/// A stretch in which hardly any node was sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outage {
    pub start: i64,
    pub end: i64,
    /// The most nodes that were silent at once.
    pub nodes: usize,
}

impl Outage {
    /// Whether the gap lies in it but for `slack` at its ends.
    pub fn explains(&self, gap: (i64, i64), slack: i64) -> bool {
        gap.0 >= self.start - slack && gap.1 <= self.end + slack
    }
}

/// Finds the outages in what each node offers: its life, and its gaps of at least `min_ms`.
pub(super) fn outages<'a>(nodes: impl Iterator<Item = ((i64, i64), &'a [(i64, i64)])>, min_ms: i64) -> Vec<Outage> {
    let mut changes: Vec<(i64, i64, i64)> = Vec::new(); // when, change of nodes alive, change of nodes silent
    for ((first, last), gaps) in nodes {
        changes.extend([(first, 1, 0), (last + 1, -1, 0)]);
        for (start, end) in gaps.iter().filter(|(start, end)| end - start >= min_ms) {
            changes.extend([(*start, 0, 1), (*end, 0, -1)]);
        }
    }
    changes.sort_unstable();
    let (mut alive, mut silent) = (0_i64, 0_i64);
    let mut found: Vec<Outage> = Vec::new();
    let mut open: Option<Outage> = None;
    let mut changes = changes.into_iter().peekable();
    while let Some((when, of_alive, of_silent)) = changes.next() {
        alive += of_alive;
        silent += of_silent;
        if changes.peek().is_some_and(|next| next.0 == when) {
            continue;
        }
        let shared = alive >= 2 && silent as f64 >= SHARED_BY * alive as f64;
        let nodes = usize::try_from(silent).unwrap_or(0);
        match &mut open {
            None if shared => open = Some(Outage { start: when, end: when, nodes }),
            Some(outage) if shared => outage.nodes = outage.nodes.max(nodes),
            Some(outage) => {
                outage.end = when;
                found.extend(open.take().filter(|outage| outage.end - outage.start >= min_ms));
            }
            None => {}
        }
    }
    found.sort_by_key(|outage| (outage.start - outage.end, outage.start));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_most_nodes_is_an_outage_and_a_gap_of_one_is_not() {
        let lives = [(0, 1_000); 5];
        let shared: &[(i64, i64)] = &[(100, 200)];
        let late: &[(i64, i64)] = &[(110, 205), (600, 900)];
        let gaps = [shared, shared, shared, late, &[]];
        let found = outages(lives.into_iter().zip(gaps), 50);
        assert_eq!(found, [Outage { start: 110, end: 200, nodes: 4 }]);
        assert!(found[0].explains((100, 200), 10) && !found[0].explains((600, 900), 10));
    }

    #[test]
    fn the_gap_of_a_single_node_is_its_own() {
        let gap: &[(i64, i64)] = &[(100, 200)];
        assert!(outages([((0, 1_000), gap)].into_iter(), 1).is_empty());
    }
}
