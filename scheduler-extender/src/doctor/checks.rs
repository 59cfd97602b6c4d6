//! The single checks.

use super::{Finding, Patient, rights};
use crate::kubernetes::{Api, ApiPath, Node};
use crate::rules::{Mode, Rules};
use crate::settings::{Follow, ScoringFrom};
use crate::unobserved::is_left_out;
use cluster::MINUTE_MS;
use serde::Deserialize;
use serving::http::tls::Tls;
use serving::metrics::Metrics;
use serving::nodes::Feed;
use serving::registry::{ModelName, Origin, Registry};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracking::Tracker;

/// Samples of so long ago are looked for.
const RECENT: i64 = 10 * MINUTE_MS;
/// Distance of samples that are asked for.
const STEP: i64 = MINUTE_MS;
/// A model that was trained longer ago has not been retrained for a week of daily runs.
const OLD_DAYS: i64 = 7;
/// Clocks that are further apart than this confuse reservations, which last two minutes.
const CLOCK_LIMIT: i64 = 10_000;
pub(super) fn rules(patient: &Patient) -> Finding {
    let Some(path) = &patient.of.server.rules else {
        return Finding::ok("rules", "no file: shadow, with the defaults");
    };
    match Rules::read(path) {
        Ok(rules) => {
            let share = if rules.mode == Mode::Canary { format!(" at {} %", rules.percent) } else { String::new() };
            Finding::ok(
                "rules",
                format!("mode {}{share}, filter {}, kill {}", rules.mode.as_str(), rules.filter, rules.kill),
            )
        }
        Err(error) => Finding::failed(
            "rules",
            format!("{error:#}"),
            "correct the file; a running extender goes on with its old rules",
        ),
    }
}

pub(super) fn certificates(patient: &Patient) -> Finding {
    let tls = match patient.of.tls.load() {
        Ok(tls) => tls,
        Err(error) => {
            let advice = "the files have to be PEM, and the key that of the certificate";
            return Finding::failed("TLS", format!("{error:#}"), advice);
        }
    };
    if let Err(error) = patient.of.server.check_clients(tls.as_ref().is_some_and(Tls::knows_clients)) {
        return Finding::failed("TLS", error.to_string(), "name the authority of kube-scheduler's client certificate");
    }
    match tls {
        Some(tls) if tls.knows_names() => Finding::ok("TLS", "certificate and key fit, clients need one of the names"),
        Some(tls) if tls.knows_clients() => Finding::warning(
            "TLS",
            "certificate and key fit, and every client of the authority may ask",
            "give --tls-client-name system:kube-scheduler: a cluster's own authority has signed a certificate for each kubelet",
        ),
        Some(_) => Finding::warning(
            "TLS",
            "certificate and key fit, and anyone may ask who reaches the address",
            "name the authority of kube-scheduler's client certificate with --tls-client-ca-file",
        ),
        None => Finding::warning(
            "TLS",
            "none: kube-scheduler would send pods in the clear",
            "give --tls-cert-file and --tls-key-file",
        ),
    }
}

pub(super) async fn models(patient: &Patient) -> Vec<Finding> {
    if let ScoringFrom::Remote(url) = &patient.of.server.scoring {
        let reached = async {
            let limit = std::time::Duration::from_secs(5);
            let client = patient.of.server.scoring_client(&patient.of.source.http, url, limit)?;
            anyhow::Ok(client.get(url.join("v2/health/ready")?).send().await?.status())
        };
        return vec![match reached.await {
            Ok(status) if status.is_success() => Finding::ok("models", format!("serving at `{url}` is ready")),
            Ok(status) => Finding::failed(
                "models",
                format!("serving at `{url}` answers {status}"),
                "see its /health and /model-info",
            ),
            Err(error) => Finding::failed(
                "models",
                format!("serving at `{url}`: {error:#}"),
                "check the address, or use --scoring embedded",
            ),
        }];
    }
    let tracker: Arc<dyn Tracker> = match tracking::open(&patient.of.tracking, patient.of.store.root()).await {
        Ok(tracker) => Arc::from(tracker),
        Err(error) => return vec![Finding::failed("models", format!("{error:#}"), "check [tracking] and --data")],
    };
    let alias = |name| (name, Origin::Alias { tracker: Arc::clone(&tracker), alias: patient.of.server.alias.clone() });
    let mut origins: BTreeMap<ModelName, Origin> = ModelName::TRAINED.into_iter().map(alias).collect();
    origins.extend(patient.of.folders.iter().map(|(name, folder)| (*name, Origin::Folder(folder.clone()))));
    let registry = Registry::new(origins, Arc::new(Metrics::default()));
    registry.refresh().await;
    let slots = registry.slots();
    let any = slots.values().any(|slot| slot.current.is_some());
    let mut findings = Vec::new();
    for (name, slot) in slots {
        let what = name.as_str();
        findings.push(match (slot.current, slot.refused) {
            (Some(model), _) => {
                let trained = &model.metadata.trained_at;
                let days = chrono::DateTime::parse_from_rfc3339(trained)
                    .map(|at| (chrono::Utc::now() - at.to_utc()).num_days());
                match days {
                    Ok(days) if days > OLD_DAYS => Finding::warning(
                        "models",
                        format!("{what} {} was trained {days} days ago", model.version),
                        "look at the daily retrain: `pipelines run`",
                    ),
                    _ => Finding::ok("models", format!("{what} {}, trained {trained}", model.version)),
                }
            }
            (None, refused) => {
                let why = refused.map_or("nothing is registered".to_owned(), |refused| refused.reason);
                let advice = "run the retrain pipeline (`make cycle`), or register one with `trainer`";
                // One model is enough to score by; none is not.
                if any {
                    Finding::warning("models", format!("{what}: {why}"), advice)
                } else {
                    Finding::failed("models", format!("{what}: {why}"), advice)
                }
            }
        });
    }
    findings
}

/// Returns the nodes that metrics name, if Prometheus could be asked.
pub(super) async fn prometheus(patient: &Patient, findings: &mut Vec<Finding>) -> Option<BTreeSet<String>> {
    if matches!(patient.of.server.scoring, ScoringFrom::Remote(_)) {
        findings.push(Finding::ok("Prometheus", "asked by serving, not from here"));
        return None;
    }
    let Some(address) = &patient.of.source.args.prometheus else {
        findings.push(Finding::failed(
            "Prometheus",
            "no address: scores would be those of the tables below --data, as of their last sample",
            "give --prometheus URL",
        ));
        return None;
    };
    let asked = async {
        let mut feed = Feed::prometheus(&patient.of.source)?;
        let now = feed.now().await?;
        let samples = feed.samples(&(now - RECENT..now), STEP).await?;
        anyhow::Ok((now, samples))
    };
    match asked.await {
        Ok((now, samples)) => {
            let named: BTreeSet<String> =
                samples.iter().filter(|(_, samples)| !samples.is_empty()).map(|(node, _)| node.to_string()).collect();
            let newest = samples.iter().filter_map(|(_, samples)| samples.last()).map(|sample| sample.ts).max();
            let age = newest.map(|newest| (now - newest) / 1_000);
            findings.push(match (named.len(), age) {
                (0, _) | (_, None) => Finding::failed(
                    "Prometheus",
                    format!("`{address}` knows no node's usage in the last ten minutes"),
                    "node-exporter and kube-state-metrics have to be scraped; `collector backfill --show-mapping` tells what is found",
                ),
                (count, Some(age)) => Finding::ok("Prometheus", format!("{count} nodes, newest sample {age} s old")),
            });
            let apart = (chrono::Utc::now().timestamp_millis() - now).abs();
            findings.push(if apart > CLOCK_LIMIT && patient.of.source.args.to.is_none() {
                let said = format!("Prometheus's clock and this one are {:.1} s apart", apart as f64 / 1e3);
                Finding::failed("clock", said, "synchronise the clocks: data would seem stale, or younger than it is")
            } else {
                Finding::ok("clock", "that of Prometheus and this one agree")
            });
            Some(named)
        }
        Err(error) => {
            findings.push(Finding::failed(
                "Prometheus",
                format!("{error:#}"),
                "check --prometheus, --ca-file and the credentials",
            ));
            None
        }
    }
}

#[derive(Deserialize)]
struct NodeList {
    items: Vec<Node>,
}

pub(super) async fn cluster(patient: &Patient, named: Option<&BTreeSet<String>>, findings: &mut Vec<Finding>) {
    let check = "API server";
    if patient.of.cluster.follow == Follow::Never {
        findings.push(Finding::warning(
            check,
            "it is not followed",
            "without it no load is reserved, and a burst of pods may herd",
        ));
        return;
    }
    let api = match Api::connect(patient.of.cluster.kubeconfig.as_deref()) {
        Ok(Some(api)) => api,
        Ok(None) => {
            let advice = "give --kubeconfig, or run as a pod with a service account";
            findings.push(Finding::failed(check, "there is none: this is no pod, and no kubeconfig is named", advice));
            return;
        }
        Err(error) => {
            findings.push(Finding::failed(check, format!("{error:#}"), "correct the kubeconfig"));
            return;
        }
    };
    let nodes = match api.get::<NodeList>(&ApiPath::fixed(&["api", "v1", "nodes"])).await {
        Ok(list) => list.items,
        Err(error) => {
            let said = format!("{:#}", anyhow::Error::new(error));
            findings.push(Finding::failed(
                check,
                said,
                "check the address and the token; if it is forbidden, apply deploy/scheduler-extender/rbac.yaml",
            ));
            return;
        }
    };
    findings.push(Finding::ok(check, format!("{} nodes at {}", nodes.len(), api.server())));
    findings.push(access(patient, &api).await);
    let ignored = patient.of.source.labels.ignored();
    let nodes: Vec<Node> = nodes.into_iter().filter(|node| !is_left_out(ignored, node)).collect();
    let Some(named) = named.filter(|named| !named.is_empty() && !nodes.is_empty()) else { return };
    let strangers: Vec<&str> =
        nodes.iter().map(|node| node.metadata.name.as_str()).filter(|name| !named.contains(*name)).collect();
    let share = 1.0 - strangers.len() as f64 / nodes.len() as f64;
    let said = format!("metrics name {:.0} % of the cluster's nodes", 100.0 * share);
    let few: Vec<&str> = strangers.iter().copied().take(5).collect();
    let advice = format!(
        "without metrics, among others: {}. `collector backfill --show-mapping` tells why; where node_exporter cannot run, leave them out with --ignore-nodes",
        few.join(", ")
    );
    findings.push(match (strangers.is_empty(), share >= Rules::default().guard.matched_nodes) {
        (true, _) => Finding::ok("node mapping", said),
        (false, true) => Finding::warning("node mapping", said, advice),
        (false, false) => Finding::failed("node mapping", said, advice),
    });
}

async fn access(patient: &Patient, api: &Api) -> Finding {
    // A file that cannot be used is told by its own check.
    let rules = patient.of.server.rules.as_deref().and_then(|path| Rules::read(path).ok()).unwrap_or_default();
    let mut lacking = Vec::new();
    for right in rights::needed(&rules) {
        match api.may(right.verb, "", right.resource).await {
            Ok(true) => {}
            Ok(false) => lacking.push(right),
            Err(error) => {
                let said = format!("{:#}", anyhow::Error::new(error));
                return Finding::failed("RBAC", said, "the account has to be one that the API server knows");
            }
        }
    }
    if lacking.is_empty() {
        return Finding::ok("RBAC", "all that is needed is allowed");
    }
    let said: Vec<String> = lacking.iter().map(|right| format!("{} {}", right.verb, right.resource)).collect();
    Finding::failed("RBAC", format!("not allowed: {}", said.join(", ")), rights::advice(&lacking))
}
