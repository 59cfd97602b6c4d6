//! What a simulation costs by nodes and pods: runs kube-scheduler's default profile on generated clusters, one thread,
//! prints a Markdown table and draws a chart. `scripts/bench/simulator.sh` runs it.
//!
//! Usage: `scale CHART.svg [MOST_PODS]`

use report::chart::{self, Axis, Line, Lines};
use simulator::engine::{EngineSettings, run};
use simulator::input::{Shape, Synthetic};
use simulator::outcome::CostWeights;
use simulator::policy::{PolicyKind, Scorer};
use simulator::world::Scenario;
use std::error::Error;
use std::time::Instant;

const NODES: [usize; 4] = [150, 500, 1_500, 5_000];
const PODS: [usize; 5] = [5_000, 10_000, 25_000, 50_000, 100_000];
/// The shortest and the longest time that a cluster may take for its pods.
const DAYS: std::ops::RangeInclusive<f64> = 0.05..=14.0;
/// Days of a first look at how many pods come by day.
const TRIAL_DAYS: f64 = 0.25;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, rest @ ..] = arguments.as_slice() else { return Err("usage: scale CHART.svg [MOST_PODS]".into()) };
    let most: usize = rest.first().map_or(Ok(100_000), |most| most.parse())?;
    println!(
        "| nodes | pods | simulated days | seconds | pods a second | seconds per simulated day |\n|---|---|---|---|---|---|"
    );
    let mut lines = Vec::new();
    for nodes in NODES {
        let mut points = Vec::new();
        for pods in PODS.into_iter().filter(|pods| *pods <= most) {
            let Some(scenario) = cluster(nodes, pods)? else { continue };
            let days = scenario.span_ms as f64 / cluster::DAY_MS as f64;
            let began = Instant::now();
            let mut policy = PolicyKind::KubeScheduler.build(&scenario, &CostWeights::default(), &Scorer::default());
            let outcome = run(&scenario, &EngineSettings::default(), policy.as_mut(), 1);
            let seconds = began.elapsed().as_secs_f64();
            let placed = scenario.pods.len();
            assert!(outcome.node_minutes > 0.0, "nothing was simulated");
            println!(
                "| {nodes} | {placed} | {days:.2} | {seconds:.2} | {:.0} | {:.2} |",
                placed as f64 / seconds,
                seconds / days
            );
            points.push((placed as f64, seconds));
        }
        lines.push(Line { name: format!("{nodes} nodes"), points, ..Line::default() });
    }
    let drawn =
        chart::lines(&Lines { y_label: "seconds", x_label: "pods", axis: Axis::Number, lines, ..Lines::default() });
    std::fs::write(file, drawn.svg())?;
    Ok(())
}

/// A cluster on which about that many pods come, or none where that would take too short or too long.
fn cluster(nodes: usize, pods: usize) -> Result<Option<Scenario>, Box<dyn Error>> {
    let build = |days| Synthetic { shape: Shape::Mixed, nodes, days, load: 0.75, seed: 1 }.build();
    // Services are there from the start, jobs come with time: two looks give both.
    let (first, second) = (build(TRIAL_DAYS)?.pods.len() as f64, build(2.0 * TRIAL_DAYS)?.pods.len() as f64);
    let by_day = (second - first) / TRIAL_DAYS;
    let days = TRIAL_DAYS + (pods as f64 - first) / by_day;
    if !DAYS.contains(&days) {
        return Ok(None);
    }
    Ok(Some(build(days)?))
}
