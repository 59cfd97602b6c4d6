//! How many splits isolate a point on average.

/// The average number of splits that isolate one of `n` points: `c(n) = 2 H(n) − 2`, where `H` is the harmonic number;
/// the length of an unsuccessful search in a random binary search tree.
///
/// The paper writes the same as `2 H(n − 1) − 2 (n − 1) ÷ n` and approximates `H` by `ln(n − 1) + 0.5772`, which is 0.46
/// too small at 3 points. Here `H` is summed up.
pub fn average_depth(n: usize) -> f64 {
    if n < 2 { 0.0 } else { 2.0 * (2..=n).map(|k| 1.0 / k as f64).sum::<f64>() }
}

/// `c(0)` to `c(n)`.
pub(super) fn average_depths(n: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let mut depths = vec![0.0; n + 1];
    for (k, depth) in depths.iter_mut().enumerate().skip(2) {
        sum += 1.0 / k as f64;
        *depth = 2.0 * sum;
    }
    depths
}

/// Trees are cut at `⌈log2 n⌉` splits: points that are still together then are not isolated, and `c` says how many more
/// it would take.
pub(super) fn depth_limit(n: usize) -> usize {
    n.max(2).next_power_of_two().ilog2() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_agree_with_a_calculation_by_hand() {
        // Two points: one split. Three: the first split isolates one, which took 1, the other two take 2: (1 + 2 + 2) ÷ 3.
        // Four: 2 × (1/2 + 1/3 + 1/4) = 13/6.
        for (n, depth) in [(0, 0.0), (1, 0.0), (2, 1.0), (3, 5.0 / 3.0), (4, 13.0 / 6.0)] {
            assert!((average_depth(n) - depth).abs() < 1e-12, "{n}");
        }
        // The paper's approximation at 256 is 10.2448; it comes near as n grows.
        assert!((average_depth(256) - 10.2448).abs() < 0.01, "{}", average_depth(256));
        let table = average_depths(300);
        assert!((0..=300).all(|n| (table[n] - average_depth(n)).abs() < 1e-12));
    }

    #[test]
    fn limits_are_the_logarithm_rounded_up() {
        assert_eq!([2, 3, 4, 5, 256, 257, 1024].map(depth_limit), [1, 2, 2, 3, 8, 9, 10]);
    }
}
