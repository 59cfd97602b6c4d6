//! Small models in a registry, a small cluster in a real Prometheus, and the real server on them.

#![allow(dead_code, unused_imports, reason = "each test file uses its own share")]

pub mod liar;
mod world;

pub use world::*;

use collector::testing::free_port;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_serving");

/// The server's program; stopped by its process id when dropped.
pub struct Server {
    process: Child,
    pub url: String,
    log: PathBuf,
    pub client: reqwest::Client,
}

impl Server {
    /// Starts it on a free port and waits until it answers.
    pub async fn start(root: &Path, arguments: &[&str]) -> Self {
        Self::launch(root, arguments, "http", Self::client(|builder| builder)).await
    }

    /// A client with a time limit of half a minute.
    pub fn client(with: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> reqwest::Client {
        runtime::http::install_crypto_provider();
        let builder = reqwest::Client::builder().timeout(Duration::from_secs(30));
        with(builder).build().expect("a client")
    }

    /// The same for another scheme and the client that speaks it.
    pub async fn launch(root: &Path, arguments: &[&str], scheme: &str, client: reqwest::Client) -> Self {
        Self::spawn(Command::new(PROGRAM), root, &[], arguments, scheme, client).answering().await
    }

    /// The same with arguments before the command.
    pub async fn start_with(root: &Path, globals: &[&str], arguments: &[&str]) -> Self {
        let client = Self::client(|builder| builder);
        Self::spawn(Command::new(PROGRAM), root, globals, arguments, "http", client).answering().await
    }

    /// Starts it in a shell that `limit` was said to before, and does not wait for it. What the server logs is under no limit.
    pub fn limited(root: &Path, arguments: &[&str], limit: &str) -> Self {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("exec 2> >(cat >&2); {limit}; exec \"$0\" \"$@\""), PROGRAM]);
        Self::spawn(shell, root, &[], arguments, "http", Self::client(|builder| builder))
    }

    fn spawn(
        mut command: Command,
        root: &Path,
        globals: &[&str],
        arguments: &[&str],
        scheme: &str,
        client: reqwest::Client,
    ) -> Self {
        let port = free_port().expect("a port");
        let log = root.join(format!("serving-{port}.log"));
        let process = command
            .arg("--data")
            .arg(root)
            .args(globals)
            .args(["run", "--listen", &format!("127.0.0.1:{port}")])
            .args(arguments)
            .env_remove("BERTH_PROMETHEUS_URL")
            .stderr(std::fs::File::create(&log).expect("a log"))
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        Self { process, url: format!("{scheme}://127.0.0.1:{port}"), log, client }
    }

    async fn answering(mut self) -> Self {
        self.wait("it answers", async |server| server.status("/v2/health/live").await == Some(200)).await;
        self
    }

    /// Waits until it ends by itself, for a minute at most; returns its exit code, none where a signal killed it.
    pub async fn ended(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("a process") {
                return status.code();
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it goes on:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a condition, for a minute at most.
    pub async fn wait(&mut self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self).await {
            let ended = self.process.try_wait().expect("a process");
            assert!(ended.is_none(), "the server ended ({ended:?}) before {what}:\n{}", self.said());
            assert!(began.elapsed() < Duration::from_secs(60), "waited in vain until {what}:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn ready(&mut self) {
        self.wait("it is ready", async |server| server.status("/v2/health/ready").await == Some(200)).await;
    }

    pub async fn status(&self, path: &str) -> Option<u16> {
        Some(self.client.get(format!("{}{path}", self.url)).send().await.ok()?.status().as_u16())
    }

    pub async fn get(&self, path: &str) -> serde_json::Value {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        response.json().await.expect("JSON")
    }

    pub async fn text(&self, path: &str) -> String {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        response.text().await.expect("text")
    }

    pub async fn post(&self, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        let request = self.client.post(format!("{}{path}", self.url)).body(body.to_string());
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    pub fn said(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(&self.log).expect("a log").read_to_string(&mut text).expect("text");
        text
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it with SIGTERM; returns its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let done = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().expect("kill");
        assert!(done.success());
        self.process.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
