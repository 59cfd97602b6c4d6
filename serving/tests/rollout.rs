//! A challenger with a share of the workloads: who answers, what is written down, and when it has to go.

mod support;

use models::artifact::Artifact;
use score_api::PodRequest;
use serde_json::{Value, json};
use serving::rollout::Arm;
use serving::rollout::split::arm_of;
use std::path::Path;
use std::process::{Command, Output};
use store::Store;
use support::{Root, Server, draft, history, network, predictor_of_last_week};

const AGENT: &str = "placement-agent";
/// Quick looks, so that a test need not wait.
const QUICK: [&str; 4] = ["--reload-every", "100ms", "--every", "1s"];
const WORKLOADS: usize = 60;

fn rollout(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serving"));
    command.arg("--data").arg(root).arg("rollout").args(arguments).env("BERTH_USER", "ada");
    command.output().expect("it runs")
}

fn done(root: &Path, arguments: &[&str]) -> String {
    let output = rollout(root, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn refused(root: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = rollout(root, arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn changes(root: &Path) -> Vec<Value> {
    done(root, &["log", "--json"]).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn pods() -> Vec<PodRequest> {
    let pod = |at| PodRequest {
        workload: Some(format!("shop/Deployment/w{at}")),
        cpu_request_cores: 0.5,
        ..PodRequest::default()
    };
    (0..WORKLOADS).map(pod).collect()
}

fn arms(answer: &Value) -> Vec<&str> {
    answer["pods"].as_array().expect("pods").iter().map(|pod| pod["arm"].as_str().expect("an arm")).collect()
}

fn wanted(percent: f64) -> Vec<&'static str> {
    pods().iter().map(|pod| arm_of(pod, percent).as_str()).collect()
}

async fn ask(server: &Server) -> Value {
    let (status, answer) = server.post("/v1/score", &json!({ "pods": pods() })).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn answers(server: &Server) -> bool {
    server.get("/v1/rollout").await["answers"] == true
}

/// The agent of the second version likes what the first one does not.
fn contrary() -> Artifact {
    Artifact::of_placement_agent(&network(1.0), draft("1.1.0")).expect("sealed")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_workloads_gets_the_challengers_answers_through_restarts_until_it_is_undone() {
    let root = Root::with_models().await;
    history(root.path(), 3);
    assert_eq!(root.challenge(contrary()).await, "2");
    let mut server = Server::start(root.path(), &QUICK).await;
    server.ready().await;
    assert_eq!(arms(&ask(&server).await), vec!["champion"; WORKLOADS], "a challenger alone answers for nobody");

    done(root.path(), &["set", "30", "--reason", "a first look"]);
    server.wait("the challenger answers", async |server| answers(server).await).await;
    let answer = ask(&server).await;
    assert_eq!(arms(&answer), wanted(30.0));
    assert!(wanted(30.0).contains(&"challenger") && wanted(30.0).contains(&"champion"));
    assert_eq!((&answer["models"][AGENT], &answer["challenger_models"][AGENT]), (&json!("1"), &json!("2")));
    // What the champion likes best the challenger likes least.
    let placement = |pod: &Value| -> Vec<f64> {
        let nodes = pod["nodes"].as_array().expect("nodes");
        nodes.iter().map(|node| node["parts"]["placement"].as_f64().expect("a part")).collect()
    };
    let of = |arm: &str| {
        let pod = answer["pods"].as_array().expect("pods").iter().find(|pod| pod["arm"] == arm).expect("a pod");
        placement(pod)
    };
    // By how much a node is below the best of one it is above the worst of the other: the sum is the same for all.
    let sums: Vec<f64> = of("champion").iter().zip(of("challenger")).map(|(ours, theirs)| ours + theirs).collect();
    assert!(sums.iter().all(|sum| (sum - sums[0]).abs() < 1e-3), "{sums:?}");
    assert!(of("champion").iter().any(|part| *part < 0.99), "{:?}", of("champion"));
    // One pod alone is answered for by the same versions.
    let one = pods().into_iter().find(|pod| arm_of(pod, 30.0) == Arm::Challenger).expect("one of them");
    let (_, alone) = server.post("/v1/score", &json!({ "pods": [one] })).await;
    assert_eq!((arms(&alone), &alone["models"][AGENT]), (vec!["challenger"], &json!("2")));
    assert_eq!(server.status(&format!("/v2/models/{AGENT}/versions/2/ready")).await, Some(200));

    let told = |root: &Path| -> Value {
        let status: Value = serde_json::from_str(&done(root, &["status", "--json"])).expect("JSON");
        status["server"]["report"]["pods"]["challenger"].clone()
    };
    server.wait("the report tells of it", async |_| told(root.path()).as_u64() > Some(0)).await;

    // More takes nobody away; a restart changes nothing.
    done(root.path(), &["set", "60", "--reason", "more"]);
    server.wait("more workloads", async |server| arms(&ask(server).await) == wanted(60.0)).await;
    assert_eq!(server.stop(), Some(0), "{}", server.said());
    let mut server = Server::start(root.path(), &QUICK).await;
    server.ready().await;
    server.wait("the same workloads again", async |server| arms(&ask(server).await) == wanted(60.0)).await;
    let metrics = server.text("/metrics").await;
    assert!(metrics.contains("berth_serving_rollout_percent 60"), "{metrics}");
    let status = done(root.path(), &["status"]);
    assert!(status.contains("placement-agent 2 answers for 60 % of the workloads"), "{status}");

    for (percent, left) in [(30.0, "30 %"), (0.0, "0 %")] {
        assert!(done(root.path(), &["undo", "--reason", "step back"]).contains(left));
        server.wait("the change is undone", async |server| arms(&ask(server).await) == wanted(percent)).await;
    }
    let (code, said) = refused(root.path(), &["undo", "--reason", "further"]);
    assert!(code == Some(2) && said.contains("no change to take back"), "{said}");
    let log = changes(root.path());
    let actions: Vec<&str> = log.iter().map(|change| change["action"].as_str().expect("an action")).collect();
    assert_eq!(actions, ["set", "set", "undo", "undo"]);
    assert_eq!((&log[0]["who"], &log[0]["why"], &log[3]["undoes"]), (&json!("ada"), &json!("a first look"), &json!(1)));
    // Pods of both arms were counted, and so is it in the evidence of the second change.
    assert!(log[1]["evidence"]["pods"]["challenger"].as_u64().is_some_and(|pods| pods > 0), "{:#}", log[1]);

    // Each prediction is kept with the versions that made it.
    assert_eq!(server.stop(), Some(0), "{}", server.said());
    let store = Store::new(root.path());
    let mut versions = std::collections::BTreeSet::new();
    for day in store.days(&cluster::PREDICTIONS).expect("days") {
        let frame = store.read_day(&cluster::PREDICTIONS, day, &["version"]).expect("a day");
        versions.extend(
            frame.column("version").expect("versions").str().expect("text").iter().flatten().map(str::to_owned),
        );
    }
    let named = |version: &str| versions.iter().any(|all| all.contains(&format!("{AGENT}={version}")));
    assert!(named("1") && named("2"), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenger_that_fails_or_is_replaced_is_taken_back_without_being_asked() {
    let root = Root::with_models().await;
    history(root.path(), 3);
    let blind = Artifact::of_load_predictor(&predictor_of_last_week(), draft("2.0.0")).expect("sealed");
    assert_eq!(root.challenge(blind).await, "2");
    let mut server = Server::start(root.path(), &QUICK).await;
    server.ready().await;
    done(root.path(), &["set", "50", "--reason", "a first look"]);
    server.wait("the challenger answers", async |server| answers(server).await).await;
    let answer = ask(&server).await;
    let pods = answer["pods"].as_array().expect("pods");
    let blind = pods.iter().filter(|pod| pod["nodes"][0]["missing"] == json!(["no_forecast"])).count();
    assert_eq!(blind, wanted(50.0).iter().filter(|arm| **arm == "challenger").count());
    let back = async |server: &Server| server.get("/v1/rollout").await["percent"] == 0.0;
    server.wait("it is taken back", async |server| back(server).await).await;
    assert_eq!(arms(&ask(&server).await), vec!["champion"; WORKLOADS]);
    let last = changes(root.path()).pop().expect("a change");
    assert_eq!((&last["action"], &last["who"]), (&json!("return"), &json!("serving")));
    assert!(last["why"].as_str().is_some_and(|why| why.contains("failed for 100.00 %")), "{last:#}");
    assert_eq!(last["evidence"]["errors"]["challenger"], 1.0, "{last:#}");
    assert!(server.text("/metrics").await.contains("berth_serving_rollout_returns_total{limit=\"errors\"} 1"));
    // Nobody promotes what the report speaks against.
    let (code, said) = refused(root.path(), &["promote", "--reason", "hope"]);
    assert!(code == Some(3) && said.contains("failed for"), "{said}");

    // Nobody decided on the version that takes its place.
    done(root.path(), &["set", "50", "--reason", "once more"]);
    server.wait("the challenger answers", async |server| answers(server).await).await;
    root.challenge(contrary()).await;
    server.wait("it is taken back", async |_| changes(root.path()).len() == 4).await;
    let last = changes(root.path()).pop().expect("a change");
    assert_eq!((&last["action"], &last["who"]), (&json!("return"), &json!("serving")));
    assert!(last["why"].as_str().is_some_and(|why| why.contains("nobody decided on version 2")), "{last:#}");
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_wants_a_validation_and_is_undone_in_one_command() {
    let root = Root::with_models().await;
    history(root.path(), 3);
    let (code, said) = refused(root.path(), &["set", "5", "--reason", "nobody is there"]);
    assert!(code == Some(2) && said.contains("`challenger`"), "{said}");
    root.challenge(contrary()).await;
    for (arguments, code, said) in [
        (&["set", "101", "--reason", "all"][..], 2, "0 to 100"),
        (&["set", "5", "--reason", " "], 1, "wants a reason"),
        (&["return", "--reason", "why not"], 2, "already"),
        (&["promote", "--reason", "quickly"], 3, "never passed a validation"),
    ] {
        let (got, text) = refused(root.path(), arguments);
        assert!(got == Some(code) && text.contains(said), "{arguments:?}: {text}");
    }
    assert!(changes(root.path()).is_empty());
    let tracker = root.tracker().await;
    for version in ["1", "2"] {
        tracker.set_version_tag(AGENT, version, "validation", "passed").await.expect("tagged");
    }
    let mut server = Server::start(root.path(), &QUICK).await;
    server.ready().await;
    done(root.path(), &["set", "20", "--reason", "a first look"]);
    server.wait("the challenger answers", async |server| answers(server).await).await;
    done(root.path(), &["promote", "--reason", "better"]);
    let champion = async |server: &Server| ask(server).await["models"][AGENT].clone();
    server.wait("the second version serves", async |server| champion(server).await == "2").await;
    server.wait("the share is gone", async |server| arms(&ask(server).await) == vec!["champion"; WORKLOADS]).await;
    let previous = tracker.version_by_alias(AGENT, "previous").await.expect("an alias");
    assert_eq!(previous.version, "1");

    done(root.path(), &["undo", "--reason", "not so good"]);
    server.wait("the share is back", async |server| arms(&ask(server).await) == wanted(20.0)).await;
    assert_eq!(champion(&server).await, "1");
    let history = tracker.alias_history(AGENT).await.expect("a history");
    assert!(history.iter().any(|change| change.decision.who == "ada" && change.decision.why.contains("better")));
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_a_change_and_leaves_the_log_whole() {
    let root = Root::with_models().await;
    root.challenge(contrary()).await;
    done(root.path(), &["set", "5", "--reason", "it fits"]);
    let before = changes(root.path());
    let program = env!("CARGO_BIN_EXE_serving");
    // A line with such a reason is longer than the file may still grow.
    let reason = "no room ".repeat(1_000);
    let back = |signal: &str| {
        let length = std::fs::metadata(root.path().join("serving/rollout.jsonl")).expect("a log").len();
        let script = format!("{signal}; ulimit -f {}; exec \"$@\"", length.div_ceil(1_024) + 1);
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash", program, "--data"]).arg(root.path());
        command.args(["rollout", "return", "--reason", &reason]).output().expect("it runs")
    };
    let output = back("trap '' XFSZ");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("rollout.jsonl"), "{said}");
    let broken = || -> Value {
        let status = done(root.path(), &["status", "--json"]);
        serde_json::from_str::<Value>(&status).expect("JSON")["broken_lines"].clone()
    };
    assert_eq!((changes(root.path()), broken()), (before.clone(), json!(0)), "what was written of it is gone again");
    // The same signal kills who does not expect it, in the middle of a line.
    assert_eq!(back("true").status.code(), None);
    assert_eq!((changes(root.path()), broken()), (before, json!(1)));
    done(root.path(), &["return", "--reason", "it fits again"]);
    assert_eq!(changes(root.path()).len(), 2);
}
