//! What we rely on in the engine behind gradient boosting.

mod common;

use models::learners::{Direction, GradientBoosting};
use models::{FitData, FitOptions, FitRows, Loss, Regressor};
use std::num::NonZeroUsize;

fn booster() -> GradientBoosting {
    GradientBoosting { rounds: 60, learning_rate: 0.2, max_depth: 4, ..GradientBoosting::default() }
}

#[test]
fn a_monotone_constraint_is_kept_everywhere() {
    let (x, y) = common::rows(2_000, 0.1, 50);
    let learner = GradientBoosting {
        exact_leaves: false,
        monotone: [("last".to_owned(), Direction::Increasing), ("mean_1h".to_owned(), Direction::Decreasing)].into(),
        ..booster()
    };
    let model = learner.fit_trees(&FitData::new(&x, &y), &FitOptions::seeded(1)).expect("it fits");
    for row in 0..100 {
        for (column, sign) in [(0, 1.0_f32), (2, -1.0)] {
            let mut values = x.row(row).to_vec();
            let mut before = f32::NEG_INFINITY;
            for step in 0..50 {
                values[column] = step as f32 / 50.0;
                let forecast = sign * model.predict_row(&values).expect("the same features");
                assert!(forecast >= before, "row {row}, column {column}, step {step}");
                before = forecast;
            }
        }
    }
    let unknown = GradientBoosting { monotone: [("disk".to_owned(), Direction::Increasing)].into(), ..booster() };
    let error = unknown.fit_trees(&FitData::new(&x, &y), &FitOptions::seeded(1)).expect_err("no such column");
    assert!(error.to_string().starts_with("the features have no column `disk`, which a monotone constraint reads."));
}

#[test]
fn early_stopping_keeps_the_best_round_and_the_file_holds_no_more() {
    let (x, y) = common::rows(600, 0.1, 51);
    let (valid, valid_y) = common::rows(600, 0.1, 52);
    let data = FitData { valid: Some(FitRows::new(&valid, &valid_y)), ..FitData::new(&x, &y) };
    let long = GradientBoosting { rounds: 400, ..booster() };
    let stopping = GradientBoosting { early_stopping: NonZeroUsize::new(10), ..long.clone() };
    let all = long.fit_trees(&data, &FitOptions::seeded(1)).expect("it fits");
    let stopped = stopping.fit_trees(&data, &FitOptions::seeded(1)).expect("it fits");
    let trees = stopped.trees().expect("trees");
    assert_eq!(all.trees(), Some(400));
    assert!((2..200).contains(&trees), "{trees}");
    let error = |model: &dyn Regressor| {
        let mut forecasts = vec![0.0; valid.rows()];
        model.predict(&valid, &mut forecasts).expect("the same features");
        Loss::Absolute.mean(&valid_y, &forecasts, None)
    };
    assert!(error(&stopped) <= error(&all), "{} {}", error(&stopped), error(&all));
    let again = models::load_regressor("stopped", &stopped.to_ubj().expect("it writes"), stopped.features());
    assert_eq!(again.expect("we wrote it").trees(), Some(trees));
}

#[test]
fn a_quantile_is_below_its_share_of_the_rows() {
    let (x, y) = common::rows(4_000, 0.1, 53);
    for alpha in [0.1, 0.5, 0.9] {
        let learner = GradientBoosting { loss: Loss::Quantile(alpha), min_child_weight: 50.0, ..booster() };
        let model = learner.fit_trees(&FitData::new(&x, &y), &FitOptions::seeded(1)).expect("it fits");
        let mut forecasts = vec![0.0; x.rows()];
        model.predict(&x, &mut forecasts).expect("the same features");
        let below =
            y.iter().zip(&forecasts).filter(|(observed, forecast)| observed <= forecast).count() as f64 / 4_000.0;
        assert!((below - alpha).abs() < 0.03, "{alpha}: {below}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let (x, y) = common::rows(50, 0.1, 54);
    for (name, wrong) in [
        ("eta", GradientBoosting { learning_rate: -1.0, ..booster() }),
        ("subsample", GradientBoosting { subsample: 0.0, ..booster() }),
        ("max_depth", GradientBoosting { max_depth: 0, ..booster() }),
        ("max_bin", GradientBoosting { max_bins: 1, ..booster() }),
        ("bags and rounds", GradientBoosting { bags: 0, ..booster() }),
        ("quantile", GradientBoosting { loss: Loss::Quantile(0.0), ..booster() }),
    ] {
        let error = wrong.fit_trees(&FitData::new(&x, &y), &FitOptions::seeded(1)).expect_err(name).to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
}
