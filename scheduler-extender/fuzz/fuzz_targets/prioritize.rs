//! Any body, read as `/prioritize` reads it, scored by numbers made of the body, and answered.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scheduler_extender::rollout::course;
use scheduler_extender::rules::{Rules, Spread};
use scheduler_extender::scoring::pod_request;
use scheduler_extender::spread::{Scored, points};
use scheduler_extender::wire::{Ask, HostPriority, MOST_POINTS};

fuzz_target!(|body: &[u8]| {
    let Ok(ask) = Ask::parse(body) else { return };
    if let Ok(pod) = &ask.pod {
        let asked = pod_request(pod);
        assert!(asked.cpu_request_cores >= 0.0 && asked.memory_request_bytes >= 0.0);
        course(pod, &Rules::default());
    }
    let number = |place: usize| f64::from_bits(u64::from(body[place % body.len()]).rotate_left(place as u32));
    let scored: Vec<Option<Scored>> = (0..ask.candidates.names.len())
        .map(|place| (place % 3 > 0).then(|| Scored { score: number(place), uncertainty: number(place + 1) }))
        .collect();
    let points = points(&scored, &Spread::default(), body.len() as u128);
    assert!(points.len() == scored.len() && points.iter().all(|points| *points <= MOST_POINTS));
    let list: Vec<HostPriority<'_>> =
        ask.candidates.names.iter().zip(points).map(|(host, score)| HostPriority { host, score }).collect();
    serde_json::to_vec(&list).expect("JSON");
});
