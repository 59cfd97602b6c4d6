//! Puts steps into an order in which each comes after all that it depends on.

use super::Step;
use std::collections::BTreeSet;

/// Sorts `steps` by dependency; steps that could change places stand in the order they came in.
///
/// # Errors
/// The names of the steps that wait for each other.
pub(super) fn in_order(mut steps: Vec<Step>) -> Result<Vec<Step>, Vec<String>> {
    let mut ordered: Vec<Step> = Vec::with_capacity(steps.len());
    let mut done = BTreeSet::new();
    while !steps.is_empty() {
        let (ready, waiting): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| step.after.iter().all(|before| done.contains(before)));
        if ready.is_empty() {
            return Err(in_circle(&waiting));
        }
        done.extend(ready.iter().map(|step| step.name.clone()));
        ordered.extend(ready);
        steps = waiting;
    }
    Ok(ordered)
}

/// Of steps that cannot start, those that wait for each other: a step that none of them waits for is only behind.
fn in_circle(waiting: &[Step]) -> Vec<String> {
    let mut circle: Vec<&Step> = waiting.iter().collect();
    loop {
        let before = circle.len();
        let awaited: BTreeSet<&String> = circle.iter().flat_map(|step| &step.after).collect();
        circle.retain(|step| awaited.contains(&step.name));
        if circle.len() == before {
            return circle.iter().map(|step| step.name.clone()).collect();
        }
    }
}
