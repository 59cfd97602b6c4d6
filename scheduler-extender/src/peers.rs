//! The other replicas. Each remembers what it was asked itself, so an explanation is the newest that any of them has, and a report sums up
//! what all of them have seen.

use crate::explain::Explanation;
use crate::shadow::Comparison;
use anyhow::Context;
use futures::future::join_all;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use runtime::http::HttpArgs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// A replica that has not answered by then is left out, and the answer says so.
const LIMIT: Duration = Duration::from_secs(3);

/// Most bytes of what a replica answers: an explanation has some ten kilobytes.
const MOST_BYTES: usize = 4 << 20;
/// Readers for whom others are asked at once; more wait, for as long as a replica may take.
const MOST_ASKING: usize = 4;
/// A client is used again for so long, which saves a handshake for each question; then its certificate is read anew.
const CLIENT_LIFE: Duration = Duration::from_secs(60);
/// Clients that are kept: so many replicas nobody has.
const MOST_CLIENTS: usize = 256;

/// What one replica has seen.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Seen {
    /// Which process it is.
    pub replica: Uuid,
    /// How its decisions turned out.
    pub comparison: Comparison,
}

/// Where the replicas are.
#[derive(Debug)]
pub struct Peers {
    /// This process: the address of all replicas leads to it as well.
    pub replica: Uuid,
    urls: Vec<Url>,
    http: HttpArgs,
    asking: Semaphore,
    /// By host and address, each with the time at which it was made.
    clients: Mutex<HashMap<(String, SocketAddr), (Instant, Client)>>,
}

/// What replicas have said.
#[derive(Debug)]
struct Heard<T> {
    answers: Vec<T>,
    /// Those that did not answer, and why.
    silent: Vec<String>,
}

impl Peers {
    /// All replicas behind these addresses: each address that a name stands for is one.
    pub fn new(urls: Vec<Url>, http: HttpArgs) -> Self {
        let asking = Semaphore::new(MOST_ASKING);
        Self { replica: Uuid::new_v4(), urls, http, asking, clients: Mutex::default() }
    }

    /// The newest explanation that this or another replica has, since a pod that is tried again may be another one's; and those that were
    /// silent. `token` is what the reader sent.
    pub async fn explain(
        &self,
        own: Option<Explanation>,
        namespace: &str,
        pod: &str,
        token: Option<&HeaderValue>,
    ) -> (Option<Explanation>, Vec<String>) {
        let heard = self.ask::<Explanation>(&["explain", namespace, pod], token).await;
        // RFC 3339 in UTC with the same number of digits: the order of the texts is that of the times.
        let newest = heard.answers.into_iter().chain(own).max_by(|one, other| one.at.cmp(&other.at));
        (newest, heard.silent)
    }

    /// What all replicas have seen together, how many they are, and those that were silent.
    pub async fn comparison(&self, own: Comparison, token: Option<&HeaderValue>) -> (Comparison, usize, Vec<String>) {
        let heard = self.ask::<Seen>(&["v1", "shadow"], token).await;
        let mut all: BTreeMap<Uuid, Comparison> =
            heard.answers.into_iter().map(|seen| (seen.replica, seen.comparison)).collect();
        all.insert(self.replica, own);
        let mut sum = Comparison::default();
        all.values().for_each(|comparison| sum.add(comparison));
        (sum, all.len(), heard.silent)
    }

    async fn ask<T: DeserializeOwned>(&self, path: &[&str], token: Option<&HeaderValue>) -> Heard<T> {
        let mut heard = Heard { answers: Vec::new(), silent: Vec::new() };
        if self.urls.is_empty() {
            return heard;
        }
        let Ok(Ok(_place)) = tokio::time::timeout(LIMIT, self.asking.acquire()).await else {
            let said = format!("nobody was asked: {MOST_ASKING} other readers are waiting for answers");
            return Heard { silent: vec![said], ..heard };
        };
        for url in &self.urls {
            let found = match addresses(url).await {
                Ok(found) => found,
                Err(error) => {
                    heard.silent.push(format!("{error:#}"));
                    continue;
                }
            };
            let answers = found.iter().map(|address| self.ask_one::<T>(url, *address, path, token));
            for (answer, address) in join_all(answers).await.into_iter().zip(&found) {
                match answer {
                    Ok(answer) => heard.answers.extend(answer),
                    Err(error) => heard.silent.push(format!("{address}: {error:#}")),
                }
            }
        }
        heard
    }

    /// `None`: it answers, and does not know.
    async fn ask_one<T: DeserializeOwned>(
        &self,
        url: &Url,
        address: SocketAddr,
        path: &[&str],
        token: Option<&HeaderValue>,
    ) -> anyhow::Result<Option<T>> {
        let client = self.client(url, address)?;
        let mut url = url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = client.get(url).query(&[("alone", "true")]);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let response = request.send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(runtime::body::json(response.error_for_status()?, MOST_BYTES).await?))
    }

    /// One that calls the replica by its name, so that its certificate fits, at one of the name's addresses.
    fn client(&self, url: &Url, address: SocketAddr) -> anyhow::Result<Client> {
        let key = (url.host_str().unwrap_or_default().to_owned(), address);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, (made, _)| made.elapsed() < CLIENT_LIFE);
        if let Some((_, client)) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.http.builder(LIMIT)?.resolve(&key.0, address).build()?;
        if clients.len() < MOST_CLIENTS {
            clients.insert(key, (Instant::now(), client.clone()));
        }
        Ok(client)
    }
}

async fn addresses(url: &Url) -> anyhow::Result<Vec<SocketAddr>> {
    let host = url.host_str().with_context(|| format!("`{url}` has no host"))?;
    let port = url.port_or_known_default().with_context(|| format!("`{url}` has no port"))?;
    // An address in brackets is one of IPv6.
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
    let mut found: Vec<SocketAddr> = found.with_context(|| format!("`{host}` leads to no address"))?.collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
