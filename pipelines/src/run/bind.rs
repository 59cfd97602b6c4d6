//! Gives a step's inputs and outputs their values and paths.

use super::layout::{Layout, output_name};
use super::record::{ArtifactRecord, StepRecord};
use crate::placeholder::Placeholder;
use crate::plan::{ParameterSource, Step};
use crate::spec::text_of;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A step with everything that it reads and writes.
#[derive(Debug, Clone)]
pub struct Bound {
    /// Values that go in.
    pub parameters: BTreeMap<String, Value>,
    /// Files and folders that go in, with absolute paths.
    pub artifacts: BTreeMap<String, ArtifactRecord>,
    /// Files and folders that come out: path and kind.
    pub output_artifacts: BTreeMap<String, (PathBuf, String)>,
    /// Files that values come out in.
    pub output_parameters: BTreeMap<String, PathBuf>,
    /// The file for the step's own description of its outputs.
    output_file: PathBuf,
    run: String,
    step: String,
}

impl Bound {
    /// Binds `step` in run `run`. `results` holds the results of all steps before it.
    ///
    /// # Errors
    /// The name of an input that is not there.
    pub fn new(
        step: &Step,
        run: &str,
        pipeline: &BTreeMap<String, Value>,
        results: &BTreeMap<String, StepRecord>,
        layout: &Layout,
    ) -> Result<Self, String> {
        let mut parameters = BTreeMap::new();
        for (name, source) in &step.parameters {
            let value = match source {
                ParameterSource::Constant(value) => Some(value),
                ParameterSource::Pipeline(outer) => pipeline.get(outer),
                ParameterSource::Step { step, output } => {
                    results.get(step).and_then(|result| result.parameters.get(output))
                }
            };
            parameters.insert(name.clone(), value.cloned().ok_or_else(|| name.clone())?);
        }
        let mut artifacts = BTreeMap::new();
        for (name, input) in &step.artifacts {
            let found = results.get(&input.step).and_then(|result| result.artifacts.get(&input.output));
            let mut artifact = found.cloned().ok_or_else(|| name.clone())?;
            artifact.path = layout.root().join(&artifact.path);
            artifacts.insert(name.clone(), artifact);
        }
        let folder = layout.outputs(run, &step.name);
        let output_artifacts = step
            .output_artifacts
            .iter()
            .map(|(name, kind)| (name.clone(), (folder.join(output_name(name, kind)), kind.clone())))
            .collect();
        let output_parameters =
            step.output_parameters.keys().map(|name| (name.clone(), folder.join(".values").join(name))).collect();
        let output_file = folder.join(".values").join("executor_output.json");
        Ok(Self {
            parameters,
            artifacts,
            output_artifacts,
            output_parameters,
            output_file,
            run: run.to_owned(),
            step: step.name.clone(),
        })
    }

    /// The step's program and arguments.
    ///
    /// # Errors
    /// The name of an input or output that the step does not have; a plan has been checked for that.
    pub fn command(&self, step: &Step) -> Result<Vec<String>, String> {
        step.command.iter().map(|template| template.resolve(|placeholder| self.value(placeholder))).collect()
    }

    fn value(&self, placeholder: &Placeholder) -> Result<String, String> {
        let path = |path: Option<&Path>, name: &String| {
            path.map(|path| path.display().to_string()).ok_or_else(|| name.clone())
        };
        match placeholder {
            Placeholder::InputParameter(name) => self.parameters.get(name).map(text_of).ok_or_else(|| name.clone()),
            Placeholder::InputArtifact(name) => path(self.artifacts.get(name).map(|found| found.path.as_path()), name),
            Placeholder::OutputArtifact(name) => {
                path(self.output_artifacts.get(name).map(|(found, _)| found.as_path()), name)
            }
            Placeholder::OutputParameterFile(name) => {
                path(self.output_parameters.get(name).map(PathBuf::as_path), name)
            }
            Placeholder::OutputFile => Ok(self.output_file.display().to_string()),
            Placeholder::ExecutorInput => Ok(self.executor_input().to_string()),
            Placeholder::RunId => Ok(self.run.clone()),
            Placeholder::StepName => Ok(self.step.clone()),
        }
    }

    /// Kubeflow's `ExecutorInput` message.
    fn executor_input(&self) -> Value {
        let artifact = |name: &String, path: &Path, kind: &str| {
            let uri = path.display().to_string();
            json!({"artifacts": [{"name": name, "type": {"schemaTitle": kind}, "uri": uri, "metadata": {}}]})
        };
        let inputs: Map<String, Value> = self
            .artifacts
            .iter()
            .map(|(name, found)| (name.clone(), artifact(name, &found.path, &found.kind)))
            .collect();
        let outputs: Map<String, Value> = self
            .output_artifacts
            .iter()
            .map(|(name, (path, kind))| (name.clone(), artifact(name, path, kind)))
            .collect();
        let values: Map<String, Value> = self
            .output_parameters
            .iter()
            .map(|(name, path)| (name.clone(), json!({"outputFile": path.display().to_string()})))
            .collect();
        json!({
            "inputs": {"parameterValues": self.parameters, "artifacts": inputs},
            "outputs": {"parameters": values, "artifacts": outputs, "outputFile": self.output_file.display().to_string()},
        })
    }
}
