//! Predictions that others made: KServe's logger sends each request and each response of an inference service as CloudEvents,
//! and a pair of them is one record of the prediction log.
//!
//! The two halves come on their own, in any order. One whose other half does not come within a minute is dropped and counted,
//! as is the oldest when too many wait: without its answer a request is no prediction.

mod cloud;

pub use cloud::{CloudEvent, Half};

use crate::metrics::Metrics;
use crate::predictions::Record;
use crate::protocol::Refusal;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So long the other half is waited for: longer than any inference may take here.
const WAIT: Duration = Duration::from_secs(60);
/// Halves that wait at most; some seconds of the load that one process takes.
const MOST_WAITING: usize = 4_096;

/// Halves that wait for the other one.
#[derive(Debug)]
pub struct Events {
    waiting: Mutex<HashMap<Key, Waiting>>,
    metrics: Arc<Metrics>,
}

/// Ids are unique for one service alone.
type Key = (String, String);

#[derive(Debug)]
struct Waiting {
    since: Instant,
    event: CloudEvent,
}

impl Events {
    /// Nothing waits yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { waiting: Mutex::default(), metrics }
    }

    /// Takes in one half; a whole prediction when the other one is there.
    pub fn take_in(&self, event: CloudEvent) -> Option<Record> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget_old(&mut waiting);
        let key = (event.service.clone(), event.id.clone());
        match waiting.remove(&key) {
            Some(other) if other.event.half != event.half => {
                drop(waiting);
                let (request, response) = match event.half {
                    Half::Request => (event, other.event),
                    Half::Response => (other.event, event),
                };
                self.metrics.inference_event("paired", 2);
                Some(record(request, response))
            }
            other => {
                // The same half again: a sender that was not sure tries twice, and the newer one counts.
                if other.is_some() {
                    self.metrics.inference_event("repeated", 1);
                }
                waiting.insert(key, Waiting { since: Instant::now(), event });
                None
            }
        }
    }

    fn forget_old(&self, waiting: &mut HashMap<Key, Waiting>) {
        let before = waiting.len();
        // Looking at all of them at each event would be much; the oldest matter when there are many.
        if before >= MOST_WAITING {
            let mut ages: Vec<Instant> = waiting.values().map(|half| half.since).collect();
            let middle = ages.len() / 2;
            let median = *ages.select_nth_unstable(middle).1;
            waiting.retain(|_, half| half.since > median);
        } else {
            waiting.retain(|_, half| half.since.elapsed() < WAIT);
        }
        self.metrics.inference_event("unpaired", (before - waiting.len()) as u64);
    }
}

fn record(request: CloudEvent, response: CloudEvent) -> Record {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Record {
        ts: response.at,
        model: text(&response.body["model_name"]).unwrap_or_else(|| response.service.clone()),
        version: text(&response.body["model_version"]).unwrap_or_default(),
        // Nothing is known of the columns of others.
        feature_hash: String::new(),
        inputs: tensors(request.body, "inputs").into(),
        outputs: tensors(response.body, "outputs").into(),
        id: response.id,
    }
}

/// Tensors of the v2 protocol as our own predictions are kept, by name; anything else (the v1 protocol) as it came.
fn tensors(mut body: Value, list: &str) -> Value {
    let Some(tensors) = body.get_mut(list).and_then(Value::as_array_mut) else { return body };
    let mut by_name = Map::new();
    for tensor in tensors {
        let Some(name) = tensor["name"].as_str().map(str::to_owned) else { return body };
        by_name.insert(name, json!({ "shape": tensor["shape"].take(), "data": tensor["data"].take() }));
    }
    Value::Object(by_name)
}

/// Whose refusal counts as an event that was not taken.
pub fn refused(metrics: &Metrics, refusal: &Refusal) {
    if !refusal.status.is_server_error() {
        metrics.inference_event("refused", 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, half: Half) -> CloudEvent {
        let body = match half {
            Half::Request => json!({ "inputs": [{ "name": "x", "shape": [1], "datatype": "FP32", "data": [1.5] }] }),
            Half::Response => {
                json!({ "model_name": "m", "model_version": "7", "outputs": [{ "name": "y", "shape": [1], "datatype": "FP32", "data": [2.5] }] })
            }
        };
        CloudEvent { id: id.into(), half, service: "shop/m".into(), at: 1_000, body }
    }

    #[test]
    fn halves_become_a_record_in_any_order_and_once() {
        let metrics = Arc::new(Metrics::default());
        let events = Events::new(Arc::clone(&metrics));
        for (first, second) in [(Half::Request, Half::Response), (Half::Response, Half::Request)] {
            assert_eq!(events.take_in(event("1", first)), None);
            assert_eq!(events.take_in(event("1", first)), None, "the same half again");
            let record = events.take_in(event("1", second)).expect("a pair");
            assert_eq!((record.id.as_str(), record.model.as_str(), record.version.as_str()), ("1", "m", "7"));
            assert_eq!(record.inputs, json!({ "x": { "shape": [1], "data": [1.5] } }).into());
            assert_eq!(record.outputs, json!({ "y": { "shape": [1], "data": [2.5] } }).into());
        }
        let text = metrics.text();
        for line in ["inference_events_total{outcome=\"paired\"} 4", "inference_events_total{outcome=\"repeated\"} 2"] {
            assert!(text.contains(line), "`{line}` is not in {text}");
        }
    }

    #[test]
    fn halves_without_the_other_one_do_not_pile_up() {
        let metrics = Arc::new(Metrics::default());
        let events = Events::new(Arc::clone(&metrics));
        for id in 0..3 * MOST_WAITING {
            events.take_in(event(&id.to_string(), Half::Request));
        }
        let waiting = events.waiting.lock().expect("a lock").len();
        assert!(waiting <= MOST_WAITING, "{waiting}");
        let line = format!("inference_events_total{{outcome=\"unpaired\"}} {}", 3 * MOST_WAITING - waiting);
        assert!(metrics.text().contains(&line), "{}", metrics.text());
        // The newest are those that are still there.
        assert!(events.take_in(event(&(3 * MOST_WAITING - 1).to_string(), Half::Response)).is_some());
    }

    #[test]
    fn what_is_no_tensor_is_kept_as_it_came() {
        let body = json!({ "instances": [[1, 2]] });
        assert_eq!(tensors(body.clone(), "inputs"), body);
    }
}
