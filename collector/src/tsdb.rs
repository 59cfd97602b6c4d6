//! A Prometheus that runs for as long as it is needed: OpenMetrics text becomes the history of a real server on a free port
//! of this machine. Imports read text through it, so that text and servers are read by the same queries; tests do as well.

use anyhow::Context;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ready after 0.3 s on a quiet machine, 0.5 s with a month of history; the rest is for busy ones.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Runs a program until it ends or until the input closes, which it does when this process ends in whatever way: a server
/// is never left behind. Prometheus itself does not look at its input.
const GUARD: &str = r#"exec 3<&0; "$@" 3<&- </dev/null & child=$!
(cat <&3 >/dev/null; kill -KILL "$child" 2>/dev/null) & wait "$child""#;

/// Where a program is, by the `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Turns OpenMetrics text into history of a server that is not running: blocks of at most `block`, such as `18h`, below
/// `<folder>/data`.
///
/// promtool reads the whole file again for each block.
///
/// # Errors
/// When promtool cannot be run or refuses the text.
pub fn load_openmetrics(text: &Path, folder: &Path, block: &str) -> anyhow::Result<()> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).with_context(|| format!("failed to create `{}`", data.display()))?;
    let output = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"])
        .arg(format!("--max-block-duration={block}"))
        .args([text, data.as_path()])
        .output()
        .context("failed to run `promtool`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "promtool rejected `{}`: {}", text.display(), said.trim());
    Ok(())
}

/// A running Prometheus without scrape targets. It ends when it is dropped, or when this process ends.
#[derive(Debug)]
pub struct PrometheusServer {
    process: Child,
    port: u16,
}

impl PrometheusServer {
    /// Starts a server on the history in `<folder>/data`, on a free port of 127.0.0.1, and waits until it is ready.
    /// `more` are further flags, such as `--web.config.file=…`.
    ///
    /// # Errors
    /// When it does not start or is not ready in time; its log is in `<folder>/prometheus.log`.
    pub fn start(folder: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        Self::start_on(folder, port.context("no port is free")?.port(), more)
    }

    /// As [`PrometheusServer::start`], on a given port: a server that comes back.
    ///
    /// # Errors
    /// See [`PrometheusServer::start`].
    pub fn start_on(folder: &Path, port: u16, more: &[&str]) -> anyhow::Result<Self> {
        let config = folder.join("prometheus.yml");
        std::fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
        std::fs::write(&config, "global:\n  scrape_interval: 30s\n")
            .with_context(|| format!("failed to write `{}`", config.display()))?;
        let log = std::fs::File::create(folder.join("prometheus.log")).context("failed to create `prometheus.log`")?;
        let process = Command::new("sh")
            .args(["-c", GUARD, "sh", "prometheus"])
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--storage.tsdb.retention.time=100y")
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("failed to start `prometheus`")?;
        let mut server = Self { process, port };
        let begun = Instant::now();
        while !server.is_ready() {
            if let Some(status) = server.process.try_wait().context("failed to look after `prometheus`")? {
                let log = std::fs::read_to_string(folder.join("prometheus.log")).unwrap_or_default();
                anyhow::bail!("prometheus ended with {status}: {log}");
            }
            anyhow::ensure!(begun.elapsed() < READY_LIMIT, "prometheus is not ready after {READY_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Its address, such as `http://127.0.0.1:41234`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it answers. A server that wants TLS or a password answers with an error, which is as good here, but only
    /// after its history is open.
    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            write!(stream, "GET /-/ready HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply)?;
            Ok(String::from_utf8_lossy(&reply).into_owned())
        };
        ask().is_ok_and(|reply| !reply.is_empty() && !reply.contains(" 503 "))
    }
}

impl Drop for PrometheusServer {
    fn drop(&mut self) {
        // The end of its input ends it. It may have ended by itself; either way nothing is left to do.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
