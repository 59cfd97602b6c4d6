use super::*;
use serde_json::json;

const HOLD: Hold = Hold { settle: 60_000, most: Duration::from_secs(900) };
const WALL: i64 = 1_780_272_000_000;

/// One moment for a whole test.
fn moment() -> Moment {
    Moment { wall: WALL, clock: Instant::now() }
}

fn pod(uid: &str, node: &str) -> Pod {
    serde_json::from_value(
        json!({ "metadata": { "uid": uid, "name": uid, "namespace": "shop" }, "spec": { "nodeName": node } }),
    )
    .expect("a pod")
}

fn names(uid: &str) -> Metadata {
    pod(uid, "").metadata
}

fn tenth(_: &Pod) -> Usage {
    Usage { cpu_cores: 0.1, memory_bytes: 5.0 }
}

/// Two tenths for each of two nodes.
fn usage(_: &Pod) -> Usage {
    Usage { cpu_cores: 0.4, memory_bytes: 4.0 }
}

fn tell(ledger: &Ledger, happened: Happened<Pod>, sampled: Option<i64>, now: Moment) -> Vec<News> {
    ledger.pod(happened, now, tenth, |_| sampled)
}

fn cores(ledger: &Ledger, node: &str) -> Option<f64> {
    ledger.in_flight([node].into_iter(), "another").get(node).map(|flight| flight.cpu_cores)
}

fn best() -> Vec<String> {
    vec!["n1".to_owned(), "n2".to_owned()]
}

#[test]
fn load_is_reserved_at_the_binding_and_released_when_the_metrics_show_it() {
    let (ledger, now) = (Ledger::new(HOLD), moment());
    let news = tell(&ledger, Happened::Is(pod("a", "n1")), Some(WALL), now);
    let bound =
        |it: &News| matches!(it, News::Bound(bound) if bound.node == "n1" && bound.at == WALL && bound.name == "a");
    assert!(news.len() == 1 && bound(&news[0]), "{news:?}");
    tell(&ledger, Happened::Is(pod("b", "n1")), None, now);
    // The same pod again, as each of its changes comes, counts once.
    tell(&ledger, Happened::Is(pod("a", "n1")), None, now);
    assert_eq!(cores(&ledger, "n1"), Some(0.2));
    assert_eq!(cores(&ledger, "n2"), None);
    assert_eq!(ledger.in_flight(["n1"].into_iter(), "a")["n1"].cpu_cores, 0.1, "a pod is not its own neighbour");
    assert_eq!(ledger.settle(now.clock, |_| Some(WALL + 59_999)), [(Release::Seen, 0), (Release::Expired, 0)]);
    assert_eq!(ledger.settle(now.clock, |_| Some(WALL + 60_000)), [(Release::Seen, 2), (Release::Expired, 0)]);
    assert_eq!((cores(&ledger, "n1"), ledger.totals()), (None, Totals::default()));
}

#[test]
fn an_answered_pod_is_awaited_on_its_best_candidates_until_it_is_bound_or_time_is_up() {
    let (ledger, now) = (Ledger::new(HOLD), moment());
    ledger.answered(&names("a"), best(), now, usage);
    assert_eq!(cores(&ledger, "n1"), None, "no watch would ever release it");
    tell(&ledger, Happened::Heard, None, now);
    for uid in ["a", "b"] {
        tell(&ledger, Happened::Is(pod(uid, "")), None, now);
    }
    for uid in ["a", "a", "b"] {
        ledger.answered(&names(uid), best(), now, usage);
    }
    assert_eq!((cores(&ledger, "n1"), cores(&ledger, "n2")), (Some(0.4), Some(0.4)));
    assert_eq!(ledger.in_flight(["n1"].into_iter(), "a")["n1"].cpu_cores, 0.2, "a pod is not its own neighbour");
    // It went elsewhere, by what kube-scheduler found.
    tell(&ledger, Happened::Is(pod("a", "n3")), None, now);
    assert_eq!((cores(&ledger, "n1"), cores(&ledger, "n3")), (Some(0.2), Some(0.1)));
    ledger.answered(&names("a"), best(), now, usage);
    assert_eq!(cores(&ledger, "n1"), Some(0.2), "what is bound is awaited no more");
    assert_eq!(ledger.settle(now.clock + Duration::from_millis(29_999), |_| None)[1], (Release::Expired, 0));
    assert_eq!(ledger.settle(now.clock + Duration::from_millis(30_000), |_| None)[1], (Release::Expired, 1));
    assert_eq!((cores(&ledger, "n1"), ledger.totals().pods), (None, 1));
}

#[test]
fn pods_that_somebody_made_up_reserve_nothing() {
    let (ledger, now) = (Ledger::new(HOLD), moment());
    tell(&ledger, Happened::Heard, None, now);
    assert_eq!(ledger.standing(&names("real")), Standing::Unknown);
    let huge = |_: &Pod| -> Usage { panic!("nobody is asked what a pod will use that there is not") };
    for place in 0..20 {
        ledger.answered(&names(&format!("made-up-{place}")), best(), now, huge);
    }
    assert_eq!(ledger.totals(), Totals::default());
    // The pod's UID with other names is no better.
    tell(&ledger, Happened::Is(pod("real", "")), None, now);
    assert_eq!(ledger.standing(&names("real")), Standing::Known);
    let other = Metadata { name: "other".into(), ..names("real") };
    assert_eq!(ledger.standing(&other), Standing::Unknown);
    ledger.answered(&other, best(), now, huge);
    assert_eq!(ledger.totals(), Totals::default());
    ledger.answered(&names("real"), best(), now, usage);
    assert_eq!(cores(&ledger, "n1"), Some(0.2));
    tell(&ledger, Happened::Lost, None, now);
    assert_eq!(ledger.standing(&names("made-up-0")), Standing::Unheard);
}

#[test]
fn an_answer_that_is_ahead_of_the_watch_counts_when_the_watch_tells_of_its_pod() {
    let (ledger, now) = (Ledger::new(HOLD), moment());
    tell(&ledger, Happened::Heard, None, now);
    ledger.answered(&names("early"), best(), now, usage);
    assert_eq!(cores(&ledger, "n1"), None);
    let news = tell(&ledger, Happened::Is(pod("early", "")), None, now);
    assert!(matches!(&news[..], [News::Waits(pod)] if pod.metadata.uid == "early"), "{news:?}");
    // By what the API server's pod will use: a tenth on two nodes.
    assert_eq!(cores(&ledger, "n1"), Some(0.05));
    // One that never comes is forgotten, and does not count when it comes after all.
    ledger.answered(&names("never"), best(), now, usage);
    assert_eq!(ledger.inner().waiting.names(), 2);
    ledger.settle(now.clock + Duration::from_secs(5), |_| None);
    assert_eq!(ledger.inner().waiting.names(), 0);
    tell(&ledger, Happened::Is(pod("never", "")), None, now);
    assert_eq!(cores(&ledger, "n1"), Some(0.05));
}

#[test]
fn answers_that_wait_for_their_pods_are_bounded() {
    let (ledger, now) = (Ledger::new(HOLD), moment());
    tell(&ledger, Happened::Heard, None, now);
    let many: Vec<String> = (0..20_000).map(|node| format!("n{node}")).collect();
    for place in 0..20 {
        ledger.answered(&names(&place.to_string()), many.clone(), now, usage);
    }
    assert_eq!(ledger.inner().waiting.names(), 100_000);
}

#[test]
fn a_pod_that_is_gone_or_has_ended_holds_nothing() {
    let (ledger, now) = (Ledger::new(HOLD), moment());
    let gone = vec![News::Released(Release::Gone, 1)];
    for uid in ["a", "b"] {
        tell(&ledger, Happened::Is(pod(uid, "n1")), None, now);
    }
    assert_eq!(tell(&ledger, Happened::Gone(pod("a", "n1")), None, now), gone);
    let mut ended = pod("b", "n1");
    ended.status.phase = "Succeeded".into();
    assert_eq!(tell(&ledger, Happened::Is(ended.clone()), None, now), gone);
    assert_eq!(tell(&ledger, Happened::Is(ended), None, now), []);
    assert_eq!(ledger.totals().pods, 0);
}

#[test]
fn pods_that_are_old_or_wait_reserve_nothing_and_metrics_that_never_come_end_it() {
    let (ledger, now) = (Ledger::new(HOLD), moment());
    assert!(matches!(&tell(&ledger, Happened::Is(pod("waits", "")), None, now)[..], [News::Waits(_)]));
    // Bound before the samples of its node began to show it.
    tell(&ledger, Happened::Is(pod("old", "n1")), Some(WALL + 60_000), now);
    assert_eq!(ledger.totals().pods, 0);
    tell(&ledger, Happened::Is(pod("a", "n1")), None, now);
    assert_eq!(ledger.settle(now.clock + HOLD.most, |_| None)[1], (Release::Expired, 1));
}

/// The clock of the wall is an hour behind when the pod is told of, then is set right: what was reserved for fifteen minutes is reserved
/// for as long, not until the hour has passed again.
#[test]
fn a_step_of_the_wall_clock_holds_nothing_longer() {
    let (ledger, now) = (Ledger::new(HOLD), moment());
    let mut ahead = pod("a", "n1");
    let at = chrono::DateTime::from_timestamp_millis(WALL + 3_600_000).expect("a time").to_rfc3339();
    ahead.status.conditions =
        serde_json::from_value(json!([{ "type": "PodScheduled", "status": "True", "lastTransitionTime": at }]))
            .expect("conditions");
    tell(&ledger, Happened::Is(ahead), None, now);
    assert_eq!(ledger.totals().pods, 1);
    assert_eq!(ledger.settle(now.clock + HOLD.most, |_| None)[1], (Release::Expired, 1));
}

#[test]
fn a_list_after_a_loss_releases_what_it_does_not_name() {
    let (ledger, now) = (Ledger::new(HOLD), moment());
    tell(&ledger, Happened::Heard, None, now);
    for uid in ["a", "b"] {
        tell(&ledger, Happened::Is(pod(uid, "n1")), None, now);
    }
    for uid in ["waits", "deleted"] {
        tell(&ledger, Happened::Is(pod(uid, "")), None, now);
        ledger.answered(&names(uid), vec!["n3".to_owned()], now, tenth);
    }
    assert!(!ledger.is_heard());
    tell(&ledger, Happened::ListBegins, None, now);
    for (uid, node) in [("b", "n1"), ("c", "n2"), ("waits", "")] {
        tell(&ledger, Happened::Is(pod(uid, node)), None, now);
    }
    assert_eq!(tell(&ledger, Happened::ListEnds, None, now), [News::Released(Release::Gone, 2)]);
    assert_eq!((cores(&ledger, "n1"), cores(&ledger, "n2"), cores(&ledger, "n3")), (Some(0.1), Some(0.1), Some(0.1)));
    assert_eq!(ledger.standing(&names("deleted")), Standing::Unknown);
    assert_eq!(ledger.standing(&names("waits")), Standing::Known);
}

#[test]
fn nodes_that_no_metric_names_lower_the_share() {
    let ledger = Ledger::new(HOLD);
    assert_eq!(ledger.count(|_| true), 0);
    let node =
        |name: &str| -> Node { serde_json::from_value(json!({ "metadata": { "name": name } })).expect("a node") };
    ledger.node(Happened::ListBegins);
    ["n1", "n2", "n3", "n4"].into_iter().for_each(|name| ledger.node(Happened::Is(node(name))));
    ledger.node(Happened::ListEnds);
    assert_eq!(ledger.count(|name| name != "n4"), 3);
    ledger.node(Happened::Gone(node("n4")));
    assert_eq!(ledger.count(|name| name != "n4"), 3);
}
