//! The HTTP API: instant and range queries, retried where that helps, never more at once than asked.

use super::error::PrometheusError;
use super::reply::{Data, Notes, Reply, Series};
use super::selector::ClusterSelector;
use super::settings::Source;
use anyhow::Context;
use backon::{ExponentialBuilder, Retryable};
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use runtime::http::header_lines;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

/// Prometheus refuses a range query of more than 11,000 points per series (11,001 pass); this stays well below.
pub const MAX_POINTS: i64 = 10_000;
/// Some proxies refuse longer addresses; a longer query goes as a form.
const LONGEST_ADDRESS: usize = 1_800;
/// Most bytes of an answer that are read, after decompression: about twenty million points. A few megabytes on the wire
/// can stand for gigabytes.
const MOST_BYTES: usize = 512 << 20;
/// Most bytes of an answer that says no.
const MOST_BYTES_OF_REFUSAL: usize = 64 << 10;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A connection to one server.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    server: String,
    limit: Duration,
    backoff: ExponentialBuilder,
    slots: Semaphore,
    selector: ClusterSelector,
    accept_partial: bool,
    notes: Mutex<Notes>,
    requests: AtomicU64,
    retries: AtomicU64,
}

impl Client {
    /// Prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    /// When no address was given or a credential cannot be read.
    pub fn new(source: &Source) -> anyhow::Result<Self> {
        let mut base = source.address()?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let limit = source.args.timeout.0;
        let headers = source.args.header_file.as_deref().map_or_else(|| Ok(HeaderMap::new()), header_lines)?;
        let http = source.http.compressed_client(limit, headers);
        Ok(Self {
            http: http.context("failed to prepare the connection to prometheus")?,
            server: base.as_str().trim_end_matches('/').to_owned(),
            base,
            limit,
            backoff: ExponentialBuilder::default()
                .with_jitter()
                .with_min_delay(source.args.retry_delay.0)
                .with_max_delay(LONGEST_PAUSE)
                .with_max_times(source.args.retries),
            slots: Semaphore::new(source.args.concurrency),
            selector: source.selector.clone(),
            accept_partial: source.args.accept_partial,
            notes: Mutex::default(),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        })
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// How many requests were sent, and how many of them again.
    pub fn sent(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.retries.load(Ordering::Relaxed))
    }

    /// What the server has said of its answers since the last call; with --accept-partial nothing counts as missing.
    pub fn take_notes(&self) -> Notes {
        let mut notes = self.notes.lock().map(|mut notes| std::mem::take(&mut *notes)).unwrap_or_default();
        if self.accept_partial {
            notes.remarks.append(&mut notes.missing);
        }
        notes
    }

    /// Fails when an answer since the last call lacks series: half of a node's CPUs would pass for an idle node.
    ///
    /// # Errors
    /// [`PrometheusError::Partial`].
    pub fn refuse_partial(&self) -> Result<(), PrometheusError> {
        let notes = self.take_notes();
        for text in &notes.remarks {
            tracing::debug!(text, "the server remarks");
        }
        if notes.missing.is_empty() {
            return Ok(());
        }
        let said = notes.missing.into_iter().collect::<Vec<_>>().join("; ");
        Err(PrometheusError::Partial { server: self.server.clone(), said })
    }

    /// The server's own clock in UTC milliseconds, so that a wrong clock on this machine loses nothing.
    ///
    /// # Errors
    /// See [`PrometheusError`].
    pub async fn now(&self) -> Result<i64, PrometheusError> {
        let series = self.ask("api/v1/query", "time()", &[]).await?;
        let server = || self.server.clone();
        let seconds =
            series.first().and_then(Series::last).ok_or_else(|| PrometheusError::NoTime { server: server() })?;
        cluster::moment_from_seconds(seconds)
            .ok_or_else(|| PrometheusError::ImpossibleTime { server: server(), seconds })
    }

    /// The query's answer at one moment. With a range selector (`metric[15m]`) the points are the raw samples.
    ///
    /// # Errors
    /// See [`PrometheusError`].
    pub async fn instant(&self, query: &str, at: i64) -> Result<Vec<Series>, PrometheusError> {
        self.ask("api/v1/query", query, &[("time", seconds(at))]).await
    }

    /// The query's answers at `times.start`, every `step` and before `times.end`, in milliseconds. A span of more than
    /// [`MAX_POINTS`] is asked in pieces, and a piece that the server finds too large in halves; but where it counts series,
    /// of which half a span has as many.
    ///
    /// # Errors
    /// See [`PrometheusError`].
    pub fn range<'a>(
        &'a self,
        query: &'a str,
        times: Range<i64>,
        step: i64,
    ) -> BoxFuture<'a, Result<Vec<Series>, PrometheusError>> {
        Box::pin(async move {
            let points = (times.end - times.start + step - 1) / step;
            if points <= 0 {
                return Ok(Vec::new());
            }
            if points <= MAX_POINTS {
                let last = times.start + (points - 1) * step;
                let span = [("start", seconds(times.start)), ("end", seconds(last)), ("step", seconds(step))];
                match self.ask("api/v1/query_range", query, &span).await {
                    Err(error) if error.is_too_much() && !error.is_too_many_series() && points > 1 => {
                        tracing::debug!(points, "the server finds the span too large, asking for halves");
                    }
                    other => return other,
                }
            }
            let middle = times.start + points / 2 * step;
            let first = self.range(query, times.start..middle, step).await?;
            let second = self.range(query, middle..times.end, step).await?;
            Ok(join(first, second))
        })
    }

    async fn ask(&self, path: &str, query: &str, more: &[(&str, String)]) -> Result<Vec<Series>, PrometheusError> {
        let query = &self.selector.apply(query);
        let data = (|| self.once(path, query, more))
            .retry(self.backoff)
            .when(PrometheusError::is_transient)
            .adjust(|error: &PrometheusError, pause: Option<Duration>| {
                let asked = error.retry_after().map(|asked| asked.min(LONGEST_PAUSE));
                pause.map(|pause| pause.max(asked.unwrap_or_default()))
            })
            .notify(|error: &PrometheusError, pause: Duration| {
                self.retries.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, ?pause, "asking again");
            })
            .await?;
        let got = data.kind();
        let series = data
            .into_series()
            .map_err(|time| PrometheusError::ImpossibleTime { server: self.server.clone(), seconds: time.0 })?;
        series.ok_or_else(|| PrometheusError::ResultKind { query: query.to_owned(), got, wanted: "vector or matrix" })
    }

    async fn once(&self, path: &str, query: &str, more: &[(&str, String)]) -> Result<Data, PrometheusError> {
        // The semaphore is never closed; an error would only mean that nothing limits us.
        let _slot = self.slots.acquire().await.ok();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut fields = vec![("query", query.to_owned())];
        fields.extend(more.iter().map(|(name, value)| (*name, value.clone())));
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        let request = if query.len() > LONGEST_ADDRESS {
            self.http.post(url).form(&fields)
        } else {
            self.http.get(url).query(&fields)
        };
        let response = request.send().await.map_err(|error| self.connection(error))?;
        let status = response.status().as_u16();
        let content_type = header(&response, CONTENT_TYPE);
        let retry_after = header(&response, RETRY_AFTER).parse().ok().map(Duration::from_secs);
        if status != 200 {
            // However long it goes on, its beginning says why.
            let body = self.read(response, MOST_BYTES_OF_REFUSAL).await?.0;
            return Err(self.refused(status, &body, retry_after));
        }
        match self.read(response, MOST_BYTES).await? {
            (body, true) => self.parse(&body, content_type),
            (_, false) => Err(PrometheusError::TooLarge { server: self.server.clone(), limit: MOST_BYTES }),
        }
    }

    /// The body up to `limit` bytes, and whether that is all of it.
    async fn read(&self, mut response: reqwest::Response, limit: usize) -> Result<(Vec<u8>, bool), PrometheusError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.connection(error))? {
            let room = limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                return Ok((body, false));
            }
        }
        Ok((body, true))
    }

    fn connection(&self, error: reqwest::Error) -> PrometheusError {
        let server = self.server.clone();
        let (slow, source) = (error.is_timeout(), error.without_url());
        if slow {
            PrometheusError::Slow { server, limit: self.limit, source }
        } else {
            PrometheusError::Away { server, source }
        }
    }

    fn refused(&self, status: u16, body: &[u8], retry_after: Option<Duration>) -> PrometheusError {
        let (kind, text) = match serde_json::from_slice::<Reply>(body) {
            Ok(reply) => (reply.error_type, reply.error),
            Err(_) => (String::new(), beginning(body)),
        };
        PrometheusError::Refused { server: self.server.clone(), status, kind, text, retry_after }
    }

    fn parse(&self, body: &[u8], content_type: String) -> Result<Data, PrometheusError> {
        let server = self.server.clone();
        let mut reply: Reply = match serde_json::from_slice(body) {
            Ok(reply) => reply,
            Err(source) if source.is_eof() => {
                return Err(PrometheusError::Truncated { server, bytes: body.len(), source });
            }
            Err(_) if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') => {
                return Err(PrometheusError::NotJson { server, content_type, beginning: beginning(body) });
            }
            Err(source) => return Err(PrometheusError::Unexpected { server, source }),
        };
        let said = reply.notes();
        if said != Notes::default()
            && let Ok(mut notes) = self.notes.lock()
        {
            notes.merge(said);
        }
        match reply.data {
            Some(data) if reply.status == "success" => Ok(data),
            _ => Err(PrometheusError::Refused {
                server,
                status: 200,
                kind: reply.error_type,
                text: reply.error,
                retry_after: None,
            }),
        }
    }
}

/// Milliseconds as the API wants them: seconds with three decimals.
fn seconds(milliseconds: i64) -> String {
    format!("{:.3}", milliseconds as f64 / 1_000.0)
}

fn header(response: &reqwest::Response, name: reqwest::header::HeaderName) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// The first characters of a body that is no JSON, on one line.
fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(400)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(120).collect()
}

/// The series of two spans that follow one another.
fn join(first: Vec<Series>, second: Vec<Series>) -> Vec<Series> {
    let mut all: BTreeMap<_, Vec<(i64, f64)>> = BTreeMap::new();
    for series in first.into_iter().chain(second) {
        all.entry(series.labels).or_default().extend(series.points);
    }
    all.into_iter().map(|(labels, points)| Series { labels, points }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_milliseconds() {
        assert_eq!(seconds(1_500), "1.500");
        assert_eq!(seconds(1_700_000_000_005), "1700000000.005");
    }

    #[test]
    fn halves_of_a_span_become_one_series_again() {
        let series = |points: &[(i64, f64)]| Series {
            labels: [("a".to_owned(), "b".to_owned())].into(),
            points: points.to_vec(),
        };
        let joined = join(vec![series(&[(1, 1.0)])], vec![series(&[(2, 2.0)])]);
        assert_eq!(joined, [series(&[(1, 1.0), (2, 2.0)])]);
    }
}
