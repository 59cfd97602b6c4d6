//! What the watch of the API server is good for: load on its way, outcomes, notes on pods.

use crate::support::{Extender, FakeApi, FakeScorer, ask, bound, names, pod};
use serde_json::{Value, json};

struct World {
    scorer: FakeScorer,
    api: FakeApi,
    extender: Extender,
}

async fn world(rules: &str, more: &[&str]) -> World {
    let (scorer, api) = (FakeScorer::start(10).await, FakeApi::start(10).await);
    let folder = tempfile::tempdir().expect("temporary folder");
    let kubeconfig = api.kubeconfig(folder.path()).to_string_lossy().into_owned();
    let arguments = [&["--scoring", &scorer.url, "--kubeconfig", &kubeconfig, "--deadline", "5s"], more].concat();
    let mut extender = Extender::start_in(folder, rules, &arguments).await;
    extender.ready().await;
    extender.wait("it watches", async |it| it.metric("berth_scheduler_extender_watch_up").await == Some(1.0)).await;
    World { scorer, api, extender }
}

async fn reserved(world: &mut World, pods: f64) {
    world
        .extender
        .wait(&format!("{pods} are reserved"), async |it| {
            it.metric("berth_scheduler_extender_reserved_pods").await == Some(pods)
        })
        .await;
}

/// What the scorer was told to be on its way to a node, cores.
async fn in_flight(world: &World, node: &str) -> Option<f64> {
    world.extender.prioritize(&ask(&pod("new", "other"), &names(10))).await;
    world.scorer.last()["in_flight"][node]["cpu_cores"].as_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_pod_counts_until_it_is_gone_or_seen() {
    let mut world = world("mode = \"active\"", &["--settle", "1h", "--reserve-at-most", "2h"]).await;
    // Its workload was scored with a quarter of a core; one that was never asked about counts with its requests.
    world.extender.prioritize(&ask(&pod("web-1", "web"), &names(10))).await;
    world.api.is(bound(pod("web-1", "web"), "node-3"));
    world.api.is(bound(pod("db-1", "db"), "node-3"));
    reserved(&mut world, 2.0).await;
    assert!((in_flight(&world, "node-3").await.expect("cores") - 0.75).abs() < 1e-6);
    assert_eq!(in_flight(&world, "node-4").await, None);
    world.api.gone("web-1", true);
    reserved(&mut world, 1.0).await;
    assert_eq!(
        world.extender.metric("berth_scheduler_extender_reservations_released_total{reason=\"gone\"}").await,
        Some(1.0)
    );
    let mut ended = bound(pod("db-1", "db"), "node-3");
    ended["status"]["phase"] = json!("Succeeded");
    world.api.is(ended);
    reserved(&mut world, 0.0).await;
    assert_eq!(in_flight(&world, "node-3").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_ends_when_the_samples_are_young_enough() {
    // The samples are five seconds old: they show what was bound ten seconds ago in the first case, and nothing in an hour in the other.
    let mut world = world("mode = \"active\"", &["--settle", "1s"]).await;
    let mut old = bound(pod("web-1", "web"), "node-3");
    let before = chrono::Utc::now() - chrono::Duration::seconds(60);
    old["status"]["conditions"][0]["lastTransitionTime"] =
        json!(before.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    world.api.is(old);
    world.api.is(bound(pod("web-2", "web"), "node-4"));
    reserved(&mut world, 1.0).await;
    // The scorer's nodes are looked at every fifteen seconds, and each look is five seconds old.
    reserved(&mut world, 0.0).await;
    assert_eq!(
        world.extender.metric("berth_scheduler_extender_reservations_released_total{reason=\"seen\"}").await,
        Some(1.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_cut_or_forgotten_is_begun_again() {
    let mut world = world("mode = \"active\"", &["--settle", "1h", "--reserve-at-most", "2h"]).await;
    for name in ["web-1", "web-2"] {
        world.api.is(bound(pod(name, "web"), "node-3"));
    }
    reserved(&mut world, 2.0).await;
    let lists = world.api.lists().len();
    assert_eq!(lists, 4, "two kinds in two pieces: {:?}", world.api.lists());
    assert!(world.api.lists().iter().any(|query| query.contains("fieldSelector=status.phase%21%3DSucceeded")));
    // One goes unheard; the list after the API server has forgotten our place tells.
    world.api.gone("web-1", false);
    world.api.tell("pods", "ERROR", &json!({ "kind": "Status", "code": 410, "message": "too old resource version" }));
    reserved(&mut world, 1.0).await;
    // Nothing at all for a while: degraded, and the answers go on.
    world.api.refuse(true);
    world
        .extender
        .wait("the watch is lost", async |it| {
            it.metric("berth_scheduler_extender_reason{reason=\"watch_lost\"}").await == Some(1.0)
        })
        .await;
    assert_eq!(world.extender.metric("berth_scheduler_extender_state{state=\"degraded\"}").await, Some(1.0));
    assert_eq!(world.extender.prioritize(&ask(&pod("a", "web"), &names(3))).await.1, None);
    world.api.refuse(false);
    world
        .extender
        .wait("it is heard again", async |it| it.metric("berth_scheduler_extender_watch_up").await == Some(1.0))
        .await;
    world.api.is(bound(pod("web-3", "web"), "node-3"));
    reserved(&mut world, 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_comes_as_the_beginning_of_a_watch_where_the_api_server_knows_how() {
    let (scorer, api) = (FakeScorer::start(10).await, FakeApi::start(10).await);
    api.stream(true);
    for name in ["web-1", "web-2"] {
        api.is(bound(pod(name, "web"), "node-3"));
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let kubeconfig = api.kubeconfig(folder.path()).to_string_lossy().into_owned();
    let arguments =
        ["--scoring", &scorer.url, "--kubeconfig", &kubeconfig, "--settle", "1h", "--reserve-at-most", "2h"];
    let extender = Extender::start_in(folder, "mode = \"active\"", &arguments).await;
    let mut world = World { scorer, api, extender };
    reserved(&mut world, 2.0).await;
    assert_eq!(world.extender.get("/v1/state").await["cluster_nodes"], json!(10));
    let lists = world.api.lists();
    assert!(
        lists.len() == 2 && lists.iter().all(|query| query.contains("resourceVersionMatch=NotOlderThan")),
        "{lists:?}"
    );
    // What is gone while nothing is heard is not in the next list.
    world.api.gone("web-1", false);
    world.api.tell("pods", "ERROR", &json!({ "kind": "Status", "code": 410, "message": "too old resource version" }));
    reserved(&mut world, 1.0).await;
    // A server of an earlier release in its place.
    world.api.stream(false);
    world.api.gone("web-2", false);
    world.api.tell("pods", "ERROR", &json!({ "kind": "Status", "code": 410, "message": "too old resource version" }));
    reserved(&mut world, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_nobody_can_read_is_left_out() {
    let mut world = world("mode = \"active\"", &["--settle", "1h", "--reserve-at-most", "2h"]).await;
    world.api.tell(
        "pods",
        "MODIFIED",
        &json!({ "metadata": { "resourceVersion": "9" }, "spec": { "containers": "none" } }),
    );
    world.api.tell("pods", "BOOKMARK", &json!({ "metadata": { "resourceVersion": "9" } }));
    world.api.is(bound(pod("web-1", "web"), "node-3"));
    reserved(&mut world, 1.0).await;
    assert!(world.extender.said().contains("an object cannot be read"));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_a_pod_gets_an_event_and_is_not_changed() {
    let mut world = world("mode = \"active\"", &[]).await;
    world.extender.prioritize(&ask(&pod("web-1", "web"), &names(10))).await;
    world.api.is(bound(pod("web-1", "web"), "node-9"));
    let ok = "berth_scheduler_extender_notes_total{outcome=\"ok\"}";
    world.extender.wait("it is noted", async |it| it.metric(ok).await == Some(1.0)).await;
    let written = world.api.written();
    assert!(written.len() == 1 && written[0].0 == "event" && written[0].1["reason"] == "ScoredByBerth", "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_nobody_can_read_is_not_asked_for_again_for_ever() {
    let mut world = world("mode = \"active\"", &["--settle", "1h", "--reserve-at-most", "2h"]).await;
    world.api.poison();
    world.api.is(bound(pod("web-1", "web"), "node-3"));
    reserved(&mut world, 1.0).await;
    world
        .extender
        .wait("it is heard again", async |it| it.metric("berth_scheduler_extender_watch_up").await == Some(1.0))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_counts_agreement_and_what_was_left_on_the_table() {
    let mut world = world("", &[]).await;
    for (name, node) in [("web-1", "node-9"), ("web-2", "node-4"), ("web-3", "node-9")] {
        world.extender.prioritize(&ask(&pod(name, "web"), &names(10))).await;
        world.api.is(bound(pod(name, "web"), node));
    }
    let outcomes = "berth_scheduler_extender_outcomes{answer=\"neutral\"}";
    world.extender.wait("all are seen", async |it| it.metric(outcomes).await == Some(3.0)).await;
    let shadow = world.extender.get("/v1/shadow").await;
    let neutral = &shadow["comparison"]["neutral"];
    // node-9 scores 0.9 at a P90 of 0.62, node-4 0.4 at 0.82: over 80 %.
    assert_eq!(
        (&neutral["agreed"], &neutral["hot"], &neutral["best_hot"]),
        (&json!(2), &json!(1), &json!(0)),
        "{shadow}"
    );
    assert!((neutral["gain"].as_f64().expect("a gain") - 0.5).abs() < 1e-6, "{shadow}");
    let (code, text) = world.extender.command(&["report"]);
    assert!(code == Some(0) && text.contains("3 pods were placed by kube-scheduler alone: 66.7 %"), "{text}");
    let (code, text) = world.extender.command(&["explain", "shop/web-2"]);
    assert!(code == Some(0) && text.contains("The pod went to node-4, which scores 0.50 less"), "{text}");
    assert!(world.api.written().is_empty(), "a pod that was not placed by a score gets no note");
    let (code, text) = world.extender.command(&["explain", "shop/nobody"]);
    assert!(code == Some(1) && text.contains("no decision on `shop/nobody`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_placed_by_a_score_carries_it_at_a_bounded_rate() {
    let mut world = world("mode = \"active\"\nannotate = true", &["--notes-a-second", "1"]).await;
    for place in 0..5 {
        let name = format!("web-{place}");
        world.extender.prioritize(&ask(&pod(&name, "web"), &names(10))).await;
        world.api.is(bound(pod(&name, "web"), "node-9"));
    }
    let outcomes = "berth_scheduler_extender_outcomes{answer=\"scored\"}";
    world.extender.wait("all are seen", async |it| it.metric(outcomes).await == Some(5.0)).await;
    let note =
        |what: &str| world.api.written().into_iter().find(|(name, _)| name.starts_with(what)).map(|(_, body)| body);
    world.extender.wait("it is noted", async |_| note("event").is_some()).await;
    let annotation = note("web-").expect("a patch")["metadata"]["annotations"]["berth.io/decision"].clone();
    assert!(
        annotation
            .as_str()
            .is_some_and(|text| text.starts_with("node=node-9 score=0.90 points=10 best=node-9 candidates=10 id=")),
        "{annotation}"
    );
    let event = note("event").expect("an event");
    assert_eq!((&event["reason"], &event["involvedObject"]["uid"]), (&json!("ScoredByBerth"), &json!("uid-web-0")));
    let limited = world.extender.metric("berth_scheduler_extender_notes_total{outcome=\"limited\"}").await;
    assert!(limited.is_some_and(|limited| limited >= 1.0), "{limited:?}");

    let page =
        world.extender.client.get(format!("{}/explain/shop/web-0", world.extender.url)).header("accept", "text/html");
    let words = "/explain/shop/web-0";
    world.extender.wait("it is put into words", async |it| it.get(words).await["details"].is_array()).await;
    let page = page.send().await.expect("an answer").text().await.expect("text");
    assert!(
        page.contains("<h1>shop/web-0</h1>")
            && page.contains("node-9 ←")
            && page.contains("node-9 is as good as its number"),
        "{page}"
    );
    let bad: Value = world.extender.get("/explain/shop/web-0?format=pdf").await;
    assert!(bad["error"].as_str().is_some_and(|said| said.contains("want json, html or text")), "{bad}");
}
