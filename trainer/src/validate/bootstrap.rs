//! Is one model worse than another, or is the difference chance? Rows of the same node and day are not independent
//! (their errors share weather), so whole node-days are drawn, in pairs: both models are judged on the same draw.
//!
//! Method: paired block bootstrap, percentile interval (Efron and Tibshirani, 1993, chapters 8 and 13).

use crate::evaluate::{POINTS, mean};
use cluster::DAY_MS;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A mean difference of absolute errors with its interval, in points: below 0 the first model is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean over all rows.
    pub mean_points: f64,
    /// Lower end of the 95 % interval.
    pub low_points: f64,
    /// Upper end of the 95 % interval.
    pub high_points: f64,
    /// Node-days that were drawn from. Few blocks make the interval too narrow: below about 10 do not rely on it.
    pub blocks: usize,
}

/// Draws per interval: the ends of a 95 % interval then move by about a hundredth of its width between seeds.
const DRAWS: usize = 2_000;

/// Compares two forecasts of the same rows, as ratios. `None` when there is no row.
pub fn paired_difference(
    node: &[u32],
    ts: &[i64],
    observed: &[f64],
    first: &[f64],
    second: &[f64],
    seed: u64,
) -> Option<Difference> {
    let mut blocks: BTreeMap<(u32, i64), (f64, f64)> = BTreeMap::new();
    for row in 0..observed.len() {
        let difference = (observed[row] - first[row]).abs() - (observed[row] - second[row]).abs();
        let block = blocks.entry((node[row], ts[row].div_euclid(DAY_MS))).or_default();
        block.0 += difference * POINTS;
        block.1 += 1.0;
    }
    let blocks: Vec<(f64, f64)> = blocks.into_values().collect();
    if blocks.is_empty() {
        return None;
    }
    let ratio = |picked: &mut dyn Iterator<Item = (f64, f64)>| {
        let (sum, rows) = picked.fold((0.0, 0.0), |(sum, rows), block| (sum + block.0, rows + block.1));
        sum / rows
    };
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut draws: Vec<f64> = (0..DRAWS)
        .map(|_| ratio(&mut (0..blocks.len()).map(|_| blocks[generator.random_range(0..blocks.len())])))
        .collect();
    draws.sort_by(f64::total_cmp);
    Some(Difference {
        mean_points: ratio(&mut blocks.iter().copied()),
        low_points: quantile(&draws, 0.025),
        high_points: quantile(&draws, 0.975),
        blocks: blocks.len(),
    })
}

/// The mean of a few repeated measurements with its 95 % interval by Student's t: for figures over seeds.
///
/// Returns mean and half width; the half width is absent for fewer than two values.
pub fn mean_with_interval(values: &[f64]) -> (f64, Option<f64>) {
    let average = mean(values.iter().copied());
    let Some(factor) = STUDENT_T_975.get(values.len().wrapping_sub(2)) else { return (average, None) };
    let variance = values.iter().map(|value| (value - average).powi(2)).sum::<f64>() / (values.len() - 1) as f64;
    (average, Some(factor * (variance / values.len() as f64).sqrt()))
}

/// The 0.975 quantile of Student's t for 1 to 9 degrees of freedom (any statistics table).
const STUDENT_T_975: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

fn quantile(sorted: &[f64], level: f64) -> f64 {
    let at = level * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(days: i64) -> (Vec<u32>, Vec<i64>) {
        (0..days * 24).map(|hour| ((hour % 2) as u32, hour * 3_600_000)).unzip()
    }

    #[test]
    fn a_constant_difference_has_an_interval_of_no_width() {
        let (node, ts) = rows(10);
        let observed = vec![0.5; node.len()];
        let difference = paired_difference(&node, &ts, &observed, &vec![0.53; node.len()], &vec![0.51; node.len()], 1)
            .expect("rows");
        assert!((difference.mean_points - 2.0).abs() < 1e-9, "{difference:?}");
        assert!((difference.high_points - difference.low_points).abs() < 1e-9);
        assert_eq!(difference.blocks, 20);
    }

    #[test]
    fn a_difference_by_chance_has_zero_in_its_interval() {
        let (node, ts) = rows(30);
        let observed = vec![0.5; node.len()];
        // Better by 2 points on even days, worse by 2 on odd ones.
        let first: Vec<f64> = ts.iter().map(|ts| if (ts / DAY_MS) % 2 == 0 { 0.51 } else { 0.53 }).collect();
        let second: Vec<f64> = ts.iter().map(|ts| if (ts / DAY_MS) % 2 == 0 { 0.53 } else { 0.51 }).collect();
        let difference = paired_difference(&node, &ts, &observed, &first, &second, 7).expect("rows");
        assert!(difference.low_points < -0.2 && difference.high_points > 0.2, "{difference:?}");
        assert_eq!(paired_difference(&node, &ts, &observed, &first, &second, 7), Some(difference), "the seed decides");
    }

    #[test]
    fn an_interval_over_seeds_agrees_with_a_table() {
        // Mean 2, standard deviation 1, n = 3: 4.303 / sqrt(3) = 2.4843.
        let (average, half) = mean_with_interval(&[1.0, 2.0, 3.0]);
        assert_eq!(average, 2.0);
        assert!((half.expect("three values") - 2.484_337).abs() < 1e-4);
        assert_eq!(mean_with_interval(&[1.5]), (1.5, None));
    }
}
