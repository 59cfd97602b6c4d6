//! The scripts of the Python peers. They are part of the program, so that they are found from whatever folder it is started in.

use anyhow::Context;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Name and text of a script.
type Script = (&'static str, &'static str);

/// Python's XGBoost beside the load predictor.
pub(in crate::cli) const XGBOOST: Script =
    ("xgboost_peer.py", include_str!("../../../scripts/results/xgboost_peer.py"));
/// scikit-learn's detectors beside the anomaly detector.
pub(in crate::cli) const SCIKIT_LEARN: Script =
    ("anomaly_peers.py", include_str!("../../../scripts/results/anomaly_peers.py"));

/// A script in a file; one of our own is gone when this is dropped.
pub(in crate::cli) struct PeerScript {
    path: PathBuf,
    _folder: Option<TempDir>,
}

impl PeerScript {
    /// The file that was given, else the program's own script in a temporary one.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub(in crate::cli) fn new(given: Option<&Path>, (name, text): Script) -> anyhow::Result<Self> {
        if let Some(path) = given {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let folder = tempfile::tempdir().context("failed to make a temporary folder for the peer's script")?;
        let path = folder.path().join(name);
        runtime::files::write_text(&path, text)?;
        Ok(Self { path, _folder: Some(folder) })
    }

    /// Where it is.
    pub(in crate::cli) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_scripts_are_there_in_any_folder_and_python_reads_them() {
        let elsewhere = tempfile::tempdir().expect("temporary folder");
        for script in [XGBOOST, SCIKIT_LEARN] {
            let own = PeerScript::new(None, script).expect("written");
            // Syntax only: what they import is not installed everywhere.
            let compiled = Command::new("python3")
                .args(["-m", "py_compile"])
                .arg(own.path())
                .current_dir(elsewhere.path())
                .output()
                .expect("python3");
            assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
            let path = own.path();
            drop(own);
            assert!(!path.exists(), "nothing is left");
        }
        let given = PeerScript::new(Some(Path::new("mine.py")), XGBOOST).expect("it is not written");
        assert_eq!(given.path(), Path::new("mine.py"));
    }
}
