//! A real Redis, stopped by its process id when dropped.

#![allow(dead_code, reason = "each test target uses its own share")]

use collector::testing::{free_port, program};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the program is; `None`, said loudly, where tests may go without it.
pub fn redis_server() -> Option<PathBuf> {
    program("redis-server").expect("redis-server")
}

/// One that keeps nothing on disk.
pub struct Redis {
    process: Child,
    pub port: u16,
}

impl Redis {
    pub fn start(program: &Path, folder: &Path, port: u16) -> Self {
        Self::launch(program, folder, port, &["--port", &port.to_string()])
    }

    /// One that speaks TLS alone.
    pub fn behind_tls(program: &Path, folder: &Path, certificate: &Path, key: &Path) -> Self {
        let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
        let port = free_port().expect("a port");
        let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
        Self::launch(program, folder, port, &[&["--port", "0", "--tls-port", &port.to_string()], &files[..]].concat())
    }

    fn launch(program: &Path, folder: &Path, port: u16, arguments: &[&str]) -> Self {
        let process = Command::new(program)
            .args(arguments)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        let redis = Self { process, port };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "Redis does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.process.id().to_string()]).status().expect("kill");
        assert!(done.success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
