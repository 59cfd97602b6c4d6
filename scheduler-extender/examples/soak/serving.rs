//! Attacks on `serving`. It wants a token, which half of the attackers have: a client that may come in can be wrong as well.

use crate::attack::{Attack, attack};
use crate::client::{Client, bomb, noise, refused, unfinished};
use crate::process::Program;
use crate::table::Report;
use anyhow::ensure;
use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const TOKEN: &str = "token-of-the-soak";
const BEARER: (&str, &str) = ("authorization", "Bearer token-of-the-soak");
const INFER: &str = "/v2/models/load-predictor/infer";
/// The largest body, and what all requests together may take: see the module's page.
const MAX_BODY: usize = 512 << 10;
const MEMORY: usize = 8 << 20;
const UNREAD: usize = 2 << 20;

/// # Errors
/// When the program cannot be started, or ends.
pub async fn soak(program: &Path, root: &Path, time: Duration) -> anyhow::Result<Report> {
    let token = root.join("token");
    std::fs::write(&token, TOKEN)?;
    let mut program = Program::start(program, &root.join("serving.log"), |command, port| {
        command.arg("--data").arg(root).args(["run", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--token-file").arg(&token).args(["--idle-timeout", "5s", "--stale-after", "1000h"]);
        command.args(["--max-body-bytes", &MAX_BODY.to_string(), "--max-request-memory", &MEMORY.to_string()]);
        command.args(["--max-unread-bytes", &UNREAD.to_string(), "--max-connections", "512"]);
    })?;
    let client = Client::new(program.address())?;
    let began = std::time::Instant::now();
    while client.other.get(client.url("/v2/health/ready")).send().await.ok().is_none_or(|it| !it.status().is_success())
    {
        program.alive()?;
        ensure!(began.elapsed() < Duration::from_secs(120), "it is not ready:\n{}", program.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // As it is when somebody uses it.
    for _ in 0..50 {
        probe(&client).await?;
    }
    let idle_kib = program.settled().await?;
    let rows = attack(&mut program, &client, &ATTACKS, |client| Box::pin(probe(client)), time).await?;
    let settled_kib = program.settled().await?;
    program.stop()?;
    Ok(Report { program: "serving", seconds: time.as_secs(), idle_kib, settled_kib, rows })
}

/// What serving is for: forecasts, and scores of nodes.
async fn probe(client: &Client) -> anyhow::Result<()> {
    for (path, body) in [(INFER, rows(4)), ("/v1/score", json!({ "pods": [{ "cpu_request_cores": 0.5 }] }).to_string())]
    {
        let request = client.other.post(client.url(path)).header(BEARER.0, BEARER.1).body(body);
        let response = request.send().await?;
        let status = response.status();
        ensure!(status.is_success(), "{path} is answered {status}: {}", response.text().await?);
    }
    Ok(())
}

fn rows(count: usize) -> String {
    let data: Vec<f64> = [0.4, 0.45, 0.6, 0.55].iter().copied().cycle().take(4 * count).collect();
    json!({ "inputs": [{ "name": "features", "shape": [count, 4], "datatype": "FP32", "data": data }] }).to_string()
}

const ATTACKS: [Attack; 11] = [
    Attack { name: "bodies of 20 MB, plain and compressed", round: |it| Box::pin(large_bodies(it)) },
    Attack { name: "many bodies at once that are as large as they may be", round: |it| Box::pin(many_bodies(it)) },
    Attack { name: "gRPC without a token: empty inputs, unfinished calls", round: |it| Box::pin(grpc_outside(it)) },
    Attack { name: "gRPC with a token: empty inputs, texts, parameters", round: |it| Box::pin(grpc_inside(it)) },
    Attack { name: "many names, many pods, many parameters", round: |it| Box::pin(long_lists(it)) },
    Attack { name: "scores with explanations, clients that do not wait", round: |it| Box::pin(impatient(it)) },
    Attack { name: "halves of inferences without the other half", round: |it| Box::pin(halves(it)) },
    Attack { name: "predictions to be kept, as large as they may be", round: |it| Box::pin(predictions(it)) },
    Attack { name: "answers over HTTP/2 that nobody reads", round: |it| Box::pin(unread(it)) },
    Attack { name: "idle and half-open connections", round: |it| Box::pin(connections(it)) },
    Attack { name: "noise", round: |it| Box::pin(garbage(it)) },
];

async fn large_bodies(client: &Client) -> anyhow::Result<u64> {
    let bomb = bomb()?;
    let gzip = [BEARER, ("content-encoding", "gzip")];
    let mut count = refused(client.post(INFER, &[BEARER], vec![b' '; 20 << 20]).await);
    count += refused(client.post("/v1/score", &[], vec![b' '; 20 << 20]).await);
    for path in [INFER, "/v1/score", "/v1/inference-events"] {
        count += refused(client.post(path, &gzip, bomb.clone()).await);
    }
    count += refused(client.post(INFER, &[BEARER, ("content-encoding", "br")], "x").await);
    Ok(count)
}

async fn many_bodies(client: &Client) -> anyhow::Result<u64> {
    let body = rows(MAX_BODY / 18);
    let asks = (0..64).map(|_| async { refused(client.post(INFER, &[BEARER], body.clone()).await) });
    Ok(futures::future::join_all(asks).await.into_iter().sum())
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

fn call(client: &Client, method: &str, token: bool, body: impl Into<Body>) -> anyhow::Result<Request<Body>> {
    let path = format!("/inference.GRPCInferenceService/{method}");
    let mut request =
        Request::post(client.url(&path)).header("content-type", "application/grpc").header("te", "trailers");
    if token {
        request = request.header(BEARER.0, BEARER.1);
    }
    Ok(request.body(body.into())?)
}

async fn grpc_outside(client: &Client) -> anyhow::Result<u64> {
    let mut count = 0;
    let mut send = client.http2(1 << 20).await?;
    for method in ["ModelInfer", "ModelReady", "ModelMetadata", "ServerMetadata", "ServerLive"] {
        let response = send.send_request(call(client, method, false, framed(&[0x2a, 0].repeat(4 << 20)))?).await;
        count += u64::from(response.is_err() || response.is_ok_and(|it| it.headers().contains_key("grpc-status")));
    }
    let mut calls = Vec::new();
    for _ in 0..60 {
        let start = [&[0][..], &(16_u32 << 20).to_be_bytes(), &[7; 60_000]].concat();
        let request = call(client, "ModelInfer", false, unfinished(start))?;
        let answer = tokio::time::timeout(Duration::from_millis(500), send.send_request(request)).await;
        count += u64::from(answer.is_ok());
        calls.push(answer);
    }
    Ok(count)
}

async fn grpc_inside(client: &Client) -> anyhow::Result<u64> {
    let mut count = 0;
    let mut send = client.http2(1 << 20).await?;
    // Empty inputs, outputs, raw contents, parameters with names of their own, and an input of empty texts.
    let parameters: Vec<u8> =
        (0..30_000_u32).flat_map(|at| [&[0x22, 6, 0x0a, 4][..], &at.to_be_bytes()].concat()).collect();
    let texts = [0x42, 0].repeat(200_000);
    let contents = [&[0x2a][..], &varint(texts.len()), &texts].concat();
    let input = [&[0x2a][..], &varint(contents.len()), &contents].concat();
    for message in [[0x2a, 0].repeat(250_000), [0x32, 0].repeat(250_000), [0x3a, 0].repeat(250_000), parameters, input]
    {
        let response = send.send_request(call(client, "ModelInfer", true, framed(&message))?).await;
        count += u64::from(response.is_err() || response.is_ok_and(|it| it.headers().contains_key("grpc-status")));
    }
    Ok(count)
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

async fn long_lists(client: &Client) -> anyhow::Result<u64> {
    let most = MAX_BODY - 1_000;
    let input = r#"{"name":"","shape":[],"datatype":"FP32","data":[]},"#;
    let bodies = [
        (INFER, format!(r#"{{"inputs":[{}{{}}]}}"#, input.repeat(most / input.len()))),
        (INFER, format!(r#"{{"inputs":[],"parameters":{{"a":[{}0]}}}}"#, "0,".repeat(most / 2))),
        (INFER, format!(r#"{{"inputs":[],"outputs":[{}{{}}]}}"#, r#"{"name":""},"#.repeat(most / 12))),
        (INFER, format!(r#"{{"inputs":[{{"name":"x","shape":[{}1],"datatype":"FP32"}}]}}"#, "1,".repeat(most / 2))),
        (INFER, "[".repeat(most)),
        ("/v1/score", format!(r#"{{"pods":[{}{{}}]}}"#, "{},".repeat(most / 3))),
        ("/v1/score", format!(r#"{{"pods":[{{}}],"nodes":[{}""]}}"#, r#""","#.repeat(most / 3))),
        ("/v1/score", format!(r#"{{"pods":[{{"name":"{}"}}]}}"#, "x".repeat(most - 50))),
    ];
    let asks = bodies.into_iter().map(|(path, body)| async move { refused(client.post(path, &[BEARER], body).await) });
    Ok(futures::future::join_all(asks).await.into_iter().sum())
}

async fn impatient(client: &Client) -> anyhow::Result<u64> {
    let pods = format!(r#"{{"pods":[{}{{}}],"explain":true}}"#, "{},".repeat(20));
    let soon = [BEARER, ("x-berth-timeout-ms", "1")];
    let body = rows(MAX_BODY / 18);
    let asks = (0..64).map(|at| {
        let (pods, body) = (pods.clone(), body.clone());
        async move {
            match at % 2 {
                0 => refused(client.post(INFER, &soon, body).await),
                _ => refused(client.post("/v1/score", &soon, pods).await),
            }
        }
    });
    Ok(futures::future::join_all(asks).await.into_iter().sum())
}

async fn halves(client: &Client) -> anyhow::Result<u64> {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let body = format!(r#"{{"inputs":[{{"name":"x","data":[{}0]}}]}}"#, "0,".repeat(MAX_BODY / 2 - 100));
    let mut count = 0;
    for _ in 0..40 {
        let id = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let headers = [
            BEARER,
            ("ce-specversion", "1.0"),
            ("ce-id", &id),
            ("ce-source", "soak"),
            ("ce-type", "org.kubeflow.serving.inference.request"),
        ];
        count += refused(client.post("/v1/inference-events", &headers, body.clone()).await);
    }
    Ok(count)
}

async fn predictions(client: &Client) -> anyhow::Result<u64> {
    let body = rows(MAX_BODY / 18);
    let mut count = 0;
    for _ in 0..30 {
        count += refused(client.post(INFER, &[BEARER], body.clone()).await);
    }
    Ok(count)
}

async fn unread(client: &Client) -> anyhow::Result<u64> {
    let body = rows(MAX_BODY / 18);
    let (mut answers, mut connections, mut count) = (Vec::new(), Vec::new(), 0);
    for _ in 0..8 {
        let mut send = client.http2(1).await?;
        for _ in 0..12 {
            let request = Request::post(client.url(INFER)).header(BEARER.0, BEARER.1).body(Body::from(body.clone()))?;
            let Ok(answer) = send.send_request(request).await else { continue };
            count += u64::from(answer.status().as_u16() == 503);
            answers.push(answer);
        }
        connections.push(send);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(count)
}

async fn connections(client: &Client) -> anyhow::Result<u64> {
    let mut count = client.hold_connections(300, Duration::from_millis(500)).await?;
    let mut half = Vec::new();
    for _ in 0..100 {
        half.push(
            client
                .raw(b"POST /v2/models/load-predictor/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n{")
                .await,
        );
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
        for path in [INFER, "/v1/score", "/v1/inference-events", "/inference.GRPCInferenceService/ModelInfer"] {
            count += refused(client.post(path, &[BEARER], bytes.clone()).await);
        }
    }
    Ok(count)
}
