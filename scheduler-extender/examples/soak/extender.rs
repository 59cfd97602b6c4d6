//! Attacks on the extender: whoever reaches its port, and a kube-scheduler that has gone mad.

use crate::NODES;
use crate::attack::{Attack, attack};
use crate::client::{Client, bomb, noise, refused};
use crate::process::Program;
use crate::table::Report;
use anyhow::ensure;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The largest body: see the page of `main`.
const MAX_BODY: usize = 512 << 10;

/// # Errors
/// When the program cannot be started, or ends.
pub async fn soak(program: &Path, root: &Path, time: Duration) -> anyhow::Result<Report> {
    let rules = root.join("rules.toml");
    std::fs::write(&rules, "mode = \"active\"\n")?;
    let mut program = Program::start(program, &root.join("extender.log"), |command, port| {
        command.arg("--data").arg(root).args(["run", "--listen", &format!("127.0.0.1:{port}"), "--rules"]).arg(&rules);
        command.args(["--follow", "never", "--stale-after", "1000h", "--deadline", "2s"]);
        command.args(["--max-body-bytes", &MAX_BODY.to_string()]);
    })?;
    let client = Client::new(program.address())?;
    let began = std::time::Instant::now();
    while client.other.get(client.url("/readyz")).send().await.ok().is_none_or(|it| !it.status().is_success()) {
        program.alive()?;
        ensure!(began.elapsed() < Duration::from_secs(120), "it is not ready:\n{}", program.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..50 {
        probe(&client).await?;
    }
    let idle_kib = program.settled().await?;
    let rows = attack(&mut program, &client, &ATTACKS, |client| Box::pin(probe(client)), time).await?;
    let settled_kib = program.settled().await?;
    program.stop()?;
    Ok(Report { program: "scheduler-extender", seconds: time.as_secs(), idle_kib, settled_kib, rows })
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

fn nodes() -> Vec<String> {
    (0..NODES).map(|node| format!("node-{node}")).collect()
}

fn pod(cpu: &str) -> Value {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    json!({
        "metadata": { "name": format!("pod-{number}"), "namespace": "soak", "uid": format!("uid-{number}") },
        "spec": { "schedulerName": "default-scheduler",
            "containers": [{ "name": "main", "image": "x", "resources": { "requests": { "cpu": cpu, "memory": "64Mi" } } }] },
        "status": { "phase": "Pending" },
    })
}

fn ask(pod: &Value, names: &[String]) -> String {
    json!({ "Pod": pod, "Nodes": null, "NodeNames": names }).to_string()
}

/// What the extender is for: points for every candidate, by both verbs.
async fn probe(client: &Client) -> anyhow::Result<()> {
    let names = nodes();
    let response = client.other.post(client.url("/prioritize")).body(ask(&pod("500m"), &names)).send().await?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "/prioritize is answered {status}: {text}");
    let points: Vec<Value> = serde_json::from_str(&text)?;
    ensure!(points.len() == NODES, "{} points for {NODES} candidates", points.len());
    let response = client.other.post(client.url("/filter")).body(ask(&pod("500m"), &names)).send().await?;
    ensure!(response.status().is_success(), "/filter is answered {}", response.status());
    Ok(())
}

const ATTACKS: [Attack; 8] = [
    Attack { name: "bodies of 70 MB, plain and compressed", round: |it| Box::pin(large_bodies(it)) },
    Attack { name: "many bodies at once that are as large as they may be", round: |it| Box::pin(many_bodies(it)) },
    Attack { name: "names of no letters, and one name of many", round: |it| Box::pin(names(it)) },
    Attack { name: "uids, labels and owners as long as they may be", round: |it| Box::pin(long_texts(it)) },
    Attack { name: "invented pods of a thousand cores", round: |it| Box::pin(invented(it)) },
    Attack { name: "questions of readers", round: |it| Box::pin(readers(it)) },
    Attack { name: "idle and half-open connections", round: |it| Box::pin(connections(it)) },
    Attack { name: "noise", round: |it| Box::pin(garbage(it)) },
];

async fn large_bodies(client: &Client) -> anyhow::Result<u64> {
    let bomb = bomb()?;
    let mut count = 0;
    for path in ["/prioritize", "/filter"] {
        count += refused(client.post(path, &[], vec![b' '; 70 << 20]).await);
        count += refused(client.post(path, &[("content-encoding", "gzip")], bomb.clone()).await);
    }
    Ok(count)
}

async fn many_bodies(client: &Client) -> anyhow::Result<u64> {
    let names: Vec<String> = (0..MAX_BODY / 40).map(|at| format!("a-node-with-a-long-name-{at:010}")).collect();
    let body = ask(&pod("1"), &names);
    let asks = (0..64).map(|_| async { refused(client.post("/prioritize", &[], body.clone()).await) });
    Ok(futures::future::join_all(asks).await.into_iter().sum())
}

async fn names(client: &Client) -> anyhow::Result<u64> {
    let empty = format!(r#"{{"Pod":{},"NodeNames":[{}""]}}"#, pod("1"), r#""","#.repeat((MAX_BODY - 1_000) / 3));
    let long = ask(&pod("1"), &["x".repeat(MAX_BODY - 2_000)]);
    let objects =
        format!(r#"{{"Pod":{},"Nodes":{{"items":[{}{{}}]}}}}"#, pod("1"), "{},".repeat((MAX_BODY - 1_000) / 3));
    let mut count = 0;
    for body in [empty, long, objects] {
        for path in ["/prioritize", "/filter"] {
            count += refused(client.post(path, &[], body.clone()).await);
        }
    }
    Ok(count)
}

async fn long_texts(client: &Client) -> anyhow::Result<u64> {
    let mut count = 0;
    let long = "x".repeat(MAX_BODY / 4);
    for at in 0..20 {
        let mut pod = pod("1");
        match at % 4 {
            0 => pod["metadata"]["uid"] = json!(format!("{at}{long}")),
            1 => pod["metadata"]["labels"] = json!({ "a": long }),
            2 => {
                pod["metadata"]["ownerReferences"] = json!([{ "kind": "ReplicaSet", "name": long, "controller": true }])
            }
            _ => pod["metadata"]["name"] = json!(format!("{at}{long}")),
        }
        count += refused(client.post("/prioritize", &[], ask(&pod, &nodes())).await);
    }
    Ok(count)
}

async fn invented(client: &Client) -> anyhow::Result<u64> {
    let mut count = 0;
    for _ in 0..200 {
        count += refused(client.post("/prioritize", &[], ask(&pod("1000"), &nodes())).await);
    }
    Ok(count)
}

async fn readers(client: &Client) -> anyhow::Result<u64> {
    let mut count = 0;
    for at in 0..50 {
        for path in
            [format!("/explain/soak/pod-{at}"), "/v1/state".to_owned(), "/v1/shadow".to_owned(), "/metrics".to_owned()]
        {
            let response = client.other.get(client.url(&path)).send().await?;
            count += u64::from(response.status().is_client_error());
            response.bytes().await?;
        }
    }
    Ok(count)
}

async fn connections(client: &Client) -> anyhow::Result<u64> {
    let mut count = client.hold_connections(400, Duration::from_millis(500)).await?;
    let mut half = Vec::new();
    for _ in 0..100 {
        half.push(client.raw(b"POST /prioritize HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n{").await);
        half.push(client.raw(b"PRI * HTTP/2.0\r\n\r\nSM").await);
    }
    count += half.iter().filter(|it| it.is_err()).count() as u64;
    Ok(count)
}

async fn garbage(client: &Client) -> anyhow::Result<u64> {
    let mut count = 0;
    for seed in 0..20 {
        let bytes = noise(50_000, seed);
        drop(client.raw(&bytes).await);
        for path in ["/prioritize", "/filter", "/explain/a/b", "/nowhere"] {
            count += refused(client.post(path, &[], bytes.clone()).await);
        }
    }
    Ok(count)
}
