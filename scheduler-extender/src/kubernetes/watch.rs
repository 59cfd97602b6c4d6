//! Follows a list of objects: reads it whole, then what changes, for as long as the process lives. A watch that ends is begun again
//! where it ended; when the API server has forgotten that place, the list is read anew.
//!
//! The list comes as the beginning of the watch (`sendInitialEvents`, Kubernetes 1.32 and newer): the API server sends it from memory, one
//! object after the other. One that does not know how is asked for pieces, which it reads from etcd.

use super::{Api, ApiPath, KubeError, Metadata};
use backon::{BackoffBuilder, ExponentialBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

/// A list is read in pieces of so many objects, so that a large cluster is never in memory whole.
const PIECE: usize = 500;
/// A list as the beginning of a watch takes some seconds for 100,000 pods. A server that does not know how to send it never says that it has
/// ended.
const LIST_LIMIT: Duration = Duration::from_secs(120);
/// Marks the bookmark that ends the list.
const LIST_ENDS: &str = "k8s.io/initial-events-end";
/// The API server ends a watch after this; it is begun again at once.
const WATCH_SECONDS: u32 = 300;
/// Most bytes of a change: etcd takes no object of more than 1.5 MiB, and as JSON it is some times as large.
const MOST_LINE: usize = 16 << 20;
/// Between attempts, growing, with jitter so that replicas do not come back all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What is watched.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// Such as `["api", "v1", "pods"]`.
    pub path: &'static [&'static str],
    /// Field selector; may be empty.
    pub fields: &'static str,
}

impl Resource {
    fn at(&self) -> ApiPath {
        let path = ApiPath::fixed(self.path);
        if self.fields.is_empty() { path } else { path.with("fieldSelector", self.fields) }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened<T> {
    /// A list begins: whatever is not in it is gone.
    ListBegins,
    /// It is there, or has changed.
    Is(T),
    /// The list is whole; from here on changes are told.
    ListEnds,
    /// It is gone, or left what is watched.
    Gone(T),
    /// Nothing is heard any more; attempts go on.
    Lost,
    /// Changes are heard again.
    Heard,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

/// Tells all that happens to a resource; ends only with the task that it runs in.
pub async fn watch<T: DeserializeOwned>(api: &Api, resource: Resource, mut tell: impl FnMut(Happened<T>) + Send) {
    let pauses = || {
        ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times()
            .build()
    };
    let mut pause = pauses();
    let mut place = Place { version: None, is_listing: false };
    let (mut is_heard, mut has_said, mut streams) = (false, false, true);
    loop {
        let mut heard = |tell: &mut dyn FnMut(Happened<T>)| {
            if !std::mem::replace(&mut is_heard, true) {
                has_said = false;
                tell(Happened::Heard);
            }
        };
        place.is_listing = place.version.is_none() && streams;
        let step = async {
            if place.version.is_none() && !streams {
                place.version = Some(list(api, resource, &mut tell).await?);
            }
            changes(api, resource, &mut place, &mut tell, &mut heard).await
        };
        match step.await {
            Ok(()) => {
                pause = pauses();
                // A server that ends every watch at once is not asked in a tight loop.
                tokio::time::sleep(FIRST_PAUSE).await;
            }
            Err(error) => {
                if place.is_listing && error.is_unknown_way() {
                    tracing::debug!(path = %resource.at(), "the API server sends no lists as watches: asking for pieces");
                    streams = false;
                    continue;
                }
                if error.is_gone() {
                    tracing::info!(path = %resource.at(), "the watch has fallen behind, the list is read again");
                    place.version = None;
                }
                // Asked for again from where we are, the same change would come again.
                if matches!(error, KubeError::Unreadable { .. } | KubeError::Answer { .. }) {
                    place.version = None;
                }
                if std::mem::take(&mut is_heard) {
                    tell(Happened::Lost);
                }
                // The same word every ten seconds is no news.
                if !std::mem::replace(&mut has_said, true) {
                    let error = format!("{:#}", anyhow::Error::new(error));
                    tracing::warn!(path = %resource.at(), error, "nothing is heard from the API server, trying again");
                }
                tokio::time::sleep(pause.next().unwrap_or(LONGEST_PAUSE)).await;
            }
        }
    }
}

/// Reads the list; returns its version.
async fn list<T: DeserializeOwned>(
    api: &Api,
    resource: Resource,
    tell: &mut (impl FnMut(Happened<T>) + Send),
) -> Result<String, KubeError> {
    let mut continues = String::new();
    let mut begins = true;
    loop {
        let mut path = resource.at().with("limit", PIECE.to_string());
        if !continues.is_empty() {
            path = path.with("continue", continues);
        }
        let piece: List = api.get(&path).await?;
        if std::mem::take(&mut begins) {
            tell(Happened::ListBegins);
        }
        piece
            .items
            .iter()
            .filter_map(|object| object_of(resource, object))
            .for_each(|object| tell(Happened::Is(object)));
        continues = piece.metadata.continues;
        if continues.is_empty() {
            tell(Happened::ListEnds);
            return Ok(piece.metadata.resource_version);
        }
    }
}

/// Where we are in what is told.
struct Place {
    /// The version up to which all is known; none before the list has ended.
    version: Option<String>,
    /// The list comes first.
    is_listing: bool,
}

/// Reads changes until the watch ends, and before them the list where it comes first.
async fn changes<T: DeserializeOwned>(
    api: &Api,
    resource: Resource,
    place: &mut Place,
    tell: &mut (impl FnMut(Happened<T>) + Send),
    heard: &mut (impl FnMut(&mut dyn FnMut(Happened<T>)) + Send),
) -> Result<(), KubeError> {
    let path = resource.at().with("watch", "1").with("allowWatchBookmarks", "true");
    let path = path.with("timeoutSeconds", WATCH_SECONDS.to_string());
    let path = match &place.version {
        Some(version) => path.with("resourceVersion", version.as_str()),
        None => path.with("sendInitialEvents", "true").with("resourceVersionMatch", "NotOlderThan"),
    };
    let began = Instant::now();
    let mut response = api.stream(&path).await?;
    if place.is_listing {
        tell(Happened::ListBegins);
    } else {
        heard(tell);
    }
    let mut lines = Lines::default();
    loop {
        let chunk = match place.is_listing {
            false => Ok(response.chunk().await),
            true => tokio::time::timeout(LIST_LIMIT.saturating_sub(began.elapsed()), response.chunk()).await,
        };
        let Ok(chunk) = chunk else { return Err(KubeError::NoEnd { path: path.to_string(), limit: LIST_LIMIT }) };
        let chunk = chunk.map_err(|source| KubeError::Unreachable { path: path.to_string(), source })?;
        let Some(chunk) = chunk else { return Ok(()) };
        let was_listing = place.is_listing;
        lines.take(&chunk, |line| change(line, resource, place, tell))?;
        if was_listing && !place.is_listing {
            heard(tell);
        }
        if lines.waiting() > MOST_LINE {
            return Err(unreadable(resource, anyhow::anyhow!("it has more than {MOST_LINE} bytes")));
        }
    }
}

fn unreadable(resource: Resource, source: impl Into<anyhow::Error>) -> KubeError {
    KubeError::Unreadable { what: format!("a change of {}", resource.at()), source: source.into() }
}

/// Lines that come in pieces.
#[derive(Default)]
struct Lines {
    /// What has come of a line that has not ended.
    begun: Vec<u8>,
}

impl Lines {
    /// Takes in a piece; `each` gets every line that ends in it. Each byte is looked at once, however small the pieces are.
    fn take<E>(&mut self, piece: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = piece;
        while let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
            let (end, after) = (&rest[..length], &rest[length + 1..]);
            rest = after;
            if self.begun.is_empty() {
                each(end)?;
            } else {
                self.begun.extend_from_slice(end);
                let line = std::mem::take(&mut self.begun);
                each(&line)?;
            }
        }
        self.begun.extend_from_slice(rest);
        Ok(())
    }

    /// Bytes of a line that has not ended.
    fn waiting(&self) -> usize {
        self.begun.len()
    }
}

fn change<T: DeserializeOwned>(
    line: &[u8],
    resource: Resource,
    place: &mut Place,
    tell: &mut (impl FnMut(Happened<T>) + Send),
) -> Result<(), KubeError> {
    let unreadable = |source: serde_json::Error| unreadable(resource, source);
    let line: Line<'_> = serde_json::from_slice(line).map_err(unreadable)?;
    let object = line.object.get();
    if line.kind == "ERROR" {
        let status: Status = serde_json::from_str(object).map_err(unreadable)?;
        let code = reqwest::StatusCode::from_u16(status.code).unwrap_or(reqwest::StatusCode::INTERNAL_SERVER_ERROR);
        return Err(KubeError::Refused { path: resource.at().to_string(), status: code, message: status.message });
    }
    let at: Versioned = serde_json::from_str(object).map_err(unreadable)?;
    match line.kind {
        "ADDED" | "MODIFIED" => object_of(resource, line.object).into_iter().for_each(|it| tell(Happened::Is(it))),
        "DELETED" => object_of(resource, line.object).into_iter().for_each(|it| tell(Happened::Gone(it))),
        // A bookmark tells how far we are, and where the list ends.
        _ if place.is_listing && at.metadata.annotations.get(LIST_ENDS).is_some_and(|value| value == "true") => {
            place.is_listing = false;
            tell(Happened::ListEnds);
        }
        _ => {}
    }
    // Whoever breaks off within a list begins it anew.
    if !place.is_listing {
        place.version = Some(at.metadata.resource_version);
    }
    Ok(())
}

/// One object that nobody can read must not keep us from the others.
fn object_of<T: DeserializeOwned>(resource: Resource, object: &RawValue) -> Option<T> {
    let read = serde_json::from_str(object.get());
    read.inspect_err(|error| tracing::warn!(path = %resource.at(), %error, "an object cannot be read, it is left out"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_in_whatever_pieces_they_come() {
        let text = b"one\n\ntwo and more\nthe rest";
        for size in 1..=text.len() {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                let taken: Result<(), ()> = lines.take(piece, |line| {
                    seen.push(String::from_utf8_lossy(line).into_owned());
                    Ok(())
                });
                taken.expect("lines");
            }
            assert_eq!((seen, lines.waiting()), (vec!["one".to_owned(), String::new(), "two and more".to_owned()], 8));
        }
    }
}
