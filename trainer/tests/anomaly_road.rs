//! From raw metrics and labelled incidents to a registered anomaly detector, with the embedded tracking store; no server.

mod support;

use support::Root;

#[test]
fn the_road_from_labelled_incidents_to_champion() {
    let root = Root::new(true);
    let train = ["train", "anomaly", "--model-out", "detector", "--json-out", "verdict.json"];
    let (text, _) = root.ends(0, &train);
    assert!(text.contains("validation passed"), "{text}");
    let verdict: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.path("verdict.json")).expect("a verdict")).expect("JSON");
    assert!(verdict["scores"]["recall"].as_f64() > Some(0.9), "{verdict:#}");
    for file in ["report.html", "MODEL_CARD.md", "MLmodel", "metadata.json", "code/berth_anomaly_detector.py"] {
        assert!(root.path("detector").join(file).exists(), "{file}");
    }
    let register = ["register", "--model", "detector", "--validation", "verdict.json"];
    let (text, _) = root.ends(0, &register);
    assert!(text.contains("version 1 (1.0.0) of anomaly-detector; it is the first champion"), "{text}");

    // The same data again: the same files, byte for byte, and nothing new to register.
    let first = std::fs::read(root.path("detector/forest-cpu-short.bin")).expect("a forest");
    root.ends(0, &train);
    assert_eq!(std::fs::read(root.path("detector/forest-cpu-short.bin")).expect("a forest"), first);
    let (text, _) = root.ends(0, &register);
    assert!(text.contains("champion already"), "{text}");

    // Another seed: a minor version, compared with the champion; and back.
    root.ends(0, &[&train[..], &["--seed", "8"]].concat());
    let (text, _) = root.ends(0, &register);
    assert!(text.contains("version 2 (1.1.0)"), "{text}");
    let (text, _) = root.ends(0, &["rollback", "--name", "anomaly-detector", "--reason", "a drill"]);
    assert!(text.contains("champion of anomaly-detector is version 1 again"), "{text}");

    // A gate that asks for more says no, and a refused detector is not registered.
    let (_, complaint) =
        root.ends(3, &[&train[..], &["--max-false-positive-rate", "0", "--raise-after", "1"]].concat());
    assert!(complaint.contains("flags: "), "{complaint}");
    let (_, complaint) = root.ends(3, &register);
    assert!(complaint.contains("refused this model"), "{complaint}");

    // A damaged file is refused by name, and so is another model.
    let forest = root.path("detector/forest-cpu-long.bin");
    let mut bytes = std::fs::read(&forest).expect("a forest");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&forest, bytes).expect("damaged");
    let (_, complaint) = root.ends(1, &register);
    assert!(complaint.contains("forest-cpu-long.bin"), "{complaint}");
}

#[test]
fn without_labels_injected_incidents_decide_and_alarms_are_not_judged() {
    let root = Root::new(false);
    let (text, _) = root.ends(0, &["train", "anomaly", "--model-out", "detector"]);
    assert!(text.contains("validation passed"), "{text}");
    let report = std::fs::read_to_string(root.path("detector/report.html")).expect("a report");
    assert!(report.contains("faults that were injected into replays of the same hours"));
    root.ends(0, &["train", "anomaly", "--model-out", "plain", "--faults-per-kind", "0"]);
    let report = std::fs::read_to_string(root.path("plain/report.html")).expect("a report");
    assert!(report.contains("No incident is labelled and none could be injected"));
    let (_, complaint) = root.ends(2, &["train", "anomaly", "--model-out", "x", "--missed-cost", "0"]);
    assert!(complaint.contains("`missed_cost` of [trainer.anomaly]"), "{complaint}");
}
