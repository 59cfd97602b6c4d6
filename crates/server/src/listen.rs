//! Connections: accepted, made secret where that is wanted, watched, and ended in good order. Nothing here knows what is
//! answered: all servers of Berth listen by it.

use crate::ApiError;
use crate::budget::Budget;
use crate::peers::{Peers, Visit};
use crate::pulse::{Pulse, Verdict};
use crate::seal::{check_origin, seal};
use crate::tls::{Handshakes, Tls};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_io_timeout::TimeoutStream;
use tower::{ServiceExt, service_fn};

/// A handshake takes two round trips; who needs longer than this does not mean it.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection of HTTP/2 is asked this often whether somebody is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// So long an answer to that may take.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// After an error that is the process's own (too many open files), accepting rests this long.
const REST: Duration = Duration::from_secs(1);
/// A connection is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A connection that was told to end has this long before it is cut.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// What is kept of a request before somebody reads it: by the system's buffers and more for one that is on its way. Without such a
/// limit each of a thousand connections may hold a megabyte.
const UNREAD_REQUEST: u32 = 256 << 10;
/// Requests at once on one connection of HTTP/2: as many as a server answers at all by default.
const STREAMS: u32 = 64;
/// An answer of this length is given whatever others leave unread, so that probes are answered: the number of connections and of
/// requests on them bounds those.
const FREE: u64 = 4 << 10;

/// What is allowed of connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Open at once; more wait in the system's queue.
    pub most: usize,
    /// Open at once of one client (an IPv4 address, or a network of 64 bits of IPv6); more are closed at once.
    pub per_client: usize,
    /// A connection on which nothing is asked for so long is closed, as is one that leaves an answer unread for so long; a request's
    /// head has to come whole within it.
    pub idle: Duration,
    /// The first request on a connection has to come within this time.
    pub first_request: Duration,
    /// Bytes of answers that may wait to be read, over all connections; a client gets half of them.
    pub answers: usize,
}

impl Default for ConnectionLimits {
    /// Longer than the 90 s for which Go and reqwest keep a connection that they may use again, so that it is them who
    /// close it and no request meets a closing server.
    fn default() -> Self {
        Self {
            most: 1_024,
            per_client: 256,
            idle: Duration::from_secs(120),
            first_request: Duration::from_secs(5),
            answers: 64 << 20,
        }
    }
}

/// What is counted of connections. Register it under the server's own prefix.
#[derive(Debug, Clone, Default)]
pub struct ConnectionCounters {
    open: Gauge,
    refused: Family<Label, Counter>,
    cut: Family<Label, Counter>,
    answers_refused: Counter,
    unread: Gauge,
    handshakes_failed: Counter,
    reloads: Family<Label, Counter>,
}

type Label = [(&'static str, &'static str); 1];

impl ConnectionCounters {
    /// Names the counters.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections_open", "Connections that are open", self.open.clone());
        registry.register(
            "connections_refused",
            "Connections that were closed at once, by reason (per_client: the client has as many as it may)",
            self.refused.clone(),
        );
        registry.register(
            "connections_cut",
            "Connections that were closed from this side, by reason (no_request, idle, unread: an answer was not read)",
            self.cut.clone(),
        );
        registry.register(
            "answers_refused",
            "Requests that were answered 503 because too many bytes of answers were not read yet",
            self.answers_refused.clone(),
        );
        registry.register("answers_unread_bytes", "Bytes of answers that were not read yet", self.unread.clone());
        registry.register(
            "tls_handshakes_failed",
            "Connections that did not come to speak TLS: no certificate, none that is trusted, or no TLS at all",
            self.handshakes_failed.clone(),
        );
        registry.register(
            "tls_reloads",
            "Changes of certificate files, by outcome (taken, left_aside)",
            self.reloads.clone(),
        );
    }
}

/// An address with what is spoken there.
#[derive(Debug)]
pub struct Listening {
    /// Where connections come from.
    pub listener: TcpListener,
    /// TLS; none means plain HTTP.
    pub tls: Option<Tls>,
    /// What is allowed.
    pub limits: ConnectionLimits,
    /// What is counted.
    pub counters: ConnectionCounters,
}

impl Listening {
    /// Answers with `routes` until `stop` resolves, then lets requests under way end, for `drain` at most. Returns whether
    /// all of them ended in that time.
    pub async fn serve(self, routes: Router, drain: Duration, stop: impl Future<Output = ()>) -> bool {
        let Self { listener, tls, limits, counters } = self;
        let handshakes = tls.as_ref().map(Tls::handshakes);
        let reloads = counters.reloads.clone();
        let following = async {
            let Some(tls) = tls else { return std::future::pending().await };
            tls.follow(|taken| {
                reloads.get_or_create(&[("outcome", if taken { "taken" } else { "left_aside" })]).inc();
            })
            .await
        };
        let (mut following, mut stop) = (pin!(following), pin!(stop));
        let (closing, closed) = watch::channel(false);
        let places = Arc::new(Semaphore::new(limits.most));
        let answers = Budget::new(limits.answers);
        let peers = Peers::new(limits.per_client, limits.answers / 2);
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                // Only closing takes permits away for good, and nobody does that.
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            let (stream, address, place) = tokio::select! {
                biased;
                () = &mut stop => break,
                never = &mut following => match never {},
                Some(_) = connections.join_next() => continue,
                (accepted, place) = accepted => match accepted {
                    Ok((stream, address)) => (stream, address.ip(), place),
                    Err(error) => {
                        rest(&error).await;
                        continue;
                    }
                },
            };
            let Some(visit) = peers.enter(address) else {
                counters.refused.get_or_create(&[("reason", "per_client")]).inc();
                continue;
            };
            let connection = Connection {
                asked: Asked {
                    routes: routes.clone(),
                    answers: answers.clone(),
                    visit: Arc::new(visit),
                    counters: counters.clone(),
                },
                limits,
                closed: closed.clone(),
                handshakes: handshakes.clone(),
                counters: counters.clone(),
            };
            let open = Open::new(&counters.open);
            connections.spawn(async move {
                // Given back however it ends, by a panic as well.
                let _held = (place, open);
                connection.speak(stream).await;
            });
        }
        drop(listener);
        // Nobody listening means that no connection is open.
        let _ = closing.send(true);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        tokio::time::timeout(drain, all_ended).await.is_ok()
    }
}

/// A client that hangs up before it is let in is no trouble of ours; all else is, and does not pass by trying at once.
async fn rest(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "failed to accept a connection");
        tokio::time::sleep(REST).await;
    }
}

/// Counts as an open connection while it lives.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What answers the requests of one connection.
#[derive(Clone)]
struct Asked {
    routes: Router,
    answers: Budget,
    visit: Arc<Visit>,
    counters: ConnectionCounters,
}

impl Asked {
    async fn answer(self, pulse: Arc<Pulse>, request: Request) -> Response {
        let under_way = pulse.request();
        let response = match check_origin(request.method(), request.headers()) {
            // It answers whatever comes.
            Ok(()) => self.routes.oneshot(request).await.unwrap_or_else(|never| match never {}),
            Err(error) => error.into_response(),
        };
        let mut response = seal(response).await;
        // Nothing here is made while it is sent, so its length is known.
        let length = response.body().size_hint().exact().filter(|length| *length > FREE);
        let mut shares = None;
        if let Some(length) = length {
            let bytes = usize::try_from(length).unwrap_or(usize::MAX);
            shares = self.answers.take(bytes).zip(self.visit.answers.take(bytes)).map(Into::into);
            if shares.is_none() {
                self.counters.answers_refused.inc();
                let most = self.visit.answers.most();
                response = seal(
                    ApiError::not_now(format!(
                        "the answer has {bytes} bytes, and with those that were not read yet it is more than is held ({most} for one client): read them, or ask for less"
                    ))
                    .into_response(),
                )
                .await;
            }
        }
        self.counters.unread.set(i64::try_from(self.answers.held()).unwrap_or(i64::MAX));
        response.map(|body| Body::new(pulse.answer(body, under_way, shares)))
    }
}

struct Connection {
    asked: Asked,
    limits: ConnectionLimits,
    closed: watch::Receiver<bool>,
    handshakes: Option<Handshakes>,
    counters: ConnectionCounters,
}

impl Connection {
    async fn speak(self, stream: TcpStream) {
        // An answer is written at once and as a whole: there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        let Some(handshakes) = &self.handshakes else { return self.answer(stream).await };
        match tokio::time::timeout(HANDSHAKE, handshakes.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => return self.answer(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
            Err(_) => tracing::debug!(limit = ?HANDSHAKE, "a handshake was not made in time"),
        }
        self.counters.handshakes_failed.inc();
    }

    async fn answer(mut self, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
        let mut stream = TimeoutStream::new(stream);
        let ConnectionLimits { idle, first_request, .. } = self.limits;
        stream.set_read_timeout(Some(idle));
        stream.set_write_timeout(Some(idle));
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(UNREAD_REQUEST as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN)
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(UNREAD_REQUEST)
            .initial_connection_window_size(UNREAD_REQUEST);
        let pulse = Pulse::new();
        let (asked, of_requests) = (self.asked.clone(), Arc::clone(&pulse));
        let service =
            TowerToHyperService::new(service_fn(move |request: axum::http::Request<hyper::body::Incoming>| {
                let answer = asked.clone().answer(Arc::clone(&of_requests), request.map(Body::new));
                async move { Ok::<_, Infallible>(answer.await) }
            }));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(Box::pin(stream)), service));
        let closing = async {
            // The sender lives as long as the server.
            let _ = self.closed.wait_for(|closed| *closed).await;
        };
        let mut closing = pin!(closing);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cut_at = None;
        loop {
            let reason = tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::trace!(error, "a connection ended badly");
                    }
                    return;
                }
                () = &mut closing => {
                    connection.as_mut().graceful_shutdown();
                    if let Err(error) = connection.await {
                        tracing::trace!(error, "a connection ended badly");
                    }
                    return;
                }
                _ = ticks.tick() => match pulse.look(first_request, idle, Instant::now()) {
                    Verdict::Fine => continue,
                    Verdict::Quiet if cut_at.is_none() => {
                        // HTTP/2 tells its client, who may have sent a request just now.
                        connection.as_mut().graceful_shutdown();
                        cut_at = Some(Instant::now() + LAST_WORDS);
                        continue;
                    }
                    Verdict::Quiet if cut_at.is_some_and(|at| Instant::now() < at) => continue,
                    Verdict::Quiet => "idle",
                    Verdict::Silent => "no_request",
                    Verdict::Unread => "unread",
                },
            };
            self.counters.cut.get_or_create(&[("reason", reason)]).inc();
            return;
        }
    }
}
