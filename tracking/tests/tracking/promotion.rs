//! A process that is killed between the moves of a promotion or of its way back: nothing is lost, and doing it again completes it.

use crate::servers::MlflowServer;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracking::promotion::{self, CHAMPION, PREVIOUS, Promotion, PromotionError, tags};
use tracking::testing::Interrupted;
use tracking::*;

/// A registry, and how the process before it is killed after a number of steps.
pub enum Registry<'a> {
    /// Between calls.
    Calls(&'a dyn Tracker),
    /// Between requests to the server, of which a call may have several.
    Requests(&'a dyn Tracker, &'a CutOff),
}

impl<'a> Registry<'a> {
    fn tracker(&self) -> &'a dyn Tracker {
        match self {
            Self::Calls(tracker) | Self::Requests(tracker, _) => *tracker,
        }
    }

    /// Promotes and is killed after so many steps; `true` when it was done before that.
    async fn promote(&self, steps: usize, model: &str, to: &str) -> bool {
        let why = Decision::new("test", "promoted");
        match self {
            Self::Calls(tracker) => {
                let killed = Interrupted::after(steps, *tracker);
                promotion::promote(&killed, model, CHAMPION, to, &why).await.is_ok()
            }
            Self::Requests(tracker, cut) => {
                cut.after(steps);
                let result = promotion::promote(*tracker, model, CHAMPION, to, &why).await;
                cut.never();
                result.is_ok()
            }
        }
    }

    /// Takes back and is killed after so many steps; `true` when it was done before that.
    async fn undo(&self, steps: usize, model: &str, what: &Promotion) -> bool {
        let why = Decision::new("test", "taken back");
        match self {
            Self::Calls(tracker) => {
                let killed = Interrupted::after(steps, *tracker);
                promotion::undo(&killed, model, CHAMPION, what, Some("it is slow"), &why).await.is_ok()
            }
            Self::Requests(tracker, cut) => {
                cut.after(steps);
                let result = promotion::undo(*tracker, model, CHAMPION, what, Some("it is slow"), &why).await;
                cut.never();
                result.is_ok()
            }
        }
    }
}

/// A model with three validated versions and a fourth that is not, of which the second is champion and the first `previous`.
async fn with_two_champions(tracker: &dyn Tracker, model: &str) {
    tracker.register_model(model, "").await.expect("model");
    let experiment = tracker.experiment("promotions").await.expect("experiment");
    let run = tracker.create_run(NewRun::new(experiment.id, model)).await.expect("run");
    tracker.log_artifact(&run.id, "model/a", vec![1]).await.expect("artifact");
    for passed in [true, true, true, false] {
        let validation = if passed { tags::PASSED } else { "refused" };
        let version = NewVersion {
            model: model.to_owned(),
            run_id: run.id.clone(),
            artifact_path: "model".to_owned(),
            description: String::new(),
            tags: [(tags::VALIDATION.to_owned(), validation.to_owned())].into(),
        };
        tracker.create_version(version).await.expect("version");
    }
    let why = Decision::new("test", "first");
    let first = promotion::promote(tracker, model, CHAMPION, "1", &why).await.expect("promoted");
    assert_eq!(first, of(None, "1", None));
    let second = promotion::promote(tracker, model, CHAMPION, "2", &why).await.expect("promoted");
    assert_eq!(second, of(Some("1"), "2", None));
}

fn of(from: Option<&str>, to: &str, previous: Option<&str>) -> Promotion {
    Promotion { from: from.map(str::to_owned), to: to.to_owned(), previous: previous.map(str::to_owned) }
}

async fn aliases(tracker: &dyn Tracker, model: &str) -> (Option<String>, Option<String>) {
    let aliases = tracker.registered_model(model).await.expect("model").aliases;
    (aliases.get(CHAMPION).cloned(), aliases.get(PREVIOUS).cloned())
}

async fn stands(tracker: &dyn Tracker, model: &str, champion: &str, previous: Option<&str>) {
    let wanted = (Some(champion.to_owned()), previous.map(str::to_owned));
    assert_eq!(aliases(tracker, model).await, wanted, "{model}");
}

async fn last(tracker: &dyn Tracker, model: &str) -> Option<Promotion> {
    promotion::last(tracker, model, CHAMPION).await.expect("known")
}

/// Kills after every number of steps, until one is enough.
pub async fn survives_kills(registry: &Registry<'_>, mark: &str) {
    let tracker = registry.tracker();
    let why = Decision::new("test", "again");
    let third = of(Some("2"), "3", Some("1"));
    let mut steps = 0;
    loop {
        // A promotion that is killed and made again.
        let model = format!("continued {mark} {steps}");
        with_two_champions(tracker, &model).await;
        let done = registry.promote(steps, &model, "3").await;
        let (champion, previous) = aliases(tracker, &model).await;
        let way_back = last(tracker, &model).await.expect("there is always a way back");
        match champion.as_deref() {
            // Not promoted yet: the way back is that of the champion before.
            Some("2") => assert_eq!(way_back, of(Some("1"), "2", None), "after {steps} steps, previous {previous:?}"),
            Some("3") => assert_eq!((previous.as_deref(), way_back), (Some("2"), third.clone()), "after {steps} steps"),
            other => panic!("champion is {other:?}"),
        }
        let again = promotion::promote(tracker, &model, CHAMPION, "3", &why).await.expect("completed");
        assert_eq!(again, third, "what it replaced is not forgotten after {steps} steps");
        stands(tracker, &model, "3", Some("2")).await;

        // A promotion that is killed and given up: one rollback leads to the champion before the one that serves.
        let model = format!("given up {mark} {steps}");
        with_two_champions(tracker, &model).await;
        registry.promote(steps, &model, "3").await;
        let way_back = last(tracker, &model).await.expect("a way back");
        promotion::undo(tracker, &model, CHAMPION, &way_back, None, &why).await.expect("taken back");
        match way_back.to.as_str() {
            "2" => stands(tracker, &model, "1", None).await,
            _ => stands(tracker, &model, "2", Some("1")).await,
        }
        if done {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 2, "the two aliases are moved one after the other");

    let mut steps = 0;
    loop {
        // A way back that is killed and gone again.
        let model = format!("taken back {mark} {steps}");
        with_two_champions(tracker, &model).await;
        promotion::promote(tracker, &model, CHAMPION, "3", &why).await.expect("promoted");
        let done = registry.undo(steps, &model, &third).await;
        if !done {
            assert_eq!(
                last(tracker, &model).await,
                Some(third.clone()),
                "it is known what is left after {steps} steps"
            );
        }
        promotion::undo(tracker, &model, CHAMPION, &third, Some("it is slow"), &why).await.expect("completed");
        stands(tracker, &model, "2", Some("1")).await;
        let version = tracker.version(&model, "3").await.expect("version");
        assert_eq!(version.tags.get(tags::WITHDRAWN).map(String::as_str), Some("it is slow"));
        // One more goes one further back, and there it ends.
        let second = last(tracker, &model).await.expect("a way back");
        assert_eq!(second, of(Some("1"), "2", None));
        promotion::undo(tracker, &model, CHAMPION, &second, None, &why).await.expect("taken back");
        stands(tracker, &model, "1", None).await;
        assert_eq!(last(tracker, &model).await, None);
        if done {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 3, "two aliases and a tag");
}

/// Whatever somebody else did meanwhile stays, and nothing becomes champion without a validation.
pub async fn refuses_what_may_not_be(tracker: &dyn Tracker, mark: &str) {
    let model = format!("refused {mark}");
    with_two_champions(tracker, &model).await;
    let why = Decision::new("test", "hope");
    let error = promotion::promote(tracker, &model, CHAMPION, "4", &why).await.expect_err("not validated");
    assert!(matches!(error, PromotionError::NotValidated { .. }), "{error}");
    let planned = promotion::plan(tracker, &model, CHAMPION, "3").await.expect("a plan");
    promotion::promote(tracker, &model, CHAMPION, "1", &why).await.expect("somebody else's");
    let error = promotion::apply(tracker, &model, CHAMPION, &planned, &why).await.expect_err("moved meanwhile");
    assert!(error.to_string().contains("is version 1 by now, not 2"), "{error}");
    let error = promotion::undo(tracker, &model, CHAMPION, &of(Some("2"), "3", None), None, &why).await;
    assert!(matches!(error, Err(PromotionError::Superseded { .. })), "{error:?}");
    stands(tracker, &model, "1", Some("2")).await;
}

/// A way to a server that can be cut off.
pub struct CutOff {
    to: String,
    client: reqwest::Client,
    left: AtomicUsize,
}

impl CutOff {
    /// Returns it with its port.
    pub async fn before(server: &MlflowServer) -> (Arc<Self>, u16) {
        let client = runtime::http::HttpArgs::default().client(std::time::Duration::from_secs(60)).expect("client");
        let this = Arc::new(Self { to: server.address(), client, left: AtomicUsize::new(usize::MAX) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("address").port();
        let routes = Router::new().fallback(pass_on).with_state(Arc::clone(&this));
        tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        (this, port)
    }

    /// So many more requests that write are passed on.
    fn after(&self, writes: usize) {
        self.left.store(writes, Ordering::Relaxed);
    }

    fn never(&self) {
        self.after(usize::MAX);
    }

    fn writes(&self) -> bool {
        let next = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

async fn pass_on(State(cut): State<Arc<CutOff>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let reads = parts.method == Method::GET || path.contains("/search");
    if !reads && !cut.writes() {
        let said = r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"killed by the test"}"#;
        return (StatusCode::BAD_REQUEST, said).into_response();
    }
    let body = to_bytes(body, 1 << 24).await.expect("a body");
    let mut passed = cut.client.request(parts.method, format!("{}{path}", cut.to)).body(body);
    for (name, value) in parts.headers.iter().filter(|(name, _)| !["host", "content-length"].contains(&name.as_str())) {
        passed = passed.header(name, value);
    }
    let answer = passed.send().await.expect("the server answers");
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from(answer.bytes().await.expect("a body")));
    *response.status_mut() = status;
    if let Some(kind) = headers.get("content-type") {
        response.headers_mut().insert("content-type", kind.clone());
    }
    response
}
