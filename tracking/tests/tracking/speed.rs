//! How fast the embedded store is beside MLflow's own Python client on a SQLite file. It measures, so it does not run by
//! itself: `cargo test -p tracking --test tracking speed -- --ignored --nocapture`.

use crate::servers::python;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;
use tracking::*;

#[tokio::test]
#[ignore = "a measurement"]
async fn speed_beside_mlflows_python_client() {
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open(&TrackingArgs::default(), folder.path()).await.expect("open");
    let experiment = tracker.experiment("speed").await.expect("experiment");
    let one_run = async || {
        let run = tracker.create_run(NewRun::new(&experiment.id, "speed")).await.expect("run");
        let batch = Batch {
            metrics: (0..20).map(|number| Metric::now(format!("m{number}"), 0.5)).collect(),
            params: (0..20).map(|number| (format!("p{number}"), "value".to_owned())).collect(),
            tags: Labels::new(),
        };
        tracker.log_batch(&run.id, &batch).await.expect("logged");
        tracker.set_status(&run.id, RunStatus::Finished, Some(chrono::Utc::now())).await.expect("ended");
        run.id
    };
    let mut last = one_run().await;
    const RUNS: u32 = 200;
    let start = Instant::now();
    for _ in 0..RUNS {
        last = one_run().await;
    }
    let runs_per_second = f64::from(RUNS) / start.elapsed().as_secs_f64();
    let mut batches = Vec::new();
    for round in 0..20 {
        let metrics = (0..1000).map(|step| Metric::now("loss", 0.5).at_step(round * 1000 + step)).collect();
        let start = Instant::now();
        tracker.log_batch(&last, &Batch { metrics, ..Batch::default() }).await.expect("logged");
        batches.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    batches.sort_by(f64::total_cmp);
    println!("berth, SQLite: {runs_per_second:.0} runs/s of 20 parameters and 20 metrics");
    println!("berth, SQLite: 1000 metrics in {:.1} ms (median), {:.1} ms (slowest of 20)", batches[10], batches[19]);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tracking/speed_of_python.py");
    let status =
        Command::new(python()).arg(script).arg(folder.path()).env("DO_NOT_TRACK", "1").status().expect("python");
    assert!(status.success());
}
