//! The HTTP client against real servers on this machine: credentials, a custom authority, time limits.

use reqwest::header::{HeaderMap, HeaderValue};
use runtime::http::{HttpArgs, SecretVariables, header_lines, install_crypto_provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);
/// Names that no environment has, so that these tests see only the files they write.
const VARIABLES: SecretVariables =
    SecretVariables { password: "BERTH_TEST_NO_PASSWORD", bearer_token: "BERTH_TEST_NO_TOKEN" };

/// Reads a request's head, answers with it, and hangs up.
fn echo(stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", head.len())?;
    stream.write_all(&head)?;
    stream.flush()
}

/// Serves one connection on a free port.
fn serve(answer: impl FnOnce(TcpStream) + Send + 'static) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("free port");
    let port = listener.local_addr().expect("address").port();
    (port, std::thread::spawn(move || answer(listener.accept().expect("connection").0)))
}

fn get(args: &HttpArgs, url: String, limit: Duration) -> Result<String, reqwest::Error> {
    let client = args.client_with(limit, &VARIABLES).expect("client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async { client.get(url).send().await?.text().await })
}

/// What a server sees of a client with these settings, in lower case.
fn seen(args: &HttpArgs) -> String {
    let (port, server) = serve(|mut stream| echo(&mut stream).expect("answer"));
    let head = get(args, format!("http://127.0.0.1:{port}/api"), LIMIT).expect("answer");
    server.join().expect("server");
    head.replace("Authorization", "authorization")
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

#[test]
fn no_credential_means_no_header() {
    let head = seen(&HttpArgs::default());
    assert!(head.starts_with("GET /api HTTP/1.1") && !head.contains("authorization"), "{head}");
    assert!(head.contains("berth/"), "the server can tell who asks: {head}");
}

#[test]
fn a_password_file_gives_basic_authentication() {
    // RFC 7617, section 2: the user-pass `Aladdin:open sesame`.
    let password = file("open sesame\n");
    let args = HttpArgs {
        username: Some("Aladdin".into()),
        password_file: Some(password.path().to_owned()),
        ..HttpArgs::default()
    };
    let head = seen(&args);
    assert!(head.contains("authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "{head}");
}

#[test]
fn a_bearer_token_wins_over_a_password() {
    let (token, password) = (file("  s3cret-token\n"), file("unused"));
    let args = HttpArgs {
        username: Some("someone".into()),
        password_file: Some(password.path().to_owned()),
        bearer_token_file: Some(token.path().to_owned()),
        ..HttpArgs::default()
    };
    let head = seen(&args);
    assert!(head.contains("authorization: Bearer s3cret-token\r\n") && !head.contains("Basic"), "{head}");
}

#[test]
fn a_missing_or_broken_credential_is_named_without_its_value() {
    let missing = HttpArgs { bearer_token_file: Some(PathBuf::from("no/such/token")), ..HttpArgs::default() };
    let error = format!("{:#}", missing.client_with(LIMIT, &VARIABLES).expect_err("no file"));
    assert!(error.contains("`no/such/token`"), "{error}");
    let token = file("two\nlines");
    let broken = HttpArgs { bearer_token_file: Some(token.path().to_owned()), ..HttpArgs::default() };
    let error = format!("{:#}", broken.client_with(LIMIT, &VARIABLES).expect_err("no header"));
    assert!(error.contains("credential") && !error.contains("lines"), "{error}");
}

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name].iter().collect()
}

fn serve_tls() -> (u16, JoinHandle<()>) {
    install_crypto_provider();
    let read = |name| std::fs::read(fixture(name)).expect("fixture");
    let certificates = vec![CertificateDer::from(read("server.der"))];
    let key = PrivatePkcs8KeyDer::from(read("server-key.der"));
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key.into()).expect("config");
    serve(move |stream| {
        let connection = ServerConnection::new(Arc::new(config)).expect("connection");
        // A client that does not trust us hangs up; that is what one of the tests wants.
        let _ = echo(&mut StreamOwned::new(connection, stream));
    })
}

#[test]
fn a_custom_authority_is_trusted_and_an_unknown_one_is_not() {
    let (port, server) = serve_tls();
    let args = HttpArgs { ca_file: Some(fixture("ca.pem")), ..HttpArgs::default() };
    let head = get(&args, format!("https://127.0.0.1:{port}/api"), LIMIT).expect("trusted");
    assert!(head.starts_with("GET /api"), "{head}");
    server.join().expect("server");

    let (port, server) = serve_tls();
    let error = get(&HttpArgs::default(), format!("https://127.0.0.1:{port}/api"), LIMIT).expect_err("not trusted");
    let chain = format!("{:#}", anyhow::Error::new(error));
    assert!(chain.contains("certificate"), "{chain}");
    server.join().expect("server");
}

/// Runs again as a process whose system trusts the authority of the fixtures: the environment of a process names the
/// system's authorities, and cannot be changed safely while it runs.
#[test]
fn a_named_authority_stands_alone() {
    const INNER: &str = "BERTH_TEST_SYSTEM_TRUSTS_THE_FIXTURE";
    if std::env::var_os(INNER).is_none() {
        let output = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_named_authority_stands_alone", "--nocapture"])
            .env(INNER, "1")
            .env("SSL_CERT_FILE", fixture("ca.pem"))
            .env_remove("SSL_CERT_DIR")
            .output()
            .expect("the same test");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let (port, server) = serve_tls();
    get(&HttpArgs::default(), format!("https://127.0.0.1:{port}/"), LIMIT).expect("the system's authority is trusted");
    server.join().expect("server");
    let other = rcgen::generate_simple_self_signed(vec!["elsewhere".into()]).expect("certificate").cert.pem();
    let other = file(&other);
    let args = HttpArgs { ca_file: Some(other.path().to_owned()), ..HttpArgs::default() };
    let (port, server) = serve_tls();
    let error = get(&args, format!("https://127.0.0.1:{port}/"), LIMIT).expect_err("another authority was named");
    assert!(format!("{:#}", anyhow::Error::new(error)).contains("certificate"));
    server.join().expect("server");
}

#[test]
fn only_who_bounds_what_comes_out_asks_for_compressed_answers() {
    let head = seen(&HttpArgs::default()).to_lowercase();
    assert!(!head.contains("accept-encoding"), "{head}");
    let (port, server) = serve(|mut stream| echo(&mut stream).expect("answer"));
    let mut headers = HeaderMap::new();
    headers.insert("x-scope-orgid", HeaderValue::from_static("team-a"));
    let client = HttpArgs::default().compressed_client(LIMIT, headers).expect("client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let ask = async { client.get(format!("http://127.0.0.1:{port}/")).send().await?.text().await };
    let head = runtime.block_on(ask).expect("answer").to_lowercase();
    assert!(head.contains("accept-encoding: gzip") && head.contains("x-scope-orgid: team-a\r\n"), "{head}");
    server.join().expect("server");
}

#[test]
fn headers_are_read_line_by_line_and_no_message_shows_a_value() {
    let good = file("# who we are\nX-Scope-OrgID: team-a|team-b\n\n  Authorization:  Bearer abc:def  \n");
    let headers = header_lines(good.path()).expect("headers");
    assert_eq!(headers["x-scope-orgid"], "team-a|team-b");
    assert!(headers["authorization"] == "Bearer abc:def" && headers["authorization"].is_sensitive());
    let token = file("other");
    let twice = HttpArgs { bearer_token_file: Some(token.path().to_owned()), ..HttpArgs::default() };
    let error = format!("{:#}", twice.compressed_client(LIMIT, headers).expect_err("two credentials"));
    assert!(error.contains("Authorization") && !error.contains("abc") && !error.contains("other"), "{error}");
    for (text, line) in [("s3cret", 1), ("a: b\nb c: s3cret", 2), ("\n\na: s3cret\u{7}", 3)] {
        let bad = file(text);
        let error = format!("{:#}", header_lines(bad.path()).expect_err("bad line"));
        assert!(error.contains(&format!("line {line} ")) && !error.contains("s3cret"), "{error}");
    }
    let error = format!("{:#}", header_lines(std::path::Path::new("no/such/file")).expect_err("no file"));
    assert!(error.contains("`no/such/file`"), "{error}");
}

#[test]
fn a_client_certificate_wants_its_key_and_both_have_to_be_pem() {
    let (certificate, key) = (file("no PEM"), file("none either"));
    let with = |key: Option<&std::path::Path>| HttpArgs {
        client_cert_file: Some(certificate.path().to_owned()),
        client_key_file: key.map(std::path::Path::to_owned),
        ..HttpArgs::default()
    };
    let error = format!("{:#}", with(None).client_with(LIMIT, &VARIABLES).expect_err("no key"));
    assert!(error.contains("belong together"), "{error}");
    let error = format!("{:#}", with(Some(key.path())).client_with(LIMIT, &VARIABLES).expect_err("no PEM"));
    assert!(error.contains("as PEM") && !error.contains("none either"), "{error}");
}

#[test]
fn an_authority_that_is_none_is_named() {
    for (text, wanted) in [
        ("no PEM", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "is no PEM"),
    ] {
        let authority = file(text);
        let args = HttpArgs { ca_file: Some(authority.path().to_owned()), ..HttpArgs::default() };
        let error = format!("{:#}", args.client_with(LIMIT, &VARIABLES).expect_err("no authority"));
        assert!(error.contains(wanted) && error.contains(&authority.path().display().to_string()), "{error}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_left_after_the_limit() {
    let (port, server) = serve(|stream| {
        std::thread::sleep(Duration::from_millis(600));
        drop(stream);
    });
    let error = get(&HttpArgs::default(), format!("http://127.0.0.1:{port}/"), Duration::from_millis(200))
        .expect_err("no answer");
    assert!(error.is_timeout(), "{error:?}");
    server.join().expect("server");
}
