//! One list of rules that every learner passes.

use models::learners::{
    BinnedDecisionTree, ElasticNet, ForustBoosting, GradientBoosting, LinearRegression, Persistence, RandomForest,
    SeasonalNaive,
};
use models::{FeatureMatrix, FitData, FitOptions, FitRows, Learner, Loss, ModelError, Regressor, load_regressor};
use rand::{Rng, SeedableRng};

const FEATURES: [&str; 4] = ["last", "yesterday", "slope", "constant"];

/// A learner and what it promises beyond the common rules.
struct Case {
    learner: Box<dyn Learner>,
    /// Two fits give the same bytes.
    same_bytes: bool,
    /// Explains each forecast.
    explains: bool,
    /// Share of the persistence error that remains, at most, on the rows it learned from.
    remaining_error: f64,
}

fn cases() -> Vec<Case> {
    let case = |learner: Box<dyn Learner>, explains, remaining_error| Case {
        learner,
        same_bytes: true,
        explains,
        remaining_error,
    };
    let boosting =
        |loss| GradientBoosting { rounds: 40, learning_rate: 0.2, max_depth: 4, ..GradientBoosting::with_loss(loss) };
    vec![
        case(Box::new(boosting(Loss::Squared)), true, 0.6),
        case(Box::new(boosting(Loss::Absolute)), true, 0.6),
        case(Box::new(boosting(Loss::PseudoHuber(0.1))), true, 0.6),
        case(Box::new(boosting(Loss::Quantile(0.5))), true, 0.6),
        case(
            Box::new(GradientBoosting { bags: 3, subsample: 0.6, column_sample: 0.8, ..boosting(Loss::Absolute) }),
            true,
            0.6,
        ),
        case(
            Box::new(ForustBoosting { rounds: 40, learning_rate: 0.2, max_depth: 4, ..ForustBoosting::default() }),
            true,
            0.6,
        ),
        case(Box::<LinearRegression>::default(), true, 0.9),
        case(Box::<ElasticNet>::default(), true, 0.9),
        // The library sums over hash maps with a random order.
        Case {
            same_bytes: false,
            ..case(Box::new(BinnedDecisionTree { min_rows: 5, ..BinnedDecisionTree::default() }), false, 0.7)
        },
        case(Box::new(RandomForest { trees: 15, ..RandomForest::default() }), false, 0.7),
        case(Box::new(Persistence { column: "last".to_owned() }), true, 1.0),
        case(
            Box::new(SeasonalNaive { column: "yesterday".to_owned(), otherwise: Some("last".to_owned()) }),
            true,
            f64::INFINITY,
        ),
    ]
}

fn names() -> Vec<String> {
    FEATURES.iter().map(|name| (*name).to_owned()).collect()
}

/// Load that reverts to its mean and bends with its slope; one value in twelve is missing.
fn rows(rows: usize, seed: u64) -> (FeatureMatrix, Vec<f32>) {
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (mut values, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let (last, yesterday, slope): (f32, f32, f32) = (generator.random(), generator.random(), generator.random());
        targets.push(0.25 + 0.5 * last + 0.2 * (slope - 0.5).abs() + 0.02 * generator.random::<f32>());
        for value in [last, yesterday, slope, 3.0] {
            values.push(if generator.random::<f32>() < 1.0 / 12.0 { f32::NAN } else { value });
        }
    }
    (FeatureMatrix::new(names(), rows, values).expect("a matrix"), targets)
}

fn fit(learner: &dyn Learner, x: &FeatureMatrix, y: &[f32]) -> Box<dyn Regressor> {
    learner
        .fit(&FitData::new(x, y), &FitOptions::seeded(11))
        .unwrap_or_else(|error| panic!("{}: {error}", learner.name()))
}

fn forecasts(model: &dyn Regressor, x: &FeatureMatrix) -> Vec<f32> {
    let mut forecasts = vec![f32::NAN; x.rows()];
    model.predict(x, &mut forecasts).unwrap_or_else(|error| panic!("{}: {error}", model.name()));
    forecasts
}

fn mean_absolute_error(observed: &[f32], predicted: &[f32]) -> f64 {
    Loss::Absolute.mean(observed, predicted, None)
}

#[test]
fn batches_and_single_rows_agree_and_are_finite() {
    let (x, y) = rows(400, 1);
    for case in cases() {
        let model = fit(case.learner.as_ref(), &x, &y);
        assert_eq!(model.name(), case.learner.name());
        assert_eq!(model.features(), names());
        let batch = forecasts(model.as_ref(), &x);
        for (row, forecast) in batch.iter().enumerate() {
            assert!(forecast.is_finite(), "{} row {row}", model.name());
            let alone = model.predict_row(x.row(row)).expect("a row of the fit");
            assert_eq!(alone.to_bits(), forecast.to_bits(), "{} row {row}", model.name());
        }
    }
}

#[test]
fn every_learner_learns() {
    let (x, y) = rows(800, 2);
    let persistence = fit(&Persistence { column: "last".to_owned() }, &x, &y);
    let naive = mean_absolute_error(&y, &forecasts(persistence.as_ref(), &x));
    for case in cases() {
        let model = fit(case.learner.as_ref(), &x, &y);
        let error = mean_absolute_error(&y, &forecasts(model.as_ref(), &x));
        assert!(
            error <= case.remaining_error * naive,
            "{} {:?}: {error} of {naive}",
            model.name(),
            case.learner.parameters()
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (x, y) = rows(400, 3);
    for case in cases().iter().filter(|case| case.same_bytes) {
        let bytes = || fit(case.learner.as_ref(), &x, &y).to_bytes().expect("it writes");
        assert_eq!(bytes(), bytes(), "{}", case.learner.name());
    }
}

#[test]
fn the_thread_count_changes_nothing_in_gradient_boosting() {
    let (x, y) = rows(3_000, 4);
    let learner = GradientBoosting { rounds: 20, subsample: 0.7, column_sample: 0.7, ..GradientBoosting::default() };
    let bytes = |threads: usize| {
        let threads = std::num::NonZeroUsize::new(threads).expect("above 0");
        let model = learner.fit(&FitData::new(&x, &y), &FitOptions { seed: 5, threads }).expect("it fits");
        model.to_bytes().expect("it writes")
    };
    assert_eq!(bytes(1), bytes(2));
}

#[test]
fn a_saved_model_answers_the_same() {
    let (x, y) = rows(300, 6);
    for case in cases() {
        let model = fit(case.learner.as_ref(), &x, &y);
        let bytes = model.to_bytes().expect("it writes");
        let again =
            load_regressor("model", &bytes, &names()).unwrap_or_else(|error| panic!("{}: {error}", model.name()));
        assert_eq!(again.name(), model.name());
        assert_eq!(forecasts(again.as_ref(), &x), forecasts(model.as_ref(), &x), "{}", model.name());
        let error = load_regressor("model", &bytes[..bytes.len() / 2], &names()).expect_err("it was cut");
        assert!(matches!(error, ModelError::Damaged { .. }), "{}: {error}", model.name());
    }
}

#[test]
fn contributions_sum_to_the_forecast() {
    let (x, y) = rows(300, 7);
    for case in cases() {
        let model = fit(case.learner.as_ref(), &x, &y);
        let contributions = model.contributions(&x);
        if !case.explains {
            let error = contributions.expect_err("it cannot explain").to_string();
            assert!(error.contains("cannot explain a forecast as a sum over features"), "{error}");
            continue;
        }
        let contributions = contributions.expect("it explains");
        for (row, forecast) in forecasts(model.as_ref(), &x).iter().enumerate() {
            let sum = contributions.base() + contributions.row(row).iter().sum::<f32>();
            assert!((sum - forecast).abs() < 1e-4, "{} row {row}: {sum} and {forecast}", model.name());
        }
    }
}

#[test]
fn importance_is_shares_of_known_features() {
    let (x, y) = rows(400, 8);
    for case in cases() {
        let model = fit(case.learner.as_ref(), &x, &y);
        let importance = model.importance();
        let sum: f64 = importance.iter().map(|importance| importance.share).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{:?}: {importance:?}", case.learner);
        assert!(importance.iter().all(|importance| FEATURES.contains(&importance.feature.as_str())), "{importance:?}");
        assert!(importance.windows(2).all(|pair| pair[0].share >= pair[1].share), "{importance:?}");
        // A booster may still learn from where the constant is missing; a line through filled gaps cannot.
        if ["linear-regression", "elastic-net"].contains(&model.name()) {
            let constant = importance.iter().any(|importance| importance.feature == "constant");
            assert!(!constant, "{}: {importance:?}", model.name());
        }
    }
}

#[test]
fn missing_features_everywhere_still_give_a_forecast() {
    let (x, y) = rows(300, 9);
    for case in cases() {
        let model = fit(case.learner.as_ref(), &x, &y);
        let forecast = model.predict_row(&[f32::NAN; 4]).expect("missing is allowed");
        assert!(
            forecast.is_finite() && forecast > 0.0 && forecast < 1.5,
            "{} {:?}: {forecast}",
            model.name(),
            case.learner.parameters()
        );
    }
    let empty = FeatureMatrix::new(names(), 60, vec![f32::NAN; 240]).expect("a matrix");
    for case in cases() {
        let model = fit(case.learner.as_ref(), &empty, &y[..60]);
        assert!(model.predict_row(&[f32::NAN; 4]).expect("missing is allowed").is_finite(), "{}", model.name());
    }
}

#[test]
fn a_constant_target_is_forecast() {
    let (x, _) = rows(200, 10);
    for case in cases().into_iter().filter(|case| !["persistence", "seasonal-naive"].contains(&case.learner.name())) {
        let model = fit(case.learner.as_ref(), &x, &[0.4; 200]);
        for forecast in forecasts(model.as_ref(), &x) {
            assert!((forecast - 0.4).abs() < 1e-3, "{} {:?}: {forecast}", model.name(), case.learner.parameters());
        }
    }
}

#[test]
fn one_row_is_enough() {
    let x = FeatureMatrix::new(names(), 1, vec![0.3, 0.2, 0.1, 3.0]).expect("a matrix");
    for case in cases() {
        let model = fit(case.learner.as_ref(), &x, &[0.3]);
        let forecast = model.predict_row(x.row(0)).expect("the row of the fit");
        assert!((forecast - 0.3).abs() < 0.11, "{:?}: {forecast}", case.learner);
    }
}

#[test]
fn no_rows_predict_nothing() {
    let (x, y) = rows(100, 12);
    let none = x.select_rows(&[]).expect("an empty selection");
    for case in cases() {
        let model = fit(case.learner.as_ref(), &x, &y);
        model.predict(&none, &mut []).unwrap_or_else(|error| panic!("{}: {error}", model.name()));
    }
}

#[test]
fn what_does_not_fit_is_named_with_both_numbers() {
    let (x, y) = rows(100, 13);
    let narrow = x.select_columns(&names()[..3]).expect("three columns");
    let mut swapped = names();
    swapped.swap(0, 1);
    let swapped = x.select_columns(&swapped).expect("the same columns");
    for case in cases() {
        let name = case.learner.name();
        let model = fit(case.learner.as_ref(), &x, &y);
        let message = |result: Result<(), ModelError>| result.expect_err(name).to_string();
        assert_eq!(
            message(model.predict(&narrow, &mut [0.0; 100])),
            "feature matrix has 3 columns, expected 4",
            "{name}"
        );
        assert_eq!(message(model.predict(&x, &mut [0.0; 99])), "forecast buffer has 99 rows, expected 100", "{name}");
        let wrong = message(model.predict(&swapped, &mut [0.0; 100]));
        assert!(
            wrong.starts_with("feature 0 is `yesterday`, the model was fitted with `last` there"),
            "{name}: {wrong}"
        );
        assert_eq!(message(model.predict_row(&[0.0; 5]).map(|_| ())), "row has 5 features, expected 4", "{name}");
        assert!(model.predict_row(&[f32::INFINITY, 0.0, 0.0, 0.0]).is_err(), "{name}");
    }
}

#[test]
fn bad_targets_and_weights_are_refused_before_the_library_sees_them() {
    let (x, y) = rows(5, 14);
    let nan = [f32::NAN; 5];
    let mut infinite = y.clone();
    infinite[3] = f32::INFINITY;
    for case in cases() {
        let name = case.learner.name();
        let message = |y: &[f32], weight: Option<&[f32]>| {
            let data = FitData { train: FitRows { x: &x, y, weight }, valid: None };
            case.learner.fit(&data, &FitOptions::seeded(1)).expect_err(name).to_string()
        };
        assert_eq!(message(&y[..4], None), "target has 4 rows, expected 5", "{name}");
        assert_eq!(message(&nan, None), "all 5 targets are NaN: nothing can be learned from them", "{name}");
        assert!(message(&infinite, None).starts_with("target has the value inf in row 3"), "{name}");
        assert_eq!(message(&y, Some(&[1.0; 4])), "weight has 4 rows, expected 5", "{name}");
        let negative = message(&y, Some(&[1.0, 1.0, -1.0, 1.0, 1.0]));
        assert_eq!(negative, "row weights must be at least 0 and not all 0, row 2 has -1", "{name}");
    }
}

#[test]
fn weights_pull_the_forecast() {
    // Half of the rows say 0, half say 1, and the features know nothing; nine tenths of the weight lie on 1.
    let x = FeatureMatrix::new(names(), 200, [0.5, 0.5, 0.5, 3.0].repeat(200)).expect("a matrix");
    let y: Vec<f32> = (0..200).map(|row| (row % 2) as f32).collect();
    let weight: Vec<f32> = y.iter().map(|y| if *y == 1.0 { 9.0 } else { 1.0 }).collect();
    let learners: [Box<dyn Learner>; 3] = [
        Box::new(GradientBoosting::with_loss(Loss::Squared)),
        Box::new(ForustBoosting { rounds: 200, ..ForustBoosting::default() }),
        Box::<LinearRegression>::default(),
    ];
    for learner in learners {
        let data = FitData { train: FitRows { x: &x, y: &y, weight: Some(&weight) }, valid: None };
        let model = learner.fit(&data, &FitOptions::seeded(1)).expect("it fits");
        let forecast = model.predict_row(x.row(0)).expect("a row of the fit");
        assert!((forecast - 0.9).abs() < 0.01, "{}: {forecast}", learner.name());
    }
}

#[test]
fn what_an_engine_lacks_it_says() {
    let (x, y) = rows(50, 15);
    let forust = ForustBoosting { loss: Loss::Quantile(0.9), ..ForustBoosting::default() };
    let error = forust.fit(&FitData::new(&x, &y), &FitOptions::seeded(1)).expect_err("no quantiles there");
    assert_eq!(
        error.to_string(),
        "forust cannot minimise quantile 0.9. Use gradient-boosting for absolute, quantile and pseudo-huber loss"
    );
    let persistence = Persistence { column: "next".to_owned() };
    let error = persistence.fit(&FitData::new(&x, &y), &FitOptions::seeded(1)).expect_err("no such column");
    assert_eq!(
        error.to_string(),
        "the features have no column `next`, which persistence reads. The columns are: last, yesterday, slope, constant"
    );
}
