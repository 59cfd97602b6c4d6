//! A Prometheus whose clock is wrong: answers are neutral as long as it is.

use crate::liar::{Liar, Lie};
use crate::support::{Extender, ask, pod};
use crate::world::{Cluster, NODES, Root};
use serde_json::Value;

fn nodes() -> Vec<String> {
    (0..NODES).map(|node| format!("node-{node}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_for_a_while_leads_to_neutral_answers_and_back() {
    let root = Root::with_models().await;
    let now = chrono::Utc::now().timestamp() / 60 * 60;
    let Some(prometheus) = Cluster::new(3, now).serve(root.path()) else { return };
    let liar = Liar::before(&prometheus.url()).await;
    let rules = "mode = \"active\"\n[guard]\nrecover_after = \"0s\"";
    let live = ["--prometheus", &liar.url, "--warm", "1h", "--every", "1s", "--stale-after", "1h", "--retries", "0"];
    let mut extender = Extender::start_in(root.folder, rules, &[&live[..], &["--deadline", "5s"]].concat()).await;
    extender.ready().await;
    assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &nodes())).await.1, None);

    // An hour ahead: by their ages alone its samples would be fresh for an hour after they have ended.
    liar.says(Lie::Ahead(3_600.0));
    let raised = "berth_scheduler_extender_reason{reason=\"clock\"}";
    extender.wait("it notices", async |it| it.metric(raised).await == Some(1.0)).await;
    extender.wait("it falls back", async |it| it.get("/v1/state").await["state"] == "fallback").await;
    let (points, why) = extender.prioritize(&ask(&pod("a", "web"), &nodes())).await;
    assert_eq!((points, why.as_deref()), (vec![0; NODES], Some("fallback")));
    let said = extender.get("/v1/state").await["concerns"]["clock"].clone();
    assert!(said.as_str().is_some_and(|said| said.contains("ahead of this machine's")), "{said}");

    liar.says(Lie::None);
    extender.wait("it trusts it again", async |it| it.metric(raised).await == Some(0.0)).await;
    extender.ready().await;
    assert_eq!(extender.prioritize(&ask(&pod("b", "web"), &nodes())).await.1, None);
    assert_eq!(extender.get("/v1/state").await["concerns"]["clock"], Value::Null);
}
