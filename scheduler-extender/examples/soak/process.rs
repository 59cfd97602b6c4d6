//! A program under attack, stopped by its process id when dropped.

use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

pub struct Program {
    process: Child,
    log: PathBuf,
    pub port: u16,
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Program {
    /// Starts it on a free port; `with` adds its arguments.
    pub fn start(program: &Path, log: &Path, with: impl FnOnce(&mut Command, u16)) -> anyhow::Result<Self> {
        let port = collector::testing::free_port()?;
        let mut command = Command::new(program);
        with(&mut command, port);
        for variable in ["BERTH_PROMETHEUS_URL", "KUBERNETES_SERVICE_HOST", "KUBECONFIG"] {
            command.env_remove(variable);
        }
        let process = command.stdout(Stdio::null()).stderr(File::create(log)?).spawn();
        let process = process.with_context(|| format!("failed to start `{}`", program.display()))?;
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (id, of_thread, until) = (process.id(), Arc::clone(&peak), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                // A process that has ended has no memory any more.
                of_thread.fetch_max(resident(id).unwrap_or_default(), Ordering::Relaxed);
                std::thread::sleep(SAMPLE_EVERY);
            }
        });
        Ok(Self { process, log: log.to_owned(), port, peak, stop })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Resident memory now, in KiB.
    pub fn resident(&self) -> anyhow::Result<u64> {
        resident(self.process.id()).context("the process has ended")
    }

    /// The most that was seen since it was asked last, in KiB.
    pub fn take_peak(&self) -> u64 {
        self.peak.swap(0, Ordering::Relaxed)
    }

    /// What it takes when nothing happens: waits until it does not fall any more.
    pub async fn settled(&mut self) -> anyhow::Result<u64> {
        let (began, mut least) = (Instant::now(), self.resident()?);
        let mut lower_at = Instant::now();
        // Its allocator gives memory back after ten seconds.
        while lower_at.elapsed() < Duration::from_secs(12) && began.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = self.resident()?;
            if now + now / 100 < least {
                (least, lower_at) = (now, Instant::now());
            }
        }
        Ok(least)
    }

    /// Fails where it has ended.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!("it ended ({status}):\n{}", self.said());
        }
        Ok(())
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it with SIGTERM, which it has to heed.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?;
        ensure!(told.success(), "failed to send SIGTERM");
        let began = Instant::now();
        while self.process.try_wait()?.is_none() {
            ensure!(began.elapsed() < Duration::from_secs(60), "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        ensure!(self.process.wait()?.success(), "it ended badly:\n{}", self.said());
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It may have ended by itself; either way nothing is left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn resident(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
