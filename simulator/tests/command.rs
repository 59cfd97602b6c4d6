//! The command as a user runs it: results, pages, messages, exit codes.

use std::path::Path;
use std::process::{Command, Output};

fn simulator(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulator"))
        .current_dir(folder)
        .env_remove("BERTH_TRACES")
        .env_remove("BERTH_DATA")
        .env_remove("BERTH_AGENT")
        .args(arguments)
        .output()
        .expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SMALL: [&str; 6] = ["--size", "9", "--days", "0.25", "--seeds", "2"];

#[test]
fn compare_prints_a_table_and_writes_one_page_that_fetches_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let arguments = ["compare", "--scenario", "mixed,pools", "--html-out", "page.html", "--json-out", "figures.json"];
    let output = simulator(folder.path(), &[&arguments[..], &SMALL].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for word in [
        "## mixed",
        "## pools",
        "kube-scheduler",
        "load-variation-risk-balancing",
        "greedy-oracle",
        "of the possible",
        "No placement costs less than",
    ] {
        assert!(table.contains(word), "{word} in {table}");
    }
    let page = std::fs::read_to_string(folder.path().join("page.html")).expect("the page");
    for word in ["<svg", "CPU utilization", "node over 80 % CPU", "Weights of the cost", "greedy-oracle"] {
        assert!(page.contains(word), "{word} in the page");
    }
    assert!(!page.contains("https://") && !page.contains("<script"), "nothing is fetched");
    let figures: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("figures.json")).expect("figures")).expect("JSON");
    assert_eq!(figures[0]["rows"].as_array().map(Vec::len), Some(12));
    let again = simulator(folder.path(), &[&arguments[..3], &SMALL].concat());
    let first: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    let second = text(&again.stdout);
    let second: Vec<&str> = second.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(first, second, "the same seeds give the same table");
}

/// A network that prefers what is least used with the pod, as an artifact in a folder.
fn write_agent(folder: &Path, features: Vec<String>) {
    let skip = features.iter().map(|name| if name == "cpu_after" { -1.0 } else { 0.0 }).collect();
    let silent = models::placement::Layer {
        inputs: features.len(),
        outputs: 1,
        weights: vec![0.0; features.len()],
        bias: vec![0.0],
    };
    let network = models::placement::PlacementNetwork::new(features, skip, vec![silent]).expect("a network");
    let draft = models::artifact::ArtifactDraft::default();
    let artifact = models::artifact::Artifact::of_placement_agent(&network, draft).expect("an artifact");
    for (name, bytes) in artifact.into_blobs().expect("blobs") {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
}

#[test]
fn an_agent_is_compared_and_one_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let agent = folder.path().join("agent");
    write_agent(&agent, features::cluster_state::names());
    let arguments =
        ["compare", "--agent", "agent", "--policies", "random,agent,combined", "--base", "random", "--json"];
    let output = simulator(folder.path(), &[&arguments[..], &SMALL].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let cost = |row: usize| figures[0]["rows"][row]["cost"]["mean"].as_f64().expect("a cost");
    assert!(cost(1) < cost(0), "less used is better than any: {} {}", cost(1), cost(0));

    let other = folder.path().join("other");
    write_agent(&other, vec!["cpu_after".into(), "moon".into()]);
    let output = simulator(folder.path(), &["compare", "--agent", "other", "--policies", "agent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the model reads 2 features"), "{}", text(&output.stderr));
    std::fs::write(agent.join(models::placement::NETWORK_FILE), b"cut").expect("written");
    let output = simulator(folder.path(), &["compare", "--agent", "agent", "--policies", "agent"]);
    assert!(text(&output.stderr).contains("is damaged"), "{}", text(&output.stderr));
}

#[test]
fn what_if_answers_with_more_nodes_and_with_fewer() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let costs: Vec<(f64, f64)> = ["+3", "-3"]
        .into_iter()
        .map(|nodes| {
            let arguments = ["what-if", "--policy", "least-used", "--nodes", nodes, "--load", "0.9", "--json"];
            let output = simulator(folder.path(), &[&arguments[..], &SMALL].concat());
            assert!(output.status.success(), "{}", text(&output.stderr));
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(answer["nodes_now"], 9);
            let cost = |moment: &str| answer["lines"][0][moment].as_f64().expect("a cost");
            (cost("now"), cost("then"))
        })
        .collect();
    assert!(costs[0].1 < costs[0].0, "three more nodes cost less: {costs:?}");
    assert!(costs[1].1 > costs[1].0, "three fewer cost more: {costs:?}");
}

#[test]
fn wrong_use_ends_with_2_and_a_failure_with_1() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (arguments, code, named) in [
        (vec!["compare", "--policies", "agent"], 2, "needs a trained network"),
        (vec!["compare", "--agent", "absent"], 1, "absent"),
        (vec!["compare", "--scenario", "openb"], 2, "--trace DIR or BERTH_TRACES"),
        (vec!["compare", "--scenario", "openb", "--trace", "nowhere"], 1, "nowhere"),
        (vec!["compare", "--size", "0"], 2, "--size is 0"),
        (vec!["compare", "--days=-1"], 2, "--days is -1"),
        (vec!["compare", "--seeds", "0"], 2, "--seeds is 0"),
        (vec!["compare", "--telemetry-step", "0s"], 2, "--telemetry-step is 0s"),
        (vec!["compare", "--pending=-1"], 2, "`pending` is -1"),
        (vec!["compare", "--policies", "recorded"], 2, "`recorded`"),
        (vec!["compare", "--policies", "best"], 2, "best"),
        (vec!["what-if", "--nodes", "two"], 2, "`two`"),
        (vec!["what-if", "--nodes", "1", "--scenario", "mixed,pools"], 2, "names 2 scenarios"),
        (vec!["what-if", "--nodes", "-60", "--seeds", "1", "--days", "0.1"], 1, "has no node"),
        (vec!["replay"], 1, "collector collect"),
        (vec!["replay", "--price=-1"], 2, "--price is -1"),
    ] {
        let output = simulator(folder.path(), &arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(message.contains(named), "{arguments:?}: {message}");
    }
}

#[test]
fn the_configuration_file_fills_what_no_flag_says() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = "[simulator.scenario]\nscenario = [\"bursts\"]\nsize = 6\ndays = 0.1\n[simulator.cost]\npending = 0.0\n";
    std::fs::write(folder.path().join("berth.toml"), file).expect("fixture");
    let output = simulator(folder.path(), &["compare", "--seeds", "1", "--policies", "random"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("## bursts: 6 nodes"), "{}", text(&output.stdout));
    std::fs::write(folder.path().join("berth.toml"), "[simulator.engine]\ntelemetry_dealy = \"1m\"\n")
        .expect("fixture");
    let output = simulator(folder.path(), &["compare", "--seeds", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("telemetry_dealy"), "{}", text(&output.stderr));
}
