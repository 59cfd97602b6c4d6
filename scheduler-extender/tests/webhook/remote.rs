//! Scores of a real `serving` elsewhere: the same as those that are worked out here, of the same models and the same history.

use crate::support::{Extender, ask, names, pod};
use crate::world::{Root, history};
use clap::Args;
use collector::prometheus::{PrometheusArgs, Source};
use collector::testing::free_port;
use reqwest::Url;
use runtime::ConfigFile;
use runtime::http::HttpArgs;
use scheduler_extender::ledger::Standing;
use scheduler_extender::scoring::{Embedded, EmbeddedSetup, Preferences, Remote, Scores, Scoring};
use score_api::{PodRequest, ScoreRequest};
use serde_json::json;
use serving::nodes::KeepArgs;
use serving::registry::{ModelName, Origin};
use serving::run::Setup;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::Store;
use tokio::sync::{Semaphore, oneshot};
use tracking::TrackingArgs;

const NODES: usize = 12;
/// Who asks waits as long as it takes: the machine may be busy with other tests.
const PATIENT: Duration = Duration::from_secs(60);

/// Settings as without flags, an environment or a file.
fn defaults<T: Args>() -> T {
    let command = T::augment_args(clap::Command::new("defaults").no_binary_name(true));
    T::from_arg_matches(&command.try_get_matches_from([""; 0]).expect("no flags")).expect("settings")
}

fn source() -> Source {
    let command =
        HttpArgs::augment_args(PrometheusArgs::augment_args(clap::Command::new("source").no_binary_name(true)));
    let matches = command.try_get_matches_from([""; 0]).expect("no flags");
    let config = ConfigFile::default();
    Source::resolve(&config, &PrometheusArgs { prometheus: None, ..defaults() }, &HttpArgs::default(), &matches)
        .expect("settings")
}

/// The real server, in this process.
struct Serving {
    url: String,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Serving {
    async fn start(root: &Root) -> Self {
        let port = free_port().expect("a port");
        let tracker = root.tracker().await;
        let origin = |name| (name, Origin::Alias { tracker: Arc::clone(&tracker), alias: "champion".to_owned() });
        let server = serving::settings::ServerArgs {
            listen: format!("127.0.0.1:{port}").parse().expect("an address"),
            ..defaults()
        };
        let setup = Setup {
            server,
            tls: None,
            limits: defaults(),
            nodes: defaults(),
            redis: None,
            source: source(),
            store: Store::new(root.path()),
            origins: ModelName::TRAINED.into_iter().map(origin).collect(),
            shadow: None,
            journal: defaults(),
            token: None,
        };
        let (stop, stopped) = oneshot::channel();
        // In threads of its own, as its program has it.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(setup.serve(async { stopped.await.unwrap_or(()) }))
        });
        Self { url: format!("http://127.0.0.1:{port}"), stop, thread }
    }

    async fn end(self) {
        self.stop.send(()).expect("it listens");
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await.expect("no panic");
        ended.expect("no panic").expect("it ends well");
    }
}

fn embedded(root: &Root) -> Scoring {
    let setup = EmbeddedSetup {
        store: Store::new(root.path()),
        tracking: TrackingArgs::default(),
        alias: "champion".to_owned(),
        folders: Vec::new(),
        reload_every: Duration::from_secs(30),
        nodes: defaults::<KeepArgs>(),
        redis: None,
        source: source(),
        stale_after: 180_000,
    };
    Scoring::Embedded(Embedded::start(setup).expect("threads").0)
}

fn remote(url: &str) -> Remote {
    runtime::http::install_crypto_provider();
    let client = reqwest::Client::builder().build().expect("a client");
    Remote::new(Url::parse(url).expect("an address"), client, PATIENT)
}

/// Waits until it knows all nodes and has all models.
async fn ready(scoring: &Scoring) {
    let began = Instant::now();
    loop {
        if let Scoring::Remote(remote) = scoring {
            remote.look().await;
        }
        let condition = scoring.condition();
        if condition.nodes == NODES && condition.models.len() == 3 && !condition.away {
            return;
        }
        assert!(began.elapsed() < PATIENT, "not ready: {condition:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn scored(scoring: &Scoring, request: &ScoreRequest) -> Scores {
    let place = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("a place");
    scoring.score(&Arc::new(request.clone()), Preferences::default(), Standing::Known, place).await.expect("scores")
}

fn request(nodes: Vec<String>, workload: Option<&str>) -> ScoreRequest {
    let pod = PodRequest {
        namespace: "shop".to_owned(),
        name: "cart-9".to_owned(),
        workload: workload.map(str::to_owned),
        cpu_request_cores: 0.5,
        memory_request_bytes: 268_435_456.0,
        priority: 0,
    };
    ScoreRequest { pods: vec![pod], nodes, explain: Some(false), ..ScoreRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_elsewhere_scores_as_this_process_does() {
    let root = Root::with_models().await;
    history(root.path(), NODES);
    let serving = Serving::start(&root).await;
    let (here, there) = (embedded(&root), Scoring::Remote(Box::new(remote(&serving.url))));
    ready(&here).await;
    ready(&there).await;
    let (ours, theirs) = (here.condition(), there.condition());
    assert_eq!((&ours.models, ours.nodes, ours.stale), (&theirs.models, theirs.nodes, theirs.stale));
    assert_eq!(ours.data_age_seconds, theirs.data_age_seconds, "by the same clock");
    assert_eq!(here.critical_nodes(), there.critical_nodes());

    let known = Store::new(root.path());
    let mut nodes: Vec<String> = {
        let day = known.days(&cluster::NODE_METRICS).expect("days").pop().expect("a day");
        let frame = known.read_day(&cluster::NODE_METRICS, day, &["node"]).expect("a table");
        let names = frame.column("node").expect("a column").str().expect("texts").iter().flatten();
        let names: std::collections::BTreeSet<String> = names.map(str::to_owned).collect();
        names.into_iter().collect()
    };
    assert_eq!(nodes.len(), NODES);
    nodes.push("elsewhere".to_owned());
    let mut compared = 0;
    for workload in [None, Some("shop/Deployment/cart")] {
        let mut request = request(nodes.clone(), workload);
        for in_flight in [0.0, 1.5] {
            let flight = score_api::InFlight { cpu_cores: in_flight, memory_bytes: 0.0 };
            request.in_flight.insert(nodes[0].clone(), flight);
            let (ours, theirs) = (scored(&here, &request).await, scored(&there, &request).await);
            assert_eq!((&ours.versions, ours.expected), (&theirs.versions, theirs.expected));
            assert_eq!((ours.nodes.len(), theirs.nodes.len()), (NODES + 1, NODES + 1));
            for (our, their) in ours.nodes.iter().zip(&theirs.nodes) {
                // The wire carries single precision.
                let single = |value: Option<f64>| value.map(|value| value as f32);
                let of = |node: &score_api::NodeScore| {
                    let parts =
                        [node.parts.load, node.parts.placement, node.parts.anomaly, node.uncertainty, Some(node.score)];
                    (node.node.clone(), parts.map(single), node.missing.clone(), node.severity, node.data_age_seconds)
                };
                assert_eq!(of(our), of(their));
                compared += usize::from(our.parts.load.is_some() && our.parts.placement.is_some());
            }
            assert!(theirs.nodes[NODES].parts.load.is_none(), "nobody knows it");
        }
    }
    assert_eq!(compared, 4 * NODES, "every known node has a load and a placement part each time");

    // Explanations are the same as well, word by word.
    let asked = request(nodes[..3].to_vec(), None);
    let (ours, theirs) = (
        here.explain(asked.clone(), Preferences::default()).await.expect("an explanation"),
        there.explain(asked, Preferences::default()).await.expect("an explanation"),
    );
    let reasons = |answer: &score_api::ScoreAnswer| -> Vec<Vec<String>> {
        let nodes = answer.pods[0].nodes.iter();
        nodes.map(|node| node.explanation.as_ref().expect("asked for").reasons.clone()).collect()
    };
    assert_eq!(reasons(&ours), reasons(&theirs));
    assert!(reasons(&ours).iter().all(|reasons| reasons.len() >= 3), "{:?}", reasons(&ours));

    // The program itself, with nothing but the address.
    let arguments = ["--scoring", &serving.url, "--deadline", "5s"];
    let mut extender = Extender::start("mode = \"active\"\n[guard]\nrecover_after = \"0s\"", &arguments).await;
    extender.ready().await;
    let (points, why) = extender.prioritize(&ask(&pod("cart-9", "cart"), &nodes)).await;
    assert_eq!((points.len(), why), (NODES + 1, None));
    extender.wait("it is put into words", async |it| it.get("/explain/shop/cart-9").await["details"].is_array()).await;
    let explanation = extender.get("/explain/shop/cart-9").await;
    assert!(explanation["details"][0]["explanation"]["reasons"].is_array(), "{explanation}");
    assert!(explanation["sentences"].to_string().contains("stays below"), "{explanation}");
    drop(extender);
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_without_models_is_no_scorer_and_says_so() {
    let root = Root { folder: tempfile::tempdir().expect("temporary folder") };
    history(root.path(), NODES);
    let serving = Serving::start(&root).await;
    let mut extender = Extender::start("mode = \"active\"", &["--scoring", &serving.url, "--deadline", "5s"]).await;
    let says = async |it: &Extender| it.get("/v1/state").await["concerns"]["no_models"] != json!(null);
    extender.wait("it says why", says).await;
    assert_eq!(extender.prioritize(&ask(&pod("a", "web"), &names(3))).await.1.as_deref(), Some("fallback"));
    drop(extender);
    serving.end().await;
}
