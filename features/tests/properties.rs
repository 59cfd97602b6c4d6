//! What must hold for any stream of samples.

mod common;

use cluster::{HOUR_MS, NodeMetric, NodeSample, grid_ceil};
use common::{START, differences};
use features::windows::ClusterContext;
use features::{GRID_STEP_MS, NodeWindows, WindowRules};
use proptest::prelude::*;
use std::sync::Arc;

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => 0.0..8.0_f64,
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::MAX), Just(-1.0), Just(f64::MIN_POSITIVE), Just(-0.0)],
    ]
}

fn any_sample(span: i64) -> impl Strategy<Value = NodeSample> {
    (0..span, prop::collection::vec(any_value(), NodeMetric::COUNT)).prop_map(|(offset, values)| {
        let mut sample = NodeSample::empty(START + offset);
        sample.values.copy_from_slice(&values);
        sample
    })
}

fn any_samples() -> impl Strategy<Value = Vec<NodeSample>> {
    prop::collection::vec(any_sample(6 * HOUR_MS), 1..120)
}

fn in_order(mut samples: Vec<NodeSample>) -> Vec<NodeSample> {
    samples.sort_by_key(|sample| sample.ts);
    samples.dedup_by_key(|sample| sample.ts);
    samples
}

/// The row at `t` after all of `samples` have been pushed, whether or not they lie before `t`.
fn features_at(t: i64, samples: &[NodeSample]) -> (bool, Vec<f32>) {
    let mut windows = NodeWindows::new(Arc::new(WindowRules::default()));
    samples.iter().for_each(|sample| windows.push(sample));
    let mut row = vec![0.0; NodeWindows::row_len()];
    let heard = windows.row(t, &ClusterContext::UNKNOWN, &mut row).expect("the first row asked for");
    (heard, row)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn features_at_t_do_not_see_samples_after_t(samples in any_samples(), step in 1_i64..72) {
        let (t, samples) = (START + step * GRID_STEP_MS, in_order(samples));
        let before: Vec<NodeSample> = samples.iter().filter(|sample| sample.ts < t).copied().collect();
        let ((heard, one), (heard_before, other)) = (features_at(t, &samples), features_at(t, &before));
        prop_assert_eq!(heard, heard_before);
        prop_assert!(differences(&one, &other).is_empty(), "{:?}", differences(&one, &other));
    }

    #[test]
    fn repeated_samples_change_nothing(samples in any_samples()) {
        let samples = in_order(samples);
        let t = grid_ceil(samples.last().map_or(START, |sample| sample.ts), GRID_STEP_MS);
        let twice: Vec<NodeSample> = samples.iter().flat_map(|sample| [*sample, *sample]).collect();
        prop_assert!(differences(&features_at(t, &samples).1, &features_at(t, &twice).1).is_empty());
    }

    #[test]
    fn no_stream_of_samples_panics(samples in any_samples(), far in any::<i64>()) {
        let mut windows = NodeWindows::new(Arc::new(WindowRules::default()));
        let mut row = vec![0.0; NodeWindows::row_len()];
        for sample in &samples {
            windows.push(sample);
            let _ = windows.row(grid_ceil(sample.ts, GRID_STEP_MS), &ClusterContext::UNKNOWN, &mut row);
        }
        // Clocks jump by centuries, not by more than time can hold.
        windows.push(&NodeSample::empty(far / 4));
        windows.advance(START + (far / 1_000_000).abs());
    }
}
