//! What somebody may do who reaches the webhook and is not kube-scheduler: nothing that real pods notice.

use crate::support::{Behaviour, Extender, FakeApi, FakeScorer, answer, ask, bound, names, pod};
use collector::testing::free_port;
use score_api::{ExpectedUsage, PodRequest, ScoreRequest, UsageSource};
use serde_json::{Value, json};
use std::process::Command;

struct World {
    scorer: FakeScorer,
    api: FakeApi,
    extender: Extender,
}

/// A cluster of ten nodes in which one pod waits for a node.
async fn world(rules: &str) -> World {
    world_with(rules, &["real"]).await
}

/// A cluster of ten nodes in which some pods wait for one.
async fn world_with(rules: &str, waiting: &[&str]) -> World {
    let (scorer, api) = (FakeScorer::start(10).await, FakeApi::start(10).await);
    waiting.iter().for_each(|name| api.is(pod(name, "web")));
    let folder = tempfile::tempdir().expect("temporary folder");
    let kubeconfig = api.kubeconfig(folder.path()).to_string_lossy().into_owned();
    let arguments = ["--scoring", &scorer.url, "--kubeconfig", &kubeconfig, "--deadline", "5s"];
    let mut extender = Extender::start_in(folder, rules, &arguments).await;
    extender.ready().await;
    extender.wait("it watches", async |it| it.metric("berth_scheduler_extender_watch_up").await == Some(1.0)).await;
    World { scorer, api, extender }
}

/// The same pod with other fields of its metadata.
fn with(mut pod: Value, key: &str, value: &str) -> Value {
    pod["metadata"][key] = json!(value);
    pod
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_somebody_made_up_move_no_real_one() {
    let world = world("mode = \"active\"\n[spread]\nepsilon = 0.0").await;
    let (before, _) = world.extender.prioritize(&ask(&pod("real", "web"), &names(10))).await;
    for place in 0..20 {
        let mut huge = pod(&format!("made-up-{place}"), "huge");
        huge["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("1000");
        world.extender.prioritize(&ask(&huge, &["node-0".into(), "node-9".into()])).await;
    }
    let state = world.extender.get("/v1/state").await;
    let (all, by_node) = (&state["reserved"]["cpu_cores"], &state["reserved_by_node"]);
    // The real one's quarter of a core is on its way to its best node, and nothing else.
    assert_eq!((all, &by_node["node-9"]["cpu_cores"]), (&json!(0.25), &json!(0.25)), "{state}");
    let (after, _) = world.extender.prioritize(&ask(&pod("real", "web"), &names(10))).await;
    // One draw for each decision rounds the points of all candidates.
    assert!(before.iter().zip(&after).all(|(before, after)| before.abs_diff(*after) <= 1), "{before:?} {after:?}");
    assert_eq!(world.scorer.last()["in_flight"], json!({ "node-9": { "cpu_cores": 0.0, "memory_bytes": 0.0 } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_made_up_pod_requests_is_not_what_its_workload_uses() {
    let mut world = world("mode = \"active\"").await;
    let mut huge = pod("made-up", "web");
    huge["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("1000");
    // A serving that knows no history of the workload says again what the pod requests.
    let request = ScoreRequest { pods: vec![PodRequest::default()], nodes: names(2), ..ScoreRequest::default() };
    let mut says = answer(&request);
    says.pods[0].expected = ExpectedUsage { cpu_cores: 1e3, memory_bytes: 1e8, source: UsageSource::Requests };
    world.scorer.behave(Behaviour::Says(serde_json::to_string(&says).expect("JSON")));
    assert_eq!(world.extender.prioritize(&ask(&huge, &names(2))).await.1, None);
    // A pod of the same workload that requests half a core, and that nobody was asked about.
    world.api.is(bound(pod("web-1", "web"), "node-3"));
    let pods = "berth_scheduler_extender_reserved_pods";
    world.extender.wait("it is reserved", async |it| it.metric(pods).await == Some(1.0)).await;
    assert_eq!(world.extender.metric("berth_scheduler_extender_reserved_cores").await, Some(0.5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_at_the_api_server_is_made_of_no_name_that_somebody_sends() {
    let mut world = world_with("mode = \"active\"\nannotate = true", &["real", "other"]).await;
    let elsewhere = "x/../../../../../../api/v1/namespaces/kube-system/pods/etcd-master";
    let real = pod("real", "web");
    for lie in [
        with(real.clone(), "name", elsewhere),
        with(real.clone(), "namespace", "../../apis/apps/v1/namespaces/shop/deployments/web?x="),
        // Names that could be real, of a pod that this one is not.
        with(with(real.clone(), "name", "etcd-master"), "namespace", "kube-system"),
    ] {
        world.extender.prioritize(&ask(&lie, &names(10))).await;
    }
    // A pod of its own, so that its note tells that those before it have been dealt with.
    world.extender.prioritize(&ask(&pod("other", "web"), &names(10))).await;
    world.api.is(bound(real, "node-9"));
    world.api.is(bound(pod("other", "web"), "node-9"));
    let ok = "berth_scheduler_extender_notes_total{outcome=\"ok\"}";
    world.extender.wait("a pod is noted", async |it| it.metric(ok).await == Some(1.0)).await;
    let written: Vec<String> = world.api.written().into_iter().map(|(name, _)| name).collect();
    assert_eq!((written, world.api.strange()), (vec!["other".to_owned(), "event".to_owned()], Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_pod_is_what_kube_scheduler_asked() {
    let mut world = world("").await;
    world.extender.prioritize(&ask(&pod("real", "web"), &names(10))).await;
    let candidates = async |it: &Extender| it.get("/explain/shop/real").await["candidates"].clone();
    // In shadow it is scored after the answer.
    world.extender.wait("it is kept", async |it| candidates(it).await == json!(10)).await;
    // With the UID of the pod and another name, and with all of its names after it went to a node.
    world.extender.prioritize(&ask(&with(pod("real", "web"), "name", "fake"), &names(3))).await;
    assert_eq!(
        world.extender.get("/explain/shop/fake").await["error"].as_str().map(|said| said.contains("no decision")),
        Some(true)
    );
    world.api.is(bound(pod("real", "web"), "node-9"));
    let outcomes = "berth_scheduler_extender_outcomes{answer=\"neutral\"}";
    world.extender.wait("it is seen", async |it| it.metric(outcomes).await == Some(1.0)).await;
    world.extender.prioritize(&ask(&pod("real", "web"), &names(3))).await;
    assert_eq!(candidates(&world.extender).await, json!(10));
    let dropped = "berth_scheduler_extender_decisions_dropped_total{reason=\"unknown_pod\"}";
    world.extender.wait("both are left out", async |it| it.metric(dropped).await == Some(2.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_no_kube_scheduler_sends_take_little_memory() {
    let world = world("").await;
    let most = |extender: &Extender| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", extender.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    };
    let empty = format!("{{\"Pod\":{{}},\"NodeNames\":[{}\"\"]}}", "\"\",".repeat(20_000_000));
    let (status, _, said) = world.extender.post("/prioritize", empty).await;
    assert!(status == 400 && said["error"].as_str().is_some_and(|said| said.contains("20000")), "{status} {said}");
    for _ in 0..20 {
        let long = ask(&with(pod("a", "web"), "uid", &"u".repeat(60_000_000)), &names(2)).to_string();
        let (points, why) = {
            let (status, why, answer) = world.extender.post("/prioritize", long).await;
            assert_eq!(status, 200, "{answer}");
            (crate::support::points(&answer), why)
        };
        assert_eq!((points, why.as_deref()), (vec![0, 0], Some("bad_pod")));
    }
    // One body at a time, while it is read and grows: without limits it was 4.9 GB.
    let most = most(&world.extender);
    assert!(most < 512 << 20, "{} MiB", most >> 20);
}

#[test]
fn an_address_that_others_reach_is_not_listened_on_without_clients_that_are_known() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let port = free_port().expect("a port");
    let output = Command::new(env!("CARGO_BIN_EXE_scheduler-extender"))
        .arg("--data")
        .arg(folder.path())
        .args(["run", "--listen", &format!("0.0.0.0:{port}"), "--scoring", "http://127.0.0.1:9"])
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--tls-client-ca-file") && said.contains("--insecure-allow-any-client"), "{said}");
}
