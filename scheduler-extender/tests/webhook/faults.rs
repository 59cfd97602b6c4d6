//! Berth broken, slow, misled or told to stop: the answer is neutral, in time, says why, and things come back by themselves.

use crate::support::{Behaviour, Extender, FakeScorer, answer, ask, names, pod};
use score_api::{PodRequest, ScoreRequest};
use serde_json::{Value, json};
use std::time::Duration;

/// Recovers at once, so that a test does not wait.
fn active(more: &str) -> String {
    format!("mode = \"active\"\n[guard]\nrecover_after = \"0s\"\nwindow = \"3s\"\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scorer_that_hangs_costs_the_deadline_and_then_nothing() {
    let scorer = FakeScorer::start(10).await;
    // On a machine that runs other tests as well, answers that are in order may take a while.
    let rules = active("latency = \"10s\"\n");
    let mut extender = Extender::start(&rules, &["--scoring", &scorer.url, "--deadline", "200ms"]).await;
    extender.ready().await;
    scorer.behave(Behaviour::After(Duration::from_secs(3_600)));
    let (points, why) = extender.prioritize(&ask(&pod("a", "web"), &names(5))).await;
    assert_eq!((points, why.as_deref()), (vec![0; 5], Some("deadline")));
    for _ in 0..25 {
        extender.prioritize(&ask(&pod("a", "web"), &names(5))).await;
    }
    // After some of these the breaker is open, then the state is fallback: nobody waits any more.
    extender
        .wait("it falls back", async |it| {
            it.metric("berth_scheduler_extender_state{state=\"fallback\"}").await == Some(1.0)
        })
        .await;
    let (points, why) = extender.prioritize(&ask(&pod("a", "web"), &names(5))).await;
    assert_eq!((points, why.as_deref()), (vec![0; 5], Some("fallback")));
    let state = extender.get("/v1/state").await;
    assert!(state["concerns"].as_object().is_some_and(|concerns| !concerns.is_empty()), "{state}");
    scorer.behave(Behaviour::After(Duration::ZERO));
    extender
        .wait("it is well again", async |it| it.prioritize(&ask(&pod("a", "web"), &names(5))).await.1.is_none())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scorer_that_errs_or_babbles_makes_the_answer_neutral() {
    let scorer = FakeScorer::start(10).await;
    let mut extender = Extender::start(&active(""), &["--scoring", &scorer.url, "--deadline", "5s"]).await;
    extender.ready().await;
    let asked = ScoreRequest { pods: vec![PodRequest::default()], nodes: names(3), ..ScoreRequest::default() };
    let right = answer(&asked);
    let with = |edit: fn(&mut Value)| {
        let mut answer = serde_json::to_value(&right).expect("JSON");
        edit(&mut answer);
        Behaviour::Says(answer.to_string())
    };
    let numbers = with(|answer| {
        for (place, load) in [json!(-5.0), json!(1e300), Value::Null].into_iter().enumerate() {
            answer["pods"][0]["nodes"][place]["parts"] = json!({ "load": load, "placement": null, "anomaly": null });
        }
    });
    for behaviour in [
        Behaviour::Status(500),
        Behaviour::Says("<html>".into()),
        Behaviour::Says("{}".into()),
        // One score for three candidates; those of others; no pods; a field that is called something else.
        with(|answer| answer["pods"][0]["nodes"].as_array_mut().expect("nodes").truncate(1)),
        with(|answer| answer["pods"][0]["nodes"][0]["node"] = json!("node-9")),
        with(|answer| answer["pods"] = json!([])),
        with(|answer| {
            let node = answer["pods"][0]["nodes"][0].as_object_mut().expect("a node");
            let severity = node.remove("severity").expect("a severity");
            node.insert("severities".to_owned(), severity);
        }),
    ] {
        scorer.behave(behaviour.clone());
        let (points, why) = extender.prioritize(&ask(&pod("a", "web"), &names(3))).await;
        assert_eq!((points, why.as_deref()), (vec![0; 3], Some("failed")), "{behaviour:?}");
        scorer.behave(Behaviour::After(Duration::ZERO));
        assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &names(3))).await.1, None);
    }
    // Numbers that cannot be are cut to what can.
    assert!(extender.said().contains("missing field `severity`"), "the log names what is wrong: {}", extender.said());
    scorer.behave(numbers);
    assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &names(3))).await, (vec![0, 10, 5], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scorer_or_with_stale_data_it_says_so_and_comes_back() {
    let scorer = FakeScorer::start(10).await;
    let away = Extender::start(&active(""), &["--scoring", "http://127.0.0.1:9"]).await;
    assert_eq!(away.status("/readyz").await, Some(503));
    assert_eq!(away.prioritize(&ask(&pod("a", "web"), &names(2))).await, (vec![0, 0], Some("fallback".into())));
    assert!(away.get("/readyz").await["lacking"].as_array().is_some_and(|lacking| !lacking.is_empty()));
    *scorer.nodes.lock().expect("a lock") = (10, 10);
    let mut extender = Extender::start(&active(""), &["--scoring", &scorer.url]).await;
    extender
        .wait("it is stale", async |it| {
            it.metric("berth_scheduler_extender_reason{reason=\"stale_data\"}").await == Some(1.0)
        })
        .await;
    assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &names(2))).await.1.as_deref(), Some("fallback"));
    *scorer.nodes.lock().expect("a lock") = (10, 0);
    extender.ready().await;
    assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &names(2))).await.1, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_is_neutral_on_every_call_and_scores_all_the_same() {
    let scorer = FakeScorer::start(10).await;
    let mut extender = Extender::start("", &["--scoring", &scorer.url]).await;
    extender.ready().await;
    for place in 0..20 {
        let (points, why) = extender.prioritize(&ask(&pod(&format!("p-{place}"), "web"), &names(10))).await;
        assert_eq!((points, why.as_deref()), (vec![0; 10], Some("shadow")));
    }
    extender
        .wait("the last is scored", async |it| it.get("/explain/shop/p-19").await["best"][0]["node"] == json!("node-9"))
        .await;
    let explanation = extender.get("/explain/shop/p-19").await;
    assert_eq!(explanation["answer"], json!("neutral"));
    // The best of ten that differ clearly; one draw rounds all of them up or down.
    assert!(explanation["best"][0]["points"].as_u64() >= Some(9), "{explanation}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_file_stops_all_work_and_goes_as_it_came() {
    let scorer = FakeScorer::start(10).await;
    let mut extender = Extender::start(&active(""), &["--scoring", &scorer.url, "--deadline", "5s"]).await;
    extender.ready().await;
    let whole = ask(&pod("a", "web"), &names(5));
    assert_eq!(extender.prioritize(&whole).await.1, None);
    let kill = extender.folder.path().join("kill");
    std::fs::write(&kill, "").expect("written");
    extender.wait("it is killed", async |it| it.prioritize(&whole).await.1.as_deref() == Some("killed")).await;
    assert_eq!(extender.metric("berth_scheduler_extender_killed").await, Some(1.0));
    let asked = scorer.scored();
    extender.prioritize(&whole).await;
    assert_eq!(scorer.scored(), asked, "nothing is computed");
    std::fs::remove_file(&kill).expect("removed");
    extender.wait("it goes on", async |it| it.prioritize(&whole).await.1.is_none()).await;
    extender.rules("mode = \"active\"\nkill = true");
    extender
        .wait("it is killed by the rules", async |it| it.prioritize(&whole).await.1.as_deref() == Some("killed"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_rules_are_refused_and_the_old_ones_stay() {
    let scorer = FakeScorer::start(10).await;
    let mut extender = Extender::start(&active(""), &["--scoring", &scorer.url, "--deadline", "5s"]).await;
    extender.ready().await;
    extender.rules("mode = \"active\"\n[weights]\nload = 2.0\nplacement = 0.0\nanomaly = 0.0");
    extender
        .wait("they are refused", async |it| it.metric("berth_scheduler_extender_rules_refused").await == Some(1.0))
        .await;
    assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &names(2))).await.1, None);
    assert!(extender.get("/v1/state").await["rules_refused"].as_str().is_some_and(|said| said.contains("sum to 1")));
    extender.rules("mode = \"shadow\"");
    extender
        .wait("new ones are in force", async |it| {
            it.metric("berth_scheduler_extender_mode{mode=\"shadow\"}").await == Some(1.0)
        })
        .await;
    assert_eq!(extender.metric("berth_scheduler_extender_rules_refused").await, Some(0.0));
    assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &names(2))).await.1.as_deref(), Some("shadow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canary_moves_the_stated_share_of_workloads() {
    let scorer = FakeScorer::start(10).await;
    let rules = format!("percent = 30.0\n{}", active("latency = \"10s\"\n").replace("active", "canary"));
    let mut extender = Extender::start(&rules, &["--scoring", &scorer.url, "--deadline", "5s"]).await;
    extender.ready().await;
    let mut moved = 0;
    for place in 0..200 {
        let of = async |pod_name: &str| {
            extender.prioritize(&ask(&pod(pod_name, &format!("app-{place}")), &names(3))).await.1
        };
        let first = of("a").await;
        assert_eq!(first, of("b").await, "pods of a workload go the same way");
        moved += u32::from(first.is_none());
    }
    // 200 draws at 30 %: three standard deviations are 19.4.
    assert!((41..=79).contains(&moved), "{moved} of 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_guards_explanations_and_not_the_verbs() {
    let scorer = FakeScorer::start(10).await;
    let folder = tempfile::tempdir().expect("temporary folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "secret\n").expect("written");
    let token = token.to_string_lossy().into_owned();
    let mut extender = Extender::start(&active(""), &["--scoring", &scorer.url, "--token-file", &token]).await;
    extender.ready().await;
    for path in ["/explain/shop/a", "/v1/shadow", "/v1/state"] {
        assert_eq!(extender.status(path).await, Some(401), "{path}");
    }
    let with = extender
        .client
        .get(format!("{}/v1/state", extender.url))
        .bearer_auth("secret")
        .send()
        .await
        .expect("an answer");
    assert_eq!(with.status(), 200);
    let (points, _) = extender.prioritize(&ask(&pod("a", "web"), &names(2))).await;
    assert_eq!(points.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_are_answered_at_the_end() {
    let scorer = FakeScorer::start(10).await;
    let mut extender = Extender::start(&active(""), &["--scoring", &scorer.url, "--deadline", "20s"]).await;
    extender.ready().await;
    scorer.behave(Behaviour::After(Duration::from_millis(500)));
    let (url, client) = (extender.url.clone(), extender.client.clone());
    let under_way = tokio::spawn(async move {
        let body = ask(&pod("a", "web"), &names(3)).to_string();
        client.post(format!("{url}/prioritize")).body(body).send().await.expect("an answer").status().as_u16()
    });
    let asked = || scorer.scored() > 0;
    extender.wait("it is under way", async |_| asked()).await;
    assert_eq!(tokio::task::block_in_place(|| extender.stop()), Some(0), "{}", extender.said());
    assert_eq!(under_way.await.expect("a task"), 200);
    // What was decided is on disk.
    let store = store::Store::new(extender.folder.path());
    let days = store.days(&cluster::DECISIONS).expect("days");
    let frame = store.read_day(&cluster::DECISIONS, days[0], &["pod", "answer"]).expect("a day");
    assert_eq!(frame.height(), 1);
}
