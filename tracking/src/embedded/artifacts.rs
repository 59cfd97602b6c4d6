//! Artifacts as files: `<folder>/<run>/<path>`. A file is whole or absent.

use crate::TrackingError;
use crate::types::Artifact;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub(crate) struct ArtifactFolder {
    root: PathBuf,
}

/// Paths are checked by the caller ([`crate::paths`]); run ids are looked up in the database first, so neither leads out.
impl ArtifactFolder {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn folder(&self, run_id: &str) -> PathBuf {
        self.root.join(run_id)
    }

    pub(crate) fn file(&self, run_id: &str, path: &str) -> PathBuf {
        self.folder(run_id).join(path)
    }

    pub(crate) fn exists(&self, run_id: &str, path: &str) -> bool {
        self.file(run_id, path).exists()
    }

    pub(crate) async fn write(&self, run_id: &str, path: &str, bytes: Vec<u8>) -> Result<(), TrackingError> {
        let to = self.file(run_id, path);
        off_thread(move || Ok(runtime::files::write_atomic(&to, |writer| writer.write_all(&bytes))?)).await
    }

    pub(crate) async fn copy(&self, run_id: &str, path: &str, from: &Path) -> Result<(), TrackingError> {
        let (to, from) = (self.file(run_id, path), from.to_owned());
        off_thread(move || {
            let mut source = std::fs::File::open(&from).map_err(|error| TrackingError::io("read", &from, error))?;
            Ok(runtime::files::write_atomic(&to, |writer| std::io::copy(&mut source, writer).map(drop))?)
        })
        .await
    }

    pub(crate) async fn read(&self, run_id: &str, path: &str) -> Result<Vec<u8>, TrackingError> {
        let file = self.file(run_id, path);
        match tokio::fs::read(&file).await {
            Ok(bytes) => Ok(bytes),
            Err(error) if is_absent(&error) => Err(TrackingError::not_found("artifact", format!("{run_id}/{path}"))),
            Err(source) => Err(TrackingError::io("read", &file, source)),
        }
    }

    pub(crate) fn list(&self, run_id: &str, path: &str) -> Result<Vec<Artifact>, TrackingError> {
        let folder = self.file(run_id, path);
        let failed = |source| TrackingError::io("list", &folder, source);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        };
        let mut artifacts = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') && name.ends_with(".tmp") {
                continue;
            }
            let metadata = entry.metadata().map_err(failed)?;
            let bytes = metadata.is_file().then_some(metadata.len());
            artifacts.push(Artifact { path: crate::paths::join(path, &name), is_folder: metadata.is_dir(), bytes });
        }
        artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(artifacts)
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory)
}

/// Large files are written where they do not hold up other work.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TrackingError> + Send + 'static,
) -> Result<T, TrackingError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(TrackingError::Settings(format!("writing an artifact was stopped: {error}"))),
    }
}
