//! Grows an isolation forest on the rows that `scripts/bench/anomaly_sklearn.py rows FOLDER` made, scores them, and prints
//! one JSON line: CPU seconds of both, ROC-AUC, bytes of the file. `scripts/bench/anomaly.sh` runs it beside scikit-learn.
//!
//! Usage: `forest_speed FOLDER samples seed [extension]`. Linux only: CPU time comes from `/proc`.

use models::anomaly::{ForestSettings, IsolationForest};
use std::error::Error;
use std::hint::black_box;
use std::path::Path;

const WIDTH: usize = 20;
/// Both are repeated, since the clock of `/proc` counts hundredths of a second.
const FITS: usize = 50;
const SCORINGS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: forest_speed FOLDER samples seed [extension]";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, samples, seed, rest @ ..] = arguments.as_slice() else { return Err(usage.into()) };
    let extension = rest.first().map_or(Ok(0), |extension| extension.parse())?;
    let settings = ForestSettings { samples: samples.parse()?, extension, ..ForestSettings::default() };
    let seed: u64 = seed.parse()?;
    let bytes = std::fs::read(Path::new(folder).join("rows.f32"))?;
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
    let odd = std::fs::read(Path::new(folder).join("labels.u8"))?;

    let before = cpu_seconds()?;
    for _ in 0..FITS {
        black_box(IsolationForest::fit(black_box(&values), WIDTH, &settings, seed)?);
    }
    let fit = (cpu_seconds()? - before) / FITS as f64;
    let forest = IsolationForest::fit(&values, WIDTH, &settings, seed)?;
    let mut scores = vec![0.0; odd.len()];
    let before = cpu_seconds()?;
    for _ in 0..SCORINGS {
        forest.score(black_box(&values), &mut scores)?;
    }
    let score = (cpu_seconds()? - before) / SCORINGS as f64;
    let start = std::time::Instant::now();
    for row in values.chunks_exact(WIDTH).take(2_000) {
        black_box(forest.score_row(row)?);
    }
    let row_us = start.elapsed().as_secs_f64() * 1e6 / 2_000.0;
    let line = serde_json::json!({
        "fit_seconds": fit, "score_seconds": score, "row_us": row_us, "auc": auc(&scores, &odd), "bytes": forest.to_bytes().len(),
    });
    println!("{line}");
    Ok(())
}

/// Share of the pairs of an odd and a usual row in which the odd one scores higher; equal scores count half.
fn auc(scores: &[f32], odd: &[u8]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|left, right| scores[*left].total_cmp(&scores[*right]));
    let (mut usual_below, mut sum) = (0_usize, 0.0);
    for equal in order.chunk_by(|left, right| scores[*left] == scores[*right]) {
        let odd_here = equal.iter().filter(|row| odd[**row] == 1).count();
        sum += odd_here as f64 * (usual_below as f64 + 0.5 * (equal.len() - odd_here) as f64);
        usual_below += equal.len() - odd_here;
    }
    sum / (usual_below as f64 * (scores.len() - usual_below) as f64)
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
