//! kube-scheduler's configuration: the traps that make a webhook dangerous or useless.

use super::{Finding, Verdict};
use crate::settings::LimitArgs;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Url;
use serde_yaml_ng::Value;
use serving::http::tls::TlsArgs;
use std::path::Path;
use std::time::Duration;

const CHECK: &str = "kube-scheduler";
/// Default of `httpTimeout`: what a hung webhook costs each pod.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// From here on a webhook that hangs is felt as an outage.
const LONG_TIMEOUT: Duration = Duration::from_secs(1);
/// The default plugins' weights sum to 12: below this a webhook is drowned, above it leads.
const WEIGHTS: std::ops::RangeInclusive<i64> = 2..=12;

/// Looks at a `KubeSchedulerConfiguration`, and whether kube-scheduler and an extender with the certificates of `tls` would let each
/// other in.
pub fn scheduler_config(path: &Path, limits: &LimitArgs, tls: &TlsArgs) -> Vec<Finding> {
    let read = || -> anyhow::Result<Value> {
        let text = runtime::files::read_text(path)?;
        serde_yaml_ng::from_str(&text).with_context(|| format!("`{}` is no YAML", path.display()))
    };
    match read() {
        Ok(config) => {
            let strangers = ours(&config).map(|extender| strangers(extender, tls)).unwrap_or_default();
            let mut findings = judged(&config, limits);
            if !strangers.is_empty() {
                findings.retain(|finding| finding.verdict != Verdict::Ok);
                findings.extend(strangers);
            }
            findings
        }
        Err(error) => {
            vec![Finding::failed(CHECK, format!("{error:#}"), "name the file that kube-scheduler gets by --config")]
        }
    }
}

/// The stanza that calls us, or how many there are instead of one.
fn ours(config: &Value) -> Result<&Value, usize> {
    let all = config.get("extenders").and_then(Value::as_sequence);
    let extenders: Vec<&Value> =
        all.into_iter().flatten().filter(|it| text(it, "prioritizeVerb") == "prioritize").collect();
    match extenders.as_slice() {
        [extender] => Ok(extender),
        several => Err(several.len()),
    }
}

/// Why the two would not come to speak, without calling either: kube-scheduler keeps a failed handshake to itself.
fn strangers(extender: &Value, own: &TlsArgs) -> Vec<Finding> {
    let prefix = text(extender, "urlPrefix");
    let Ok(url) = prefix.parse::<Url>() else {
        let advice = "set the extender's address, such as https://10.96.0.7:8443";
        return vec![Finding::failed(CHECK, format!("urlPrefix `{prefix}` is no address"), advice)];
    };
    let speaks_tls = own.tls_cert_file.is_some();
    if speaks_tls != (url.scheme() == "https") {
        let speaks = if speaks_tls { "TLS" } else { "none" };
        let said = format!("urlPrefix begins with `{}`, and the extender speaks {speaks}", url.scheme());
        return vec![Finding::failed(CHECK, said, "set urlPrefix, or --tls-cert-file and --tls-key-file")];
    }
    let mut findings = Vec::new();
    let trust = extender.get("tlsConfig");
    let given = |key: &str| trust.map(|trust| text(trust, key)).filter(|text| !text.is_empty());
    let named = |data: &str, file: &str| given(data).or(given(file)).is_some();
    if own.tls_client_ca_file.is_some() && !(named("certData", "certFile") && named("keyData", "keyFile")) {
        let said = "tlsConfig has no client certificate, and the extender lets nobody in without one";
        findings.push(Finding::failed(CHECK, said, "set tlsConfig.certFile and tlsConfig.keyFile"));
    }
    // A file of another machine is not looked at.
    let authorities = match (given("caData"), given("caFile")) {
        (Some(data), _) => BASE64.decode(data).ok(),
        (None, Some(file)) => std::fs::read(file).ok(),
        (None, None) => None,
    };
    let host = given("serverName").or(url.host_str()).unwrap_or_default();
    // Addresses of IPv6 stand in brackets in a URL, and without them in a certificate.
    let host = host.trim_matches(['[', ']']);
    if let Some(Err(error)) = authorities.filter(|_| speaks_tls).map(|pem| own.trusted_by(&pem, host)) {
        let said = format!("kube-scheduler would not take this extender's certificate for `{host}`: {error:#}");
        let advice = "put the authority of --tls-cert-file into tlsConfig.caData; the certificate has to name the host of urlPrefix";
        findings.push(Finding::failed(CHECK, said, advice));
    }
    findings
}

fn judged(config: &Value, limits: &LimitArgs) -> Vec<Finding> {
    let extender = match ours(config) {
        Ok(extender) => extender,
        Err(count) => {
            let said = format!("{count} extenders have `prioritizeVerb: prioritize`, want one");
            return vec![Finding::failed(CHECK, said, "add the stanza of deploy/kube-scheduler")];
        }
    };
    let mut findings = Vec::new();
    let mut say = |finding| findings.push(finding);
    let flag = |key: &str| extender.get(key).and_then(Value::as_bool).unwrap_or(false);
    let timeout = match text(extender, "httpTimeout") {
        "" => DEFAULT_TIMEOUT,
        given => go_duration(given).unwrap_or(DEFAULT_TIMEOUT),
    };
    if timeout <= limits.deadline.0 {
        say(Finding::failed(
            CHECK,
            format!("httpTimeout {timeout:?} is not above the deadline {}", limits.deadline),
            "set httpTimeout: 200ms, or a shorter --deadline",
        ));
    } else if timeout > LONG_TIMEOUT {
        say(Finding::failed(
            CHECK,
            format!("httpTimeout is {timeout:?}: an extender that hangs costs each pod that long"),
            "set httpTimeout: 200ms",
        ));
    }
    if !flag("ignorable") {
        let said =
            "ignorable is not true: where a filter verb is set, an outage of the extender makes every pod pending";
        say(Finding::failed(CHECK, said, "set ignorable: true"));
    }
    if !text(extender, "filterVerb").is_empty() {
        let said = "a filter verb is set: what it rejects is invisible to Cluster Autoscaler";
        say(Finding::warning(CHECK, said, "leave it out unless it is wanted; docs/operations.md tells what it costs"));
    }
    if !text(extender, "bindVerb").is_empty() || !text(extender, "preemptVerb").is_empty() {
        say(Finding::failed(CHECK, "bindVerb or preemptVerb is set, which Berth does not answer", "leave both out"));
    }
    if !flag("nodeCacheCapable") {
        let said = "nodeCacheCapable is not true: whole nodes are sent, some megabytes for each pod";
        say(Finding::warning(CHECK, said, "set nodeCacheCapable: true"));
    }
    if flag("enableHTTPS") {
        let tls = extender.get("tlsConfig");
        let has = |key: &str| tls.is_some_and(|tls| !text(tls, key).is_empty());
        if !has("caData") && !has("caFile") {
            let said = "enableHTTPS without caData or caFile: kube-scheduler does not check the certificate at all";
            say(Finding::failed(CHECK, said, "set tlsConfig.caData"));
        }
    } else {
        say(Finding::warning(
            CHECK,
            "enableHTTPS is not true: pods are sent in the clear",
            "set enableHTTPS and tlsConfig.caData",
        ));
    }
    let weight = extender.get("weight").and_then(Value::as_i64).unwrap_or_default();
    if !WEIGHTS.contains(&weight) {
        let said = format!("weight is {weight}: the default plugins have 12 together");
        say(Finding::warning(CHECK, said, "set weight: 5; scheduler-extender/README.md tells why"));
    }
    if findings.is_empty() {
        findings
            .push(Finding::ok(CHECK, format!("prioritize only, weight {weight}, httpTimeout {timeout:?}, ignorable")));
    }
    findings
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Go writes durations as `200ms`, `1.5s` or `1m0s`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|it: char| it.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::settings::Span;
    use std::path::PathBuf;

    /// What we ship, with an authority in it.
    fn good() -> String {
        let shipped = include_str!("../../../deploy/kube-scheduler/config.yaml");
        assert!(shipped.contains("caData: \"\"\n"));
        shipped.replace("caData: \"\"\n", "caData: QUJD\n")
    }

    fn limits() -> LimitArgs {
        let span = |millis| Span(Duration::from_millis(millis));
        LimitArgs {
            deadline: span(20),
            max_body_bytes: 1,
            body_timeout: span(1),
            max_concurrent: 1,
            drain: span(1),
            linger: span(1),
        }
    }

    fn judge(text: &str) -> Vec<Finding> {
        judged(&serde_yaml_ng::from_str(text).expect("YAML"), &limits())
    }

    #[test]
    fn the_stanza_that_we_ship_is_good_and_each_trap_is_named() {
        let findings = judge(&good());
        assert_eq!((findings.len(), findings[0].verdict), (1, Verdict::Ok), "{findings:?}");
        let shipped = judge(include_str!("../../../deploy/kube-scheduler/config.yaml"));
        assert!(
            shipped[0].said.contains("does not check the certificate"),
            "a certificate is put in by whoever installs it"
        );
        for (from, to, verdict, said) in [
            ("httpTimeout: 200ms", "httpTimeout: 20ms", Verdict::Failed, "not above the deadline"),
            ("httpTimeout: 200ms", "", Verdict::Failed, "costs each pod"),
            ("ignorable: true", "", Verdict::Failed, "every pod pending"),
            ("weight: 5", "weight: 5\n    filterVerb: filter", Verdict::Warning, "Autoscaler"),
            ("weight: 5", "weight: 5\n    bindVerb: bind", Verdict::Failed, "bindVerb"),
            ("weight: 5", "weight: 1", Verdict::Warning, "weight is 1"),
            ("nodeCacheCapable: true", "", Verdict::Warning, "whole nodes"),
            ("caData: QUJD", "serverName: berth", Verdict::Failed, "does not check the certificate"),
            ("enableHTTPS: true", "", Verdict::Warning, "in the clear"),
            ("prioritizeVerb: prioritize", "", Verdict::Failed, "0 extenders"),
        ] {
            assert!(good().contains(from), "{from} is not in what we ship");
            let findings = judge(&good().replace(from, to));
            assert!(findings.iter().any(|it| it.verdict == verdict && it.said.contains(said)), "{to}: {findings:?}");
        }
        assert_eq!(judge("{}")[0].verdict, Verdict::Failed);
    }

    #[test]
    fn who_would_not_let_the_other_in_is_named() {
        let without = good().replace("certFile:", "other:");
        let without: Value = serde_yaml_ng::from_str(&without).expect("YAML");
        let extender = ours(&without).expect("one stanza");
        let file = |name: &str| Some(PathBuf::from(name));
        let own = TlsArgs {
            tls_cert_file: file("absent.crt"),
            tls_key_file: file("absent.key"),
            tls_client_ca_file: file("absent.crt"),
            tls_client_name: Vec::new(),
        };
        let said: Vec<String> = strangers(extender, &own).into_iter().map(|finding| finding.said).collect();
        assert!(
            said[0].contains("no client certificate") && said[1].contains("for `berth-scheduler-extender.berth.svc`"),
            "{said:?}"
        );
        let plain = strangers(extender, &TlsArgs::default());
        assert!(plain[0].said.contains("speaks none"), "{plain:?}");
    }

    #[test]
    fn durations_as_go_writes_them() {
        for (text, wanted) in [
            ("200ms", Some(200)),
            ("1.5s", Some(1_500)),
            ("1m0.25s", Some(60_250)),
            ("5", None),
            ("5 s", None),
            ("x", None),
        ] {
            assert_eq!(go_duration(text), wanted.map(Duration::from_millis), "{text}");
        }
    }
}
