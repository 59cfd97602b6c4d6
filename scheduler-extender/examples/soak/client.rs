//! How an attacker, and whoever else asks, reach a program.

use anyhow::Context;
use axum::body::{Body, Bytes};
use futures::StreamExt;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

/// An attacker has another address than whoever else asks.
const ATTACKER: &str = "127.0.0.66";

/// One program's address.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: String,
    /// Of somebody who means no harm.
    pub other: reqwest::Client,
    attacker: reqwest::Client,
}

impl Client {
    pub fn new(address: String) -> anyhow::Result<Self> {
        let client = |from: &str| {
            let builder = reqwest::Client::builder()
                .timeout(Duration::from_secs(30))
                .local_address(Some(from.parse::<std::net::IpAddr>()?));
            anyhow::Ok(builder.build()?)
        };
        Ok(Self { address, other: client("127.0.0.1")?, attacker: client(ATTACKER)? })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a body; tells the status.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> anyhow::Result<u16> {
        let mut request = self.attacker.post(self.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        // Read to its end, so that the connection is used again.
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            piece?;
        }
        Ok(status)
    }

    pub async fn connect(&self) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(format!("{ATTACKER}:0").parse()?)?;
        socket.connect(self.address.parse()?).await.context("not let in")
    }

    /// Sends bytes as they are.
    pub async fn raw(&self, bytes: &[u8]) -> anyhow::Result<TcpStream> {
        let mut stream = self.connect().await?;
        stream.write_all(bytes).await?;
        Ok(stream)
    }

    /// HTTP/2 with a window of so many bytes.
    pub async fn http2(&self, window: u32) -> anyhow::Result<SendRequest<Body>> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(window.max(65_535));
        let (send, connection) = builder.handshake(TokioIo::new(self.connect().await?)).await?;
        tokio::spawn(connection);
        Ok(send)
    }

    /// Idle connections: as many as are let in, kept for a while.
    pub async fn hold_connections(&self, count: usize, time: Duration) -> anyhow::Result<u64> {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(self.connect().await?);
        }
        tokio::time::sleep(time).await;
        let closed = held.iter().filter(|stream| matches!(stream.try_read(&mut [0; 1]), Ok(0))).count();
        Ok(closed as u64)
    }
}

/// A body that begins and does not end.
pub fn unfinished(start: Vec<u8>) -> Body {
    let start = futures::stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(start)) });
    Body::from_stream(start.chain(futures::stream::pending()))
}

/// Whether a request was refused. A connection that is closed in the middle of a body is a refusal too.
pub fn refused(status: anyhow::Result<u16>) -> u64 {
    u64::from(status.is_ok_and(|status| status < 400)) ^ 1
}

/// Gzip of 256 MiB, a thousandth of that. Made once for both programs' attackers.
pub fn bomb() -> anyhow::Result<Vec<u8>> {
    use std::io::Write;
    static BOMB: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(made) = BOMB.get() {
        return Ok(made.clone());
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let piece = vec![b' '; 1 << 20];
    for _ in 0..256 {
        encoder.write_all(&piece)?;
    }
    let made = encoder.finish()?;
    Ok(BOMB.get_or_init(|| made).clone())
}

/// Random bytes, the same at each start.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    use rand::{RngCore, SeedableRng};
    let mut bytes = vec![0; length];
    rand_chacha::ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}
