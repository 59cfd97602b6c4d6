//! The listener as kube-scheduler and other replicas reach it: over TLS, with a client certificate, before and after the server's own is
//! rotated.

use crate::support::{FakeScorer, ask, names, pod};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("signed").pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

/// A certificate for this machine and its key, as PEM.
fn signed(by: &Authority) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("a name");
    (params.signed_by(&key, &by.issuer).expect("signed").pem(), key.serialize_pem())
}

fn write(folder: &Path, by: &Authority) {
    let (certificate, key) = signed(by);
    std::fs::write(folder.join("tls.key"), key).expect("written");
    std::fs::write(folder.join("tls.crt"), certificate).expect("written");
}

/// A client that trusts one authority and shows a certificate of another, if any.
fn client(trusts: &Authority, shows: Option<&Authority>) -> reqwest::Client {
    let trusted = reqwest::Certificate::from_pem(trusts.pem.as_bytes()).expect("a certificate");
    let builder = reqwest::Client::builder().add_root_certificate(trusted).pool_max_idle_per_host(0);
    let builder = match shows {
        Some(authority) => {
            let (certificate, key) = signed(authority);
            builder
                .identity(reqwest::Identity::from_pem(format!("{certificate}\n{key}").as_bytes()).expect("an identity"))
        }
        None => builder,
    };
    builder.build().expect("a client")
}

/// An extender behind TLS, stopped by its process id when dropped.
struct Replica {
    process: Child,
    port: u16,
}

impl Replica {
    /// Starts it with `tls.crt`, `tls.key` and `clients.crt` of a folder, and does not wait for it.
    fn start(folder: &Path, scoring: &str, more: &[&str]) -> Self {
        let port = collector::testing::free_port().expect("a port");
        let process = Command::new(env!("CARGO_BIN_EXE_scheduler-extender"))
            .arg("--data")
            .arg(folder)
            .args(["run", "--listen", &format!("127.0.0.1:{port}"), "--scoring", scoring, "--tls-cert-file"])
            .arg(folder.join("tls.crt"))
            .arg("--tls-key-file")
            .arg(folder.join("tls.key"))
            .arg("--tls-client-ca-file")
            .arg(folder.join("clients.crt"))
            .args(more)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        Self { process, port }
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn points(client: &reqwest::Client, port: u16) -> Result<usize, reqwest::Error> {
    let body = ask(&pod("web-1", "web"), &names(3)).to_string();
    let response = client.post(format!("https://127.0.0.1:{port}/prioritize")).body(body).send().await?;
    Ok(response.json::<Value>().await?.as_array().map_or(0, Vec::len))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_clients_with_a_certificate_are_answered_and_a_rotation_drops_nobody() {
    runtime::http::install_crypto_provider();
    let (old, new, clients) = (authority("old"), authority("new"), authority("clients"));
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), &old);
    std::fs::write(folder.path().join("clients.crt"), &clients.pem).expect("written");
    let scorer = FakeScorer::start(10).await;
    let replica = Replica::start(folder.path(), &scorer.url, &[]);
    let port = replica.port;
    let known = client(&old, Some(&clients));
    let began = std::time::Instant::now();
    while points(&known, port).await.is_err() {
        assert!(began.elapsed().as_secs() < 60, "it never answered");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(points(&known, port).await.expect("an answer"), 3);
    assert!(points(&client(&old, None), port).await.is_err(), "without a certificate");
    assert!(points(&client(&old, Some(&old)), port).await.is_err(), "with one of somebody else");
    write(folder.path(), &new);
    let rotated = client(&new, Some(&clients));
    while points(&rotated, port).await.is_err() {
        assert!(began.elapsed().as_secs() < 60, "the new certificate is never used");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_authoritys_clients_only_those_with_a_name_are_answered() {
    runtime::http::install_crypto_provider();
    let (servers, clients) = (authority("servers"), authority("clients"));
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), &servers);
    std::fs::write(folder.path().join("clients.crt"), &clients.pem).expect("written");
    let scorer = FakeScorer::start(10).await;
    // Certificates of these tests name this machine.
    let named = Replica::start(folder.path(), &scorer.url, &["--tls-client-name", "system:kube-scheduler,localhost"]);
    let other = Replica::start(folder.path(), &scorer.url, &["--tls-client-name", "system:kube-scheduler"]);
    let client = client(&servers, Some(&clients));
    let began = std::time::Instant::now();
    while points(&client, named.port).await.is_err() {
        assert!(began.elapsed().as_secs() < 60, "it never answered");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // It listens before it answers, so a connection tells that it is there.
    while tokio::net::TcpStream::connect(("127.0.0.1", other.port)).await.is_err() {
        assert!(began.elapsed().as_secs() < 60, "it never listened");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(points(&client, other.port).await.is_err(), "a kubelet's certificate is of the same authority");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_know_each_other_by_name_and_certificate() {
    runtime::http::install_crypto_provider();
    let (servers, clients) = (authority("servers"), authority("clients"));
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), &servers);
    std::fs::write(folder.path().join("clients.crt"), &clients.pem).expect("written");
    std::fs::write(folder.path().join("servers.crt"), &servers.pem).expect("written");
    let (certificate, key) = signed(&clients);
    std::fs::write(folder.path().join("own.crt"), certificate).expect("written");
    std::fs::write(folder.path().join("own.key"), key).expect("written");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let scorer = FakeScorer::start(10).await;
    let asked = Replica::start(folder.path(), &scorer.url, &[]);
    let peers = format!("https://localhost:{}", asked.port);
    let (authority, own, key) = (path("servers.crt"), path("own.crt"), path("own.key"));
    let known = ["--peers", &peers, "--ca-file", &authority, "--client-cert-file", &own, "--client-key-file", &key];
    let other = Replica::start(folder.path(), &scorer.url, &known);
    let stranger = Replica::start(folder.path(), &scorer.url, &known[..4]);
    let client = client(&servers, Some(&clients));
    let began = std::time::Instant::now();
    for replica in [&asked, &other, &stranger] {
        while client.get(replica.url("/healthz")).send().await.is_err() {
            assert!(began.elapsed().as_secs() < 60, "it never answered");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    points(&client, asked.port).await.expect("an answer");
    let explain = async |of: &Replica| {
        let answer = client.get(of.url("/explain/shop/web-1")).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    // A decision is kept after its answer has left.
    let explanation = loop {
        let (status, explanation) = explain(&other).await;
        if status == 200 {
            break explanation;
        }
        assert!(began.elapsed().as_secs() < 60, "{status}: {explanation}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(explanation["pod"], "web-1", "{explanation}");
    // Who shows no certificate is not let in, and says so.
    let (status, said) = explain(&stranger).await;
    assert!(status == 404 && said["error"].as_str().is_some_and(|said| said.contains("a replica is silent")), "{said}");
}
