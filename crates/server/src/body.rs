//! Bodies of requests: decompressed, no longer than allowed, and paid for out of a budget for as long as they are held.

mod decode;

use crate::ApiError;
use crate::budget::{Budget, Share};
use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use decode::{Decoder, Encoding};
use futures::StreamExt;
use std::ops::Deref;
use std::time::Duration;

/// A body of this length is read whatever others hold: the number of requests under way bounds those.
const FREE: usize = 64 << 10;
/// What one byte of a body costs of the budget. A number of two letters, `0,`, becomes eight bytes, and four more as a feature.
pub const PARSED: usize = 8;
/// What is decompressed before others get their turn.
const PIECE: usize = 4 << 10;
/// What compressed bodies may be compressed by.
const ENCODINGS: &str = "gzip, deflate, identity";

/// How bodies are read.
#[derive(Debug, Clone)]
pub struct Bodies {
    limit: usize,
    budget: Budget,
}

impl Bodies {
    /// Bodies of at most `limit` bytes, which together take at most the budget.
    pub const fn new(limit: usize, budget: Budget) -> Self {
        Self { limit, budget }
    }

    /// The longest body that is read.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The whole body.
    ///
    /// # Errors
    /// 413 for one that is too long, 503 while others hold too much, 400 for one that broke off or is not what it says it is
    /// compressed by.
    pub async fn read(&self, body: Body) -> Result<Held, ApiError> {
        let mut held = self.nothing();
        let mut frames = body.into_data_stream();
        while let Some(frame) = frames.next().await {
            if let Err(error) = held.extend(&frame.map_err(broke_off)?) {
                self.drain(frames).await;
                return Err(error);
            }
        }
        Ok(held)
    }

    /// Reads on without keeping anything, up to the length of a body: a client that is still sending when its connection is closed may
    /// never see why.
    async fn drain(&self, mut frames: BodyDataStream) {
        let mut left = self.limit;
        while let Some(Ok(frame)) = frames.next().await {
            let Some(rest) = left.checked_sub(frame.len()) else { return };
            left = rest;
        }
    }

    /// The whole body, decompressed while it comes in.
    async fn read_encoded(&self, body: Body, encoding: Encoding) -> Result<Held, ApiError> {
        let mut decoder = Decoder::new(encoding, self.nothing());
        let mut frames = body.into_data_stream();
        let mut left = self.limit;
        while let Some(frame) = frames.next().await {
            let frame = frame.map_err(broke_off)?;
            let Some(rest) = left.checked_sub(frame.len()) else { return Err(too_long(self.limit)) };
            left = rest;
            for piece in frame.chunks(PIECE) {
                if let Err(error) = decoder.put(piece) {
                    self.drain(frames).await;
                    return Err(error);
                }
                // A thousand times as much may have come out of it: others get their turn.
                tokio::task::yield_now().await;
            }
        }
        decoder.finish()
    }

    fn nothing(&self) -> Held {
        Held { bytes: Vec::new(), limit: self.limit, share: self.budget.empty() }
    }

    /// The same within `time`.
    ///
    /// # Errors
    /// See [`Bodies::read`]; 408 when it is not there in time.
    pub async fn read_within(&self, body: Body, time: Duration) -> Result<Held, ApiError> {
        let late = |_| ApiError::too_late(format!("the body was not there after {time:?}, the most that is waited"));
        tokio::time::timeout(time, self.read(body)).await.map_err(late)?
    }

    /// Memory for an answer that no body asks for.
    ///
    /// # Errors
    /// 503 while others hold too much.
    pub fn claim(&self, bytes: usize) -> Result<Share, ApiError> {
        self.budget.take(if bytes > FREE { bytes } else { 0 }).ok_or_else(|| self.crowded())
    }

    /// What is said where others hold too much.
    pub fn crowded(&self) -> ApiError {
        crowded(&self.budget)
    }
}

fn crowded(budget: &Budget) -> ApiError {
    ApiError::not_now(format!(
        "requests under way take {} of {} bytes of memory, and this one wants more: try again later",
        budget.held(),
        budget.most()
    ))
}

/// Grows what a body has paid to what one of `length` bytes costs, where it comes to be longer than it was.
///
/// # Errors
/// 503 while others hold too much.
pub fn pay(share: &mut Share, length: usize) -> Result<(), ApiError> {
    let lacking = PARSED.saturating_mul(length).saturating_sub(share.bytes());
    if length <= FREE || share.grow(lacking) { Ok(()) } else { Err(crowded(share.budget())) }
}

/// A body, and what it takes of the budget until it is dropped.
#[derive(Debug)]
pub struct Held {
    bytes: Vec<u8>,
    limit: usize,
    share: Share,
}

impl Held {
    /// Pays for `bytes` of memory that the answer to this body takes.
    ///
    /// # Errors
    /// 503 while others hold too much.
    pub fn claim(&mut self, bytes: usize) -> Result<(), ApiError> {
        if bytes <= FREE || self.share.grow(bytes) { Ok(()) } else { Err(crowded(self.share.budget())) }
    }

    /// Adds what came in, once it is paid for.
    fn extend(&mut self, more: &[u8]) -> Result<(), ApiError> {
        let length = self.bytes.len() + more.len();
        if length > self.limit {
            return Err(too_long(self.limit));
        }
        if length > self.bytes.capacity() {
            let most = if length <= FREE { FREE.min(self.limit) } else { self.limit };
            let capacity = (2 * self.bytes.capacity()).max(length).min(most);
            // By what it takes, not by what is in it, and before the memory is there.
            pay(&mut self.share, capacity)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// The bytes, and what they take of the budget.
    pub fn into_parts(self) -> (Vec<u8>, Share) {
        (self.bytes, self.share)
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

fn broke_off(error: axum::Error) -> ApiError {
    ApiError::bad(format!("the body ended before it was whole: {error}"))
}

fn too_long(limit: usize) -> ApiError {
    ApiError::too_large(format!("the body is larger than {limit} bytes, the most that is read (once decompressed)"))
}

/// Lets the routes take bodies that are compressed by gzip or deflate, as `Content-Encoding` says: what they read is decompressed, and
/// no longer than `bodies` allow, before and after.
pub fn decoding<S: Clone + Send + Sync + 'static>(routes: Router<S>, bodies: Bodies) -> Router<S> {
    routes.layer(from_fn_with_state(bodies, decode))
}

async fn decode(State(bodies): State<Bodies>, mut request: Request, next: Next) -> Response {
    let encoding = match encoding(request.headers()) {
        Ok(encoding) => encoding,
        Err(error) => {
            bodies.drain(request.into_body().into_data_stream()).await;
            return ([(ACCEPT_ENCODING, ENCODINGS)], error).into_response();
        }
    };
    request.headers_mut().remove(CONTENT_ENCODING);
    let Some(encoding) = encoding else { return next.run(request).await };
    request.headers_mut().remove(CONTENT_LENGTH);
    let (parts, body) = request.into_parts();
    match bodies.read_encoded(body, encoding).await {
        Ok(held) => next.run(Request::from_parts(parts, Body::from(Bytes::from_owner(held)))).await,
        Err(error) => error.into_response(),
    }
}

/// What a body is compressed by; `None` for one that is not.
fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, ApiError> {
    let given: Vec<String> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase())
        .collect();
    match given.iter().map(|name| name.trim()).collect::<Vec<_>>()[..] {
        [] | ["" | "identity"] => Ok(None),
        // RFC 9110, section 8.4.1.3: the old name means the same.
        ["gzip" | "x-gzip"] => Ok(Some(Encoding::Gzip)),
        ["deflate"] => Ok(Some(Encoding::Deflate)),
        _ => Err(ApiError {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            message: format!("content encoding `{}` is not supported: send one of {ENCODINGS}", given.join(", ")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::http::Request as HttpRequest;
    use axum::routing::post;
    use flate2::Compression;
    use flate2::read::{GzEncoder, ZlibEncoder};
    use std::io::Read;
    use tower::ServiceExt;

    const LIMIT: usize = 1 << 20;

    /// Answers with how long the body was.
    fn routes(bodies: Bodies) -> Router {
        async fn length(State(bodies): State<Bodies>, body: Body) -> Result<String, ApiError> {
            Ok(bodies.read(body).await?.len().to_string())
        }
        decoding(Router::new().route("/", post(length)), bodies.clone()).with_state(bodies)
    }

    async fn ask(routes: Router, encoding: &[&str], body: impl Into<Body>) -> (u16, String, HeaderMap) {
        let mut request = HttpRequest::post("/");
        for name in encoding {
            request = request.header(CONTENT_ENCODING, *name);
        }
        let response = routes.oneshot(request.body(body.into()).expect("a request")).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let text = to_bytes(body, 10_000).await.expect("a body");
        (parts.status.as_u16(), String::from_utf8(text.to_vec()).expect("text"), parts.headers)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        GzEncoder::new(bytes, Compression::best()).read_to_end(&mut out).expect("compressed");
        out
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        ZlibEncoder::new(bytes, Compression::best()).read_to_end(&mut out).expect("compressed");
        out
    }

    fn bodies(budget: usize) -> Bodies {
        Bodies::new(LIMIT, Budget::new(budget))
    }

    #[tokio::test]
    async fn a_body_is_read_by_what_it_says_it_is_compressed_by() {
        let text = vec![b'7'; 100_000];
        for (encoding, body) in [
            (&[][..], text.clone()),
            (&["identity"], text.clone()),
            (&["gzip"], gzip(&text)),
            (&["X-GZip"], gzip(&text)),
            (&[" deflate "], deflate(&text)),
        ] {
            let (status, said, _) = ask(routes(bodies(64 << 20)), encoding, body).await;
            assert_eq!((status, said.as_str()), (200, "100000"), "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn another_encoding_is_refused_with_those_that_are_supported() {
        for encoding in [&["br"][..], &["zstd"], &["gzip, gzip"], &["gzip", "gzip"], &["gzip", "identity"]] {
            let (status, said, headers) = ask(routes(bodies(64 << 20)), encoding, "{}").await;
            assert_eq!(status, 415, "{encoding:?}");
            assert!(said.contains("is not supported: send one of gzip, deflate, identity"), "{said}");
            assert_eq!(headers[ACCEPT_ENCODING], "gzip, deflate, identity");
        }
        let (status, said, _) = ask(routes(bodies(64 << 20)), &["gzip"], "plain text").await;
        assert_eq!(status, 400, "{said}");
        let cut = gzip(&[7; 5_000]);
        let (status, said, _) = ask(routes(bodies(64 << 20)), &["gzip"], cut[..cut.len() - 9].to_vec()).await;
        assert_eq!(status, 400, "{said}");
    }

    #[tokio::test]
    async fn the_limit_is_of_what_comes_out_and_of_what_comes_in() {
        // A thousand times as much comes out of a bomb as goes in.
        let bomb = vec![0; 64 << 20];
        for (encoding, body) in [("gzip", gzip(&bomb)), ("deflate", deflate(&bomb))] {
            assert!(body.len() < LIMIT / 10);
            let (status, said, _) = ask(routes(bodies(64 << 20)), &[encoding], body).await;
            assert_eq!(status, 413, "{said}");
            assert!(said.contains("larger than 1048576 bytes"), "{said}");
        }
        // Empty members, one after the other: nothing ever comes out of them.
        let nothing = gzip(b"").repeat(LIMIT / gzip(b"").len() + 1);
        let (status, said, _) = ask(routes(bodies(64 << 20)), &["gzip"], nothing).await;
        assert_eq!(status, 413, "{said}");
        let (status, said, _) = ask(routes(bodies(64 << 20)), &[], vec![0; LIMIT + 1]).await;
        assert_eq!(status, 413, "{said}");
        assert_eq!(ask(routes(bodies(64 << 20)), &[], vec![0; LIMIT]).await.0, 200);
    }

    #[tokio::test]
    async fn bodies_that_others_hold_leave_less_for_the_next_one_but_small_ones_pass() {
        let bodies = bodies(PARSED * LIMIT);
        let held = bodies.read(Body::from(vec![0; LIMIT])).await.expect("all of the budget");
        let refused = bodies.read(Body::from(vec![0; FREE + 1])).await.expect_err("nothing is left");
        assert_eq!(refused.status.as_u16(), 503);
        assert!(refused.message.contains("8388608 of 8388608 bytes"), "{refused}");
        assert_eq!(bodies.read(Body::from(vec![0; FREE])).await.expect("a small one").len(), FREE);
        drop(held);
        let mut held = bodies.read(Body::from(vec![0; LIMIT / 2])).await.expect("there is room again");
        assert!(held.claim(PARSED * LIMIT / 2).is_ok() && held.claim(FREE + 1).is_err() && held.claim(FREE).is_ok());
    }

    #[tokio::test]
    async fn what_is_promised_and_does_not_come_holds_nothing() {
        let bodies = bodies(PARSED * LIMIT);
        let silent = Body::from_stream(
            futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"{")) })
                .chain(futures::stream::pending()),
        );
        let refused = bodies.read_within(silent, Duration::from_millis(20)).await.expect_err("too late");
        assert_eq!((refused.status.as_u16(), bodies.budget.held()), (408, 0));
    }
}
