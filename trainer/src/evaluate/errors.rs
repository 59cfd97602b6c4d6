//! How far a forecast is from what was observed. Every function takes ratios (0.5 = half of the allocatable amount)
//! in pairs, `observed` before `predicted`; what is called points is ratio × 100. An empty slice gives NaN, since a
//! figure over nothing is no figure.

use std::collections::BTreeMap;

/// Utilization points in a ratio of 1.
pub const POINTS: f64 = 100.0;

/// Mean absolute error in points; better when lower.
pub fn mean_absolute_error(observed: &[f64], predicted: &[f64]) -> f64 {
    mean(pairs(observed, predicted).map(|(y, p)| (y - p).abs())) * POINTS
}

/// Root mean squared error in points; better when lower.
pub fn root_mean_squared_error(observed: &[f64], predicted: &[f64]) -> f64 {
    mean(pairs(observed, predicted).map(|(y, p)| (y - p).powi(2))).sqrt() * POINTS
}

/// Coefficient of determination: 1 − Σ(y−ŷ)² ÷ Σ(y−ȳ)²; better when higher. NaN where the observed values do not vary,
/// since the quotient is then undefined.
pub fn r2_score(observed: &[f64], predicted: &[f64]) -> f64 {
    let average = mean(observed.iter().copied());
    let spread: f64 = observed.iter().map(|y| (y - average).powi(2)).sum();
    let residual: f64 = pairs(observed, predicted).map(|(y, p)| (y - p).powi(2)).sum();
    // Rounding leaves a constant series with a spread of about 1e-30 per row.
    if spread <= 1e-18 * observed.len() as f64 { f64::NAN } else { 1.0 - residual / spread }
}

/// The median of [`r2_score`] over nodes. Pooled R² is flattered by nodes that differ in their level; this is not.
/// Nodes whose load does not vary have no R² and are left out.
pub fn median_r2_score(node: &[u32], observed: &[f64], predicted: &[f64]) -> f64 {
    let mut by_node: BTreeMap<u32, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for (node, (y, p)) in node.iter().zip(pairs(observed, predicted)) {
        let entry = by_node.entry(*node).or_default();
        entry.0.push(y);
        entry.1.push(p);
    }
    median(by_node.values().map(|(y, p)| r2_score(y, p)).filter(|score| score.is_finite()).collect())
}

/// Accuracy in percent: 100 × (1 − WAPE), WAPE = Σ|y−ŷ| ÷ Σ|y|; better when higher. Never to be shown without
/// [`skill_score`] beside it: on busy nodes persistence alone reaches 87.
pub fn accuracy(observed: &[f64], predicted: &[f64]) -> f64 {
    let load: f64 = observed.iter().map(|y| y.abs()).sum();
    let wrong: f64 = pairs(observed, predicted).map(|(y, p)| (y - p).abs()).sum();
    if load > 0.0 { 100.0 * (1.0 - wrong / load) } else { f64::NAN }
}

/// What a forecast gains over a reference: 1 − error ÷ error of the reference; better when higher, 0 is no gain.
/// NaN where the reference is perfect, since nothing can be gained there.
pub fn skill_score(error: f64, reference_error: f64) -> f64 {
    if reference_error > 0.0 { 1.0 - error / reference_error } else { f64::NAN }
}

/// Share (0..1) of forecasts that are at most `points` off; better when higher.
pub fn share_within(observed: &[f64], predicted: &[f64], points: f64) -> f64 {
    // A forecast that is exactly on the limit counts; the slack is far below any measurement's resolution.
    mean(pairs(observed, predicted).map(|(y, p)| f64::from((y - p).abs() * POINTS <= points + 1e-9)))
}

pub(super) fn pairs<'a>(observed: &'a [f64], predicted: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    observed.iter().copied().zip(predicted.iter().copied())
}

/// NaN of nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    sum / count as f64
}

/// The middle value, or the mean of the two middle ones; NaN of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, wanted: f64) {
        assert!((got - wanted).abs() < 1e-9, "got {got}, want {wanted}");
    }

    /// Errors by hand: 0.1, 0.0, 0.2, 0.1 (absolute), Σ|y| = 2.0.
    const OBSERVED: [f64; 4] = [0.2, 0.4, 0.6, 0.8];
    const PREDICTED: [f64; 4] = [0.3, 0.4, 0.4, 0.9];

    #[test]
    fn errors_agree_with_a_calculation_by_hand() {
        close(mean_absolute_error(&OBSERVED, &PREDICTED), 10.0);
        // Squares: 0.01, 0, 0.04, 0.01; mean 0.015.
        close(root_mean_squared_error(&OBSERVED, &PREDICTED), 0.015_f64.sqrt() * 100.0);
        // Mean 0.5; spread 0.09 + 0.01 + 0.01 + 0.09 = 0.2; residual 0.06.
        close(r2_score(&OBSERVED, &PREDICTED), 0.7);
        // WAPE = 0.4 / 2.0.
        close(accuracy(&OBSERVED, &PREDICTED), 80.0);
        close(share_within(&OBSERVED, &PREDICTED, 10.0), 0.75);
        close(skill_score(3.0, 4.0), 0.25);
    }

    #[test]
    fn the_median_over_nodes_does_not_profit_from_levels() {
        // Node 0 sits near 0.1, node 1 near 0.9. The forecast is each node's mean: pooled R² is high, R² per node is 0.
        let node = [0, 0, 1, 1];
        let observed = [0.0, 0.2, 0.8, 1.0];
        let predicted = [0.1, 0.1, 0.9, 0.9];
        close(median_r2_score(&node, &observed, &predicted), 0.0);
        // Spread around 0.5: 0.25 + 0.09 + 0.09 + 0.25 = 0.68; residual 0.04.
        close(r2_score(&observed, &predicted), 1.0 - 0.04 / 0.68);
    }

    #[test]
    fn figures_that_do_not_exist_are_nan() {
        assert!(mean_absolute_error(&[], &[]).is_nan());
        assert!(r2_score(&[0.3; 5], &[0.3; 5]).is_nan(), "a constant node has no R²");
        assert!(accuracy(&[0.0; 3], &[0.1; 3]).is_nan(), "an idle node has no WAPE");
        assert!(skill_score(0.0, 0.0).is_nan());
        assert!(median_r2_score(&[0, 0], &[0.3, 0.3], &[0.3, 0.3]).is_nan());
    }
}
