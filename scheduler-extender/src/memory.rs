//! The decisions of the last minutes: they wait here until it is seen where their pods went, then they are written down; and they are
//! what people are told when they ask why. Bounded in number and in size.

use crate::decision::{Decision, hash_of};
use crate::ledger::Binding;
use crate::metrics::Metrics;
use crate::record::Record;
use crate::shadow::Comparison;
use serde_json::Value;
use serving::journal::Journal;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Decisions that can be explained: at most so many.
const MOST: usize = 10_000;
/// Candidates over all decisions that wait: 24 bytes each.
const MOST_BRIEFS: usize = 1_000_000;
/// Bindings that were seen before their decision was done.
const MOST_BINDINGS: usize = 10_000;

#[derive(Debug)]
struct Entry {
    decision: Decision,
    is_written: bool,
}

#[derive(Debug, Default)]
struct Inner {
    /// By pod.
    entries: HashMap<String, Entry>,
    /// Oldest first; the id tells an entry from one that took its place.
    order: VecDeque<(String, uuid::Uuid)>,
    /// The same with their times, for those that have not waited long enough.
    waiting: VecDeque<(i64, String, uuid::Uuid)>,
    briefs: usize,
    bindings: HashMap<String, Binding>,
    bindings_order: VecDeque<String>,
    comparison: Comparison,
}

/// The decisions of one process.
#[derive(Debug)]
pub struct Memory {
    inner: Mutex<Inner>,
    journal: Option<Journal<Record>>,
    metrics: Arc<Metrics>,
    /// How long to wait for a binding, milliseconds.
    wait: i64,
}

impl Memory {
    /// An empty memory that writes to a journal, if there is one.
    pub fn new(journal: Option<Journal<Record>>, wait: i64, metrics: Arc<Metrics>) -> Self {
        Self { inner: Mutex::default(), journal, metrics, wait }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many numbers are forgotten: what is written needs those of two candidates only.
    fn write(&self, entry: &mut Entry) -> usize {
        if std::mem::replace(&mut entry.is_written, true) {
            return 0;
        }
        if let Some(journal) = &self.journal {
            journal.put(Record::of(&entry.decision));
        }
        let decision = &mut entry.decision;
        let kept =
            [decision.first().map(|line| hash_of(&line.node)), decision.bound.as_ref().map(|it| hash_of(&it.node))];
        let before = decision.briefs.len();
        decision.briefs.retain(|brief| kept.contains(&Some(brief.name)));
        decision.briefs.shrink_to_fit();
        before - decision.briefs.len()
    }

    /// Takes in a decision.
    pub fn decided(&self, decision: Decision) {
        let key = decision.key();
        let mut inner = self.inner();
        inner.order.push_back((key.clone(), decision.id));
        inner.waiting.push_back((decision.ts, key.clone(), decision.id));
        inner.briefs += decision.briefs.len();
        if let Some(mut before) = inner.entries.insert(key.clone(), Entry { decision, is_written: false }) {
            inner.briefs -= before.decision.briefs.len();
            self.write(&mut before);
        }
        if let Some(binding) = inner.bindings.remove(&key) {
            self.join(&mut inner, binding);
        }
        while inner.entries.len() > MOST || inner.order.len() > 2 * MOST {
            self.forget_oldest(&mut inner);
        }
        while inner.briefs > MOST_BRIEFS && self.write_oldest(&mut inner) {}
    }

    fn forget_oldest(&self, inner: &mut Inner) {
        let Some((key, id)) = inner.order.pop_front() else { return };
        if inner.entries.get(&key).is_some_and(|entry| entry.decision.id == id)
            && let Some(mut entry) = inner.entries.remove(&key)
        {
            inner.briefs -= entry.decision.briefs.len();
            self.write(&mut entry);
        }
    }

    /// A pod went to a node. Returns its decision the first time that it is heard of.
    pub fn bound(&self, binding: Binding) -> Option<Decision> {
        let mut inner = self.inner();
        if inner.entries.contains_key(&binding.uid) {
            return self.join(&mut inner, binding);
        }
        if !inner.bindings.contains_key(&binding.uid) {
            inner.bindings_order.push_back(binding.uid.clone());
        }
        inner.bindings.insert(binding.uid.clone(), binding);
        while inner.bindings_order.len() > MOST_BINDINGS {
            let oldest = inner.bindings_order.pop_front();
            oldest.map(|uid| inner.bindings.remove(&uid));
        }
        None
    }

    fn join(&self, inner: &mut Inner, binding: Binding) -> Option<Decision> {
        let entry = inner.entries.get_mut(&binding.uid)?;
        if entry.decision.bound.is_some() {
            return None;
        }
        entry.decision.bound = Some(binding);
        if entry.is_written {
            return None;
        }
        let joined = entry.decision.clone();
        let freed = self.write(entry);
        inner.briefs -= freed;
        if let Some(outcome) = joined.outcome() {
            let (answer, tally) = match joined.neutral {
                Some(_) => ("neutral", &mut inner.comparison.neutral),
                None => ("scored", &mut inner.comparison.scored),
            };
            tally.add(outcome);
            self.metrics.outcomes(answer, tally);
        }
        Some(joined)
    }

    /// Adds what was worked out after the answer.
    pub fn detailed(&self, key: &str, id: uuid::Uuid, details: Value) {
        if let Some(entry) = self.inner().entries.get_mut(key).filter(|entry| entry.decision.id == id) {
            entry.decision.details = details;
        }
    }

    /// Writes down what has waited long enough for its pod to be bound.
    pub fn sweep(&self, now: i64) {
        let mut inner = self.inner();
        while inner.waiting.front().is_some_and(|(ts, ..)| now - ts >= self.wait) {
            self.write_oldest(&mut inner);
        }
    }

    /// Writes down the one that has waited longest, bound or not. Returns whether any waits.
    fn write_oldest(&self, inner: &mut Inner) -> bool {
        let Some((_, key, id)) = inner.waiting.pop_front() else { return false };
        if let Some(entry) = inner.entries.get_mut(&key).filter(|entry| entry.decision.id == id) {
            inner.briefs -= self.write(entry);
        }
        true
    }

    /// The newest decision on a pod.
    pub fn of(&self, namespace: &str, pod: &str) -> Option<Decision> {
        let inner = self.inner();
        let of_pod = inner.entries.values().filter(|it| it.decision.namespace == namespace && it.decision.pod == pod);
        of_pod.max_by_key(|entry| entry.decision.ts).map(|entry| entry.decision.clone())
    }

    /// How decisions turned out.
    pub fn comparison(&self) -> Comparison {
        self.inner().comparison
    }

    /// Writes down all that waits, and ends the journal.
    pub fn close(&self) {
        let mut inner = self.inner();
        for entry in inner.entries.values_mut() {
            self.write(entry);
        }
        if let Some(journal) = &self.journal {
            journal.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Brief, Line};
    use crate::health::State;
    use crate::kubernetes::Pod;
    use crate::rollout::Neutral;
    use crate::rules::Mode;
    use cluster::DECISIONS;
    use store::Store;

    fn decision(name: &str, scores: &[(&str, f32)]) -> Decision {
        let mut pod = Pod::default();
        (pod.metadata.namespace, pod.metadata.name, pod.metadata.uid) =
            ("shop".into(), name.into(), format!("uid-{name}"));
        let mut decision = Decision::new("prioritize", &pod, scores.len(), Mode::Shadow, State::Healthy);
        decision.neutral = Some(Neutral::Shadow);
        let brief = |(node, score): &(&str, f32)| Brief {
            name: hash_of(node),
            score: *score,
            load: *score,
            peak: 1.25 - *score,
            points: 3,
        };
        decision.briefs = scores.iter().map(brief).collect();
        let line = |(node, score): &(&str, f32)| Line {
            node: (*node).to_owned(),
            score: Some(f64::from(*score)),
            parts: cluster::score::Parts::default(),
            uncertainty: Some(0.05),
            peak: Some(1.25 - f64::from(*score)),
            points: 3,
            in_flight_cores: None,
        };
        decision.best = scores.iter().take(1).map(line).collect();
        decision
    }

    fn binding(name: &str, node: &str, at: i64) -> Binding {
        Binding { uid: format!("uid-{name}"), namespace: "shop".into(), name: name.into(), node: node.into(), at }
    }

    #[test]
    fn outcomes_are_compared_whichever_comes_first_and_each_once() {
        let memory = Memory::new(None, 60_000, Arc::default());
        memory.decided(decision("a", &[("n1", 0.9), ("n2", 0.4)]));
        assert!(memory.bound(binding("a", "n2", 5)).is_some());
        assert!(memory.bound(binding("a", "n2", 5)).is_none(), "each change of the pod tells it again");
        assert!(memory.bound(binding("b", "n1", 5)).is_none());
        memory.decided(decision("b", &[("n1", 0.9), ("n2", 0.4)]));
        memory.decided(decision("c", &[("n1", 0.9), ("n2", 0.86)]));
        memory.bound(binding("c", "n2", 5));
        let neutral = memory.comparison().neutral;
        // `a` missed the best by 0.5 and sits on a hot node; `b` is on it; `c` is as good within the uncertainty.
        assert_eq!((neutral.outcomes, neutral.agreed, neutral.hot, neutral.best_hot), (3, 2, 1, 0));
        assert!((neutral.gain - 0.54).abs() < 1e-6, "{}", neutral.gain);
        assert_eq!(memory.of("shop", "a").and_then(|it| it.bound).map(|it| it.node).as_deref(), Some("n2"));
        assert!(memory.of("shop", "d").is_none());
    }

    #[test]
    fn every_decision_is_written_once_with_its_outcome_or_without() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let metrics = Arc::new(Metrics::default());
        let journal = Journal::open(&store, metrics.clone()).expect("a journal");
        let memory = Memory::new(Some(journal), 60_000, metrics);
        let first = decision("a", &[("n1", 0.9)]);
        let ts = first.ts;
        memory.decided(first);
        memory.decided(decision("b", &[("n1", 0.9), ("n2", 0.4)]));
        memory.bound(binding("b", "n2", ts + 2_000));
        memory.sweep(ts + 61_000);
        memory.sweep(ts + 62_000);
        memory.decided(decision("c", &[]));
        memory.close();
        let day = store.days(&DECISIONS).expect("days")[0];
        let frame = store.read_day(&DECISIONS, day, &[]).expect("a day");
        let texts = |name: &str| -> Vec<Option<String>> {
            frame.column(name).expect(name).str().expect("text").iter().map(|it| it.map(str::to_owned)).collect()
        };
        let mut rows: Vec<_> = texts("pod").into_iter().zip(texts("bound")).zip(texts("best")).collect();
        rows.sort();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            rows,
            [((text("a"), None), text("n1")), ((text("b"), text("n2")), text("n1")), ((text("c"), None), None)]
        );
    }

    #[test]
    fn a_memory_that_is_full_forgets_the_oldest() {
        let memory = Memory::new(None, 60_000, Arc::default());
        for place in 0..MOST + 5 {
            memory.decided(decision(&place.to_string(), &[("n1", 0.5)]));
        }
        assert!(memory.of("shop", "4").is_none() && memory.of("shop", "5").is_some());
        let many: Vec<(String, f32)> = (0..MOST_BRIEFS).map(|place| (place.to_string(), 0.5)).collect();
        let many: Vec<(&str, f32)> = many.iter().map(|(name, score)| (name.as_str(), *score)).collect();
        memory.decided(decision("large", &many));
        assert!(memory.inner().briefs <= MOST_BRIEFS);
    }
}
