//! Alerts for Alertmanager, by its v2 API.
//!
//! Alertmanager forgets a firing alert at its `endsAt`, so each one is sent again while it stands, with an end a few rounds
//! ahead: should this process die, alerts end by themselves. What could not be sent is kept.

use super::alarms::{Change, ChangeKind, NodeAlarm};
use crate::metrics::Metrics;
use crate::scorer::blame_text;
use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Client;
use runtime::WrongUse;
use runtime::http::{HttpArgs, SecretVariables};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// The label `alertname`.
pub const ALERT_NAME: &str = "BerthNodeAnomaly";
/// A firing alert ends after so many rounds without news.
const ROUNDS_AHEAD: u32 = 4;
/// Time for one request.
const LIMIT: Duration = Duration::from_secs(10);
/// Alerts of one request.
const BATCH: usize = 500;

/// Node, type, severity: the labels that make an alert what it is.
type Key = (String, &'static str, &'static str);

/// What Alertmanager is told.
#[derive(Debug)]
pub struct Notifier {
    http: Client,
    url: Url,
    resend: Duration,
    firing: BTreeMap<Key, NodeAlarm>,
    /// Ended, with their last moment; kept until Alertmanager has taken them.
    resolved: BTreeMap<Key, (NodeAlarm, i64)>,
    is_due: bool,
    sent_at: Option<Instant>,
    is_away: bool,
    metrics: Arc<Metrics>,
    sent: u64,
    failures: u64,
}

impl Notifier {
    /// Prepares the connection; nothing is sent yet. `url` is the address below which `/api/v2/alerts` is. Secrets come from
    /// `BERTH_ALERTMANAGER_PASSWORD` or `BERTH_ALERTMANAGER_BEARER_TOKEN`.
    ///
    /// # Errors
    /// When it is no address.
    pub fn new(url: &str, http: &HttpArgs, resend: Duration, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let wrong = || WrongUse(format!("`{url}` is no address such as http://alertmanager:9093"));
        let mut parsed = Url::parse(url).map_err(|_| wrong())?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
            return Err(wrong().into());
        }
        if parsed.password().is_some() {
            return Err(WrongUse(
                "the address of alertmanager holds a password: use BERTH_ALERTMANAGER_PASSWORD instead".into(),
            )
            .into());
        }
        parsed.set_path(&format!("{}/api/v2/alerts", parsed.path().trim_end_matches('/')));
        let secrets = SecretVariables {
            password: "BERTH_ALERTMANAGER_PASSWORD",
            bearer_token: "BERTH_ALERTMANAGER_BEARER_TOKEN",
        };
        let http = http.client_with(LIMIT, &secrets).context("failed to prepare the connection to alertmanager")?;
        Ok(Self {
            http,
            url: parsed,
            resend,
            firing: BTreeMap::new(),
            resolved: BTreeMap::new(),
            is_due: false,
            sent_at: None,
            is_away: false,
            metrics,
            sent: 0,
            failures: 0,
        })
    }

    /// Takes in what changed; [`Notifier::flush`] sends it.
    pub fn note(&mut self, change: &Change) {
        let alarm = &change.alarm;
        self.is_due = true;
        match change.change {
            ChangeKind::Raised => {
                // A higher severity is another alert: the one before ends here.
                let before: Vec<Key> = self.firing.keys().filter(|key| key.0 == alarm.node).cloned().collect();
                for key in before {
                    self.end(&key, change.at);
                }
                let key = key_of(alarm);
                self.resolved.remove(&key);
                self.firing.insert(key, alarm.clone());
            }
            ChangeKind::Cleared | ChangeKind::Gone => self.end(&key_of(alarm), change.at),
        }
    }

    fn end(&mut self, key: &Key, at: i64) {
        if let Some(alarm) = self.firing.remove(key) {
            self.resolved.insert(key.clone(), (alarm, at));
        }
    }

    /// Sends what is due: changes at once, standing alerts again and again. A server that is away is told at the next call.
    pub async fn flush(&mut self) {
        let again = self.sent_at.is_none_or(|at| at.elapsed() >= self.resend);
        if !self.is_due && (!again || self.firing.is_empty()) {
            return;
        }
        let now = Utc::now();
        let ahead = now + self.resend * ROUNDS_AHEAD;
        let firing = self.firing.values().map(|alarm| document(alarm, ahead));
        let ended = self.resolved.values().map(|(alarm, at)| {
            let at = moment((*at).max(alarm.since + 1)).min(now);
            document(alarm, at)
        });
        let alerts: Vec<Value> = ended.chain(firing).collect();
        for batch in alerts.chunks(BATCH) {
            if let Err(error) = self.post(batch).await {
                self.failures += 1;
                self.metrics.retried("alertmanager");
                self.metrics.connected("alertmanager", false);
                self.metrics.alerts_waiting(alerts.len());
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        waiting = alerts.len(),
                        "alertmanager takes no alerts, they are kept and sent again"
                    );
                }
                return;
            }
        }
        if std::mem::replace(&mut self.is_away, false) {
            tracing::info!(alerts = alerts.len(), "alertmanager takes alerts again");
        }
        self.metrics.connected("alertmanager", true);
        self.metrics.alerts_waiting(0);
        self.metrics.alerts_sent("firing", self.firing.len() as u64);
        self.metrics.alerts_sent("resolved", self.resolved.len() as u64);
        self.sent += alerts.len() as u64;
        self.resolved.clear();
        self.is_due = false;
        self.sent_at = Some(Instant::now());
    }

    async fn post(&self, alerts: &[Value]) -> anyhow::Result<()> {
        let response = self.http.post(self.url.clone()).json(&alerts).send().await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let text: String = response.text().await.unwrap_or_default().chars().take(200).collect();
        anyhow::bail!("alertmanager answered {status}: {text}")
    }

    /// Alerts that were taken (again and again while they stand), and requests that failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent, self.failures)
    }

    /// Alerts that Alertmanager does not know the latest of.
    pub fn waiting(&self) -> usize {
        if self.is_due { self.firing.len() + self.resolved.len() } else { 0 }
    }
}

fn key_of(alarm: &NodeAlarm) -> Key {
    (alarm.node.clone(), alarm.kind.as_str(), alarm.severity.as_str())
}

fn moment(ts: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ts).unwrap_or_default()
}

fn document(alarm: &NodeAlarm, ends_at: DateTime<Utc>) -> Value {
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let (node, kind, severity) = (&alarm.node, alarm.kind.as_str(), alarm.severity.as_str());
    json!({
        "labels": { "alertname": ALERT_NAME, "node": node, "type": kind, "severity": severity, "source": "berth" },
        "annotations": {
            "summary": format!("node {node} behaves unlike itself and the cluster ({kind}, {severity})"),
            "description": format!("score {:.2}; to blame: {}", alarm.finding.score, blame_text(&alarm.finding.blame)),
            "response": alarm.response.as_str(),
        },
        "startsAt": text(moment(alarm.since)),
        "endsAt": text(ends_at),
    })
}
