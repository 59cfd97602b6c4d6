//! The server with registered models: what it answers, what it refuses, how a version takes the place of another.

mod support;

use models::FeatureMatrix;
use models::artifact::Artifact;
use serde_json::{Value, json};
use store::Store;
use support::{Root, Server, draft, network, predictor};

const TRAINED: [&str; 2] = ["--models", "load-predictor,placement-agent,anomaly-detector"];

fn tensor(shape: [usize; 2], data: &Value) -> Value {
    json!({ "inputs": [{ "name": "features", "shape": shape, "datatype": "FP32", "data": data }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn forecasts_over_the_wire_are_the_predictors_own() {
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &TRAINED).await;
    server.ready().await;
    let row = [0.4_f32, 0.45, 0.6, 0.55];
    let mut ask = tensor([2, 4], &json!([row, [null, null, 0.6, 0.55]]));
    ask["id"] = "q-1".into();
    ask["parameters"] = json!({ "explain": true });
    let (status, answer) = server.post("/v2/models/load-predictor/infer", &ask).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["id"], &answer["model_version"]), (&json!("q-1"), &json!("1")));
    let own = predictor(1);
    let x = FeatureMatrix::new(own.features().clone(), 1, row.to_vec()).expect("a row");
    let outputs = answer["outputs"].as_array().expect("outputs");
    assert_eq!(outputs.len(), 12);
    for (head, pair) in own.predict(&x).expect("forecasts").iter().zip(outputs.chunks(2)) {
        assert_eq!(pair[0]["name"], format!("{}-p50", head.key.slug()));
        assert_eq!(pair[0]["data"][0].as_f64().map(|value| value as f32), Some(head.p50[0]));
        assert_eq!(pair[1]["data"][0].as_f64().map(|value| value as f32), Some(head.p90[0]));
        // Without its baseline a head knows nothing: null, never 0.
        assert_eq!(pair[0]["data"][1].is_null(), head.key.slug().starts_with("cpu"), "{}", head.key.slug());
    }
    let explained = &answer["parameters"]["explanations"][0];
    let first = &explained[0];
    let sum: f64 = first["contributions"]
        .as_array()
        .expect("contributions")
        .iter()
        .map(|part| part["contribution"].as_f64().expect("a number"))
        .sum();
    let total = first["start"].as_f64().expect("start") + sum + first["correction"].as_f64().expect("correction");
    assert!((total - first["forecast"].as_f64().expect("forecast")).abs() < 1e-5, "{first}");

    let (status, answer) = server
        .post(
            "/v2/models/anomaly-detector/infer",
            &tensor([2, 4], &json!([[0.4, 0.4, 0.5, 0.5], [null, 0.4, 0.5, 0.5]])),
        )
        .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][1]["data"][1], "critical", "a node that does not answer: {answer}");
    assert_eq!(answer["outputs"][2]["data"][1], "availability");
    assert_eq!(answer["outputs"][0]["data"][1], 1.0);

    let metadata = server.get("/v2/models/placement-agent").await;
    let width = metadata["inputs"][0]["shape"][1].as_u64().expect("a width") as usize;
    let place = features::cluster_state::index("cpu_after").expect("a feature");
    let mut values = vec![0.0; 2 * width];
    (values[place], values[width + place]) = (0.25, 0.75);
    let (status, answer) = server.post("/v2/models/placement-agent/infer", &tensor([2, width], &json!(values))).await;
    assert_eq!((status, &answer["outputs"][0]["data"]), (200, &json!([-0.25, -0.75])));
    values[0] = f64::NAN;
    let (status, answer) = server.post("/v2/models/placement-agent/infer", &tensor([2, width], &json!(values))).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().expect("an error").contains("pod_cpu_request_share"), "{answer}");

    // Every answered prediction is in the table once the server has ended.
    assert_eq!(server.stop(), Some(0), "{}", server.said());
    let store = Store::new(root.path());
    let days = store.days(&cluster::PREDICTIONS).expect("days");
    let kept: Vec<_> = days
        .iter()
        .map(|day| store.read_day(&cluster::PREDICTIONS, *day, &["id", "model", "version"]).expect("a day"))
        .collect();
    assert_eq!(kept.iter().map(|frame| frame.height()).sum::<usize>(), 3, "{kept:?}");
    assert!(kept.iter().any(|frame| format!("{frame}").contains("q-1")), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_as_the_protocol_wants_it() {
    let root = Root::with_models().await;
    let mut server =
        Server::start(root.path(), &[&TRAINED[..], &["--max-body-bytes", "20000", "--max-rows", "100"]].concat()).await;
    server.ready().await;
    let infer = "/v2/models/load-predictor/infer";
    let good = tensor([1, 4], &json!([0.1, 0.1, 0.1, 0.1]));
    for (path, body, status, said) in [
        (infer, "".to_owned(), 400, "no inference request"),
        (infer, "[1,2".to_owned(), 400, "no inference request"),
        (infer, tensor([1, 3], &json!([1, 2, 3])).to_string(), 400, "3 columns"),
        (infer, tensor([2, 4], &json!([1, 2, 3])).to_string(), 400, "3 elements"),
        (infer, tensor([1, 4], &json!(["a", "b", "c", "d"])).to_string(), 400, "text"),
        (infer, tensor([1, 4], &json!([1e300, 0, 0, 0])).to_string(), 400, "single precision"),
        (infer, tensor([101, 4], &json!(vec![0; 404])).to_string(), 413, "at most 100"),
        (infer, tensor([5_000, 4], &json!(vec![0; 20_000])).to_string(), 413, "20000 bytes"),
        (
            infer,
            json!({ "inputs": [{ "name": "rows", "shape": [1], "datatype": "FP32", "data": [1] }] }).to_string(),
            400,
            "`rows`",
        ),
        (infer, json!({ "inputs": good["inputs"], "outputs": [{ "name": "gpu" }] }).to_string(), 400, "`gpu`"),
        ("/v2/models/load-predictor/versions/9/infer", good.to_string(), 404, "`9`"),
        ("/v2/models/none/infer", good.to_string(), 404, "`none`"),
        ("/v2/models/combined/infer", good.to_string(), 404, "`combined`"),
        ("/v1/score", "{}".to_owned(), 404, "combined"),
        ("/v3", String::new(), 404, "`/v3`"),
        ("/v2/health/live", String::new(), 405, "POST"),
    ] {
        let request = server.client.post(format!("{}{path}", server.url)).body(body);
        let response = request.send().await.expect("an answer");
        let got = response.status().as_u16();
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(got, status, "{path}: {body}");
        let error = body["error"].as_str().unwrap_or_else(|| panic!("{path}: {body}"));
        assert!(error.contains(said), "{path}: {error}");
    }
    for limit in ["soon", "0", "3600001"] {
        let ask = server.client.post(format!("{}{infer}", server.url)).header("x-berth-timeout-ms", limit);
        assert_eq!(ask.body(good.to_string()).send().await.expect("an answer").status().as_u16(), 400, "{limit}");
    }
    // A client that says how much comes and sends less is not waited for longer than it said.
    let head = format!("POST {infer} HTTP/1.1\r\nhost: x\r\nx-berth-timeout-ms: 200\r\ncontent-length: 100\r\n\r\n{{");
    let answer = half_a_request(&server.url, &head).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("200 ms"), "{answer}");
    // It still answers.
    assert_eq!(server.post(infer, &good).await.0, 200);
    let metrics = server.text("/metrics").await;
    for line in [
        "berth_serving_requests_total{model=\"load-predictor\",outcome=\"ok\"} 1",
        "berth_serving_model_swaps_total{model=\"load-predictor\"} 1",
    ] {
        assert!(metrics.contains(line), "`{line}` is not in\n{metrics}");
    }
}

/// What is answered to bytes after which nothing comes.
async fn half_a_request(url: &str, bytes: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.expect("connected");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4_096];
    let length = tokio::time::timeout(std::time::Duration::from_secs(30), stream.read(&mut answer)).await;
    String::from_utf8_lossy(&answer[..length.expect("in time").expect("an answer")]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_champion_serves_a_damaged_one_does_not_and_the_way_back_is_instant() {
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &[&TRAINED[..], &["--reload-every", "100ms"]].concat()).await;
    server.ready().await;
    let agent = "placement-agent";
    let version =
        async |server: &Server| server.get("/model-info").await["models"][agent]["current"]["version"].clone();
    assert_eq!(version(&server).await, "1");
    let semver = async |server: &Server| server.get("/model-info").await["models"][agent]["current"]["semver"].clone();
    assert_eq!(semver(&server).await, "1.0.0");

    // Requests go on while the version changes, and none fails.
    // A model that was trained has no semantic version in its files: registering gives it one.
    let second = Artifact::of_placement_agent(&network(-2.0), draft("")).expect("sealed");
    let width = features::cluster_state::WIDTH;
    let ask = tensor([1, width], &json!(vec![1.0; width]));
    let (client, url) = (server.client.clone(), format!("{}/v2/models/{agent}/infer", server.url));
    let asking = tokio::spawn(async move {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 2 {
            let response = client.post(&url).body(ask.to_string()).send().await.expect("an answer");
            assert_eq!(response.status().as_u16(), 200);
            let body: Value = response.json().await.expect("JSON");
            let (version, value) =
                (body["model_version"].as_str().expect("a version").to_owned(), &body["outputs"][0]["data"][0]);
            // The answer is wholly of one version.
            assert_eq!(value.as_f64(), Some(if version == "1" { -1.0 } else { -2.0 }), "{body}");
            seen.insert(version);
        }
    });
    assert_eq!(root.register(second).await, "2");
    tokio::time::timeout(std::time::Duration::from_secs(60), asking)
        .await
        .expect("both versions are seen")
        .expect("no request failed");

    assert_eq!(semver(&server).await, "1.1.0", "as the registry has it");

    // A damaged version is refused, and the old one stays.
    let third = Artifact::of_placement_agent(&network(-3.0), draft("1.0.2")).expect("sealed");
    let mut blobs = third.into_blobs().expect("blobs");
    let weights = blobs.get_mut(models::placement::NETWORK_FILE).expect("weights");
    *weights.last_mut().expect("a byte") ^= 1;
    assert_eq!(root.register_blobs(agent, blobs).await, "3");
    server
        .wait("the damaged version is refused", async |server| {
            server.get("/model-info").await["models"][agent]["refused"]["version"] == "3"
        })
        .await;
    let info = server.get("/model-info").await;
    let refused = &info["models"][agent]["refused"];
    assert!(refused["reason"].as_str().expect("a reason").contains(models::placement::NETWORK_FILE), "{refused}");
    assert_eq!(version(&server).await, "2");
    assert_eq!(server.get("/health").await["refused_models"], json!([agent]));
    assert_eq!(server.status("/v2/health/ready").await, Some(200));

    // Back to the first: it is in memory, under its old version too.
    root.promote(agent, "1").await;
    server.wait("the first version is back", async |server| version(server).await == "1").await;
    let info = server.get("/model-info").await;
    assert_eq!((&info["models"][agent]["previous"], &info["models"][agent]["refused"]), (&json!("2"), &Value::Null));
    assert_eq!(server.status(&format!("/v2/models/{agent}/versions/2/ready")).await, Some(200));
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_files_were_changed_since_it_was_registered_is_refused() {
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &[&TRAINED[..], &["--reload-every", "100ms"]].concat()).await;
    server.ready().await;
    let agent = "placement-agent";
    let blobs = |weight: f32| {
        let artifact = Artifact::of_placement_agent(&network(weight), draft("1.0.1")).expect("sealed");
        artifact.into_blobs().expect("blobs")
    };
    let (own, swapped) = (blobs(-2.0), blobs(2.0));
    let seal = |blobs: &std::collections::BTreeMap<String, Vec<u8>>| {
        runtime::files::sha256(&blobs[models::artifact::METADATA_FILE])
    };
    // The whole folder is another's, with hashes that fit: only the registry knows.
    let tracker = root.tracker().await;
    for (registered, files, is_taken) in [(&own, &swapped, false), (&own, &own, true)] {
        let version = root.challenge_blobs(agent, files.clone()).await;
        let tag = models::artifact::METADATA_SHA256_TAG;
        tracker.set_version_tag(agent, &version, tag, &seal(registered)).await.expect("tagged");
        root.promote(agent, &version).await;
        server
            .wait("it is looked at", async |server| {
                let info = server.get("/model-info").await["models"][agent].clone();
                info["current"]["version"] == *version || info["refused"]["version"] == *version
            })
            .await;
        let info = server.get("/model-info").await["models"][agent].clone();
        assert_eq!(info["current"]["version"] == *version, is_taken, "{info}");
        if !is_taken {
            let reason = info["refused"]["reason"].as_str().expect("a reason");
            assert!(reason.contains("changed since it was registered") && reason.contains("SHA-256"), "{reason}");
        }
    }
    // Those that were registered before there was such a tag are taken, and that is said.
    assert!(server.said().contains("registered by an earlier version of Berth"), "{}", server.said());
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_models_lives_says_what_lacks_and_wants_its_token() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "secret-word\n").expect("written");
    let server =
        Server::start(folder.path(), &[&TRAINED[..], &["--token-file", token.to_str().expect("text")]].concat()).await;
    let ready = server.client.get(format!("{}/v2/health/ready", server.url)).send().await.expect("an answer");
    assert_eq!(ready.status().as_u16(), 503);
    let body: Value = ready.json().await.expect("JSON");
    assert_eq!((&body["ready"], body["lacking"].as_array().map(Vec::len)), (&json!(false), Some(3)));

    assert_eq!(server.status("/v2/models").await, Some(401));
    let with =
        |token: &str| server.client.get(format!("{}/v2/models/load-predictor", server.url)).bearer_auth(token).send();
    assert_eq!(with("other").await.expect("an answer").status().as_u16(), 401);
    let absent = with("secret-word").await.expect("an answer");
    assert_eq!((absent.status().as_u16(), absent.headers()["retry-after"].to_str().ok()), (503, Some("1")));
    assert!(!server.said().contains("secret-word"));
}
