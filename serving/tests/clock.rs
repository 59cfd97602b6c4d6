//! A Prometheus whose clock is wrong: scores are neutral as long as it is, and come back by themselves.

mod support;

use serde_json::{Value, json};
use support::liar::{Liar, Lie};
use support::{Cluster, NODES, Root, Server};

fn ask() -> Value {
    json!({ "pods": [{ "cpu_request_cores": 1.0 }], "explain": false })
}

async fn nodes(server: &Server) -> Vec<Value> {
    let (status, answer) = server.post("/v1/score", &ask()).await;
    assert_eq!(status, 200, "{answer}");
    answer["pods"][0]["nodes"].as_array().cloned().unwrap_or_default()
}

async fn are_fresh(server: &Server) -> bool {
    let nodes = nodes(server).await;
    nodes.len() == NODES && nodes.iter().all(|node| node["missing"] == json!([]) && node["parts"]["load"].is_f64())
}

async fn are_neutral(server: &Server) -> bool {
    let nodes = nodes(server).await;
    nodes.len() == NODES && nodes.iter().all(|node| node["missing"] == json!(["data_stale"]) && node["score"] == 0.5)
}

async fn metric(server: &Server, name: &str) -> Option<f64> {
    let text = server.text("/metrics").await;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// A history whose samples come every two seconds, and go on for ten minutes from now: what nobody has scraped lately is stale.
fn growing() -> Cluster {
    Cluster::new(1, chrono::Utc::now().timestamp() / 60 * 60 + 600).every(2)
}

/// The windows are written at every refresh, so that a restart would go on from what a wrong clock left.
async fn start(root: &Root, liar: &Liar) -> Server {
    let arguments = [
        "--prometheus",
        &liar.url,
        "--warm",
        "1h",
        "--every",
        "1s",
        "--stale-after",
        "20s",
        "--retries",
        "0",
        "--snapshot-every",
        "1s",
    ];
    Server::start(root.path(), &arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_for_a_while_makes_scores_neutral_and_then_they_come_back() {
    let root = Root::with_models().await;
    let Some(prometheus) = growing().serve(root.path()) else { return };
    let liar = Liar::before(&prometheus.url()).await;
    let mut server = start(&root, &liar).await;
    server.ready().await;
    server.wait("scores are fresh", async |server| are_fresh(server).await).await;
    assert_eq!(server.get("/health").await["status"], "ok");

    liar.says(Lie::Ahead(86_400.0));
    server.wait("scores are neutral", async |server| are_neutral(server).await).await;
    let skew = metric(&server, "berth_serving_clock_skew_seconds").await.expect("a gauge");
    assert!((skew - 86_400.0).abs() < 5.0, "{skew}");
    let health = server.get("/health").await;
    assert_eq!((&health["status"], &health["nodes_fresh"]), (&json!("degraded"), &json!(0)), "{health}");
    assert!(health["concerns"].to_string().contains("the clock of Prometheus"), "{health}");
    assert!(server.said().contains("s ahead of the clock of this machine"), "{}", server.said());
    assert!(metric(&server, "berth_serving_refreshes_total{outcome=\"failed\"}").await > Some(0.0));

    liar.says(Lie::None);
    server.wait("scores are fresh again", async |server| are_fresh(server).await).await;
    let skew = metric(&server, "berth_serving_clock_skew_seconds").await.expect("a gauge");
    assert!(skew.abs() < 5.0, "{skew}");
    for node in nodes(&server).await {
        let age = node["data_age_seconds"].as_f64().expect("an age");
        assert!((0.0..300.0).contains(&age), "{node}");
    }
    // What was written meanwhile is of now, so a restart goes on from it.
    assert_eq!(server.stop(), Some(0), "{}", server.said());
    let mut again = start(&root, &liar).await;
    again.wait("scores are fresh after a restart", async |server| are_fresh(server).await).await;
    assert!(again.said().contains("goes on from the windows on disk"), "{}", again.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_cannot_be_is_a_failed_refresh_and_not_the_end_of_the_process() {
    let root = Root::with_models().await;
    let Some(prometheus) = growing().serve(root.path()) else { return };
    let liar = Liar::before(&prometheus.url()).await;
    liar.says(Lie::Says("1e300"));
    let mut server = start(&root, &liar).await;
    for said in ["1e300", "-1e300", "NaN", "+Inf", "-0"] {
        liar.says(Lie::Says(said));
        let failed = "berth_serving_refreshes_total{outcome=\"failed\"}";
        let before = metric(&server, failed).await.unwrap_or_default();
        server.wait("refreshes fail", async |server| metric(server, failed).await >= Some(before + 2.0)).await;
        assert_eq!(server.status("/v2/health/live").await, Some(200), "`time()` was {said}");
    }
    liar.says(Lie::None);
    server.wait("scores are fresh", async |server| are_fresh(server).await).await;
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}
