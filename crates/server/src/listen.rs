//! Connections: accepted, made secret where that is wanted, watched, and ended in good order. Nothing here knows what is
//! answered: other servers of Berth listen by it as well.

use super::tls::{Handshakes, Tls};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

/// A handshake takes two round trips; who needs longer than this does not mean it.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection of HTTP/2 is asked this often whether somebody is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// So long an answer to that may take.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// After an error that is the process's own (too many open files), accepting rests this long.
const REST: Duration = Duration::from_secs(1);

/// What is allowed of connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Open at once; more wait in the system's queue.
    pub most: usize,
    /// A connection on which nothing moves for so long is closed; a request's head has to come whole within it.
    pub idle: Duration,
}

impl Default for ConnectionLimits {
    /// Longer than the 90 s for which Go and reqwest keep a connection that they may use again, so that it is them who
    /// close it and no request meets a closing server.
    fn default() -> Self {
        Self { most: 1_024, idle: Duration::from_secs(120) }
    }
}

/// What is counted of connections. Register it under the server's own prefix.
#[derive(Debug, Clone, Default)]
pub struct ConnectionCounters {
    open: Gauge,
    handshakes_failed: Counter,
    reloads: Family<[(&'static str, &'static str); 1], Counter>,
}

impl ConnectionCounters {
    /// Names the counters.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections_open", "Connections that are open", self.open.clone());
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
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                // Only closing takes permits away for good, and nobody does that.
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            let (stream, place) = tokio::select! {
                biased;
                () = &mut stop => break,
                never = &mut following => match never {},
                Some(_) = connections.join_next() => continue,
                (accepted, place) = accepted => match accepted {
                    Ok((stream, _)) => (stream, place),
                    Err(error) => {
                        rest(&error).await;
                        continue;
                    }
                },
            };
            let connection = Connection {
                routes: routes.clone(),
                idle: limits.idle,
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

struct Connection {
    routes: Router,
    idle: Duration,
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
        stream.set_read_timeout(Some(self.idle));
        stream.set_write_timeout(Some(self.idle));
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.idle);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING_EVERY).keep_alive_timeout(PONG_WITHIN);
        let service = TowerToHyperService::new(self.routes.clone());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(Box::pin(stream)), service));
        let closing = async {
            // The sender lives as long as the server.
            let _ = self.closed.wait_for(|closed| *closed).await;
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = closing => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(error, "a connection ended badly");
        }
    }
}
