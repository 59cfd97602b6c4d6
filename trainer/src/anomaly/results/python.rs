//! scikit-learn's detectors on the very same rows: written to a temporary folder, scored by
//! `scripts/results/anomaly_peers.py`.

use anyhow::Context;
use models::FeatureMatrix;
use std::path::PathBuf;
use std::process::Command;

/// The interpreter and the script.
#[derive(Debug, Clone)]
pub struct PythonPeers {
    /// A Python that has scikit-learn and numpy.
    pub python: PathBuf,
    /// The script.
    pub script: PathBuf,
}

/// Names and files of what the script gives.
const ANSWERS: [(&str, &str); 2] = [
    ("IsolationForest (scikit-learn), raw columns", "forest.f32"),
    ("PCA reconstruction (scikit-learn), raw columns", "pca.f32"),
];

impl PythonPeers {
    /// Fits each peer on the first `fit_rows` rows and scores all.
    ///
    /// # Errors
    /// When Python is absent or fails; its own words are in the message.
    pub fn scores(&self, x: &FeatureMatrix, fit_rows: usize, seed: u64) -> anyhow::Result<Vec<(String, Vec<f32>)>> {
        let folder = tempfile::tempdir().context("failed to make a temporary folder for the peers")?;
        let bytes: Vec<u8> = x.values().iter().flat_map(|value| value.to_le_bytes()).collect();
        runtime::files::write_atomic(&folder.path().join("x.f32"), |writer| std::io::Write::write_all(writer, &bytes))?;
        let task = serde_json::json!({ "columns": x.width(), "fit_rows": fit_rows, "seed": seed });
        runtime::files::write_json(&folder.path().join("task.json"), &task)?;
        let output = Command::new(&self.python).arg(&self.script).arg(folder.path()).output().with_context(|| {
            format!("failed to start `{}`. `make test-setup` installs scikit-learn", self.python.display())
        })?;
        anyhow::ensure!(
            output.status.success(),
            "the peers' script `{}` failed: {}",
            self.script.display(),
            String::from_utf8_lossy(&output.stderr).lines().rev().take(3).collect::<Vec<_>>().join(" / ")
        );
        ANSWERS
            .into_iter()
            .map(|(name, file)| {
                let path = folder.path().join(file);
                let bytes = std::fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
                let scores: Vec<f32> = bytes
                    .chunks_exact(4)
                    .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                    .collect();
                anyhow::ensure!(
                    scores.len() == x.rows(),
                    "`{name}` gave {} scores for {} rows",
                    scores.len(),
                    x.rows()
                );
                Ok((name.to_owned(), scores))
            })
            .collect()
    }
}
