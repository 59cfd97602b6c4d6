//! Asks a `serving` elsewhere, over connections that are kept.

mod breaker;
mod legacy;

use crate::{
    MAX_TIMEOUT_MILLIS, Mismatch, NODES_PATH, NodeList, SCORE_PATH, ScoreAnswer, ScoreRequest, TIMEOUT_HEADER,
};
use breaker::{Breaker, FAILURES, Transition};
use legacy::Versioned;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use std::time::{Duration, Instant};

/// No answer is larger: 100,000 scores, the most that a server works out at once by default, take a fifth of it.
const MAX_ANSWER_BYTES: usize = 128 << 20;
/// Characters of an error that are repeated.
const MAX_SAID: usize = 200;

/// What keeps an answer from coming.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server failed too often lately: it is left alone for a moment.
    #[error("the circuit breaker is open: `{url}` failed {FAILURES} times in a row, it is asked again in a moment")]
    BreakerOpen {
        /// Which server.
        url: Url,
    },
    /// The deadline has passed, here or by what the server says.
    #[error("`{url}` did not answer within the deadline")]
    Late {
        /// Which server.
        url: Url,
    },
    /// The server cannot be reached, or broke off.
    #[error("failed to ask `{url}`")]
    Unreachable {
        /// Which server.
        url: Url,
        /// Why.
        source: reqwest::Error,
    },
    /// The server refused.
    #[error("`{url}` answered {status}: {said}")]
    Refused {
        /// Which server.
        url: Url,
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        said: String,
    },
    /// More than an answer can be.
    #[error("the answer of `{url}` is larger than {MAX_ANSWER_BYTES} bytes")]
    TooLarge {
        /// Which server.
        url: Url,
    },
    /// The answer lacks a field, or has one of another type; the source names it.
    #[error("`{url}` answered something else than {wanted}")]
    Invalid {
        /// Which server.
        url: Url,
        /// What was wanted.
        wanted: &'static str,
        /// Which field is missing or wrong.
        source: serde_json::Error,
    },
    /// The answer is about something else.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// One `serving`, by its address.
#[derive(Debug)]
pub struct ScoreClient {
    http: Client,
    url: Url,
    breaker: Breaker,
    began: Instant,
}

impl ScoreClient {
    /// `http` brings TLS, credentials and the longest time for any request. Nothing is asked yet.
    pub fn new(url: Url, http: Client) -> Self {
        Self { http, url, breaker: Breaker::default(), began: Instant::now() }
    }

    /// Which server.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the breaker keeps requests for scores away.
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Scores pods. The server is told the deadline too, and stops working when it has passed. A future that is dropped before its end
    /// counts as a failure of the server.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn score(&self, request: &ScoreRequest, deadline: Duration) -> Result<ScoreAnswer, ClientError> {
        if !self.breaker.admits(self.began.elapsed()) {
            return Err(ClientError::BreakerOpen { url: self.url.clone() });
        }
        let trial = Trial { of: self, is_over: false };
        // A whole number of milliseconds, and at least one.
        let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_TIMEOUT_MILLIS);
        let post = self.http.post(self.address(SCORE_PATH)).timeout(deadline).header(TIMEOUT_HEADER, millis);
        let result = self.read(post.json(request), "scores").await;
        let result = result.and_then(|answer: ScoreAnswer| answer.check(request).map(|()| answer).map_err(Into::into));
        trial.end(result.is_ok());
        result
    }

    /// Lists the nodes. The breaker is not asked: this is how one finds out that a server is there again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn nodes(&self, deadline: Duration) -> Result<NodeList, ClientError> {
        self.read(self.http.get(self.address(NODES_PATH)).timeout(deadline), "a list of nodes").await
    }

    fn address(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    async fn read<T: Versioned>(&self, request: RequestBuilder, wanted: &'static str) -> Result<T, ClientError> {
        let unreachable = |source: reqwest::Error| match source.is_timeout() {
            true => ClientError::Late { url: self.url.clone() },
            false => ClientError::Unreachable { url: self.url.clone(), source },
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(ClientError::TooLarge { url: self.url.clone() });
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            return Err(ClientError::Late { url: self.url.clone() });
        }
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body).chars().take(MAX_SAID).collect();
            return Err(ClientError::Refused { url: self.url.clone(), status: status.as_u16(), said });
        }
        legacy::read(&body).map_err(|source| ClientError::Invalid { url: self.url.clone(), wanted, source })
    }

    fn count(&self, is_success: bool) {
        let transition = match is_success {
            true => self.breaker.succeeded(),
            false => self.breaker.failed(self.began.elapsed()),
        };
        match transition {
            Transition::None => {}
            Transition::Opened => {
                tracing::warn!(url = %self.url, failures = FAILURES, "the circuit breaker is open: serving failed too often");
            }
            Transition::Closed => tracing::info!(url = %self.url, "the circuit breaker is closed: serving recovered"),
        }
    }
}

/// A request under way. One that is dropped, since its time has passed, has failed.
struct Trial<'a> {
    of: &'a ScoreClient,
    is_over: bool,
}

impl Trial<'_> {
    fn end(mut self, is_success: bool) {
        self.is_over = true;
        self.of.count(is_success);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.of.count(false);
        }
    }
}
