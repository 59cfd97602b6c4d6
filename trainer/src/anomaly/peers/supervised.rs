//! The random forest and the linear model, on labelled rows with the windows before them.

use super::{CompareSettings, PeerKind, Scored, Task, with_windows};
use models::learners::{LinearRegression, RandomForest};
use models::{FitData, FitOptions, FitRows, Learner};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

pub(super) fn score(task: &Task, kind: PeerKind, settings: &CompareSettings) -> anyhow::Result<Scored> {
    let learner: Box<dyn Learner> = match kind {
        PeerKind::Linear => Box::new(LinearRegression {}),
        _ => Box::new(RandomForest {
            trees: settings.forest_trees,
            max_rows: settings.max_rows,
            ..RandomForest::default()
        }),
    };
    let x = with_windows(task)?;
    let rows = training_rows(task, settings);
    let y: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(task.odd[*row]))).collect();
    let weight = class_weights(&y);
    let began = Instant::now();
    let x_train = x.select_rows(&rows)?;
    let data = FitData { train: FitRows { x: &x_train, y: &y, weight: Some(&weight) }, valid: None };
    let model = learner.fit(&data, &FitOptions::seeded(settings.seed))?;
    let fit_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut scores = vec![0.0; x.rows()];
    model.predict(&x, &mut scores)?;
    Ok(Scored { scores, fit_seconds, score_seconds: began.elapsed().as_secs_f64() })
}

/// All odd rows of the training, and as many of the others as there is room for, drawn by the seed; half of the room at
/// least is for the others. In order.
pub(super) fn training_rows(task: &Task, settings: &CompareSettings) -> Vec<usize> {
    let (mut odd, mut usual): (Vec<usize>, Vec<usize>) = task.train_rows().into_iter().partition(|row| task.odd[*row]);
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut thin = |rows: &mut Vec<usize>, most: usize| {
        if rows.len() > most {
            rows.shuffle(&mut random);
            rows.truncate(most);
        }
    };
    thin(&mut odd, settings.max_rows.div_ceil(2));
    thin(&mut usual, settings.max_rows - odd.len());
    let mut rows = [odd, usual].concat();
    rows.sort_unstable();
    rows
}

/// Weights that make both classes count the same, with a mean of 1.
pub(super) fn class_weights(y: &[f32]) -> Vec<f32> {
    let odd = y.iter().filter(|y| **y > 0.5).count() as f32;
    let rows = y.len() as f32;
    let (odd_weight, usual_weight) = (0.5 * rows / odd.max(1.0), 0.5 * rows / (rows - odd).max(1.0));
    y.iter().map(|y| if *y > 0.5 { odd_weight } else { usual_weight }).collect()
}
