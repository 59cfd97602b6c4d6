use super::*;
use crate::decision::{Brief, Line};
use crate::health::State;
use crate::kubernetes::Pod;
use crate::rollout::Neutral;
use crate::rules::Mode;
use cluster::DECISIONS;
use score_api::NodeExplanation;
use store::Store;

const MINUTE: Duration = Duration::from_secs(60);

fn decision(name: &str, scores: &[(&str, f32)]) -> Decision {
    let mut pod = Pod::default();
    (pod.metadata.namespace, pod.metadata.name, pod.metadata.uid) = ("shop".into(), name.into(), format!("uid-{name}"));
    let mut decision = Decision::new("prioritize", &pod, Standing::Known, scores.len(), Mode::Shadow, State::Healthy);
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
    let memory = Memory::new(None, MINUTE, Arc::default());
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
    let memory = Memory::new(Some(journal), MINUTE, metrics);
    let first = decision("a", &[("n1", 0.9)]);
    let (ts, asked) = (first.ts, first.asked);
    memory.decided(first);
    memory.decided(decision("b", &[("n1", 0.9), ("n2", 0.4)]));
    memory.bound(binding("b", "n2", ts + 2_000));
    memory.sweep(asked + MINUTE);
    memory.sweep(asked + 2 * MINUTE);
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
    let memory = Memory::new(None, MINUTE, Arc::default());
    for place in 0..MOST + 5 {
        memory.decided(decision(&place.to_string(), &[("n1", 0.5)]));
    }
    assert!(memory.of("shop", "4").is_none() && memory.of("shop", "5").is_some());
    assert!(memory.inner().waiting.len() <= 2 * MOST);
}

fn full(name: &str, candidates: usize) -> Decision {
    let many: Vec<(String, f32)> = (0..candidates).map(|place| (place.to_string(), 0.5)).collect();
    let many: Vec<(&str, f32)> = many.iter().map(|(name, score)| (name.as_str(), *score)).collect();
    decision(name, &many)
}

#[test]
fn what_is_kept_is_bounded_in_bytes() {
    let memory = Memory::new(None, MINUTE, Arc::default());
    // A number of each candidate is 24 bytes: 20,000 of them are 480 KB, and 200 such decisions 96 MB.
    for place in 0..200 {
        memory.decided(full(&place.to_string(), 20_000));
        let inner = memory.inner();
        assert!(inner.bytes <= MOST_BYTES, "{} bytes", inner.bytes);
        assert_eq!(inner.bytes, inner.entries.values().map(|entry| entry.decision.bytes()).sum::<usize>());
    }
    // Those that were written early are remembered, without the numbers of all.
    assert!(memory.of("shop", "0").is_some_and(|it| it.briefs.len() == 1));
    assert!(memory.of("shop", "199").is_some_and(|it| it.briefs.len() == 20_000));
    // Words count as well.
    for place in 0..200 {
        let decision = decision(&format!("words-{place}"), &[("n1", 0.5)]);
        let (key, id) = (decision.key(), decision.id);
        memory.decided(decision);
        let explanation = NodeExplanation { reasons: vec!["x".repeat(1 << 20)], ..NodeExplanation::default() };
        let words = NodeScore { explanation: Some(Box::new(explanation)), ..NodeScore::default() };
        memory.detailed(&key, id, Some(vec![words]));
        assert!(memory.inner().bytes <= MOST_BYTES);
    }
    assert!(memory.of("shop", "words-199").is_some() && memory.of("shop", "words-0").is_none());
}

fn unknown(name: &str, scores: &[(&str, f32)]) -> Decision {
    Decision { standing: Standing::Unknown, ..decision(name, scores) }
}

fn dropped(memory: &Memory, reason: &str) -> String {
    let text = memory.metrics.text();
    let name = format!("decisions_dropped_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.split_once(&name)).map_or("0", |(_, count)| count).to_owned()
}

#[test]
fn who_asks_in_kube_schedulers_name_does_not_replace_its_decision() {
    let memory = Memory::new(None, MINUTE, Arc::default());
    let kept = |name: &str| memory.of("shop", name).expect("a decision").candidates;
    memory.decided(decision("a", &[("n1", 0.9), ("n2", 0.4)]));
    memory.decided(unknown("a", &[("n9", 1.0)]));
    assert_eq!((kept("a"), dropped(&memory, "unknown_pod").as_str()), (2, "1"));
    // Kube-scheduler may try a pod again until it is bound, and nobody may afterwards.
    memory.decided(decision("a", &[("n1", 0.9), ("n2", 0.4), ("n3", 0.1)]));
    assert_eq!(kept("a"), 3);
    let slow = decision("a", &[("n1", 0.9), ("n2", 0.4), ("n3", 0.1), ("n4", 0.2)]);
    memory.bound(binding("a", "n2", 5));
    memory.decided(decision("a", &[("n2", 1.0)]));
    assert_eq!((kept("a"), dropped(&memory, "bound_pod").as_str()), (3, "1"));
    // What was asked before and has taken until now is kube-scheduler's, and knows where the pod went.
    memory.decided(slow);
    let last = memory.of("shop", "a").expect("a decision");
    assert_eq!((last.candidates, last.bound.map(|it| it.node).as_deref()), (4, Some("n2")));
    assert_eq!(memory.comparison().neutral.outcomes, 1);
}

#[test]
fn a_decision_that_names_another_pod_than_its_uid_is_left_out() {
    let memory = Memory::new(None, MINUTE, Arc::default());
    let mut lie = unknown("a", &[("n1", 0.9)]);
    lie.pod = "x/../../../kube-system/pods/etcd".into();
    memory.decided(lie.clone());
    assert!(memory.bound(binding("a", "n1", 5)).is_none(), "nothing is written to a pod for it");
    assert_eq!((memory.of("shop", &lie.pod), dropped(&memory, "other_pod").as_str()), (None, "1"));
    // The same, where the watch was first.
    memory.bound(binding("b", "n1", 5));
    let mut lie = unknown("b", &[("n1", 0.9)]);
    lie.namespace = "kube-system".into();
    memory.decided(lie);
    assert_eq!((memory.of("kube-system", "b"), dropped(&memory, "other_pod").as_str()), (None, "2"));
    // And where the pod is told of before it is bound.
    let mut lie = unknown("c", &[("n1", 0.9)]);
    lie.namespace = "kube-system".into();
    memory.decided(lie);
    let mut pod = Pod::default();
    (pod.metadata.namespace, pod.metadata.name, pod.metadata.uid) = ("shop".into(), "c".into(), "uid-c".into());
    memory.known(&pod.metadata);
    assert_eq!(dropped(&memory, "other_pod"), "3");
}

#[test]
fn pods_that_nobody_has_told_of_are_few_and_are_not_written() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(folder.path());
    let metrics = Arc::new(Metrics::default());
    let journal = Journal::open(&store, metrics.clone()).expect("a journal");
    let memory = Memory::new(Some(journal), MINUTE, metrics);
    memory.decided(decision("real", &[("n1", 0.9)]));
    for place in 0..MOST_UNKNOWN + 5 {
        memory.decided(unknown(&format!("made-up-{place}"), &[("n1", 0.9)]));
    }
    assert_eq!((memory.inner().unknown, dropped(&memory, "unknown_pod").as_str()), (MOST_UNKNOWN, "5"));
    assert!(memory.of("shop", "real").is_some());
    // The watch was late for one of them.
    let late = memory.of("shop", "made-up-7").expect("a decision");
    memory.bound(binding("made-up-7", "n1", late.ts));
    memory.sweep(late.asked + 2 * MINUTE);
    assert_eq!(memory.inner().unknown, 0);
    assert_eq!(memory.of("shop", "made-up-8"), None);
    memory.close();
    let day = store.days(&DECISIONS).expect("days")[0];
    let frame = store.read_day(&DECISIONS, day, &[]).expect("a day");
    let pods: Vec<&str> = frame.column("pod").expect("pods").str().expect("text").iter().flatten().collect();
    assert_eq!(pods.len(), 2);
    assert!(pods.contains(&"real") && pods.contains(&"made-up-7"), "{pods:?}");
}
