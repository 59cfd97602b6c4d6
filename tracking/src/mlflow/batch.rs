//! Cutting a batch into requests that the server accepts.

use crate::types::*;
use serde_json::{Value, json};

/// MLflow's limits for one request (`mlflow/utils/validation.py`): 1000 metrics, 100 parameters, 100 tags, 1000 of all.
const ALL: usize = 1000;
const LABELS: usize = 100;

/// MLflow's limit is 1,000,000 bytes of JSON; its JSON may be longer than ours, since it escapes what is not ASCII.
const BYTES: usize = 300_000;

/// The bodies for `runs/log-batch`, in order; none for an empty batch.
pub(super) fn requests(run_id: &str, batch: &Batch) -> Vec<Value> {
    let pair = |(key, value): (&String, &String)| json!({ "key": key, "value": value });
    let mut params = batch.params.iter().map(pair).peekable();
    let mut tags = batch.tags.iter().map(pair).peekable();
    let mut metrics = batch.metrics.iter().map(wire).peekable();
    let mut requests = Vec::new();
    loop {
        let (mut bytes, mut room) = (0, ALL);
        let some_params = take(&mut params, LABELS, &mut room, &mut bytes);
        let some_tags = take(&mut tags, LABELS, &mut room, &mut bytes);
        let some_metrics = take(&mut metrics, ALL, &mut room, &mut bytes);
        if room == ALL {
            return requests;
        }
        requests.push(json!({ "run_id": run_id, "metrics": some_metrics, "params": some_params, "tags": some_tags }));
    }
}

fn take(
    entries: &mut std::iter::Peekable<impl Iterator<Item = Value>>,
    limit: usize,
    room: &mut usize,
    bytes: &mut usize,
) -> Vec<Value> {
    let mut taken = Vec::new();
    while taken.len() < limit && *room > 0 {
        // One entry is always below the limit of bytes, so every request takes at least one.
        let Some(size) = entries.peek().map(|entry| entry.to_string().len()) else { break };
        if *bytes + size > BYTES && *room < ALL {
            break;
        }
        taken.extend(entries.next());
        *bytes += size;
        *room -= 1;
    }
    taken
}

fn wire(metric: &Metric) -> Value {
    let value = match metric.value {
        value if value.is_nan() => Value::from("NaN"),
        f64::INFINITY => Value::from("Infinity"),
        f64::NEG_INFINITY => Value::from("-Infinity"),
        value => Value::from(value),
    };
    json!({ "key": metric.key, "value": value, "timestamp": metric.at.timestamp_millis(), "step": metric.step })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(batch: &Batch) -> Vec<(usize, usize, usize)> {
        let count = |body: &Value, list: &str| body[list].as_array().map_or(0, Vec::len);
        requests("r", batch)
            .iter()
            .map(|body| (count(body, "metrics"), count(body, "params"), count(body, "tags")))
            .collect()
    }

    #[test]
    fn a_long_batch_is_cut_at_each_limit() {
        let metrics = (0..2100).map(|step| Metric::now("mae", 0.5).at_step(step)).collect();
        let labels = |count: usize| (0..count).map(|number| (format!("k{number}"), "v".to_owned())).collect::<Labels>();
        let batch = Batch { metrics, params: labels(150), tags: labels(30) };
        assert_eq!(lengths(&batch), [(870, 100, 30), (950, 50, 0), (280, 0, 0)]);
        assert_eq!(lengths(&Batch::default()), []);
    }

    #[test]
    fn a_batch_of_long_values_is_cut_by_bytes() {
        let params = (0..100).map(|number| (format!("k{number}"), "v".repeat(6000))).collect();
        let lengths = lengths(&Batch { params, ..Batch::default() });
        assert_eq!(lengths.iter().map(|(_, params, _)| params).sum::<usize>(), 100);
        assert_eq!(lengths.len(), 3, "49 values of 6000 letters fit into 300,000 bytes");
    }
}
