//! Any body, read as `/filter` reads it, with nodes that are full, and answered.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scheduler_extender::reject::rejected;
use scheduler_extender::wire::{Ask, FilterAnswer};
use score_api::NodeScore;

fuzz_target!(|body: &[u8]| {
    let Ok(ask) = Ask::parse(body) else { return };
    let mut node = NodeScore::default();
    node.parts.load = Some(0.0);
    let nodes = vec![node; ask.candidates.names.len()];
    let rejected = rejected(&nodes, 0.95);
    assert!(rejected.len() <= nodes.len() / 2);
    serde_json::to_vec(&FilterAnswer::without(&ask.candidates, &rejected)).expect("JSON");
});
