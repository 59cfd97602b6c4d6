//! The taint on nodes with a standing critical anomaly: by explicit rule only, and never at the cost of somebody else's taint.

use crate::support::{Extender, FakeApi, FakeScorer};
use serde_json::json;

const ON: &str = "[quarantine]\ntaint = true\nafter = \"1s\"\nrecover = \"1s\"\n";

fn keys(api: &FakeApi, node: &str) -> Vec<String> {
    api.taints(node).iter().map(|taint| taint["key"].as_str().expect("a key").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_node_is_tainted_when_the_rules_say_so_and_freed_when_they_no_longer_do() {
    let (scorer, api) = (FakeScorer::start(10).await, FakeApi::start(10).await);
    api.taint("node-3", json!({ "key": "theirs", "effect": "NoSchedule" }));
    scorer.critical.lock().expect("a lock").push(3);
    // Of both processes.
    let shared = tempfile::tempdir().expect("temporary folder");
    let kubeconfig = api.kubeconfig(shared.path()).to_string_lossy().into_owned();
    let arguments = ["--scoring", &scorer.url, "--kubeconfig", &kubeconfig];
    let mut extender = Extender::start("", &arguments).await;
    extender.ready().await;
    // It has looked, and by default it does nothing.
    extender
        .wait("it looks", async |it| it.metric("berth_scheduler_extender_quarantined_nodes").await == Some(0.0))
        .await;
    assert_eq!(keys(&api, "node-3"), ["theirs"]);

    extender.rules(ON);
    extender.wait("it taints", async |_| keys(&api, "node-3") == ["theirs", "berth.io/quarantine"]).await;
    assert_eq!(api.taints("node-3")[1]["effect"], "NoSchedule");
    assert!((0..10).filter(|node| *node != 3).all(|node| keys(&api, &format!("node-{node}")).is_empty()));
    let told = api.written().into_iter().any(|(_, object)| object["reason"] == "QuarantineByBerth");
    assert!(told, "there is no event on the node");

    // Another process takes up what this one left, and frees the node since its rules say nothing.
    drop(extender);
    let mut extender = Extender::start("", &arguments).await;
    extender.wait("it frees", async |_| keys(&api, "node-3") == ["theirs"]).await;
    extender.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_well_again_is_freed() {
    let (scorer, api) = (FakeScorer::start(10).await, FakeApi::start(10).await);
    scorer.critical.lock().expect("a lock").push(5);
    let folder = tempfile::tempdir().expect("temporary folder");
    let kubeconfig = api.kubeconfig(folder.path()).to_string_lossy().into_owned();
    let mut extender = Extender::start_in(folder, ON, &["--scoring", &scorer.url, "--kubeconfig", &kubeconfig]).await;
    extender.wait("it taints", async |_| keys(&api, "node-5") == ["berth.io/quarantine"]).await;
    scorer.critical.lock().expect("a lock").clear();
    extender.wait("it frees", async |_| keys(&api, "node-5").is_empty()).await;
}
