//! Predictions that others made: KServe's logger sends each request and each response of an inference service as CloudEvents,
//! and a pair of them is one record of the prediction log.
//!
//! The two halves come on their own, in any order. One whose other half does not come within a minute is dropped and counted,
//! as is the oldest when too many wait: without its answer a request is no prediction.

mod cloud;

pub use cloud::{CloudEvent, Half};

use crate::metrics::Metrics;
use crate::predictions::{Content, Record};
use crate::protocol::Refusal;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So long the other half is waited for: longer than any inference may take here.
const WAIT: Duration = Duration::from_secs(60);
/// How often those that have waited for too long are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Halves that wait at most; some seconds of the load that one process takes.
const MOST_WAITING: usize = 4_096;
/// Halves that wait for the other one.
#[derive(Debug)]
pub struct Events {
    waiting: Mutex<WaitingHalves>,
    /// Bytes of halves that may wait.
    most_bytes: usize,
    metrics: Arc<Metrics>,
}

/// Ids are unique for one service alone.
type Key = (String, String);

#[derive(Debug)]
struct Waiting {
    since: Instant,
    event: CloudEvent,
}

#[derive(Debug, Default)]
struct WaitingHalves {
    halves: HashMap<Key, Waiting>,
    /// In the order that they came in; a half that has gone, or came again, is still named here until its turn comes.
    order: VecDeque<(Instant, Key)>,
    bytes: usize,
}

impl WaitingHalves {
    fn put(&mut self, key: Key, event: CloudEvent) {
        let since = Instant::now();
        self.bytes += event.bytes();
        if self.order.len() >= 2 * MOST_WAITING {
            // Those that were paired meanwhile.
            let halves = &self.halves;
            self.order.retain(|(since, key)| halves.get(key).is_some_and(|half| half.since == *since));
        }
        self.order.push_back((since, key.clone()));
        self.halves.insert(key, Waiting { since, event });
    }

    fn take(&mut self, key: &Key) -> Option<CloudEvent> {
        let Waiting { event, .. } = self.halves.remove(key)?;
        self.bytes -= event.bytes();
        Some(event)
    }

    /// Drops the oldest while there are too many, in number or in bytes, and those that have waited for too long; tells how many.
    fn forget(&mut self, most_bytes: usize, now: Instant) -> u64 {
        let mut forgotten = 0;
        while let Some((since, key)) = self.order.front() {
            let is_there = self.halves.get(key).is_some_and(|half| half.since == *since);
            let is_over = self.halves.len() > MOST_WAITING || self.bytes > most_bytes;
            if is_there && !is_over && now.saturating_duration_since(*since) < WAIT {
                break;
            }
            let Some((_, key)) = self.order.pop_front() else { break };
            if is_there && self.take(&key).is_some() {
                forgotten += 1;
            }
        }
        forgotten
    }
}

impl Events {
    /// Nothing waits yet; halves of so many bytes may.
    pub fn new(most_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self { waiting: Mutex::default(), most_bytes, metrics }
    }

    fn waiting(&self) -> MutexGuard<'_, WaitingHalves> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in one half; a whole prediction when the other one is there. More than wait at once push out the oldest.
    pub fn take_in(&self, event: CloudEvent) -> Option<Record> {
        let mut waiting = self.waiting();
        let key = (event.service.clone(), event.id.clone());
        let other = waiting.take(&key);
        if let Some(other) = other.as_ref().filter(|other| other.half != event.half) {
            drop(waiting);
            let (request, response) = match event.half {
                Half::Request => (&event, other),
                Half::Response => (other, &event),
            };
            self.metrics.inference_event("paired", 2);
            return Some(record(request, response));
        }
        // The same half again: a sender that was not sure tries twice, and the newer one counts.
        if other.is_some() {
            self.metrics.inference_event("repeated", 1);
        }
        waiting.put(key, event);
        self.metrics.inference_event("unpaired", waiting.forget(self.most_bytes, Instant::now()));
        None
    }

    /// Forgets halves that have waited for too long, for ever: where no event comes there is nobody else to.
    pub async fn sweep(&self) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        loop {
            ticks.tick().await;
            let forgotten = self.waiting().forget(self.most_bytes, Instant::now());
            self.metrics.inference_event("unpaired", forgotten);
        }
    }
}

fn record(request: &CloudEvent, response: &CloudEvent) -> Record {
    #[derive(Default, Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        model_name: Option<Cow<'a, str>>,
        #[serde(borrow)]
        model_version: Option<Cow<'a, str>>,
    }
    // A body of another protocol has neither.
    let named: Named<'_> = serde_json::from_str(response.body.get()).unwrap_or_default();
    Record {
        ts: response.at,
        model: named.model_name.map_or_else(|| response.service.clone(), Cow::into_owned),
        version: named.model_version.map(Cow::into_owned).unwrap_or_default(),
        // Nothing is known of the columns of others.
        feature_hash: String::new(),
        inputs: Content::Json(tensors(&request.body, "inputs")),
        outputs: Content::Json(tensors(&response.body, "outputs")),
        id: response.id.clone(),
    }
}

/// Tensors of the v2 protocol as our own predictions are kept, by name; anything else (the v1 protocol) as it came. The elements stay
/// the text that they are.
fn tensors(body: &RawValue, list: &str) -> Box<RawValue> {
    #[derive(Deserialize)]
    struct Lists<'a> {
        #[serde(borrow)]
        inputs: Option<&'a RawValue>,
        #[serde(borrow)]
        outputs: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Tensor<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow, default)]
        shape: Option<&'a RawValue>,
        #[serde(borrow, default)]
        data: Option<&'a RawValue>,
    }
    #[derive(Serialize)]
    struct Elements<'a> {
        shape: Option<&'a RawValue>,
        data: Option<&'a RawValue>,
    }
    struct ByName<'a>(Vec<Tensor<'a>>);
    impl Serialize for ByName<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|tensor| {
                let Tensor { name, shape, data } = tensor;
                (name, Elements { shape: *shape, data: *data })
            }))
        }
    }
    let read = || -> Option<Box<RawValue>> {
        let lists: Lists<'_> = serde_json::from_str(body.get()).ok()?;
        let tensors = if list == "inputs" { lists.inputs } else { lists.outputs };
        let tensors: Vec<Tensor<'_>> = serde_json::from_str(tensors?.get()).ok()?;
        to_raw_value(&ByName(tensors)).ok()
    };
    read().unwrap_or_else(|| body.to_owned())
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
    use serde_json::json;

    const MOST_BYTES: usize = 64 << 20;

    fn raw(value: &serde_json::Value) -> Box<RawValue> {
        to_raw_value(value).expect("JSON")
    }

    fn event(id: &str, half: Half) -> CloudEvent {
        let body = match half {
            Half::Request => json!({ "inputs": [{ "name": "x", "shape": [1], "datatype": "FP32", "data": [1.5] }] }),
            Half::Response => {
                json!({ "model_name": "m", "model_version": "7", "outputs": [{ "name": "y", "shape": [1], "datatype": "FP32", "data": [2.5] }] })
            }
        };
        CloudEvent { id: id.into(), half, service: "shop/m".into(), at: 1_000, body: raw(&body) }
    }

    #[test]
    fn halves_become_a_record_in_any_order_and_once() {
        let metrics = Arc::new(Metrics::default());
        let events = Events::new(MOST_BYTES, Arc::clone(&metrics));
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
        let events = Events::new(MOST_BYTES, Arc::clone(&metrics));
        for id in 0..3 * MOST_WAITING {
            events.take_in(event(&id.to_string(), Half::Request));
        }
        let waiting = events.waiting().halves.len();
        assert!(waiting <= MOST_WAITING, "{waiting}");
        let line = format!("inference_events_total{{outcome=\"unpaired\"}} {}", 3 * MOST_WAITING - waiting);
        assert!(metrics.text().contains(&line), "{}", metrics.text());
        // The newest are those that are still there.
        assert!(events.take_in(event(&(3 * MOST_WAITING - 1).to_string(), Half::Response)).is_some());
    }

    #[test]
    fn what_is_no_tensor_is_kept_as_it_came() {
        for body in [
            json!({ "instances": [[1, 2]] }),
            json!([1]),
            json!({ "inputs": [{ "shape": [1] }] }),
            json!({ "inputs": 7 }),
        ] {
            assert_eq!(tensors(&raw(&body), "inputs").get(), body.to_string());
        }
    }

    #[test]
    fn halves_are_bounded_in_bytes_and_go_when_their_time_has_passed() {
        let metrics = Arc::new(Metrics::default());
        let events = Events::new(MOST_BYTES, Arc::clone(&metrics));
        // As the largest body has it, six times: a hundred megabytes.
        let large = |id: &str| {
            let body = format!(r#"{{"inputs":[{{"name":"x","data":[{}0]}}]}}"#, "0,".repeat(8 << 20));
            CloudEvent { body: RawValue::from_string(body).expect("JSON"), ..event(id, Half::Request) }
        };
        for id in ["1", "2", "3", "4", "5", "6"] {
            assert_eq!(events.take_in(large(id)), None);
            assert!(events.waiting().bytes <= MOST_BYTES, "{}", events.waiting().bytes);
        }
        let left = |events: &Events| events.waiting().halves.len();
        assert_eq!(left(&events), 3, "of 16 MiB and a little each");
        assert!(events.take_in(event("6", Half::Response)).is_some(), "the newest is still there");
        // Nobody sends anything any more: a minute later nothing is held.
        let later = Instant::now() + WAIT;
        assert_eq!(events.waiting().forget(MOST_BYTES, later), 2);
        let waiting = events.waiting();
        assert_eq!((waiting.halves.len(), waiting.bytes, waiting.order.len()), (0, 0, 0));
    }
}
