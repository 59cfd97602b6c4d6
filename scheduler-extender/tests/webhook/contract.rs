//! What kube-scheduler sends and what it may be answered: each case is one that it, or somebody in its name, really produces.

use crate::support::{Extender, FakeScorer, ask, names, pod, points};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Without chance among near-ties, so that what is better has more points.
const ACTIVE: &str = "mode = \"active\"\n[spread]\nepsilon = 0.0";

async fn active(nodes: usize) -> (FakeScorer, Extender) {
    let scorer = FakeScorer::start(nodes).await;
    // A generous deadline: what is tested here is the content.
    let mut extender = Extender::start(ACTIVE, &["--scoring", &scorer.url, "--deadline", "5s"]).await;
    extender.ready().await;
    (scorer, extender)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_candidate_gets_points_in_range_in_both_modes_of_the_node_cache() {
    let (scorer, extender) = active(5_000).await;
    for count in [1, 2, 500, 5_000] {
        let names = names(count);
        let (points, why) = extender.prioritize(&ask(&pod("web-1", "web"), &names)).await;
        assert_eq!((points.len(), why), (count, None));
        assert!(points.iter().all(|points| (0..=10).contains(points)));
        assert!(points.is_sorted(), "the higher the number the better the score");
        assert_eq!(points[count - 1] > points[0], count > 1);
    }
    let asked = scorer.last();
    assert_eq!(asked["pods"][0]["workload"], "shop/Deployment/web");
    assert_eq!(
        (asked["pods"][0]["cpu_request_cores"].as_f64(), asked["pods"].as_array().map(Vec::len)),
        (Some(0.5), Some(1))
    );

    // Whole nodes, with `nodeCacheCapable: false`.
    let node = |name: &String| json!({ "metadata": { "name": name, "labels": { "zone": "a" } }, "status": { "capacity": { "cpu": "8" } } });
    let items: Vec<Value> = names(20).iter().map(node).collect();
    let whole = json!({ "Pod": pod("web-1", "web"), "Nodes": { "metadata": {}, "items": items }, "NodeNames": null });
    let (status, _, answer) = extender.post("/prioritize", whole.to_string()).await;
    assert_eq!((status, points(&answer).len()), (200, 20));
    assert!(answer[0]["Host"] == "node-0" && answer[0].as_object().is_some_and(|it| it.len() == 2), "{answer}");
    let (status, _, answer) = extender.post("/filter", whole.to_string()).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&answer["Nodes"]["items"], &answer["NodeNames"], &answer["Error"]),
        (&json!(items), &Value::Null, &json!(""))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_doubles_are_answered_like_all_others() {
    let (_scorer, extender) = active(10).await;
    let mut odd = names(4);
    odd.extend(["elsewhere".to_owned(), "node-1".to_owned(), "x".repeat(253)]);
    let (points, why) = extender.prioritize(&ask(&pod("web-1", "web"), &odd)).await;
    assert_eq!((points.len(), why), (7, None));
    let (best, worst) = (*points.iter().max().expect("points"), *points.iter().min().expect("points"));
    assert!(points[4] > worst && points[4] < best, "a stranger is neither best nor worst: {points:?}");
    let (nothing, _) = extender.prioritize(&ask(&pod("web-1", "web"), &[])).await;
    assert!(nothing.is_empty());
    let (strangers, why) = extender.prioritize(&ask(&pod("web-1", "web"), &["a".into(), "b".into()])).await;
    assert_eq!((strangers, why.as_deref()), (vec![0, 0], Some("nothing_known")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_pod_is_neutral_and_a_body_without_candidates_is_refused() {
    let (_scorer, extender) = active(10).await;
    for odd in [json!(null), json!([]), json!({ "spec": { "containers": 3 } })] {
        let (points, why) = extender.prioritize(&ask(&odd, &names(3))).await;
        assert_eq!((points, why.as_deref()), (vec![0; 3], Some("bad_pod")), "{odd}");
        let (status, _, answer) = extender.post("/filter", ask(&odd, &names(3)).to_string()).await;
        assert_eq!((status, &answer["NodeNames"]), (200, &json!(names(3))), "{odd}");
    }
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"Pod":{},"Nodes":null,"NodeNames":null}"#,
        r#"{"Pod":{},"NodeNames":["a",1]}"#,
        r#"{"Pod":{},"NodeNames":["a",""]}"#,
        r#"{"Pod":{},"NodeNames":["a","../../pods"]}"#,
        r#"{"Pod":{},"Nodes":{"items":[{"metadata":{}}]}}"#,
    ] {
        for verb in ["/prioritize", "/filter"] {
            let (status, _, answer) = extender.post(verb, body).await;
            // kube-scheduler takes any status but 200 for a failed call, and a failed call for no opinion (with `ignorable`).
            assert_eq!(status, 400, "{verb} {body}");
            assert!(answer["error"].as_str().is_some_and(|said| said.len() > 20), "{answer}");
        }
    }
    assert_eq!(
        extender.metric("berth_scheduler_extender_requests_total{verb=\"filter\",outcome=\"refused\"}").await,
        Some(10.0)
    );
    for (path, status) in [("/bind", 404), ("/prioritize", 405)] {
        assert_eq!(extender.status(path).await, Some(status));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_is_opt_in_and_leaves_at_least_half() {
    let (_scorer, mut extender) = active(10).await;
    let whole = ask(&pod("web-1", "web"), &names(10));
    let (_, _, answer) = extender.post("/filter", whole.to_string()).await;
    assert_eq!((&answer["NodeNames"], &answer["FailedAndUnresolvableNodes"]), (&json!(names(10)), &json!({})));
    extender.rules("mode = \"active\"\nfilter = true");
    extender.wait("the filter is on", async |it| it.get("/v1/state").await["rules"]["filter"] == json!(true)).await;
    // P90 forecasts of 0.98, 0.94, …: node-0 is over 95 %, and over 75 % are six.
    let rejected = async |extender: &Extender, whole: &Value| -> Vec<String> {
        let (status, _, answer) = extender.post("/filter", whole.to_string()).await;
        assert_eq!((status, &answer["Error"], &answer["FailedNodes"]), (200, &json!(""), &json!({})));
        let failed = answer["FailedAndUnresolvableNodes"].as_object().expect("a map").clone();
        assert!(failed.values().all(|reason| reason.as_str().is_some_and(|it| it.starts_with("berth: "))));
        let left = answer["NodeNames"].as_array().expect("names").len();
        assert_eq!(left + failed.len(), whole["NodeNames"].as_array().expect("names").len());
        failed.keys().cloned().collect()
    };
    assert_eq!(rejected(&extender, &whole).await, ["node-0"]);
    extender.rules("mode = \"active\"\nfilter = true\n[spread]\nfilter_over = 0.75");
    extender
        .wait("the limit is lower", async |it| {
            it.get("/v1/state").await["rules"]["spread"]["filter_over"] == json!(0.75)
        })
        .await;
    assert_eq!(
        rejected(&extender, &whole).await,
        ["node-0", "node-1", "node-2", "node-3", "node-4"],
        "never more than half"
    );
    assert!(rejected(&extender, &ask(&pod("web-1", "web"), &names(1))).await.is_empty(), "never all");
    for exempt in [
        json!({ "metadata": { "name": "a", "ownerReferences": [{ "kind": "DaemonSet", "name": "d" }] } }),
        json!({ "metadata": { "name": "a" }, "spec": { "priorityClassName": "system-cluster-critical" } }),
        json!({ "metadata": { "name": "a", "annotations": { "kubernetes.io/config.mirror": "x" } } }),
        json!({ "metadata": { "name": "a", "annotations": { "berth.io/opt-out": "true" } } }),
    ] {
        assert!(rejected(&extender, &ask(&exempt, &names(10))).await.is_empty(), "{exempt}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_slow_bodies_end_in_a_clear_answer() {
    let scorer = FakeScorer::start(10).await;
    let arguments =
        ["--scoring", &scorer.url, "--max-body-bytes", "100000", "--body-timeout", "200ms", "--deadline", "5s"];
    let mut extender = Extender::start(ACTIVE, &arguments).await;
    extender.ready().await;
    let mut large = pod("web-1", "web");
    large["metadata"]["annotations"] = json!({ "blob": "x".repeat(200_000) });
    let (status, _, answer) = extender.post("/prioritize", ask(&large, &names(3)).to_string()).await;
    assert_eq!(status, 413);
    assert!(answer["error"].as_str().is_some_and(|said| said.contains("100000 bytes")), "{answer}");
    // Half of a body, then nothing.
    let mut slow = TcpStream::connect(("127.0.0.1", extender.port)).await.expect("connected");
    slow.write_all(b"POST /prioritize HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{\"Pod\"").await.expect("sent");
    let mut said = vec![0; 1_000];
    let count =
        tokio::time::timeout(Duration::from_secs(10), slow.read(&mut said)).await.expect("in time").expect("read");
    assert!(said[..count].starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said[..count]));
    let (points, _) = extender.prioritize(&ask(&pod("web-1", "web"), &names(3))).await;
    assert_eq!(points.len(), 3, "others are answered");
}

/// Requests that a real kube-scheduler has sent.
#[tokio::test(flavor = "multi_thread")]
async fn golden_requests_are_answered() {
    let (_scorer, extender) = active(10).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("golden requests") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let request: Value = serde_json::from_str(&text).expect("JSON");
        let candidates = match (request["NodeNames"].as_array(), request["Nodes"]["items"].as_array()) {
            (Some(names), _) => names.len(),
            (None, Some(nodes)) => nodes.len(),
            (None, None) => panic!("{} has no candidates", path.display()),
        };
        seen += 1;
        let (status, why, answer) = extender.post("/prioritize", text.clone()).await;
        assert_eq!((status, answer.as_array().map(Vec::len)), (200, Some(candidates)), "{}", path.display());
        assert_ne!(why.as_deref(), Some("bad_pod"), "{}", path.display());
        let (status, _, answer) = extender.post("/filter", text).await;
        assert_eq!(status, 200);
        let kept = if request["NodeNames"].is_array() { &answer["NodeNames"] } else { &answer["Nodes"]["items"] };
        assert_eq!(kept.as_array().map(Vec::len), Some(candidates), "{}", path.display());
    }
    assert!(seen >= 2, "{seen} golden requests");
}

/// JSON that looks like a request, more or less.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-z0-9µ\\\\\"]{0,9}".prop_map(Value::from),
        Just(json!("500m")),
        Just(json!("1e400")),
    ];
    let key = prop_oneof![
        Just("Pod"),
        Just("Nodes"),
        Just("NodeNames"),
        Just("items"),
        Just("metadata"),
        Just("name"),
        Just("spec"),
        Just("labels"),
        Just("containers"),
        Just("resources"),
        Just("requests"),
        Just("cpu"),
        Just("ownerReferences"),
        Just("priority"),
        Just("annotations"),
    ];
    let value = leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone().prop_map(str::to_owned), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    });
    let request = (value.clone(), value.clone(), value).prop_map(|(pod, nodes, names)| {
        json!({ "Pod": pod, "Nodes": nodes, "NodeNames": names }).to_string().into_bytes()
    });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), request]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_too_odd_to_be_answered() {
    let scorer = FakeScorer::start(10).await;
    let mut extender = Extender::start("mode = \"active\"\nfilter = true", &["--scoring", &scorer.url]).await;
    extender.ready().await;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
    let runtime = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&any_body(), |body| {
            for verb in ["/prioritize", "/filter"] {
                let (status, _, answer) = runtime.block_on(extender.post(verb, body.clone()));
                prop_assert!(status == 200 || status == 400, "{verb}: {status} {answer}");
            }
            Ok(())
        })
    });
    outcome.expect("every body is answered");
    assert!(!extender.said().contains("panicked"), "{}", extender.said());
}
