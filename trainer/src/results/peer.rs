//! Python's XGBoost on the very same matrices: written to a temporary folder, fitted by `scripts/results/xgboost_peer.py`.

use crate::recipe::Recipe;
use anyhow::Context;
use models::FeatureMatrix;
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;

/// The interpreter and the script.
#[derive(Debug, Clone)]
pub struct Peer {
    /// A Python that has xgboost and numpy.
    pub python: PathBuf,
    /// The script.
    pub script: PathBuf,
}

/// How the peer is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerMode {
    /// As it comes: the level, squared error.
    Plain,
    /// With our target (the change against persistence) and our loss (absolute error).
    OurTerms,
}

impl PeerMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::OurTerms];

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "XGBoost (Python), plain",
            Self::OurTerms => "XGBoost (Python), residual and absolute error",
        }
    }

    /// Whether the target is the change against persistence.
    pub const fn is_residual(self) -> bool {
        matches!(self, Self::OurTerms)
    }

    const fn objective(self) -> &'static str {
        match self {
            Self::Plain => "reg:squarederror",
            Self::OurTerms => "reg:absoluteerror",
        }
    }
}

/// What the peer answered.
#[derive(Debug, Clone)]
pub struct PeerAnswer {
    /// One forecast per test row.
    pub forecasts: Vec<f32>,
    /// CPU time of its fit.
    pub cpu_seconds: f64,
}

#[derive(Deserialize)]
struct Answer {
    cpu_seconds: f64,
}

impl Peer {
    /// Fits on `x` and `y`, forecasts `x_test`.
    ///
    /// # Errors
    /// When Python is absent or fails; its own words are in the message.
    pub fn forecast(
        &self,
        mode: PeerMode,
        recipe: &Recipe,
        seed: u64,
        x: &FeatureMatrix,
        y: &[f32],
        x_test: &FeatureMatrix,
    ) -> anyhow::Result<PeerAnswer> {
        let folder = tempfile::tempdir().context("failed to make a temporary folder for the peer")?;
        let write = |name: &str, values: &[f32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            runtime::files::write_atomic(&folder.path().join(name), |writer| std::io::Write::write_all(writer, &bytes))
        };
        write("x_train.f32", x.values())?;
        write("y_train.f32", y)?;
        write("x_test.f32", x_test.values())?;
        let task = serde_json::json!({
            "columns": x.width(),
            "objective": mode.objective(),
            "rounds": recipe.rounds,
            "eta": recipe.learning_rate,
            "max_depth": recipe.max_depth,
            "min_child_weight": recipe.min_child_weight,
            "subsample": recipe.subsample,
            "colsample_bytree": recipe.column_sample,
            "lambda": recipe.lambda,
            "max_bin": recipe.max_bins,
            "seed": seed,
        });
        runtime::files::write_json(&folder.path().join("task.json"), &task)?;
        let output = Command::new(&self.python).arg(&self.script).arg(folder.path()).output().with_context(|| {
            format!("failed to start `{}`. `make test-setup` installs Python's xgboost", self.python.display())
        })?;
        anyhow::ensure!(
            output.status.success(),
            "the XGBoost peer `{}` failed: {}",
            self.script.display(),
            String::from_utf8_lossy(&output.stderr).lines().rev().take(3).collect::<Vec<_>>().join(" / ")
        );
        let answer: Answer = runtime::files::read_json(&folder.path().join("answer.json"))?;
        let path = folder.path().join("forecasts.f32");
        let bytes = std::fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        let forecasts: Vec<f32> =
            bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])).collect();
        anyhow::ensure!(
            forecasts.len() == x_test.rows(),
            "the XGBoost peer gave {} forecasts for {} rows",
            forecasts.len(),
            x_test.rows()
        );
        Ok(PeerAnswer { forecasts, cpu_seconds: answer.cpu_seconds })
    }
}
