//! Real servers for the tests: own folder, free port, stopped when dropped.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Whether the tests with servers are left out on purpose; says so loudly.
pub fn skipped(server: &str) -> bool {
    let skip = std::env::var("BERTH_SKIP_SERVERS").is_ok_and(|value| value == "1");
    if skip {
        eprintln!("SKIPPED: the tests against {server}, because BERTH_SKIP_SERVERS=1");
    }
    skip
}

pub fn free_port() -> u16 {
    runtime::testing::free_port().expect("a free port")
}

/// Waits for a condition; the limit allows for a machine that is busy with other tests.
async fn wait_for(what: &str, limit: Duration, mut ready: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !ready().await {
        assert!(start.elapsed() < limit, "{what} was not ready within {limit:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A process with its children, killed together.
struct Group(Child);

impl Group {
    fn kill(&mut self) {
        // The group's id is the first process's.
        let group = format!("-{}", self.0.id());
        Command::new("kill").args(["-KILL", "--", &group]).status().expect("kill");
        self.0.wait().expect("the server's end");
    }
}

pub struct MlflowServer {
    folder: TempDir,
    port: u16,
    /// Where artifacts are, and whether the server hands them on.
    artifacts: Vec<String>,
    process: Option<Group>,
}

/// The Python environment that `make test-setup` makes.
pub fn python() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/berth");
    let cache = std::env::var_os("BERTH_CACHE").map_or_else(home, PathBuf::from);
    let python = cache.join("venv-mlflow/bin/python");
    assert!(
        python.exists(),
        "no `{}`: run `make test-setup`, or set BERTH_SKIP_SERVERS=1 to leave the tests with servers out",
        python.display()
    );
    python
}

impl MlflowServer {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let artifacts =
            vec!["--artifacts-destination".to_owned(), folder.path().join("artifacts").display().to_string()];
        let mut server = Self { folder, port: free_port(), artifacts, process: None };
        server.start_again().await;
        server
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// From the next start on artifacts go to a bucket, by the clients themselves.
    pub fn serve_no_artifacts(&mut self) {
        self.artifacts =
            ["--no-serve-artifacts", "--default-artifact-root", "s3://bucket/mlflow"].map(str::to_owned).into();
    }

    /// Starts the server on its port with what it had before.
    pub async fn start_again(&mut self) {
        let folder = self.folder.path();
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("log");
        let process = Command::new(python())
            .args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--port", &self.port.to_string()])
            .arg("--backend-store-uri")
            .arg(format!("sqlite:///{}/mlflow.db", folder.display()))
            .args(&self.artifacts)
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .env("DO_NOT_TRACK", "1")
            .current_dir(folder)
            .process_group(0)
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("mlflow starts");
        self.process = Some(Group(process));
        let client = runtime::http::HttpArgs::default().client(Duration::from_secs(5)).expect("client");
        let health = format!("{}/health", self.address());
        wait_for("mlflow", Duration::from_secs(240), async || {
            client.get(&health).send().await.is_ok_and(|reply| reply.status().is_success())
        })
        .await;
    }

    /// Runs a Python script with the server as its tracking server; returns what it prints.
    pub fn run_python(&self, script: &Path, arguments: &[&str]) -> String {
        let output = Command::new(python())
            .arg(script)
            .args(arguments)
            .env("MLFLOW_TRACKING_URI", self.address())
            .env("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            .env("DO_NOT_TRACK", "1")
            .stdin(Stdio::null())
            .output()
            .expect("python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for MlflowServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub struct PostgresServer {
    folder: TempDir,
    port: u16,
}

const POSTGRES: &str = "/usr/lib/postgresql/15/bin";

impl PostgresServer {
    pub fn start() -> Self {
        let missing =
            "no PostgreSQL 15: run `make test-setup`, or set BERTH_SKIP_SERVERS=1 to leave the tests with servers out";
        assert!(Path::new(POSTGRES).join("initdb").exists(), "{missing}");
        let folder = tempfile::tempdir().expect("folder");
        let server = Self { folder, port: free_port() };
        // The server refuses to run as root, so there it runs as the user that its package made.
        server.run(&format!("{POSTGRES}/initdb -A trust -U berth --no-sync -D {}", server.data().display()));
        let options = format!("-p {} -h 127.0.0.1 -k {} -c fsync=on", server.port, server.folder.path().display());
        server.run(&format!(
            "{POSTGRES}/pg_ctl -w -l {}/log -o '{options}' -D {} start",
            server.data().display(),
            server.data().display()
        ));
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn run(&self, command: &str) {
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        let output = if is_root {
            Command::new("chown").arg("postgres").arg(self.folder.path()).status().expect("chown");
            Command::new("runuser").args(["-u", "postgres", "--", "sh", "-c", command]).current_dir("/").output()
        } else {
            Command::new("sh").args(["-c", command]).output()
        };
        let output = output.expect("the command starts");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn address(&self) -> String {
        format!("postgres://berth@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.run(&format!("{POSTGRES}/pg_ctl -m immediate -D {} stop >/dev/null", self.data().display()));
    }
}
