//! The load predictor from rows to forecasts.

mod common;

use cluster::Resource;
use common::{FEATURES, fit, key, names, predictor, rows, settings};
use models::load::{ConformalGroups, HeadData, HeadKey, HeadSettings, LoadPredictor, Quantile, fit_head};
use models::{FeatureMatrix, FitOptions, FitRows, Loss, ModelError, pinball_loss};
use proptest::prelude::*;
use std::sync::OnceLock;

fn shared() -> &'static LoadPredictor {
    static PREDICTOR: OnceLock<LoadPredictor> = OnceLock::new();
    PREDICTOR.get_or_init(predictor)
}

fn cpu() -> HeadKey {
    key(Resource::Cpu, 1)
}

#[test]
fn the_booster_beats_its_baseline_and_p90_covers() {
    let fitted = fit(cpu(), &settings(), 0.1);
    assert!(!fitted.evidence.fallback, "{:?}", fitted.evidence);
    assert_eq!((fitted.evidence.train_rows, fitted.evidence.calibration_rows), (3_000, 1_500));
    let (x, y) = rows(4_000, 0.1, 9);
    let forecasts = fitted.head.predict(&x).expect("the same features");
    let baseline = fitted.head.baseline().predict(&x).expect("the same features");
    let error = Loss::Absolute.mean(&y, &forecasts.p50, None);
    let naive = Loss::Absolute.mean(&y, &baseline, None);
    // The wave alone costs the baseline 2 ÷ π × 0.1 = 0.064; the noise that nobody can know costs 0.03.
    assert!(error < 0.6 * naive, "{error} of {naive}");
    let covered = y.iter().zip(&forecasts.p90).filter(|(observed, p90)| observed <= p90).count();
    let coverage = covered as f64 / y.len() as f64;
    // Three standard errors of calibration and test together: 3 × √(0.09 ÷ 1500 + 0.09 ÷ 4000) = 0.027.
    assert!((coverage - 0.9).abs() < 0.027, "{coverage}");
    assert!(pinball_loss(&y, &forecasts.p90, 0.9) < pinball_loss(&y, &forecasts.p50, 0.9));
}

#[test]
fn without_skill_the_baseline_answers() {
    // Nothing but the level is to be known, and the boosters may look at noise only.
    let noise = HeadSettings { features: names(&["noise"]), minimum_skill: 0.02, ..settings() };
    let fitted = fit(cpu(), &noise, 0.0);
    assert!(fitted.head.fallback() && fitted.evidence.fallback, "{:?}", fitted.evidence);
    assert_eq!(fitted.evidence.median_blend, 0.0);
    let (x, y) = rows(2_000, 0.0, 10);
    let forecasts = fitted.head.predict(&x).expect("the same features");
    assert!(forecasts.fallback);
    let baseline = fitted.head.baseline().predict(&x).expect("the same features");
    assert_eq!(forecasts.p50, baseline.iter().map(|base| base.max(0.0)).collect::<Vec<_>>());
    let covered = y.iter().zip(&forecasts.p90).filter(|(observed, p90)| observed <= p90).count();
    assert!((covered as f64 / 2_000.0 - 0.9).abs() < 0.03, "{covered}");
}

#[test]
fn the_same_seed_gives_the_same_files() {
    let files = || {
        let heads = vec![fit(cpu(), &settings(), 0.1).head];
        LoadPredictor::new(heads).and_then(|predictor| predictor.to_files()).expect("it writes")
    };
    let first = files();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["cpu-1h-p50.ubj", "cpu-1h-p90.ubj", "heads.json"]);
    assert!(first == files(), "the files differ");
}

#[test]
fn files_read_back_to_the_same_forecasts() {
    let files = shared().to_files().expect("it writes");
    let again = LoadPredictor::from_files(&files).expect("we wrote it");
    let (x, _) = rows(200, 0.1, 11);
    assert_eq!(again.predict(&x).expect("the same features"), shared().predict(&x).expect("the same features"));
    assert_eq!(again.to_files().expect("it writes"), files);
    assert_eq!(again.importance(), shared().importance());
}

#[test]
fn damaged_files_are_refused_by_name() {
    let files = shared().to_files().expect("it writes");
    let message = |files| LoadPredictor::from_files(&files).map(|_| ()).expect_err("it is damaged").to_string();
    let mut missing = files.clone();
    missing.remove("memory-4h-p90.ubj");
    assert_eq!(message(missing), "`memory-4h-p90.ubj` is no usable model file: it is missing");
    let mut swapped = files.clone();
    swapped.insert("cpu-1h-p50.ubj".to_owned(), files["memory-4h-p50.ubj"].clone());
    assert_eq!(message(swapped), "`cpu-1h-p50.ubj` is no usable model file: it reads 2 features, expected 5");
    let mut newer = files.clone();
    let text =
        String::from_utf8(files["heads.json"].clone()).expect("JSON").replace("\"version\": 1", "\"version\": 2");
    newer.insert("heads.json".to_owned(), text.into_bytes());
    assert_eq!(message(newer), "`heads.json` is no usable model file: its version is 2, this program reads 1");
}

#[test]
fn heads_are_found_by_key_and_in_order() {
    let keys: Vec<String> = shared().heads().iter().map(|head| head.key().to_string()).collect();
    assert_eq!(keys, ["cpu 1h", "memory 4h"]);
    let error = shared().head(key(Resource::Cpu, 2)).map(|_| ()).expect_err("never fitted");
    assert_eq!(error.to_string(), "the load predictor has no head for cpu 2h. It has: cpu 1h, memory 4h");
    let twice = vec![shared().heads()[0].clone(), shared().heads()[0].clone()];
    assert!(matches!(LoadPredictor::new(twice), Err(ModelError::Setting { setting: "heads", .. })));
    assert!(LoadPredictor::new(Vec::new()).is_err());
}

#[test]
fn a_row_about_which_nothing_is_known_gets_no_forecast() {
    let unknown = [f32::NAN, f32::NAN, f32::NAN, 0.5, 0.5];
    for forecast in shared().forecasts(&unknown) {
        let forecast = forecast.expect("missing is allowed");
        assert_eq!((forecast.p50, forecast.p90), (None, None));
    }
    let x = FeatureMatrix::new(names(&FEATURES), 1, unknown.to_vec()).expect("a matrix");
    for forecasts in shared().predict(&x).expect("missing is allowed") {
        assert!(forecasts.p50[0].is_nan() && forecasts.p90[0].is_nan());
    }
    let explained = shared().explain(cpu(), Quantile::P50, &x).expect("the same features");
    assert_eq!((explained[0].forecast, explained[0].contributions.len()), (None, 0));
}

#[test]
fn an_explanation_sums_to_the_forecast() {
    let (x, _) = rows(100, 0.1, 12);
    for head in shared().heads() {
        for quantile in [Quantile::P50, Quantile::P90] {
            for explanation in head.explain(quantile, &x).expect("the same features") {
                let sum: f32 = explanation.contributions.iter().map(|part| part.contribution).sum();
                let forecast = explanation.forecast.expect("it is known");
                assert!((explanation.start + sum + explanation.correction - forecast).abs() < 1e-5, "{explanation:?}");
                let sizes: Vec<f32> = explanation.contributions.iter().map(|part| part.contribution.abs()).collect();
                assert!(sizes.windows(2).all(|pair| pair[0] >= pair[1]), "{explanation:?}");
            }
            // Only the clip at 0 separates the parts of a median from its forecast, and nothing is near 0 here.
            if quantile == Quantile::P50 {
                let explained = head.explain(quantile, &x).expect("the same features");
                assert!(explained.iter().all(|explanation| explanation.correction.abs() < 1e-5));
            }
        }
    }
}

#[test]
fn recalibration_moves_the_upper_quantile_only() {
    let head = shared().head(cpu()).expect("it was fitted");
    let (x, mut y) = rows(1_000, 0.1, 13);
    y.iter_mut().for_each(|observed| *observed += 0.2);
    let moved = head.recalibrated(&x, &y).expect("the same features");
    let (before, after) = (head.predict(&x).expect("known"), moved.predict(&x).expect("known"));
    assert_eq!(before.p50, after.p50);
    let coverage = |upper: &[f32]| y.iter().zip(upper).filter(|(observed, upper)| observed <= upper).count();
    assert!(coverage(&before.p90) < 500, "{}", coverage(&before.p90));
    // On the very rows that chose the shift: ⌈1001 × 0.9⌉ = 901, plus ties.
    assert_eq!(coverage(&after.p90), 901);
}

#[test]
fn groups_reach_the_forecast() {
    let grouped =
        HeadSettings { groups: Some(ConformalGroups { column: "mean_1h".to_owned(), edges: vec![0.4] }), ..settings() };
    let fitted = fit(cpu(), &grouped, 0.1);
    let offsets = &fitted.head.conformal().group_offsets;
    assert_eq!(offsets.len(), 3);
    let predictor = LoadPredictor::new(vec![fitted.head.clone()]).expect("one head");
    let again = LoadPredictor::from_files(&predictor.to_files().expect("it writes")).expect("we wrote it");
    assert_eq!(again.heads()[0].conformal(), fitted.head.conformal());
}

#[test]
fn selection_rows_stop_and_choose() {
    let (train, train_y) = rows(2_000, 0.1, 1);
    let (selection, selection_y) = rows(800, 0.1, 2);
    let (calibration, calibration_y) = rows(800, 0.1, 4);
    let mut settings = settings();
    for booster in [&mut settings.median, &mut settings.upper] {
        booster.early_stopping = std::num::NonZeroUsize::new(3);
        booster.rounds = 400;
    }
    let data = HeadData {
        train: FitRows::new(&train, &train_y),
        selection: Some(FitRows::new(&selection, &selection_y)),
        calibration: Some(FitRows::new(&calibration, &calibration_y)),
    };
    let fitted = fit_head(cpu(), &settings, &data, &FitOptions::seeded(3)).expect("it fits");
    let evidence = &fitted.evidence;
    assert_eq!(evidence.selection_rows, 1600, "the calibration rows choose too");
    assert_eq!(evidence.calibration_rows, 800);
    let (booster, _) = fitted.head.booster(Quantile::P50).expect("it has skill");
    let trees = booster.trees().expect("it is made of trees");
    assert!((2..400).contains(&trees), "{trees}");
    let curve = &fitted.curves.median;
    let best = curve.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(curve.len(), trees + 3, "three more rounds showed that the best had passed");
    assert_eq!(curve[trees - 1], best);
    assert!(best < 0.5 * curve[0], "{best} after {}", curve[0]);
}

#[test]
fn unusable_settings_and_rows_are_named() {
    let (x, y) = rows(50, 0.1, 1);
    let data = HeadData { train: FitRows::new(&x, &y), selection: None, calibration: None };
    let message = |settings: &HeadSettings, data: &HeadData<'_>| {
        fit_head(cpu(), settings, data, &FitOptions::seeded(1)).map(|_| ()).expect_err("unusable").to_string()
    };
    assert_eq!(
        message(&HeadSettings { level: 1.5, ..settings() }, &data),
        "`quantile` must be strictly between 0 and 1, got 1.5"
    );
    assert_eq!(
        message(&HeadSettings { baseline: Vec::new(), ..settings() }, &data),
        "`baseline` must be at least one column, got none"
    );
    let wrong = HeadSettings { features: names(&["disk"]), ..settings() };
    assert!(message(&wrong, &data).starts_with("the features have no column `disk`"));
    let blind = FeatureMatrix::new(names(&FEATURES), 50, vec![f32::NAN; 250]).expect("a matrix");
    let blind = HeadData { train: FitRows::new(&blind, &y), ..data };
    assert_eq!(message(&settings(), &blind), "the baseline has no rows");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn forecasts_are_not_negative_do_not_cross_and_agree_with_the_batch(
        values in prop::collection::vec(prop_oneof![9 => -2.0_f32..3.0, 1 => Just(f32::NAN)], FEATURES.len())
    ) {
        let x = FeatureMatrix::new(names(&FEATURES), 1, values.clone()).expect("a matrix");
        let batch = shared().predict(&x).expect("the same features");
        for (forecast, batch) in shared().forecasts(&values).zip(batch) {
            let forecast = forecast.expect("the same features");
            prop_assert_eq!(forecast.p50.unwrap_or(f32::NAN).to_bits(), batch.p50[0].to_bits());
            prop_assert_eq!(forecast.p90.unwrap_or(f32::NAN).to_bits(), batch.p90[0].to_bits());
            if let (Some(p50), Some(p90)) = (forecast.p50, forecast.p90) {
                prop_assert!(0.0 <= p50 && p50 <= p90, "{p50} {p90}");
            }
        }
    }
}
