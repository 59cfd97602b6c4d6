//! Replicas: each decides by itself; people are told what any of them knows, and one of them asks Prometheus for all.

use crate::redis::{Redis, redis_server};
use crate::support::{Extender, FakeApi, FakeScorer, ask, bound, names, pod};
use crate::world::{BUSY, Cluster, NODES, Root};
use collector::testing::free_port;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_asks_the_others_and_reports_are_of_all() {
    let (scorer, api) = (FakeScorer::start(10).await, FakeApi::start(10).await);
    let folder = tempfile::tempdir().expect("temporary folder");
    let kubeconfig = api.kubeconfig(folder.path()).to_string_lossy().into_owned();
    let token = folder.path().join("token");
    std::fs::write(&token, "secret").expect("written");
    let token = token.to_string_lossy().into_owned();
    let usual = ["--scoring", &scorer.url, "--kubeconfig", &kubeconfig, "--deadline", "5s", "--token-file", &token];
    let mut other = Extender::start("", &usual).await;
    // The same replica twice, as when a name leads to it twice.
    let peers = format!("{},{}", other.url, other.url);
    let mut one = Extender::start("", &[&usual[..], &["--peers", &peers]].concat()).await;
    for (replica, name) in [(&mut one, "web-1"), (&mut other, "web-2")] {
        replica.ready().await;
        replica.wait("it watches", async |it| it.metric("berth_scheduler_extender_watch_up").await == Some(1.0)).await;
        replica.prioritize(&ask(&pod(name, "web"), &names(10))).await;
    }
    for (name, node) in [("web-1", "node-9"), ("web-2", "node-4")] {
        api.is(bound(pod(name, "web"), node));
    }
    for replica in [&mut one, &mut other] {
        let outcomes = "berth_scheduler_extender_outcomes{answer=\"neutral\"}";
        replica.wait("its pod is seen", async |it| it.metric(outcomes).await == Some(1.0)).await;
    }
    let get = async |it: &Extender, path: &str| {
        it.client.get(format!("{}{path}", it.url)).bearer_auth("secret").send().await.expect("an answer")
    };
    let explanation: serde_json::Value = get(&one, "/explain/shop/web-2").await.json().await.expect("JSON");
    assert_eq!((&explanation["bound"], &explanation["agrees"]), (&json!("node-4"), &json!(false)), "{explanation}");
    let shadow: serde_json::Value = get(&one, "/v1/shadow").await.json().await.expect("JSON");
    let neutral = &shadow["comparison"]["neutral"];
    assert_eq!((&shadow["replicas"], &neutral["outcomes"], &neutral["agreed"]), (&json!(2), &json!(2), &json!(1)));
    // A pod that is tried again is told as the other replica saw it last.
    one.prioritize(&ask(&pod("web-3", "web"), &names(10))).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    other.prioritize(&ask(&pod("web-3", "web"), &names(5))).await;
    // In shadow it is scored after the answer.
    let last = async |it: &Extender| {
        get(it, "/explain/shop/web-3").await.json::<serde_json::Value>().await.expect("JSON")["candidates"].clone()
    };
    one.wait("the other one's is told", async |it| last(it).await == json!(5)).await;
    // It knows nobody: it tells what it has seen itself.
    assert_eq!(get(&other, "/explain/shop/web-4").await.status(), 404);
    let alone: serde_json::Value = get(&other, "/v1/shadow").await.json().await.expect("JSON");
    assert_eq!((&alone["replicas"], &alone["comparison"]["neutral"]["outcomes"]), (&json!(1), &json!(1)));

    // A replica that is gone is named, and the rest is told.
    assert_eq!(tokio::task::block_in_place(|| other.stop()), Some(0), "{}", other.said());
    let shadow: serde_json::Value = get(&one, "/v1/shadow").await.json().await.expect("JSON");
    assert_eq!((&shadow["replicas"], &shadow["comparison"]["neutral"]["outcomes"]), (&json!(1), &json!(1)));
    let gone = format!("127.0.0.1:{}", other.port);
    assert!(shadow["silent"][0].as_str().is_some_and(|said| said.contains(&gone)), "{shadow}");
    let nobody = get(&one, "/explain/shop/web-2").await;
    assert_eq!(nobody.status(), 404);
    let said = nobody.text().await.expect("text");
    assert!(said.contains("a replica is silent") && said.contains("--days 7"), "{said}");

    // What it kept can be read without it.
    let data = other.folder.path().to_string_lossy().into_owned();
    let explain = |pod: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_scheduler-extender"))
            .args(["--data", &data, "explain", pod, "--days", "7"])
            .output()
            .expect("it runs");
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
    };
    let (code, text) = explain("shop/web-2");
    assert!(code == Some(0) && text.contains("The pod went to node-4, which scores 0.50 less"), "{text}");
    let (code, text) = explain("shop/web-1");
    assert!(code == Some(1) && text.contains("no decision on `shop/web-1` in the last 7 days"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_polls_for_all_and_scores_go_on_without_redis() {
    let Some(program) = redis_server() else { return };
    let (first, second) = (Root::with_models().await, Root::with_models().await);
    let now = chrono::Utc::now().timestamp() / 60 * 60;
    let Some(prometheus) = Cluster::new(3, now).serve(first.path()) else { return };
    let redis = Redis::start(&program, second.path(), free_port().expect("a port"));
    let (url, address) = (prometheus.url(), redis.url());
    let arguments = ["--prometheus", &url, "--warm", "3h", "--every", "3s", "--stale-after", "1h", "--redis", &address];
    let arguments = [&arguments[..], &["--deadline", "5s"]].concat();
    let mut one = Extender::start_in(first.folder, "mode = \"active\"", &arguments).await;
    let mut two = Extender::start_in(second.folder, "mode = \"active\"", &arguments).await;
    one.ready().await;
    two.ready().await;
    let polls = async |it: &Extender, source: &str| {
        it.metric(&format!("berth_serving_polls_total{{source=\"{source}\"}}")).await.unwrap_or(0.0)
    };
    one.wait("they share", async |one| polls(one, "redis").await + polls(&two, "redis").await >= 3.0).await;
    let nodes: Vec<String> = (0..NODES).map(|node| format!("node-{node}")).collect();
    let scored = async |it: &Extender| {
        let (points, why) = it.prioritize(&ask(&pod("cart-9", "cart"), &nodes)).await;
        (points[BUSY], why)
    };
    for replica in [&one, &two] {
        assert_eq!(scored(replica).await, (0, None));
    }
    drop(redis);
    for replica in [&mut one, &mut two] {
        let before = polls(replica, "prometheus").await;
        replica.wait("it asks by itself", async |it| polls(it, "prometheus").await >= before + 2.0).await;
        assert_eq!(scored(replica).await, (0, None), "{}", replica.said());
    }
}
