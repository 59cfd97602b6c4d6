//! Figures over seeds.

use super::mean;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_over_seeds_agrees_with_a_table() {
        // Mean 2, standard deviation 1, n = 3: 4.303 / sqrt(3) = 2.4843.
        let (average, half) = mean_with_interval(&[1.0, 2.0, 3.0]);
        assert_eq!(average, 2.0);
        assert!((half.expect("three values") - 2.484_337).abs() < 1e-4);
        assert_eq!(mean_with_interval(&[1.5]), (1.5, None));
    }
}
