//! What goes wrong around a server: clients that do not speak or do not end, full disks, kills, a registry that is away.

mod support;

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Cluster, NODES, Root, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREDICTOR: [&str; 2] = ["--models", "load-predictor"];
const INFER: &str = "/v2/models/load-predictor/infer";

fn row() -> Value {
    json!({ "inputs": [{ "name": "features", "shape": [1, 4], "datatype": "FP32", "data": [0.4, 0.45, 0.6, 0.55] }] })
}

async fn connected(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    stream
}

/// What comes until the server hangs up, which it has to within half a minute.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    // A connection that is reset has ended as well.
    let _ = read.expect("the server hangs up in time");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn open_connections(server: &Server) -> String {
    let metrics = server.text("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("berth_serving_connections_open "));
    line.expect("a gauge").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_fall_silent_are_let_go_and_others_are_answered() {
    let root = Root::with_models().await;
    let mut server =
        Server::start(root.path(), &[&PREDICTOR[..], &["--idle-timeout", "1s", "--max-connections", "8"]].concat())
            .await;
    server.ready().await;
    let mut silent = Vec::new();
    for bytes in [
        // Nothing, half a head, half of HTTP/2's greeting, half a body, a whole request and then nothing.
        &b""[..],
        b"POST /v2/models/load-predictor/infer HTTP/1.1\r\nhost: x\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"POST /v2/models/load-predictor/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{",
        b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        silent.push(connected(&server, bytes).await);
    }
    assert_eq!(server.post(INFER, &row()).await.0, 200, "they are in nobody's way");
    for stream in &mut silent {
        rest(stream).await;
    }
    // Slowly, but always something: the head has to come whole in that time all the same.
    let mut slow = connected(&server, b"GET /v2/health/live HTTP/1.1\r\n").await;
    let dribble = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if slow.write_all(b"a: b\r\n").await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), dribble).await.expect("the server hangs up");
    // All places are taken: the next one waits until somebody is let go.
    let mut crowd = Vec::new();
    for _ in 0..8 {
        crowd.push(connected(&server, b"").await);
    }
    assert_eq!(server.post(INFER, &row()).await.0, 200);
    server.wait("nobody is left but the one that asks", async |server| open_connections(server).await == "1").await;
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_something_else_is_told_or_hung_up_on() {
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &[&PREDICTOR[..], &["--idle-timeout", "2s"]].concat()).await;
    server.ready().await;
    for (bytes, said) in [
        (&b"GET /v2/health/live HTTP/1.0\r\n\r\n"[..], "200 OK"),
        (b"GET /v2/health/live HTTP/3.0\r\n\r\n", ""),
        (b"GET /v2/health/live\r\n\r\n", ""),
        // The beginning of a TLS handshake, and noise.
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on\r\n\r\n", ""),
        (b"\x00\xff\x00\xff\r\n\r\n\r\n\r\n", ""),
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", ""),
    ] {
        let mut stream = connected(&server, bytes).await;
        let answer = rest(&mut stream).await;
        assert!(answer.contains(said) && (!said.is_empty() || !answer.contains("200 OK")), "{answer}");
    }
    let post = |path: &str, kind: &str, body: &'static [u8]| {
        let request = server.client.post(format!("{}{path}", server.url)).header("content-type", kind.to_owned());
        request.body(body).send()
    };
    // A protocol of another version, a service that is none, and gRPC's words without gRPC.
    for path in [
        "/v1/models/load-predictor:predict",
        "/v3/models/load-predictor/infer",
        "/inference.GRPCInferenceServiceV3/ServerLive",
    ] {
        assert_eq!(post(path, "application/json", b"{}").await.expect("an answer").status().as_u16(), 404, "{path}");
    }
    let grpc =
        post("/inference.GRPCInferenceService/ModelInfer", "application/grpc", b"\0\0\0\0\x05\xff\xff\xff\xff\xff");
    let answer = grpc.await.expect("an answer");
    assert_ne!(answer.headers().get("grpc-status").and_then(|status| status.to_str().ok()), Some("0"));
    let other = post("/inference.GRPCInferenceService/ModelInferAll", "application/grpc", b"\0\0\0\0\0").await;
    assert_eq!(other.expect("an answer").headers()["grpc-status"], "12", "unimplemented");
    assert_eq!(server.post(INFER, &row()).await.0, 200);
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_predictions_that_are_counted_and_no_answer() {
    let root = Root::with_models().await;
    // No file may grow beyond 40 KiB, and who tries is told so.
    let mut server = Server::limited(root.path(), &PREDICTOR, "trap '' XFSZ; ulimit -f 40");
    server.ready().await;
    let dropped = async |server: &Server| {
        server.text("/metrics").await.contains("berth_serving_predictions_dropped_total{reason=\"disk\"}")
    };
    let mut asked = 0;
    while !dropped(&server).await {
        assert_eq!(server.post(INFER, &row()).await.0, 200);
        asked += 1;
        assert!(asked < 2_000, "the disk is never full: {}", server.said());
    }
    let told = |server: &Server| server.said().matches("records are lost").count();
    server.wait("it is said", async |server| told(server) > 0).await;
    assert_eq!(server.post(INFER, &row()).await.0, 200);
    assert_eq!(server.stop(), Some(0), "{}", server.said());
    assert_eq!(told(&server), 1, "once, not for each of them: {}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_snapshot_leaves_the_one_before() {
    let root = Root::with_models().await;
    let now = chrono::Utc::now().timestamp() / 60 * 60;
    let Some(prometheus) = Cluster::new(3, now).serve(root.path()) else { return };
    let url = prometheus.url();
    let arguments = |every: &'static str| {
        ["--prometheus", &url, "--warm", "3h", "--stale-after", "1h", "--every", "1s", "--snapshot-every", every]
    };
    let mut server = Server::start(root.path(), &arguments("1h")).await;
    server.ready().await;
    assert_eq!(server.stop(), Some(0), "{}", server.said());
    let snapshot = root.path().join("serving/windows.snapshot");
    let whole = std::fs::read(&snapshot).expect("a snapshot");

    // The file may not become as large as it has to be: the signal that says so kills the process while it writes.
    let blocks = whole.len() / 1_024 / 2;
    let log = ["--log-predictions", "false"];
    let limit = format!("ulimit -f {blocks}");
    let mut server = Server::limited(root.path(), &[&arguments("1s")[..], &log].concat(), &limit);
    let ended = server.ended().await;
    assert_eq!(ended, None, "killed by a signal: {}", server.said());
    assert_eq!(std::fs::read(&snapshot).expect("a snapshot"), whole, "the one before is untouched");
    // It really was in the middle: there is half a file. Old ones are cleared away by the next start.
    let folder = root.path().join("serving");
    let halves = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "tmp")).collect()
    };
    assert_eq!(halves().len(), 1);
    let old = std::time::SystemTime::now() - Duration::from_secs(3_600);
    std::fs::File::open(&halves()[0]).expect("a file").set_modified(old).expect("made old");

    let mut server = Server::start(root.path(), &arguments("1h")).await;
    server.ready().await;
    assert!(server.said().contains("goes on from the windows on disk"), "{}", server.said());
    assert_eq!(server.get("/v1/nodes").await["nodes"].as_array().map(Vec::len), Some(NODES));
    assert!(halves().is_empty());
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_waited_for() {
    // A real MLflow server would take half a minute to start; that it is away is the point here, and a registry that comes
    // back is the embedded one, whose file is moved.
    let folder = tempfile::tempdir().expect("temporary folder");
    let port = collector::testing::free_port().expect("a port");
    let away = format!("http://127.0.0.1:{port}");
    let mut server = Server::start_with(folder.path(), &["--tracking-uri", &away], &PREDICTOR).await;
    server
        .wait("what lacks is said", async |server| {
            server.get("/v2/health/ready").await["lacking"][0] == "no version of load-predictor is loaded"
        })
        .await;
    assert_eq!(server.post(INFER, &row()).await.0, 503);
    assert_eq!(server.stop(), Some(0), "{}", server.said());

    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &[&PREDICTOR[..], &["--reload-every", "100ms"]].concat()).await;
    server.ready().await;
    // What was promoted cannot be fetched: its files are away.
    let (artifacts, aside) = (root.path().join("tracking/artifacts"), root.path().join("tracking/aside"));
    let second = models::artifact::Artifact::of_load_predictor(&support::predictor(5), support::draft("1.0.1"));
    assert_eq!(root.register(second.expect("sealed")).await, "2");
    server.wait("the second version serves", async |server| model(server).await["current"]["version"] == "2").await;
    let third = models::artifact::Artifact::of_load_predictor(&support::predictor(9), support::draft("1.0.2"));
    std::fs::rename(&artifacts, &aside).expect("moved");
    std::fs::create_dir_all(&artifacts).expect("made");
    root.promote("load-predictor", "1").await;
    server
        .wait("one in memory needs no registry", async |server| model(server).await["current"]["version"] == "1")
        .await;
    std::fs::remove_dir_all(&artifacts).expect("removed");
    std::fs::rename(&aside, &artifacts).expect("moved back");
    assert_eq!(root.register(third.expect("sealed")).await, "3");
    server.wait("it is taken", async |server| model(server).await["current"]["version"] == "3").await;
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

async fn model(server: &Server) -> Value {
    server.get("/model-info").await["models"]["load-predictor"].clone()
}

#[test]
fn a_port_that_is_taken_and_settings_that_cannot_be_are_said_at_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (arguments, code, said) in [
        (&["--listen", &address][..], 1, "failed to listen on"),
        (&["--max-connections", "0"], 2, "max_connections"),
        (&["--idle-timeout", "0s"], 2, "idle_timeout"),
        (&["--rollout-max-errors", "2"], 2, "rollout_max_errors"),
        (&["--redis", "nonsense"], 2, "redis"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serving"));
        command.arg("--data").arg(folder.path()).arg("run").args(arguments).stdout(Stdio::null());
        let output = command.output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && told.contains(said), "{arguments:?}: {told}");
    }
}
