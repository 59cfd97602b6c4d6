//! Trains a booster on the rows that `scripts/bench/train_xgboost.py rows FOLDER` made, and prints one JSON line: CPU
//! seconds of the training, test error, CPU milliseconds of a batch of 5,000 rows. `scripts/bench/training.sh` runs it
//! beside Python's xgboost.
//!
//! Usage: `train_speed FOLDER squared|absolute|quantile [threads]`. Linux only: CPU time comes from `/proc`.

use models::learners::GradientBoosting;
use models::{FeatureMatrix, FitData, FitOptions, Loss, Regressor};
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;

/// Rows of the timed batch, as the design's limit of 10 ms has it.
const BATCH: usize = 5_000;
/// Batches that are timed together, since the clock of `/proc` counts hundredths of a second.
const REPEATS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: train_speed FOLDER squared|absolute|quantile [threads]";
    let folder = arguments.next().ok_or(usage)?;
    let loss = match arguments.next().as_deref() {
        Some("squared") => Loss::Squared,
        Some("absolute") => Loss::Absolute,
        Some("quantile") => Loss::Quantile(0.9),
        _ => return Err(usage.into()),
    };
    let threads = arguments.next().map_or(Ok(NonZeroUsize::MIN), |threads| threads.parse())?;

    let (x, y) = read(&Path::new(&folder).join("train.f32"))?;
    let (test, observed) = read(&Path::new(&folder).join("test.f32"))?;
    let learner = GradientBoosting {
        rounds: 200,
        learning_rate: 0.1,
        max_depth: 6,
        max_bins: 256,
        ..GradientBoosting::with_loss(loss)
    };
    let before = cpu_seconds()?;
    let model = learner.fit_trees(&FitData::new(&x, &y), &FitOptions { seed: 7, threads })?;
    let seconds = cpu_seconds()? - before;
    let mut predicted = vec![0.0; test.rows()];
    model.predict(&test, &mut predicted)?;
    let batch = test.select_rows(&(0..BATCH).collect::<Vec<_>>())?;
    let mut answers = vec![0.0; BATCH];
    let before = cpu_seconds()?;
    for _ in 0..REPEATS {
        model.predict(std::hint::black_box(&batch), &mut answers)?;
    }
    let batch_ms = (cpu_seconds()? - before) * 1e3 / REPEATS as f64;
    let mean = loss.mean(&observed, &predicted, None);
    let error = if loss == Loss::Squared { mean.sqrt() } else { mean };
    let seconds = (seconds * 100.0).round() / 100.0;
    let line = serde_json::json!({"rows": y.len(), "cpu_seconds": seconds, "error": error, "batch_5000_ms": batch_ms});
    println!("{line}");
    Ok(())
}

/// 60 features and the target per row, little-endian.
fn read(path: &Path) -> Result<(FeatureMatrix, Vec<f32>), Box<dyn Error>> {
    const WIDTH: usize = 60;
    let bytes = std::fs::read(path).map_err(|error| format!("failed to read `{}`: {error}", path.display()))?;
    let table: Vec<f32> =
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
    let rows = table.chunks_exact(WIDTH + 1);
    let values = rows.clone().flat_map(|row| &row[..WIDTH]).copied().collect();
    let targets: Vec<f32> = rows.map(|row| row[WIDTH]).collect();
    let names: Vec<String> = (0..WIDTH).map(|feature| format!("f{feature}")).collect();
    Ok((FeatureMatrix::new(names, targets.len(), values)?, targets))
}

/// User and system time of this process so far; fields 14 and 15 of `/proc/self/stat` (see proc(5)) count hundredths of
/// a second on every Linux that Rust supports.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit_once(')').ok_or("`/proc/self/stat` has no name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |field: usize| -> Result<f64, Box<dyn Error>> {
        Ok(fields.get(field).ok_or("`/proc/self/stat` is short")?.parse()?)
    };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
