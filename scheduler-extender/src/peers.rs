//! The other replicas. Each remembers what it was asked itself, so an explanation is the newest that any of them has, and a report sums up
//! what all of them have seen.

use crate::explain::Explanation;
use crate::shadow::Comparison;
use anyhow::Context;
use futures::future::join_all;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{StatusCode, Url};
use runtime::http::HttpArgs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

/// A replica that has not answered by then is left out, and the answer says so.
const LIMIT: Duration = Duration::from_secs(3);

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
        Self { replica: Uuid::new_v4(), urls, http }
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
        // By its name, so that its certificate fits, at one of the name's addresses.
        let client = self.http.builder(LIMIT)?.resolve(url.host_str().unwrap_or_default(), address).build()?;
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
        Ok(Some(response.error_for_status()?.json().await?))
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
