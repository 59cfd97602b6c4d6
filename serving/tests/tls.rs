//! TLS with real certificates: whom the server lets in, what it speaks, and how certificates change under open connections.

mod support;

use axum::body::{Body, to_bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use support::Server;

/// An authority that signs certificates of servers and clients.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key as PEM.
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Signed { certificate, key: key.serialize_pem() }
    }

    fn trusted(&self) -> reqwest::Certificate {
        reqwest::Certificate::from_pem(self.pem.as_bytes()).expect("a certificate")
    }
}

/// The files of a server.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(folder: &Path, signed: &Signed) -> Self {
        let files = Self { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
        std::fs::write(&files.certificate, &signed.certificate).expect("written");
        std::fs::write(&files.key, &signed.key).expect("written");
        files
    }

    fn arguments(&self) -> Vec<&str> {
        let (certificate, key) = (self.certificate.to_str(), self.key.to_str());
        let files = ["--tls-cert-file", certificate.expect("text"), "--tls-key-file", key.expect("text")];
        [&["--models", "load-predictor"][..], &files].concat()
    }
}

async fn reloads(server: &Server, outcome: &str) -> bool {
    let line = format!("berth_serving_tls_reloads_total{{outcome=\"{outcome}\"}} 1");
    server.text("/metrics").await.contains(&line)
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_certificates_are_taken_and_open_connections_go_on() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new(folder.path(), &old.sign("127.0.0.1"));
    let client = Server::client(|builder| builder.add_root_certificate(old.trusted()));
    let mut server = Server::launch(folder.path(), &files.arguments(), "https", client).await;
    let live = format!("{}/v2/health/live", server.url);
    let plain = live.replace("https", "http");
    assert!(Server::client(|builder| builder).get(&plain).send().await.is_err(), "plain HTTP is not answered");

    // Half of a rotation: a certificate without its key.
    let next = new.sign("127.0.0.1");
    std::fs::write(&files.certificate, &next.certificate).expect("written");
    server.wait("half of a rotation is left aside", async |server| reloads(server, "left_aside").await).await;
    std::fs::write(&files.key, &next.key).expect("written");
    server.wait("the rotation is taken", async |server| reloads(server, "taken").await).await;

    let trusts_new = Server::client(|builder| builder.add_root_certificate(new.trusted()));
    assert_eq!(trusts_new.get(&live).send().await.expect("an answer").status().as_u16(), 200);
    let trusts_old = Server::client(|builder| builder.add_root_certificate(old.trusted()));
    assert!(trusts_old.get(&live).send().await.is_err(), "a new connection gets the new certificate");
    // The first client trusts the old one alone: that it is answered shows that its connection is still the same.
    assert_eq!(server.status("/v2/health/live").await, Some(200));
    assert!(!server.said().contains("PRIVATE KEY"));
    assert_eq!(server.stop(), Some(0), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_certificate_is_not_let_in_and_grpc_is_agreed_on() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (ours, stranger) = (Authority::new("ours"), Authority::new("stranger"));
    let files = Files::new(folder.path(), &ours.sign("127.0.0.1"));
    let authority = folder.path().join("ca.crt");
    std::fs::write(&authority, &ours.pem).expect("written");
    let mut arguments = files.arguments();
    arguments.extend(["--tls-client-ca-file", authority.to_str().expect("text")]);
    let client = |signed: Option<Signed>| {
        Server::client(|builder| {
            let builder = builder.add_root_certificate(ours.trusted());
            let Some(Signed { certificate, key }) = signed else { return builder };
            let identity = reqwest::Identity::from_pem(format!("{key}{certificate}").as_bytes());
            builder.identity(identity.expect("an identity"))
        })
    };
    let server = Server::launch(folder.path(), &arguments, "https", client(Some(ours.sign("scheduler")))).await;
    let live = format!("{}/v2/health/live", server.url);
    for refused in [client(None), client(Some(stranger.sign("scheduler")))] {
        assert!(refused.get(&live).send().await.is_err());
    }
    let metrics = server.text("/metrics").await;
    assert!(metrics.contains("berth_serving_tls_handshakes_failed_total 2"), "{metrics}");

    // gRPC: HTTP/2 is agreed on, and a call is answered.
    let mine = ours.sign("grpc");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ours.pem.as_bytes()).expect("PEM")).expect("an authority");
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(mine.certificate.as_bytes()).expect("PEM")],
            rustls::pki_types::PrivateKeyDer::from_pem_slice(mine.key.as_bytes()).expect("PEM"),
        )
        .expect("a configuration");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = server.url.trim_start_matches("https://").to_owned();
    let stream = tokio::net::TcpStream::connect(&address).await.expect("connected");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let running = tokio::spawn(connection);
    let request = axum::http::Request::post(format!("{}/inference.GRPCInferenceService/ServerLive", server.url))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        // A frame of an empty message.
        .body(Body::from(vec![0_u8; 5]))
        .expect("a request");
    let response = send.send_request(request).await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
    let body = to_bytes(Body::new(response.into_body()), 1_000).await.expect("a body");
    // A frame of two bytes: field 1, true.
    assert_eq!(body[..], [0, 0, 0, 0, 2, 8, 1]);
    running.abort();
}

#[test]
fn what_does_not_fit_is_refused_before_a_port_is_taken() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (one, other) = (Authority::new("one").sign("127.0.0.1"), Authority::new("other").sign("127.0.0.1"));
    for (name, text) in [("one.crt", &one.certificate), ("one.key", &one.key), ("other.key", &other.key)] {
        std::fs::write(path(name), text).expect("written");
    }
    for (certificate, key, authority, code, said) in [
        (Some("one.crt"), None, None, 2, "belong together"),
        (None, None, Some("one.crt"), 2, "without `tls_cert_file`"),
        (Some("absent.crt"), Some("one.key"), None, 1, "absent.crt"),
        (Some("one.key"), Some("one.key"), None, 1, "holds no certificate"),
        (Some("one.crt"), Some("one.crt"), None, 1, "holds no private key"),
        (Some("one.crt"), Some("other.key"), None, 1, "do not fit together"),
        (Some("one.crt"), Some("one.key"), Some("one.key"), 1, "holds no certificate"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serving"));
        command.arg("--data").arg(folder.path()).args(["run", "--listen", "127.0.0.1:0"]);
        for (flag, file) in
            [("--tls-cert-file", certificate), ("--tls-key-file", key), ("--tls-client-ca-file", authority)]
        {
            command.args(file.iter().flat_map(|file| [flag.to_owned(), path(file)]));
        }
        let output = command.output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(said), "`{said}` is not in {told}");
    }
}

#[test]
fn a_certificate_is_judged_as_a_client_would() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let files = Files::new(folder.path(), &own.sign("127.0.0.1"));
    let tls = serving::http::tls::TlsArgs { tls_cert_file: Some(files.certificate), ..Default::default() };
    let judged =
        |by: &Authority, host: &str| tls.trusted_by(by.pem.as_bytes(), host).map_err(|error| format!("{error:#}"));
    assert_eq!(judged(&own, "127.0.0.1"), Ok(()));
    assert!(judged(&other, "127.0.0.1").is_err_and(|said| said.contains("UnknownIssuer")));
    assert!(judged(&own, "berth.example").is_err_and(|said| said.contains("not valid for name")));
    assert!(tls.trusted_by(b"", "127.0.0.1").is_err());
}
