//! The committed reference lists what the catalogue has.

use features::catalogue;

#[test]
fn the_committed_reference_equals_the_catalogue() {
    let text = include_str!("../../docs/features.md");
    let listed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut wanted: Vec<&str> = Vec::new();
    for topic in catalogue::Topic::ALL {
        wanted.extend(
            catalogue::all().iter().filter(|feature| feature.topic == topic).map(|feature| feature.name.as_str()),
        );
    }
    assert_eq!(listed, wanted, "run `features docs` and commit docs/features.md");
}
