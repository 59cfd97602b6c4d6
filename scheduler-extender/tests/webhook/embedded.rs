//! Scores worked out in the process: real models from a registry, nodes from a real Prometheus.

use crate::support::{Extender, FakeApi, ask, bound, pod};
use crate::world::{BUSY, Cluster, NODES, Root, rfc3339};
use serde_json::json;

const NOON: i64 = 1_780_315_200;

fn nodes() -> Vec<String> {
    (0..NODES).map(|node| format!("node-{node}")).collect()
}

/// The deadline is generous where the content is tested: the machine may be busy with other tests.
async fn start(root: Root, prometheus: &str, rules: &str, more: &[&str]) -> Extender {
    let to = rfc3339(NOON);
    let live = ["--prometheus", prometheus, "--to", &to, "--warm", "3h", "--deadline", "5s"];
    Extender::start_in(root.folder, rules, &[&live[..], more].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_busy_node_gets_the_fewest_points_and_the_explanation_says_why() {
    let root = Root::with_models().await;
    let cluster = Cluster::new(3, NOON);
    let Some(prometheus) = cluster.serve(root.path()) else { return };
    let mut extender = start(root, &prometheus.url(), "mode = \"active\"", &[]).await;
    extender.ready().await;
    let (points, why) = extender.prioritize(&ask(&pod("cart-9", "cart"), &nodes())).await;
    assert_eq!((points.len(), why), (NODES, None));
    assert_eq!(points[BUSY], 0, "{points:?}");
    assert!(
        points.iter().max() >= Some(&9),
        "the busy node is far behind, so the points are spread over all ten: {points:?}"
    );
    extender.wait("it is put into words", async |it| it.get("/explain/shop/cart-9").await["details"].is_array()).await;
    let explanation = extender.get("/explain/shop/cart-9").await;
    assert_eq!(explanation["versions"].as_object().map(serde_json::Map::len), Some(3), "{explanation}");
    assert_eq!(explanation["best"].as_array().map(Vec::len), Some(NODES));
    let sentences = explanation["sentences"].to_string();
    assert!(sentences.contains("stays below") && sentences.contains("chance of passing 80 %"), "{sentences}");
    // What the models and refreshes count is there as well, in one document.
    let text = extender.text("/metrics").await;
    assert!(text.contains("berth_serving_nodes 4") && text.contains("berth_scheduler_extender_nodes 4"), "{text}");
    assert_eq!(text.matches("# EOF").count(), 1);

    // The filter's reason reaches the event of a pod that finds no node.
    extender.rules("mode = \"active\"\nfilter = true\n[spread]\nfilter_over = 0.75");
    extender.wait("the filter is on", async |it| it.get("/v1/state").await["rules"]["filter"] == json!(true)).await;
    // The nodes have a gigabyte, half of it in use.
    let mut small = pod("cart-9", "cart");
    small["spec"]["containers"][0]["resources"]["requests"]["memory"] = json!("16Mi");
    let (_, _, answer) = extender.post("/filter", ask(&small, &nodes()).to_string()).await;
    let failed = answer["FailedAndUnresolvableNodes"].as_object().expect("a map");
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&format!("node-{BUSY}")], "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_differ_by_noise_alone_are_left_to_kube_scheduler() {
    let root = Root::with_models().await;
    let cluster = Cluster::new(3, NOON).alike();
    let Some(prometheus) = cluster.serve(root.path()) else { return };
    let rules = "mode = \"active\"\n[weights]\nload = 0.4\nplacement = 0.6\nanomaly = 0.0";
    let mut extender = start(root, &prometheus.url(), rules, &[]).await;
    extender.ready().await;
    for turn in 0..20 {
        let (points, why) = extender.prioritize(&ask(&pod(&format!("cart-{turn}"), "cart"), &nodes())).await;
        assert_eq!((points.len(), why), (NODES, None));
        assert!(points.iter().all(|points| *points <= 1), "{points:?}");
    }
    // The agent answered: it is by its noise that they are as good as equal.
    extender.wait("it is put into words", async |it| it.get("/explain/shop/cart-19").await["best"].is_array()).await;
    let best = extender.get("/explain/shop/cart-19").await["best"].clone();
    let parts: Vec<f64> = best
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| line["parts"]["placement"].as_f64().expect("a part"))
        .collect();
    assert!(parts.len() == NODES && parts.iter().any(|part| *part < 1.0), "{parts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_spreads_since_each_binding_is_reserved() {
    let root = Root::with_models().await;
    let cluster = Cluster::new(3, NOON);
    let Some(prometheus) = cluster.serve(root.path()) else { return };
    let api = FakeApi::start(NODES).await;
    let kubeconfig = api.kubeconfig(root.path()).to_string_lossy().into_owned();
    let mut extender = start(root, &prometheus.url(), "mode = \"active\"", &["--kubeconfig", &kubeconfig]).await;
    extender.ready().await;
    extender.wait("it watches", async |it| it.metric("berth_scheduler_extender_watch_up").await == Some(1.0)).await;
    let mut placed = vec![0; NODES];
    for place in 0..24 {
        let name = format!("burst-{place}");
        let (points, _) = extender.prioritize(&ask(&pod(&name, "burst"), &nodes())).await;
        let best = (0..NODES).max_by_key(|node| points[*node]).expect("a node");
        placed[best] += 1;
        api.is(bound(pod(&name, "burst"), &format!("node-{best}")));
        let pods = f64::from(place + 1);
        extender
            .wait("it is reserved", async |it| it.metric("berth_scheduler_extender_reserved_pods").await == Some(pods))
            .await;
    }
    assert_eq!(placed[BUSY], 0, "{placed:?}");
    assert!(placed.iter().all(|pods| *pods <= 14), "nobody gets most of them: {placed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_that_know_other_nodes_than_the_cluster_has_are_not_trusted() {
    let root = Root::with_models().await;
    let cluster = Cluster::new(3, NOON);
    let Some(prometheus) = cluster.serve(root.path()) else { return };
    // Five nodes of which metrics name four: 80 %.
    let api = FakeApi::start(NODES + 1).await;
    let kubeconfig = api.kubeconfig(root.path()).to_string_lossy().into_owned();
    let mut extender = start(root, &prometheus.url(), "mode = \"active\"", &["--kubeconfig", &kubeconfig]).await;
    let unmatched = "berth_scheduler_extender_reason{reason=\"nodes_unmatched\"}";
    extender.wait("it notices", async |it| it.metric(unmatched).await == Some(1.0)).await;
    assert_eq!(extender.metric("berth_scheduler_extender_nodes_matched_ratio").await, Some(0.8));
    assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &nodes())).await.1.as_deref(), Some("fallback"));
    extender.rules("mode = \"active\"\n[guard]\nmatched_nodes = 0.7\nrecover_after = \"0s\"");
    extender.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_models_or_samples_it_answers_neutrally_and_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut extender =
        Extender::start_in(folder, "mode = \"active\"", &["--prometheus", "http://127.0.0.1:9", "--deadline", "5s"])
            .await;
    assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &nodes())).await, (vec![0; NODES], Some("fallback".into())));
    let says = async |it: &Extender, of: &str, what: &str| {
        it.get("/v1/state").await["concerns"][of].as_str().is_some_and(|said| said.contains(what))
    };
    extender.wait("it says why", async |it| says(it, "no_models", "load-predictor").await).await;
    assert!(says(&extender, "no_data", "no samples of nodes yet").await);
    assert_eq!((extender.status("/healthz").await, extender.status("/readyz").await), (Some(200), Some(503)));
}
