//! Load on a running server, or on any that speaks the same protocol: requests at a fixed rate, and how long each took.
//!
//! The clock of a request starts when it was due, not when a connection was free, so that a server that stalls is not let off
//! (Tene, 2013, "coordinated omission").
//!
//! ```sh
//! cargo run -p serving --example load -- --url http://127.0.0.1:8080 --ask load-predictor --rows 1 --rate 500 --seconds 60
//! ```

use anyhow::{Context, ensure};
use axum::body::Bytes;
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ask {
    LoadPredictor,
    PlacementAgent,
    AnomalyDetector,
    /// `POST /v1/score` of one pod on so many of the nodes that the server knows
    Score,
    /// The same through the protocol
    Combined,
}

/// Sends requests at a fixed rate and prints how long they took
#[derive(Debug, Parser)]
struct Cli {
    /// Address of the server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// What is asked
    #[arg(long)]
    ask: Ask,
    /// Rows of a request, or nodes of a score
    #[arg(long, default_value_t = 1)]
    rows: usize,
    /// Requests a second; 0 sends the next when the one before is answered
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Kinds of pods, one after the other: a server may remember what it worked out for the last pod of a kind
    #[arg(long, default_value_t = 50)]
    kinds: usize,
    /// How long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections that are kept open
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    runtime::http::install_crypto_provider();
    let cli = Cli::parse();
    ensure!(
        cli.rows > 0 && cli.seconds > 0 && cli.connections > 0 && cli.kinds > 0,
        "rows, seconds, connections and kinds must be above 0"
    );
    let client =
        reqwest::Client::builder().pool_max_idle_per_host(cli.connections).timeout(Duration::from_secs(30)).build()?;
    let (path, bodies) = requests(&client, &cli).await?;
    let url: Arc<str> = format!("{}{path}", cli.url).into();
    let bodies: Arc<[Bytes]> = bodies.iter().map(|body| body.to_string().into()).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let send = {
        let client = client.clone();
        move || {
            let body = bodies[next.fetch_add(1, Ordering::Relaxed) % bodies.len()].clone();
            let request = client.post(&*url).header("content-type", "application/json").body(body);
            async move {
                let response = request.send().await?;
                let status = response.status().as_u16();
                anyhow::Ok((status, response.text().await?))
            }
        }
    };
    let (status, first) = send().await.context("the first request failed")?;
    ensure!(status == 200, "the first request was answered {status}: {first}");

    let begin = Instant::now();
    let end = begin + Duration::from_secs(cli.seconds);
    let (mut took, failed) = match cli.rate {
        0 => one_after_the_other(&cli, &send, end).await?,
        rate => at_rate(&cli, rate, &send, begin, end).await?,
    };
    let answered = took.len();
    let seconds = begin.elapsed().as_secs_f64();
    took.sort_unstable();
    ensure!(!took.is_empty(), "no request was answered with 200; {failed} failed");
    let at = |level: f64| took[((level * took.len() as f64) as usize).min(took.len() - 1)].as_secs_f64() * 1e3;
    let figures = json!({
        "ask": format!("{:?}", cli.ask), "rows": cli.rows, "rate": cli.rate, "answered": answered, "failed": failed,
        "per_second": answered as f64 / seconds, "answer_bytes": first.len(),
        "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": at(1.0),
    });
    if cli.json {
        println!("{figures}");
    } else {
        println!(
            "{:?} × {}: {} answered, {failed} failed, {:.0}/s; P50 {:.3} ms, P90 {:.3} ms, P99 {:.3} ms, longest {:.3} ms",
            cli.ask,
            cli.rows,
            took.len(),
            answered as f64 / seconds,
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
    Ok(())
}

/// Times of the answered requests, and how many were not.
type Times = (Vec<Duration>, u64);

/// Each connection sends the next request when the one before is answered.
async fn one_after_the_other<S, F>(cli: &Cli, send: &S, end: Instant) -> anyhow::Result<Times>
where
    S: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = anyhow::Result<(u16, String)>> + Send,
{
    let workers = (0..cli.connections).map(|_| {
        let send = send.clone();
        tokio::spawn(async move {
            let (mut took, mut failed) = (Vec::new(), 0);
            while Instant::now() < end {
                let at = Instant::now();
                match send().await {
                    Ok((200, _)) => took.push(at.elapsed()),
                    _ => failed += 1,
                }
            }
            (took, failed)
        })
    });
    gather(workers.collect()).await
}

/// Requests when they are due, dealt out to the connections in turn.
async fn at_rate<S, F>(cli: &Cli, rate: u64, send: &S, begin: Instant, end: Instant) -> anyhow::Result<Times>
where
    S: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = anyhow::Result<(u16, String)>> + Send,
{
    // Long enough that a stall shows in the times and not in the rate.
    let (due, dues): (Vec<_>, Vec<_>) = (0..cli.connections).map(|_| mpsc::channel::<Instant>(1 << 16)).unzip();
    let workers = dues.into_iter().map(|mut dues| {
        let send = send.clone();
        tokio::spawn(async move {
            let (mut took, mut failed) = (Vec::new(), 0);
            while let Some(at) = dues.recv().await {
                match send().await {
                    Ok((200, _)) => took.push(at.elapsed()),
                    _ => failed += 1,
                }
            }
            (took, failed)
        })
    });
    let workers = workers.collect();
    for sent in 0.. {
        let at = begin + Duration::from_nanos(sent * 1_000_000_000 / rate);
        if at >= end {
            break;
        }
        tokio::time::sleep_until(at.into()).await;
        due[sent as usize % due.len()].send(at).await.context("a connection ended")?;
    }
    drop(due);
    gather(workers).await
}

async fn gather(workers: Vec<tokio::task::JoinHandle<Times>>) -> anyhow::Result<Times> {
    let mut all = (Vec::new(), 0);
    for worker in workers {
        let (mut took, failed) = worker.await?;
        all.0.append(&mut took);
        all.1 += failed;
    }
    Ok(all)
}

/// Where to, and what in turn: rows of plausible values, as wide as the model says.
async fn requests(client: &reqwest::Client, cli: &Cli) -> anyhow::Result<(String, Vec<Value>)> {
    let get = async |path: &str| -> anyhow::Result<Value> {
        let response = client
            .get(format!("{}{path}", cli.url))
            .send()
            .await
            .with_context(|| format!("no answer from {}", cli.url))?;
        Ok(response.error_for_status()?.json().await?)
    };
    let model = match cli.ask {
        Ask::LoadPredictor => "load-predictor",
        Ask::PlacementAgent => "placement-agent",
        Ask::AnomalyDetector => "anomaly-detector",
        Ask::Score | Ask::Combined => {
            let known = get("/v1/nodes").await?;
            let names: Vec<String> = known["nodes"]
                .as_array()
                .context("no nodes")?
                .iter()
                .filter_map(|node| Some(node["node"].as_str()?.to_owned()))
                .collect();
            ensure!(names.len() >= cli.rows, "the server knows {} nodes, {} are wanted", names.len(), cli.rows);
            let names = &names[..cli.rows];
            let cores = (0..cli.kinds).map(|kind| 0.5 + kind as f64 / 1_000.0);
            return Ok(match cli.ask {
                Ask::Combined => {
                    let body = |cores: f64| {
                        json!({ "inputs": [
                            { "name": "node", "shape": [cli.rows], "datatype": "BYTES", "data": names },
                            { "name": "cpu_request_cores", "shape": [1], "datatype": "FP64", "data": [cores] },
                        ] })
                    };
                    ("/v2/models/combined/infer".to_owned(), cores.map(body).collect())
                }
                _ => {
                    let pod = |cores: f64| json!({ "cpu_request_cores": cores, "memory_request_bytes": 5e8 });
                    let body = |cores: f64| json!({ "pods": [pod(cores)], "nodes": names, "explain": false });
                    ("/v1/score".to_owned(), cores.map(body).collect())
                }
            });
        }
    };
    let metadata = get(&format!("/v2/models/{model}")).await?;
    let width = metadata["inputs"][0]["shape"][1].as_u64().context("no width")? as usize;
    let value = |at: usize| ((at * 7_919) % 1_009) as f64 / 1_009.0;
    let data: Vec<f64> = (0..cli.rows * width).map(value).collect();
    let input = json!({ "name": "features", "shape": [cli.rows, width], "datatype": "FP32", "data": data });
    Ok((format!("/v2/models/{model}/infer"), vec![json!({ "inputs": [input] })]))
}
