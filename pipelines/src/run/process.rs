//! Runs one attempt of a step as a process group of its own.

use super::RunError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
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
            Trace::of(group, self.program).write(&self.trace)?;
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
    // POSIX has it there; one of PATH could be anybody's.
    let sent = std::process::Command::new("/bin/sh")
        .args(["-c", &line])
        .stdin(quiet())
        .stdout(quiet())
        .stderr(quiet())
        .status();
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

/// A process that is going on: its number, what it runs, and when it started, since numbers are used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Trace {
    group: u32,
    started: Option<u64>,
    #[serde(default)]
    program: PathBuf,
}

/// What a trace leads to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Nothing: it has ended, or there never was such a process.
    Nothing,
    /// The step that was started.
    Step,
    /// A process with its number and its time that runs something else.
    Other,
}

impl Trace {
    fn of(group: u32, program: &Path) -> Self {
        Self { group, started: start_time(group), program: program.to_owned() }
    }

    fn write(&self, path: &Path) -> Result<(), RunError> {
        Ok(runtime::files::write_json(path, self)?)
    }

    /// A file may say anything, and a signal to group 1 goes to every process that there is, one to group 0 to ourselves.
    fn find(&self) -> Found {
        if self.group <= 1 || self.started.is_none() || start_time(self.group) != self.started {
            return Found::Nothing;
        }
        let line = std::fs::read(format!("/proc/{}/cmdline", self.group)).unwrap_or_default();
        // A script's interpreter comes first, then the script.
        let runs_it = line.split(|byte| *byte == 0).any(|word| word == self.program.as_os_str().as_bytes());
        if runs_it && !self.program.as_os_str().is_empty() { Found::Step } else { Found::Other }
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
            match trace.find() {
                Found::Nothing => {}
                Found::Step => {
                    signal(trace.group, "KILL");
                    ended.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
                    wait_until_gone(&path, || trace.find() != Found::Nothing)?;
                }
                Found::Other => return Err(RunError::NotOurs { path, process: trace.group, program: trace.program }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    fn sleeping() -> std::process::Child {
        let child = std::process::Command::new("/bin/sleep").arg("600").process_group(0).spawn().expect("started");
        // Whoever starts it goes on a moment before the kernel shows the new program.
        let sleep = std::fs::canonicalize("/bin/sleep").expect("a program");
        while std::fs::read_link(format!("/proc/{}/exe", child.id())).ok().as_ref() != Some(&sleep) {
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn only_a_step_of_ours_is_found_by_its_trace() {
        let mut child = sleeping();
        let trace = Trace::of(child.id(), Path::new("/bin/sleep"));
        assert_eq!(trace.find(), Found::Step);
        assert_eq!(Trace { program: "/bin/other".into(), ..trace.clone() }.find(), Found::Other);
        assert_eq!(Trace { program: PathBuf::new(), ..trace.clone() }.find(), Found::Other);
        assert_eq!(Trace { started: Some(1), ..trace.clone() }.find(), Found::Nothing);
        // Whatever they run and whenever they began: these numbers stand for many.
        for group in [0, 1] {
            let first = std::fs::read_link("/proc/1/exe").unwrap_or_default();
            assert_eq!(Trace { group, started: start_time(group), program: first }.find(), Found::Nothing);
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert_eq!(trace.find(), Found::Nothing);
    }

    #[test]
    fn a_process_that_a_file_names_and_that_is_not_ours_goes_on() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut child = sleeping();
        let trace = Trace { program: "/bin/other".into(), ..Trace::of(child.id(), Path::new("/bin/sleep")) };
        trace.write(&folder.path().join("train.json")).expect("written");
        let error = end_left_behind(folder.path()).expect_err("it is not ours").to_string();
        assert!(error.contains("train.json") && error.contains(&child.id().to_string()), "{error}");
        assert!(child.try_wait().expect("a process").is_none(), "it goes on");
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert_eq!(end_left_behind(folder.path()).expect("nothing is left"), [""; 0]);
        assert!(!folder.path().join("train.json").exists());
    }
}
