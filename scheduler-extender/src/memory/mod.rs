//! The decisions of the last minutes: they wait here until it is seen where their pods went, then they are written down; and they are
//! what people are told when they ask why. Bounded in number and in bytes.

#[cfg(test)]
mod tests;

use crate::decision::{Decision, hash_of};
use crate::kubernetes::Metadata;
use crate::ledger::{Binding, Standing};
use crate::metrics::Metrics;
use crate::record::Record;
use crate::shadow::Comparison;
use score_api::NodeScore;
use serving::journal::{Counted, Journal};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Decisions that can be explained: at most so many.
const MOST: usize = 10_000;
/// Bytes of them all: a decision on 5,000 candidates that waits has 120 KB, one that is written a few.
const MOST_BYTES: usize = 64 << 20;
/// Decisions on pods that no watch has told of: time for it to do so at a thousand a second.
const MOST_UNKNOWN: usize = 1_000;
/// Bindings that were seen before their decision was done.
const MOST_BINDINGS: usize = 10_000;

#[derive(Debug)]
struct Entry {
    decision: Decision,
    is_written: bool,
    bytes: usize,
    /// When its pod was seen bound.
    bound_seen: Option<Instant>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By pod.
    entries: HashMap<String, Entry>,
    /// Oldest first; the id tells an entry from one that took its place.
    order: VecDeque<(String, Uuid)>,
    /// The same with the times at which they were asked for, for those that have not waited long enough.
    waiting: VecDeque<(Instant, String, Uuid)>,
    bytes: usize,
    /// Entries on pods that no watch has told of.
    unknown: usize,
    bindings: HashMap<String, Binding>,
    bindings_order: VecDeque<String>,
    comparison: Comparison,
}

impl Entry {
    fn new(decision: Decision) -> Self {
        Self { bytes: decision.bytes(), decision, is_written: false, bound_seen: None }
    }

    /// Why a later decision on the same pod does not take its place, if so: anybody may name a pod, and who is bound is not asked about
    /// any more. What was asked before it was bound may have taken until now.
    fn outranks(&self, later: &Decision) -> Option<&'static str> {
        if later.standing == Standing::Unknown && self.decision.standing != Standing::Unknown {
            return Some("unknown_pod");
        }
        self.bound_seen.is_some_and(|seen| later.asked > seen).then_some("bound_pod")
    }

    fn is_of(&self, namespace: &str, name: &str) -> bool {
        self.decision.namespace == namespace && self.decision.pod == name
    }
}

impl Inner {
    fn put(&mut self, key: String, entry: Entry) {
        self.bytes += entry.bytes;
        self.unknown += usize::from(entry.decision.standing == Standing::Unknown);
        self.entries.insert(key, entry);
    }

    fn take(&mut self, key: &str) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes;
        self.unknown -= usize::from(entry.decision.standing == Standing::Unknown);
        Some(entry)
    }

    /// Changes an entry, and keeps the sums in step.
    fn change<T>(&mut self, key: &str, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut entry = self.take(key)?;
        let result = change(&mut entry);
        entry.bytes = entry.decision.bytes();
        self.put(key.to_owned(), entry);
        Some(result)
    }
}

/// The decisions of one process.
#[derive(Debug)]
pub struct Memory {
    inner: Mutex<Inner>,
    journal: Option<Journal<Record>>,
    metrics: Arc<Metrics>,
    /// How long to wait for a binding.
    wait: Duration,
}

impl Memory {
    /// An empty memory that writes to a journal, if there is one.
    pub fn new(journal: Option<Journal<Record>>, wait: Duration, metrics: Arc<Metrics>) -> Self {
        Self { inner: Mutex::default(), journal, metrics, wait }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a decision down, and forgets all numbers that nobody needs any more: what is written needs those of two candidates only.
    /// What was asked about a pod that no watch has told of is not written: anyone can ask.
    fn write(&self, entry: &mut Entry) {
        if std::mem::replace(&mut entry.is_written, true) {
            return;
        }
        if entry.decision.standing == Standing::Unknown {
            self.metrics.log_dropped("unknown_pod", 1);
        } else if let Some(journal) = &self.journal {
            journal.put(Record::of(&entry.decision));
        }
        let decision = &mut entry.decision;
        let kept =
            [decision.first().map(|line| hash_of(&line.node)), decision.bound.as_ref().map(|it| hash_of(&it.node))];
        decision.briefs.retain(|brief| kept.contains(&Some(brief.name)));
        decision.briefs.shrink_to_fit();
    }

    /// Takes in a decision.
    pub fn decided(&self, decision: Decision) {
        let key = decision.key();
        let mut inner = self.inner();
        let before = inner.entries.get(&key);
        let refused = before.and_then(|before| before.outranks(&decision));
        let is_full = || decision.standing == Standing::Unknown && inner.unknown >= MOST_UNKNOWN;
        if let Some(reason) = refused.or_else(|| is_full().then_some("unknown_pod")) {
            return self.metrics.log_dropped(reason, 1);
        }
        let mut entry = Entry::new(decision);
        inner.order.push_back((key.clone(), entry.decision.id));
        inner.waiting.push_back((entry.decision.asked, key.clone(), entry.decision.id));
        if let Some(mut before) = inner.take(&key) {
            self.write(&mut before);
            (entry.decision.bound, entry.bound_seen) = (before.decision.bound, before.bound_seen);
        }
        let is_bound = entry.bound_seen.is_some();
        inner.put(key.clone(), entry);
        if is_bound {
            inner.change(&key, |entry| self.write(entry));
        } else if let Some(binding) = inner.bindings.remove(&key) {
            self.join(&mut inner, binding);
        }
        self.shrink(&mut inner);
    }

    /// Holds the limits, at the cost of what is oldest.
    fn shrink(&self, inner: &mut Inner) {
        while inner.waiting.len() > 2 * MOST {
            self.write_oldest(inner);
        }
        while inner.entries.len() > MOST || inner.order.len() > 2 * MOST {
            self.forget_oldest(inner);
        }
        while inner.bytes > MOST_BYTES {
            if !self.write_oldest(inner) && !self.forget_oldest(inner) {
                return;
            }
        }
    }

    /// Returns whether there was any.
    fn forget_oldest(&self, inner: &mut Inner) -> bool {
        let Some((key, id)) = inner.order.pop_front() else { return false };
        if inner.entries.get(&key).is_some_and(|entry| entry.decision.id == id)
            && let Some(mut entry) = inner.take(&key)
        {
            self.write(&mut entry);
        }
        true
    }

    /// The API server has told of a pod that waits for a node: what was asked about it was asked by kube-scheduler.
    pub fn known(&self, pod: &Metadata) {
        self.vouch(&mut self.inner(), &pod.uid, &pod.namespace, &pod.name);
    }

    /// What was asked about this pod is about a pod that there is; what was asked about another one by its UID is not.
    fn vouch(&self, inner: &mut Inner, uid: &str, namespace: &str, name: &str) {
        match inner.entries.get(uid) {
            Some(entry) if !entry.is_of(namespace, name) => {
                inner.take(uid);
                self.metrics.log_dropped("other_pod", 1);
            }
            Some(entry) if entry.decision.standing == Standing::Unknown => {
                inner.change(uid, |entry| entry.decision.standing = Standing::Known);
            }
            _ => {}
        }
    }

    /// A pod went to a node. Returns its decision the first time that it is heard of.
    pub fn bound(&self, binding: Binding) -> Option<Decision> {
        let mut inner = self.inner();
        self.vouch(&mut inner, &binding.uid, &binding.namespace, &binding.name);
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
        let key = binding.uid.clone();
        self.vouch(inner, &key, &binding.namespace, &binding.name);
        let entry = inner.entries.get_mut(&key).filter(|entry| entry.decision.bound.is_none())?;
        entry.decision.bound = Some(binding);
        entry.bound_seen = Some(Instant::now());
        if entry.is_written {
            return None;
        }
        let joined = entry.decision.clone();
        inner.change(&key, |entry| self.write(entry));
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
    pub fn detailed(&self, key: &str, id: Uuid, details: Option<Vec<NodeScore>>) {
        let mut inner = self.inner();
        if inner.entries.get(key).is_some_and(|entry| entry.decision.id == id) {
            inner.change(key, |entry| entry.decision.details = details);
        }
        self.shrink(&mut inner);
    }

    /// Writes down what has waited long enough for its pod to be bound.
    pub fn sweep(&self, now: Instant) {
        let mut inner = self.inner();
        while inner.waiting.front().is_some_and(|(asked, ..)| now.saturating_duration_since(*asked) >= self.wait) {
            self.write_oldest(&mut inner);
        }
    }

    /// Writes down the one that has waited longest, bound or not. Returns whether any waits.
    fn write_oldest(&self, inner: &mut Inner) -> bool {
        let Some((_, key, id)) = inner.waiting.pop_front() else { return false };
        match inner.entries.get(&key).filter(|entry| entry.decision.id == id) {
            // No watch has told of its pod in all that time.
            Some(entry) if entry.decision.standing == Standing::Unknown => {
                if let Some(mut entry) = inner.take(&key) {
                    self.write(&mut entry);
                }
            }
            Some(_) => drop(inner.change(&key, |entry| self.write(entry))),
            None => {}
        }
        true
    }

    /// The newest decision on a pod.
    pub fn of(&self, namespace: &str, pod: &str) -> Option<Decision> {
        let inner = self.inner();
        let of_pod = inner.entries.values().filter(|entry| entry.is_of(namespace, pod));
        of_pod.max_by_key(|entry| entry.decision.asked).map(|entry| entry.decision.clone())
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
