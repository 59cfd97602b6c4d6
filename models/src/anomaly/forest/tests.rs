use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rows around one point with `width` columns, a share of the values missing.
fn cloud(rows: usize, width: usize, missing: f64, seed: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut value = || {
        let sum: f32 = (0..4).map(|_| generator.random::<f32>() - 0.5).sum();
        if generator.random::<f64>() < missing { f32::NAN } else { sum }
    };
    (0..rows * width).map(|_| value()).collect()
}

fn forest(values: &[f32], width: usize, settings: ForestSettings, seed: u64) -> IsolationForest {
    IsolationForest::fit(values, width, &settings, seed).expect("a forest")
}

fn scores(forest: &IsolationForest, values: &[f32]) -> Vec<f32> {
    let mut scores = vec![0.0; values.len() / forest.width()];
    forest.score(values, &mut scores).expect("whole rows");
    scores
}

const SLANTED: ForestSettings = ForestSettings { trees: 60, samples: 128, extension: 2 };

#[test]
fn paths_of_a_tiny_tree_agree_with_a_calculation_by_hand() {
    // Rows 0, 1 and 10 on one feature: the root parts at x < 5, which leaves {0, 1} and {10}; the limit for three rows is
    // two levels, so that the second split, at x < 0.5, ends it. The fewer rows come first: 10 is `−x < −5`.
    let node = |feature, threshold, fewer| Some(straight::Split { feature, threshold, fewer });
    let tree = vec![node(straight::MIRRORED, -5.0, 1), None, node(0, 0.5, 1), None, None];
    let trees = StraightTrees::new(std::slice::from_ref(&tree), 3).expect("a tree");
    let settings = ForestSettings { trees: 1, samples: 3, extension: 0 };
    let forest = IsolationForest { settings, width: 1, samples: 3, trees: Trees::Straight(trees) };
    // c(3) = 5/3. One split for 10: 2^(−1 ÷ (5/3)) = 2^−0.6. Two for 0 and 1: 2^−1.2.
    for (value, length) in [(10.0, 1.0), (0.0, 2.0), (1.0, 2.0), (4.9, 2.0), (7.0, 1.0)] {
        let score = forest.score_row(&[value]).expect("one column");
        assert!((f64::from(score) - (-length * 0.6_f64).exp2()).abs() < 1e-6, "{value}: {score}");
        let mut credit = [0.0];
        forest.contributions(&[value], &mut credit).expect("one column");
        assert!((credit[0] - (5.0 / 3.0 - length)).abs() < 1e-9, "{value}: {credit:?}");
    }
    assert!(forest.score_row(&[f32::NAN]).expect("one column").is_nan());
    // A leaf of two rows at the first level: 1 split and c(2) = 1 more.
    let cut = StraightTrees::new(&[vec![tree[0], None, None]], 3).expect("a tree");
    let mut sums = [0.0, 0.0];
    cut.add_lengths(&[0.0, 10.0], 1, &mut sums);
    assert_eq!(sums, [2.0, 1.0]);
}

#[test]
fn points_apart_have_high_scores_and_the_right_feature_is_blamed() {
    for extension in [0, 2] {
        let mut values = cloud(2_000, 4, 0.02, 1);
        for odd in cloud(20, 4, 0.0, 2).chunks_exact(4) {
            values.extend([odd[0], odd[1], 6.0 + odd[2], odd[3]]);
        }
        let forest = forest(&values, 4, ForestSettings { trees: 100, samples: 256, extension }, 5);
        let scores = scores(&forest, &values);
        let mut usual = scores[..2_000].to_vec();
        usual.sort_by(f32::total_cmp);
        for row in 2_000..2_020 {
            assert!(scores[row] > usual[1_980], "extension {extension}: {} and {}", scores[row], usual[1_980]);
            let mut credits = [0.0; 4];
            forest.contributions(&values[4 * row..4 * row + 4], &mut credits).expect("four columns");
            let most = (0..4).max_by(|left, right| credits[*left].total_cmp(&credits[*right]));
            assert_eq!(most, Some(2), "extension {extension}: {credits:?}");
        }
    }
}

#[test]
fn contributions_sum_to_what_the_score_says() {
    let values = cloud(500, 5, 0.2, 2);
    for settings in [ForestSettings::default(), SLANTED] {
        let forest = forest(&values, 5, settings, 3);
        for row in values.chunks_exact(5).filter(|row| row.iter().any(|value| !value.is_nan())) {
            let mut credits = [0.0; 5];
            forest.contributions(row, &mut credits).expect("five columns");
            let score = (credits.iter().sum::<f64>() / forest.expected_length() - 1.0).exp2();
            let given = f64::from(forest.score_row(row).expect("five columns"));
            assert!((score - given).abs() < 1e-5, "{score} and {given}");
        }
    }
}

#[test]
fn rows_score_alone_as_they_do_together_and_files_score_alike() {
    let values = cloud(1_300, 3, 0.1, 4);
    for settings in [ForestSettings { samples: 300, ..ForestSettings::default() }, SLANTED] {
        let grown = forest(&values, 3, settings, 9);
        let together = scores(&grown, &values);
        let read = IsolationForest::from_bytes("forest", &grown.to_bytes()).expect("our own file");
        assert_eq!(read, grown);
        for (row, score) in values.chunks_exact(3).zip(together) {
            let alone = read.score_row(row).expect("three columns");
            assert!(alone == score || (alone.is_nan() && score.is_nan()), "{alone} and {score}");
        }
    }
}

#[test]
fn the_seed_decides_and_the_threads_do_not() {
    let values = cloud(1_000, 3, 0.1, 6);
    for settings in [ForestSettings::default(), SLANTED] {
        let bytes = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| forest(&values, 3, settings, seed).to_bytes())
        };
        assert_eq!(bytes(1, 1), bytes(4, 1));
        assert_ne!(bytes(1, 1), bytes(1, 2));
    }
}

#[test]
fn missing_values_are_not_odd_and_constant_columns_do_no_harm() {
    for extension in [0, 1] {
        let mut values = cloud(1_000, 3, 0.0, 8);
        for row in values.chunks_exact_mut(3) {
            row[2] = 1.0;
        }
        let forest = forest(&values, 3, ForestSettings { extension, ..ForestSettings::default() }, 1);
        let score = |row: [f32; 3]| forest.score_row(&row).expect("three columns");
        let (usual, odd) = (score([0.0, 0.0, 1.0]), score([5.0, 5.0, 1.0]));
        for row in [[f32::NAN, 0.0, 1.0], [0.0, f32::NAN, f32::NAN], [f32::NAN, f32::NAN, 1.0]] {
            assert!(score(row) < usual + 0.1 * (odd - usual), "{row:?}: {} of {usual} to {odd}", score(row));
        }
        assert!(score([f32::NAN; 3]).is_nan());
    }
    let nothing = vec![f32::NAN; 60];
    let blind = forest(&nothing, 2, ForestSettings::default(), 1);
    assert_eq!(blind.score_row(&[1.0, 2.0]).expect("two columns"), 0.5, "c splits expected, c splits taken");
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |values: &[f32], width, settings| {
        IsolationForest::fit(values, width, &settings, 1).expect_err("it does not fit").to_string()
    };
    let default = ForestSettings::default();
    assert!(refused(&[1.0], 1, default).contains("1 rows, at least 2"));
    assert!(refused(&[1.0, 2.0, 3.0], 2, default).contains("1 values beyond whole rows"));
    assert!(refused(&[1.0, f32::INFINITY], 1, default).contains("inf in row 1"));
    let message = refused(&[1.0, 2.0], 1, ForestSettings { samples: 9_000, ..default });
    assert_eq!(message, "`samples` must be between 2 and 8192, got 9000");
    assert!(refused(&[1.0, 2.0], 1, SLANTED).contains("`extension` must be below the number of features"));

    let forest = forest(&cloud(100, 2, 0.0, 1), 2, ForestSettings { trees: 3, samples: 16, extension: 0 }, 1);
    assert!(forest.score_row(&[1.0]).is_err());
    let whole = forest.to_bytes();
    for length in 0..whole.len() {
        IsolationForest::from_bytes("forest", &whole[..length]).expect_err("it is cut");
    }
    let mut long = whole.clone();
    long.push(0);
    assert!(
        IsolationForest::from_bytes("f", &long).expect_err("too long").to_string().contains("follow its last tree")
    );
    for at in 8..whole.len() {
        // Any byte may be another: the file is refused or read, and a read one scores without a panic.
        let mut other = whole.clone();
        other[at] ^= 0x55;
        if let Ok(read) = IsolationForest::from_bytes("forest", &other) {
            let _ = read.score_row(&vec![0.0; read.width()]);
        }
    }
}
