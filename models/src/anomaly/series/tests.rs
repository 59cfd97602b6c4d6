use super::*;
use rand::{Rng, SeedableRng};

/// Two columns that follow a daily wave together, one of noise, one that never changes; `odd` breaks the bond of the
/// first two without leaving the range of either.
fn series(rows: usize, odd: std::ops::Range<usize>, seed: u64) -> FeatureMatrix {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let names: Vec<String> = ["work", "traffic", "noise", "constant"].map(str::to_owned).to_vec();
    let values = (0..rows).flat_map(|row| {
        let wave = (row as f32 / 288.0 * std::f32::consts::TAU).sin();
        let mut noise = || 0.05 * (random.random::<f32>() - 0.5);
        let traffic = if odd.contains(&row) { -wave } else { wave };
        [wave + noise(), traffic + noise(), noise(), 3.0]
    });
    FeatureMatrix::new(names, rows, values.collect()).expect("a matrix")
}

fn settings() -> SeriesSettings {
    SeriesSettings { forest: ForestSettings { trees: 50, ..ForestSettings::default() }, ..SeriesSettings::every(5.0) }
}

fn fit(rows: &FeatureMatrix, seed: u64) -> SeriesDetector {
    SeriesDetector::fit(rows, &vec![true; rows.rows()], &settings(), seed).expect("a detector")
}

#[test]
fn rows_that_are_not_usual_teach_nothing() {
    // Half of the training is odd; whoever learned from it would find the odd rows usual.
    let rows = series(2_880, 1_440..2_880, 1);
    let usual: Vec<bool> = (0..2_880).map(|row| row < 1_440).collect();
    let told = SeriesDetector::fit(&rows, &usual, &settings(), 7).expect("a detector");
    let untold = fit(&rows, 7);
    let mean = |detector: &SeriesDetector| {
        detector.scores(&series(1_152, 640..664, 2)).expect("scores")[640..664].iter().sum::<f32>() / 24.0
    };
    assert!(mean(&told) > mean(&untold) + 0.3, "{} {}", mean(&told), mean(&untold));
}

#[test]
fn a_broken_bond_of_columns_is_odd_and_a_usual_day_is_not() {
    let detector = fit(&series(2_880, 0..0, 1), 7);
    assert_eq!(detector.constant_columns(), ["constant"]);
    // The wave is at its height around row 72 of a day, where the bond breaks most.
    let scores = detector.scores(&series(1_152, 640..664, 2)).expect("scores");
    let mean = |rows: std::ops::Range<usize>| scores[rows.clone()].iter().sum::<f32>() / rows.len() as f32;
    assert!(mean(640..664) > 1.0 && mean(300..600) < 0.5, "{} {}", mean(640..664), mean(300..600));
    let usual_above = scores[300..640].iter().filter(|score| **score > mean(640..664)).count();
    assert_eq!(usual_above, 0);
}

#[test]
fn scores_do_not_see_rows_that_come_later_and_depend_on_the_seed_alone() {
    let train = series(1_440, 0..0, 1);
    let detector = fit(&train, 7);
    let all = series(600, 0..0, 3);
    let first: Vec<usize> = (0..400).collect();
    let cut = detector.scores(&all.select_rows(&first).expect("rows")).expect("scores");
    assert_eq!(cut, detector.scores(&all).expect("scores")[..400]);
    assert_eq!(fit(&train, 7), detector);
    assert_ne!(fit(&train, 8), detector);
}

#[test]
fn missing_values_are_not_odd() {
    let detector = fit(&series(1_440, 0..0, 1), 7);
    let mut rows = series(300, 0..0, 4);
    let mut values = rows.values().to_vec();
    values[4 * 250..4 * 260].fill(f32::NAN);
    rows = FeatureMatrix::new(rows.names().to_vec(), 300, values).expect("a matrix");
    let scores = detector.scores(&rows).expect("scores");
    assert!(scores.iter().all(|score| score.is_finite()));
    assert!(scores[250..260].iter().all(|score| *score < 1.0), "{:?}", &scores[248..262]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let rows = series(1_440, 0..0, 1);
    let refused = |settings: SeriesSettings| {
        SeriesDetector::fit(&rows, &[true; 1_440], &settings, 1).expect_err("refused").to_string()
    };
    let base = settings();
    assert!(refused(SeriesSettings { long_readings: 5, ..base }).contains("12 and 5"));
    assert!(
        refused(SeriesSettings { kept_variance: 1.0, ..base }).contains("`kept_variance` must be above 0 and below 1")
    );
    let few = SeriesDetector::fit(&series(99, 0..0, 1), &[true; 99], &base, 1).expect_err("too few").to_string();
    assert!(few.contains("99 usual rows, expected 100"), "{few}");
    let flat = FeatureMatrix::new(vec!["a".to_owned()], 200, vec![1.0; 200]).expect("a matrix");
    let flat = SeriesDetector::fit(&flat, &[true; 200], &base, 1).expect_err("flat").to_string();
    assert!(flat.contains("1 columns none of which ever changes"), "{flat}");
}
