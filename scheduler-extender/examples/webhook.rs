//! Calls a running extender as kube-scheduler does: one pod at a time, over one connection that is kept, and tells how long each call took.
//!
//! ```sh
//! cargo run -p scheduler-extender --example webhook -- --url http://127.0.0.1:8888 --names names.txt --nodes 500 --pods 2000
//! ```

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Calls a running extender as kube-scheduler does, and tells how long each call took
#[derive(Debug, Parser)]
struct Cli {
    /// Address of the extender
    #[arg(long, default_value = "http://127.0.0.1:8888")]
    url: String,
    /// File with the names of nodes, one on a line
    #[arg(long, value_name = "FILE")]
    names: PathBuf,
    /// Candidates of each pod: a window over the names that moves on, as kube-scheduler's does
    #[arg(long, default_value_t = 500)]
    nodes: usize,
    /// Pods
    #[arg(long, default_value_t = 2_000)]
    pods: usize,
    /// Workloads that the pods belong to in turn: the extender remembers what it worked out for the last pods of some
    #[arg(long, default_value_t = 50)]
    workloads: usize,
    /// Pods before those that are measured
    #[arg(long, default_value_t = 50)]
    warm: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    runtime::http::install_crypto_provider();
    let cli = Cli::parse();
    let text = runtime::files::read_text(&cli.names)?;
    let names: Vec<&str> = text.lines().collect();
    ensure!(
        names.len() >= cli.nodes && cli.nodes > 0 && cli.pods > 0 && cli.workloads > 0,
        "{} names for {} candidates; pods and workloads must be above 0",
        names.len(),
        cli.nodes
    );
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let (mut times, mut neutral) = (Vec::with_capacity(cli.pods), 0);
    for place in 0..cli.warm + cli.pods {
        let window: Vec<&str> = names.iter().cycle().skip(place * 7 % names.len()).take(cli.nodes).copied().collect();
        let pod = json!({
            "metadata": { "name": format!("web-{place}"), "namespace": "shop", "uid": format!("uid-{place}"), "labels": { "pod-template-hash": "5d9c7" },
                "ownerReferences": [{ "kind": "ReplicaSet", "name": format!("web-{}-5d9c7", place % cli.workloads), "controller": true }] },
            "spec": { "schedulerName": "default-scheduler", "priority": 0,
                "containers": [{ "name": "main", "image": "x", "resources": { "requests": { "cpu": "500m", "memory": "256Mi" } } }] },
            "status": { "phase": "Pending" },
        });
        let body = json!({ "Pod": pod, "Nodes": null, "NodeNames": window }).to_string();
        let request =
            client.post(format!("{}/prioritize", cli.url)).header("content-type", "application/json").body(body);
        let began = Instant::now();
        let response = request.send().await.context("no answer")?;
        ensure!(response.status().is_success(), "answered {}", response.status());
        let is_neutral = response.headers().contains_key("x-berth-neutral");
        let answer = response.bytes().await?;
        if place >= cli.warm {
            times.push(began.elapsed().as_secs_f64() * 1e3);
            neutral += usize::from(is_neutral);
        }
        ensure!(answer.len() > 2, "an empty answer");
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
    if cli.json {
        println!(
            "{}",
            json!({ "nodes": cli.nodes, "pods": cli.pods, "warm": cli.warm, "p50_ms": p50, "p99_ms": p99, "max_ms": most, "neutral": neutral })
        );
    } else {
        println!(
            "{} pods, {} candidates: P50 {p50:.2} ms, P99 {p99:.2} ms, longest {most:.2} ms, {neutral} neutral",
            cli.pods, cli.nodes
        );
    }
    Ok(())
}
