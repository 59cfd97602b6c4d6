//! Where a run keeps its files.
//!
//! ```text
//! <data>/pipeline/lock                          held while a run is going on
//! <data>/pipeline/steps/<step>.json             the step's last good result: what went in, what came out
//! <data>/pipeline/running/<step>.json           the process of a step that is going on
//! <data>/pipeline/<run id>/run.json             parameters, states, times
//! <data>/pipeline/<run id>/<step>.log           what the step wrote to standard output and standard error
//! <data>/pipeline/<run id>/<step>/<output>      its files and folders
//! ```

use super::RunError;
use super::record::RunRecord;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The folder `<data>/pipeline`.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The runs below a data root.
    pub fn new(data: &Path) -> Self {
        Self { root: data.join("pipeline") }
    }

    /// The folder that holds all runs.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A run's folder.
    pub fn run(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// A run's record.
    pub fn run_record(&self, id: &str) -> PathBuf {
        self.run(id).join("run.json")
    }

    /// A step's log.
    pub fn log(&self, run: &str, step: &str) -> PathBuf {
        self.run(run).join(format!("{step}.log"))
    }

    /// The folder of a step's outputs.
    pub fn outputs(&self, run: &str, step: &str) -> PathBuf {
        self.run(run).join(step)
    }

    /// A step's last good result.
    pub fn step_record(&self, step: &str) -> PathBuf {
        self.root.join("steps").join(format!("{step}.json"))
    }

    /// The folder with the processes that are going on.
    pub fn running(&self) -> PathBuf {
        self.root.join("running")
    }

    /// Keeps other runners out of this data root until the file is dropped.
    ///
    /// # Errors
    /// When another runner is there, or the folder cannot be written.
    pub fn lock(&self) -> Result<File, RunError> {
        let path = self.root.join("lock");
        let fail = |source| RunError::file("open", &path, source);
        std::fs::create_dir_all(&self.root).map_err(fail)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(RunError::Busy { root: self.root.clone() }),
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }

    /// The ids of all runs, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn run_ids(&self) -> Result<Vec<String>, RunError> {
        let fail = |source| RunError::file("list", &self.root, source);
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(fail(source)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail)?;
            if entry.path().join("run.json").exists() {
                ids.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// A run's record as it was last written.
    ///
    /// # Errors
    /// When it is absent or damaged.
    pub fn read_run(&self, id: &str) -> Result<RunRecord, RunError> {
        Ok(runtime::files::read_json(&self.run_record(id))?)
    }

    /// Makes the folder of a new run; its id is the time, so ids sort by age.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new_run(&self, now: chrono::DateTime<chrono::Utc>) -> Result<String, RunError> {
        let stem = now.format("%Y-%m-%dT%H-%M-%S-%3fZ").to_string();
        let mut id = stem.clone();
        let mut further = 1;
        loop {
            let folder = self.run(&id);
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok(id),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    further += 1;
                    id = format!("{stem}-{further}");
                }
                Err(source) => return Err(RunError::file("create", &folder, source)),
            }
        }
    }
}

/// The name of an output's file or folder: browsers and editors tell the kind by the extension.
pub fn output_name(name: &str, kind: &str) -> String {
    let extension = match kind {
        "system.HTML" => ".html",
        "system.Markdown" => ".md",
        "system.Metrics" | "system.ClassificationMetrics" => ".json",
        _ => "",
    };
    format!("{name}{extension}")
}
