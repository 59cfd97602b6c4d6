//! What whoever reaches the port may try, with the real server: how much memory it takes, whether others are still answered, and what
//! it may see without the token.

mod support;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures::StreamExt;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::{Duration, Instant};
use support::{Root, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const PREDICTOR: [&str; 2] = ["--models", "load-predictor"];
const INFER: &str = "/v2/models/load-predictor/infer";

/// Megabytes of memory that the process has, and had at most (`VmRSS`, `VmHWM`).
fn memory(server: &Server) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("a process");
    let of = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1_024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn rows(count: usize) -> Value {
    let row = [0.4, 0.45, 0.6, 0.55];
    let data: Vec<f64> = row.iter().copied().cycle().take(4 * count).collect();
    json!({ "inputs": [{ "name": "features", "shape": [count, 4], "datatype": "FP32", "data": data }] })
}

fn address(server: &Server) -> &str {
    server.url.trim_start_matches("http://")
}

async fn http2(server: &Server, window: u32) -> SendRequest<Body> {
    let stream = TcpStream::connect(address(server)).await.expect("connected");
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).initial_connection_window_size(window.max(65_535));
    let (send, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    send
}

fn call(server: &Server, method: &str, token: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(format!("{}/inference.GRPCInferenceService/{method}", server.url))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(body.into()).expect("a request")
}

/// A message as it travels: not compressed, its length, then itself.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

/// What gRPC says at the end, or at once.
async fn grpc_status(response: Response<hyper::body::Incoming>) -> String {
    use axum::body::HttpBody;
    let own = |headers: &axum::http::HeaderMap| {
        headers.get("grpc-status").map(|status| status.to_str().expect("text").to_owned())
    };
    if let Some(status) = own(response.headers()) {
        return status;
    }
    let mut body = Box::pin(Body::new(response.into_body()));
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(trailers) = frame.expect("a frame").into_trailers() {
            return own(&trailers).expect("a status");
        }
    }
    panic!("no status came")
}

async fn secret(root: &Root) -> String {
    let token = root.path().join("token");
    std::fs::write(&token, "secret-word").expect("written");
    token.to_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_grpc_call_is_read_before_its_token_and_lists_are_counted_before_they_are_made() {
    let root = Root::with_models().await;
    let token = secret(&root).await;
    let mut server = Server::start(root.path(), &[&PREDICTOR[..], &["--token-file", &token]].concat()).await;
    server.ready().await;
    let (idle, _) = memory(&server);
    let mut send = http2(&server, 1 << 20).await;
    // Eight million empty inputs in sixteen megabytes.
    let empty_inputs = framed(&[0x2a, 0].repeat(8 * 1_000 * 1_000 - 8));
    for method in ["ModelInfer", "ModelMetadata", "ModelReady", "ServerMetadata", "NoSuchMethod"] {
        let response = send.send_request(call(&server, method, None, empty_inputs.clone())).await.expect("an answer");
        assert_eq!(grpc_status(response).await, "16", "{method} without a token");
    }
    for (method, status) in [("ServerLive", "0"), ("ServerReady", "0")] {
        let response = send.send_request(call(&server, method, None, framed(b""))).await.expect("an answer");
        assert_eq!(grpc_status(response).await, status, "{method} is for probes");
        let response = send.send_request(call(&server, method, None, framed(&[0; 1_000]))).await.expect("an answer");
        assert_ne!(grpc_status(response).await, "0", "a probe has nothing to say");
    }
    // Sixty bodies on one connection that never end, each of which says that it is as long as may be.
    let mut unfinished = Vec::new();
    for _ in 0..60 {
        let start = Bytes::from([&[0][..], &(16_u32 << 20).to_be_bytes(), &[7; 200_000]].concat());
        let body =
            futures::stream::once(async move { Ok::<_, std::io::Error>(start) }).chain(futures::stream::pending());
        let mut send = http2(&server, 1 << 20).await;
        let request = call(&server, "ModelInfer", None, Body::from_stream(body));
        let response = tokio::time::timeout(Duration::from_secs(30), send.send_request(request)).await;
        assert_eq!(grpc_status(response.expect("at once").expect("an answer")).await, "16");
        unfinished.push(send);
    }
    let (_, most) = memory(&server);
    assert!(most < idle + 100, "{idle} MB became {most} MB by those who may not come in");

    let with_token = call(&server, "ModelInfer", Some("secret-word"), empty_inputs);
    assert_eq!(grpc_status(send.send_request(with_token).await.expect("an answer")).await, "3", "invalid argument");
    let (_, most) = memory(&server);
    assert!(most < idle + 160, "{idle} MB became {most} MB by eight million empty inputs");
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_names_and_many_explanations_are_refused_at_once() {
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &[]).await;
    // Scores want no samples: nodes that are not known are neutral.
    server
        .wait("the models are loaded", async |server| {
            server.status("/v2/models/load-predictor/ready").await == Some(200)
        })
        .await;
    let names: Vec<String> =
        (0..200_000).map(|at| format!(r#"{{"name":"{at}","shape":[0],"datatype":"FP32","data":[]}}"#)).collect();
    let body = format!(r#"{{"inputs":[{}]}}"#, names.join(","));
    assert!(body.len() > 10 << 20);
    let answer = server.client.post(format!("{}{INFER}", server.url)).body(body).send().await.expect("an answer");
    let (status, said) = (answer.status().as_u16(), answer.text().await.expect("text"));
    assert_eq!(status, 400, "{said}");
    assert!(said.contains("more than 64 entries"), "{said}");

    let nodes: Vec<String> = (0..5_001).map(|at| format!("n{at}")).collect();
    let mut ask = json!({ "pods": [{}], "nodes": nodes, "explain": true });
    let (status, said) = server.post("/v1/score", &ask).await;
    assert_eq!(status, 413, "{said}");
    assert!(said["error"].as_str().is_some_and(|said| said.contains("5001 scores") && said.contains("5000")), "{said}");
    ask["explain"] = json!(false);
    assert_eq!(server.post("/v1/score", &ask).await.0, 200);
    // Five million pods of two letters are counted, not made.
    let (idle, _) = memory(&server);
    let body = format!(r#"{{"pods":[{}{{}}]}}"#, "{},".repeat(5_000_000));
    let answer = server.client.post(format!("{}/v1/score", server.url)).body(body).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 413);
    let (_, most) = memory(&server);
    assert!(most < idle + 120, "{idle} MB became {most} MB");
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_may_be_compressed_and_a_bomb_is_refused() {
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &PREDICTOR).await;
    server.ready().await;
    let compressed = |encoding: &str, bytes: &[u8]| -> Vec<u8> {
        let mut out = Vec::new();
        match encoding {
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::best());
                encoder.write_all(bytes).expect("compressed");
                encoder.finish().expect("compressed");
            }
            _ => {
                let mut encoder = flate2::write::ZlibEncoder::new(&mut out, flate2::Compression::best());
                encoder.write_all(bytes).expect("compressed");
                encoder.finish().expect("compressed");
            }
        }
        out
    };
    let send = async |path: &str, encoding: &str, body: Vec<u8>, event: Option<&str>| {
        let mut request = server.client.post(format!("{}{path}", server.url)).header("content-encoding", encoding);
        if let Some(half) = event {
            request = request
                .header("ce-specversion", "1.0")
                .header("ce-id", "1")
                .header("ce-source", "test")
                .header("ce-type", format!("org.kubeflow.serving.inference.{half}"));
        }
        let answer = request.body(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let (_, plain) = server.post(INFER, &rows(2)).await;
    for encoding in ["gzip", "deflate"] {
        let (status, answer) = send(INFER, encoding, compressed(encoding, rows(2).to_string().as_bytes()), None).await;
        assert_eq!((status, &answer["outputs"]), (200, &plain["outputs"]), "{encoding}");
        for (half, kept) in [("request", false), ("response", true)] {
            let body = json!({ "model_name": "m", "inputs": [], "outputs": [] }).to_string();
            let (status, answer) =
                send("/v1/inference-events", encoding, compressed(encoding, body.as_bytes()), Some(half)).await;
            assert_eq!((status, &answer["kept"]), (200, &json!(kept)), "{encoding} {half}: {answer}");
        }
    }
    let (status, said) = send(INFER, "br", b"{}".to_vec(), None).await;
    assert_eq!(status, 415, "{said}");
    assert!(said["error"].as_str().is_some_and(|said| said.contains("gzip, deflate, identity")), "{said}");
    // Four hundred kilobytes that stand for four hundred megabytes.
    let (idle, _) = memory(&server);
    let bomb = compressed("gzip", &vec![b' '; 400 << 20]);
    for _ in 0..8 {
        let (status, said) = send(INFER, "gzip", bomb.clone(), None).await;
        assert_eq!(status, 413, "{said}");
    }
    let (_, most) = memory(&server);
    assert!(most < idle + 150, "{idle} MB became {most} MB");
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_message_of_grpc_pays_for_what_comes_out_of_it() {
    let root = Root::with_models().await;
    // One body of the largest length takes all that requests may take.
    let limits = ["--max-body-bytes", "1048576", "--max-request-memory", "8388608"];
    let mut server = Server::start(root.path(), &[&PREDICTOR[..], &limits].concat()).await;
    server.ready().await;
    // A ModelInferRequest: `model_name` is field 1, and `raw_input_contents` field 7, 900,000 zeros: three bytes of seven bits each.
    let message = [&[0x0a, 14][..], b"load-predictor", &[0x3a, 0xa0, 0xf7, 0x36], &vec![0; 900_000]].concat();
    let mut packed = Vec::new();
    let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::best());
    encoder.write_all(&message).expect("compressed");
    encoder.finish().expect("compressed");
    assert!(packed.len() < 10_000);
    let mut bomb = framed(&packed);
    bomb[0] = 1;
    let ask = async |server: &Server| {
        let mut request = call(server, "ModelInfer", None, bomb.clone());
        request.headers_mut().insert("grpc-encoding", "gzip".parse().expect("a value"));
        grpc_status(http2(server, 1 << 20).await.send_request(request).await.expect("an answer")).await
    };
    assert_eq!(ask(&server).await, "3", "there is room for it, and it has more contents than inputs");
    // Somebody else's body, longer than half of the largest, is on its way; it may itself have come while a message had the memory.
    let head = format!("POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n");
    let began = Instant::now();
    let other = loop {
        let mut other = TcpStream::connect(address(&server)).await.expect("connected");
        other.write_all(&[head.as_bytes(), &vec![b' '; 600_000]].concat()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(200)).await;
        if ask(&server).await == "14" {
            break other;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it was taken in beside a body that has all the memory");
    };
    drop(other);
    server.wait("there is room again", async |server| ask(server).await == "3").await;
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_of_inferences_take_a_bounded_share_of_memory() {
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &PREDICTOR).await;
    server.ready().await;
    let (idle, _) = memory(&server);
    let numbers = "0,".repeat((8 << 20) - 1_000);
    for id in 0..12 {
        let answer = server
            .client
            .post(format!("{}/v1/inference-events", server.url))
            .header("ce-specversion", "1.0")
            .header("ce-id", id.to_string())
            .header("ce-source", "test")
            .header("ce-type", "org.kubeflow.serving.inference.request")
            .body(format!(r#"{{"inputs":[{{"name":"x","data":[{numbers}0]}}]}}"#))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
    }
    // 64 MB of halves wait; each body was held beside them while it was read.
    let (_, most) = memory(&server);
    assert!(most < idle + 64 + 120, "{idle} MB became {most} MB");
    let metrics = server.text("/metrics").await;
    assert!(metrics.contains("inference_events_total{outcome=\"unpaired\"} 8"), "four of 16 MB may wait: {metrics}");
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_bounded_and_their_connections_are_cut() {
    let root = Root::with_models().await;
    let limits = ["--idle-timeout", "5s", "--max-unread-bytes", "16777216", "--log-predictions", "false"];
    let arguments = [&PREDICTOR[..], &limits].concat();
    let mut server = Server::start(root.path(), &arguments).await;
    server.ready().await;
    let body = rows(20_000).to_string();
    let (status, _) = server.post(INFER, &rows(20_000)).await;
    assert_eq!(status, 200);
    let (idle, _) = memory(&server);
    // A window of one byte: the client takes no more of any answer.
    let (mut answers, mut refused, mut holding) = (Vec::new(), 0, 0);
    let (mut connections, began) = (Vec::new(), Instant::now());
    for _ in 0..4 {
        let mut send = http2(&server, 1).await;
        let before = answers.len();
        for _ in 0..8 {
            let request = Request::post(format!("{}{INFER}", server.url)).body(Body::from(body.clone()));
            // On a slow machine it may have been cut by now.
            let Ok(answer) = send.send_request(request.expect("a request")).await else { break };
            match answer.status().as_u16() {
                200 => answers.push(answer),
                503 => refused += 1,
                other => panic!("{other}"),
            }
        }
        connections.push(send);
        // The first ones leave nothing for the last.
        holding += usize::from(answers.len() > before);
    }
    assert!(!answers.is_empty() && refused > 0, "{} were held, {refused} refused", answers.len());
    let (_, most) = memory(&server);
    assert!(most < idle + 8 + 150, "{idle} MB became {most} MB: a client may leave 8 MB unread");
    assert_eq!(server.status("/v2/health/live").await, Some(200), "small answers are always given");
    // They go on asking, so that the connections are in use: what they do not read is what they are cut for.
    let cut = format!("connections_cut_total{{reason=\"unread\"}} {holding}");
    while !server.text("/metrics").await.contains(&cut) {
        for send in &mut connections {
            let live = Request::get(format!("{}/v2/health/live", server.url)).body(Body::empty()).expect("a request");
            // One that was cut asks no more.
            drop(tokio::time::timeout(Duration::from_millis(100), send.send_request(live)).await);
        }
        assert!(began.elapsed() < Duration::from_secs(60), "they are not cut: {}", server.said());
    }
    assert_eq!(server.post(INFER, &rows(20_000)).await.0, 200);
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_connections_leaves_some_for_others() {
    let root = Root::with_models().await;
    let limits = ["--max-connections", "40", "--max-connections-per-client", "20"];
    let mut server = Server::start(root.path(), &[&PREDICTOR[..], &limits].concat()).await;
    server.ready().await;
    let connect = async |from: &str| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(format!("{from}:0").parse().expect("an address")).expect("bound");
        socket.connect(address(&server).parse().expect("an address")).await.expect("connected")
    };
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(connect("127.0.0.2").await);
    }
    let mut other = connect("127.0.0.3").await;
    other.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let refused = "connections_refused_total{reason=\"per_client\"} 40";
    server.wait("the others were closed", async |server| server.text("/metrics").await.contains(refused)).await;
    // Those that ask nothing are let go.
    let cut = "connections_cut_total{reason=\"no_request\"} 20";
    server.wait("the silent ones are let go", async |server| server.text("/metrics").await.contains(cut)).await;
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn work_for_a_client_that_has_gone_keeps_its_place_only_until_its_next_look() {
    let root = Root::with_models().await;
    let one = ["--max-concurrent", "1", "--log-predictions", "false"];
    let mut server = Server::start(root.path(), &[&PREDICTOR[..], &one].concat()).await;
    server.ready().await;
    let body = rows(98_000).to_string();
    let answer = server
        .client
        .post(format!("{}{INFER}", server.url))
        .header("x-berth-timeout-ms", "1")
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status().as_u16(), 408);
    // The one place is free again once the work has seen that nobody waits: it does not go on for its own sake. The server may close the
    // connection of the first request just as the client takes it for the next one.
    let small = rows(1).to_string();
    server
        .wait("the place is free", async |server| {
            let answer = server.client.post(format!("{}{INFER}", server.url)).body(small.clone()).send().await;
            answer.is_ok_and(|answer| answer.status().as_u16() == 200)
        })
        .await;
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_to_guess_nothing_and_pages_of_others_may_not_send() {
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &PREDICTOR).await;
    server.ready().await;
    for path in ["/docs", "/health", "/metrics", "/nowhere", "/v2/models/%ff"] {
        let answer = server.client.get(format!("{}{path}", server.url)).send().await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!((header("x-content-type-options"), header("x-frame-options")), ("nosniff", "DENY"), "{path}");
        assert!(header("content-security-policy").contains("default-src 'none'"), "{path}");
        if answer.status().is_client_error() {
            assert_eq!(header("content-type"), "application/json", "{path}");
        }
    }
    let from = async |origin: &str| {
        let request = server.client.post(format!("{}{INFER}", server.url)).header("origin", origin.to_owned());
        request.body(rows(1).to_string()).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!((from("https://example.com").await, from(&server.url.clone()).await), (403, 200));
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_folder_lose_no_prediction() {
    let root = Root::with_models().await;
    let mut one = Server::start(root.path(), &PREDICTOR).await;
    one.ready().await;
    let ask = async |server: &Server, id: String| {
        let mut body = rows(1);
        body["id"] = id.into();
        assert_eq!(server.post(INFER, &body).await.0, 200);
    };
    for at in 0..5 {
        ask(&one, format!("one-{at}")).await;
    }
    one.wait("they are written", async |server| server.text("/metrics").await.contains("predictions_logged_total 5"))
        .await;
    let mut two = Server::start(root.path(), &PREDICTOR).await;
    two.ready().await;
    ask(&two, "two".into()).await;
    assert_eq!(two.stop(), Some(0), "{}", two.said());
    for at in 5..10 {
        ask(&one, format!("one-{at}")).await;
    }
    assert_eq!(one.stop(), Some(0), "{}", one.said());
    let store = store::Store::new(root.path());
    let mut kept = Vec::new();
    for day in store.days(&cluster::PREDICTIONS).expect("days") {
        let frame = store.read_day(&cluster::PREDICTIONS, day, &["id"]).expect("a day");
        kept.extend(frame.column("id").expect("ids").str().expect("text").iter().flatten().map(str::to_owned));
    }
    kept.sort();
    let wanted: Vec<String> = (0..10).map(|at| format!("one-{at}")).chain(["two".to_owned()]).collect();
    assert_eq!(kept, wanted);
}
