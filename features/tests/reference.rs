//! The committed reference lists what the catalogue has.

use features::{catalogue, cluster_state};

#[test]
fn the_committed_reference_equals_the_catalogue() {
    let text = include_str!("../../docs/features.md");
    let listed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut wanted: Vec<&str> = Vec::new();
    for group in [catalogue::all(), cluster_state::all()] {
        for topic in catalogue::Topic::ALL {
            wanted.extend(group.iter().filter(|feature| feature.topic == topic).map(|feature| feature.name.as_str()));
        }
    }
    assert_eq!(listed, wanted, "run `features docs` and commit docs/features.md");
}

#[test]
fn each_feature_of_the_agent_stands_in_the_reference_with_its_formula() {
    let text = include_str!("../../docs/features.md");
    let (_, agent) = text.split_once("# Group `cluster_state`").expect("both groups");
    assert_eq!(cluster_state::all().len(), cluster_state::WIDTH);
    for feature in cluster_state::all() {
        let row = format!("| `{}` | {} | {} | {} |", feature.name, feature.unit, feature.window, feature.formula);
        assert!(agent.contains(&row), "{row}");
    }
}
