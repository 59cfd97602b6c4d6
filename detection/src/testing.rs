//! Real servers for tests, of this crate and of others: an Apache Kafka broker and an Alertmanager, on free ports of
//! 127.0.0.1, in a folder of the test's own, stopped by their process id when dropped.

use anyhow::Context;
use collector::testing::{free_port, program};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ready after some seconds on a quiet machine; the rest is for busy ones.
const READY_LIMIT: Duration = Duration::from_secs(180);

/// The jars of Apache Kafka, as `scripts/test-setup.sh` leaves them; `None`, said loudly, when `BERTH_SKIP_SERVERS=1` allows
/// tests to go without them.
///
/// # Errors
/// When they are not installed.
pub fn kafka_jars() -> anyhow::Result<Option<PathBuf>> {
    let Some(_) = program("java")? else { return Ok(None) };
    let cache = std::env::var_os("BERTH_CACHE").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".cache/berth"))
    });
    let jars = cache.map(|cache| cache.join("kafka/lib")).filter(|jars| jars.is_dir());
    if jars.is_none() && std::env::var("BERTH_SKIP_SERVERS").is_ok_and(|value| value == "1") {
        eprintln!("SKIPPED: Apache Kafka is not installed and BERTH_SKIP_SERVERS=1 is set; this test proves nothing");
        return Ok(None);
    }
    jars.map(Some)
        .context("Apache Kafka is not installed. `make test-setup` fetches it; BERTH_SKIP_SERVERS=1 skips such tests")
}

/// An Apache Kafka broker in KRaft mode, which is its own controller.
#[derive(Debug)]
pub struct KafkaBroker {
    process: Child,
    folder: PathBuf,
    jars: PathBuf,
    port: u16,
}

impl KafkaBroker {
    /// Formats its storage below `folder`, starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not start in time; its log is in `<folder>/kafka.log`.
    pub fn start(folder: &Path, jars: &Path) -> anyhow::Result<Self> {
        let (port, controller) = (free_port()?, free_port()?);
        std::fs::create_dir_all(folder)?;
        let settings = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             log.dirs={}\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\nnum.partitions=1\n\
             group.initial.rebalance.delay.ms=0\n",
            folder.join("kafka-data").display()
        );
        std::fs::write(folder.join("server.properties"), settings)?;
        let output = java(jars, folder, "kafka.tools.StorageTool")
            .args(["format", "--cluster-id", "berth-tests-cluster-id", "--config", "server.properties"])
            .output()
            .context("failed to run `java`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "kafka cannot format its storage: {said}");
        let process = spawn(jars, folder)?;
        let mut broker = Self { process, folder: folder.to_owned(), jars: jars.to_owned(), port };
        broker.wait()?;
        Ok(broker)
    }

    /// Its address for clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as a power failure would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().context("failed to kill the broker")?;
        self.process.wait().context("failed to wait for the broker")?;
        Ok(())
    }

    /// Starts it again on the same port, with what it has on disk.
    ///
    /// # Errors
    /// See [`KafkaBroker::start`].
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.process = spawn(&self.jars, &self.folder)?;
        self.wait()
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        wait_until(&mut self.process, "kafka", &self.folder.join("kafka.log"), || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        })
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn java(jars: &Path, folder: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    // A small heap and the quick compiler: a broker for tests lives for seconds.
    command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars.join("*")).arg(class).current_dir(folder);
    command
}

fn spawn(jars: &Path, folder: &Path) -> anyhow::Result<Child> {
    let log = File::create(folder.join("kafka.log"))?;
    java(jars, folder, "kafka.Kafka")
        .arg("server.properties")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("failed to start `java`")
}

fn wait_until(process: &mut Child, name: &str, log: &Path, is_ready: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_ready() {
        if let Some(status) = process.try_wait()? {
            anyhow::bail!("{name} ended with {status}: {}", std::fs::read_to_string(log).unwrap_or_default());
        }
        anyhow::ensure!(begun.elapsed() < READY_LIMIT, "{name} is not ready after {READY_LIMIT:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// An Alertmanager that sends its alerts nowhere.
#[derive(Debug)]
pub struct AlertmanagerServer {
    process: Child,
    port: u16,
}

impl AlertmanagerServer {
    /// Starts it on a free port and waits until it is ready; `None` when it is not installed and servers may be skipped.
    ///
    /// # Errors
    /// When it is not installed or does not start; its log is in `<folder>/alertmanager.log`.
    pub fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        Self::start_on(folder, free_port()?)
    }

    /// As [`AlertmanagerServer::start`], on a given port: a server that comes late.
    ///
    /// # Errors
    /// See [`AlertmanagerServer::start`].
    pub fn start_on(folder: &Path, port: u16) -> anyhow::Result<Option<Self>> {
        let Some(program) = program("prometheus-alertmanager")? else { return Ok(None) };
        std::fs::create_dir_all(folder)?;
        let config = folder.join("alertmanager.yml");
        std::fs::write(&config, "route:\n  receiver: nobody\n  group_by: [node]\nreceivers:\n  - name: nobody\n")?;
        let log = folder.join("alertmanager.log");
        let file = File::create(&log)?;
        let process = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.join("alertmanager-data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            // Alone: it looks for no others.
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("failed to start `prometheus-alertmanager`")?;
        let mut server = Self { process, port };
        wait_until(&mut server.process, "alertmanager", &log, || {
            get(port, "/-/ready").is_ok_and(|reply| reply.contains(" 200 "))
        })?;
        Ok(Some(server))
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its alerts as it shows them, JSON of `GET /api/v2/alerts`: those that fire.
    ///
    /// # Errors
    /// When it does not answer, or not with JSON.
    pub fn alerts(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        let reply = get(self.port, "/api/v2/alerts")?;
        let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).with_context(|| format!("alertmanager answered `{reply}`"))
    }
}

impl Drop for AlertmanagerServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // HTTP/1.0: the whole answer, not in chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
