//! The program, stopped by its process id when dropped.

use collector::testing::free_port;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Extender {
    process: Child,
    pub url: String,
    pub port: u16,
    log: PathBuf,
    pub client: reqwest::Client,
    /// Data root, rules and kill file.
    pub folder: TempDir,
}

impl Extender {
    /// Starts it with these rules on a free port, and waits until it answers.
    pub async fn start(rules: &str, arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("temporary folder"), rules, arguments).await
    }

    pub async fn start_in(folder: TempDir, rules: &str, arguments: &[&str]) -> Self {
        runtime::http::install_crypto_provider();
        let port = free_port().expect("a port");
        let log = folder.path().join("extender.log");
        std::fs::write(folder.path().join("rules.toml"), rules).expect("rules");
        let process = Command::new(env!("CARGO_BIN_EXE_scheduler-extender"))
            .args(["--log", "debug", "--data"])
            .arg(folder.path())
            .args(["run", "--listen", &format!("127.0.0.1:{port}"), "--rules"])
            .arg(folder.path().join("rules.toml"))
            .arg("--kill-file")
            .arg(folder.path().join("kill"))
            .args(arguments)
            .env_remove("BERTH_PROMETHEUS_URL")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env_remove("KUBECONFIG")
            .stderr(std::fs::File::create(&log).expect("a log"))
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        let mut extender = Self { process, url: format!("http://127.0.0.1:{port}"), port, log, client, folder };
        extender.wait("it answers", async |it| it.status("/healthz").await == Some(200)).await;
        extender
    }

    pub fn rules(&self, text: &str) {
        // As a ConfigMap or an editor does it: never half of a file.
        let (whole, path) = (self.folder.path().join("rules.new"), self.folder.path().join("rules.toml"));
        std::fs::write(&whole, text).expect("written");
        std::fs::rename(whole, path).expect("renamed");
    }

    /// Waits for a condition, for a minute at most.
    pub async fn wait(&mut self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self).await {
            let ended = self.process.try_wait().expect("a process");
            assert!(ended.is_none(), "the extender ended ({ended:?}) before {what}:\n{}", self.said());
            assert!(began.elapsed() < Duration::from_secs(60), "waited in vain until {what}:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn ready(&mut self) {
        self.wait("it is ready", async |it| it.status("/readyz").await == Some(200)).await;
    }

    pub async fn status(&self, path: &str) -> Option<u16> {
        Some(self.client.get(format!("{}{path}", self.url)).send().await.ok()?.status().as_u16())
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        response.json().await.expect("JSON")
    }

    pub async fn text(&self, path: &str) -> String {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        response.text().await.expect("text")
    }

    /// Status, reason of neutrality, body.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Option<String>, Value) {
        let response = self.client.post(format!("{}{path}", self.url)).body(body).send().await.expect("an answer");
        let why = response.headers().get("x-berth-neutral").map(|it| it.to_str().expect("text").to_owned());
        (response.status().as_u16(), why, response.json().await.expect("JSON"))
    }

    /// A pod's points and why they are all equal.
    pub async fn prioritize(&self, ask: &Value) -> (Vec<i64>, Option<String>) {
        let (status, why, answer) = self.post("/prioritize", ask.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        (super::points(&answer), why)
    }

    /// A line of the metrics, such as `berth_scheduler_extender_killed`.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.text("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
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

    /// Runs another of its commands against it; returns exit code and output.
    pub fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_scheduler-extender"))
            .args(arguments)
            .args(["--server", &self.url])
            .output()
            .expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    }
}

impl Drop for Extender {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
