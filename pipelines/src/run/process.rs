//! Runs one attempt of a step as a process group of its own.

use super::RunError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// A step that is asked to end gets this long before it is killed: time enough to close files, short enough for a
/// person who waits after Ctrl-C. Kubernetes gives 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal, sent by another process or the kernel.
    Signal(i32),
    /// It was killed because it took too long.
    TimedOut(Duration),
    /// It was killed because the run was asked to stop.
    Stopped,
}

/// What to run.
pub struct Attempt<'a> {
    /// The program's file.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Variables added to the runner's own.
    pub environment: &'a [(String, String)],
    /// Standard output and standard error are added to this file.
    pub log: &'a Path,
    /// After which time it is killed.
    pub limit: Option<Duration>,
    /// Remembers the process, so that the next runner can end it when this one is killed.
    pub trace: PathBuf,
}

impl Attempt<'_> {
    /// Starts the process and waits for its end, for the time limit, or for `stop` to become true.
    ///
    /// # Errors
    /// When the process cannot be started or the log cannot be written.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) -> Result<Ended, RunError> {
        let mut child = self.start()?;
        let group = child.id();
        if let Some(group) = group {
            Trace::of(group).write(&self.trace)?;
        }
        let limit = async {
            match self.limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            status = child.wait() => Ok(ended(status.map_err(|source| RunError::file("wait for", self.program, source))?)),
            () = limit => Err(Ended::TimedOut(self.limit.unwrap_or_default())),
            _ = stop.wait_for(|stop| *stop) => Err(Ended::Stopped),
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(reason) => {
                end(&mut child, group).await;
                reason
            }
        };
        // What the step started and left behind goes with it.
        if let Some(group) = group {
            signal(group, "KILL");
        }
        let _ = std::fs::remove_file(&self.trace);
        Ok(ended)
    }

    fn start(&self) -> Result<Child, RunError> {
        let fail = |source| RunError::file("write", self.log, source);
        let log = File::options().create(true).append(true).open(self.log).map_err(fail)?;
        let also = log.try_clone().map_err(fail)?;
        Command::new(self.program)
            .args(self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also)
            // A group of its own: Ctrl-C reaches the runner alone, and the runner ends all that the step started.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| RunError::file("start", self.program, source))
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, signal) => Ended::Signal(signal.unwrap_or(0)),
    }
}

/// Sends a signal to all processes of a group. The standard library cannot, and the crates that can would have every
/// dependency compiled with other features, so the shell's own `kill` does it. That the group is gone is as good.
fn signal(group: u32, name: &str) {
    let line = format!("kill -s {name} -- -{group}");
    let quiet = || Stdio::null();
    let sent =
        std::process::Command::new("sh").args(["-c", &line]).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    if let Err(error) = sent {
        tracing::error!(group, %error, "cannot start a shell to end a step");
    }
}

/// Asks the group to end, and kills it when it does not.
async fn end(child: &mut Child, group: Option<u32>) {
    if let Some(group) = group {
        signal(group, "TERM");
        if tokio::time::timeout(GRACE, child.wait()).await.is_ok() {
            return;
        }
        signal(group, "KILL");
    }
    let _ = child.kill().await;
}

/// A process that is going on: its number, and when it started, since numbers are used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Trace {
    group: u32,
    started: Option<u64>,
}

impl Trace {
    fn of(group: u32) -> Self {
        Self { group, started: start_time(group) }
    }

    fn write(&self, path: &Path) -> Result<(), RunError> {
        Ok(runtime::files::write_json(path, self)?)
    }
}

/// When a process started, in clock ticks since the machine did; `None` when it is gone.
fn start_time(id: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the name in brackets and may hold anything. Then come the state (`Z`: ended, nobody has asked
    // how) and, as field 22, the time.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let time = fields.nth(18)?;
    if state == "Z" { None } else { time.parse().ok() }
}

/// Ends the steps that a killed runner left behind: two processes must not write the same files.
///
/// # Errors
/// When the folder cannot be listed, or a process does not go away.
pub fn end_left_behind(folder: &Path) -> Result<Vec<String>, RunError> {
    let mut ended = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ended),
        Err(source) => return Err(RunError::file("list", folder, source)),
    };
    for entry in entries {
        let path = entry.map_err(|source| RunError::file("list", folder, source))?.path();
        if let Ok(trace) = runtime::files::read_json::<Trace>(&path) {
            let alive = || trace.started.is_some() && start_time(trace.group) == trace.started;
            if alive() {
                signal(trace.group, "KILL");
                ended.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
                wait_until_gone(&path, alive)?;
            }
        }
        std::fs::remove_file(&path).map_err(|source| RunError::file("remove", &path, source))?;
    }
    Ok(ended)
}

fn wait_until_gone(path: &Path, alive: impl Fn() -> bool) -> Result<(), RunError> {
    let start = Instant::now();
    while alive() {
        if start.elapsed() > GRACE {
            return Err(RunError::file("end the process of", path, std::io::ErrorKind::TimedOut.into()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
