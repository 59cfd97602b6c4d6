//! The pipeline document. Names are those of Kubeflow's `PipelineSpec`, so that its documentation explains them.

use super::value::ParameterType;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A whole pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PipelineSpec {
    /// Its name.
    pub pipeline_info: PipelineInfo,
    /// What can be run, by name.
    pub components: BTreeMap<String, Component>,
    /// How it is run, by executor label.
    pub deployment_spec: DeploymentSpec,
    /// What is run.
    pub root: Root,
    /// Version of this schema: `2.1.0`.
    pub schema_version: String,
    /// Which SDK wrote the file.
    pub sdk_version: String,
}

/// Name and description.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PipelineInfo {
    /// The name.
    pub name: String,
    /// The name for people.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// The declared interface of one kind of step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Component {
    /// Key into [`DeploymentSpec::executors`].
    pub executor_label: String,
    /// What it reads.
    #[serde(default)]
    pub input_definitions: Definitions,
    /// What it writes.
    #[serde(default)]
    pub output_definitions: Outputs,
}

/// Declared inputs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Definitions {
    /// Files and folders.
    pub artifacts: BTreeMap<String, ArtifactDefinition>,
    /// Values.
    pub parameters: BTreeMap<String, ParameterDefinition>,
}

/// Declared outputs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Outputs {
    /// Files and folders.
    pub artifacts: BTreeMap<String, ArtifactDefinition>,
    /// Values.
    pub parameters: BTreeMap<String, OutputParameterDefinition>,
}

/// A declared file or folder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ArtifactDefinition {
    /// What it holds.
    pub artifact_type: ArtifactType,
    /// What it is for.
    pub description: Option<String>,
}

/// Kind of content.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ArtifactType {
    /// Such as `system.Dataset`.
    pub schema_title: String,
    /// Such as `0.0.1`.
    pub schema_version: Option<String>,
}

/// A declared value.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ParameterDefinition {
    /// Its type.
    pub parameter_type: ParameterType,
    /// Taken when none is given.
    pub default_value: Option<Value>,
    /// Whether it may be left out; then it has a default.
    #[serde(default)]
    pub is_optional: bool,
    /// What it is for.
    pub description: Option<String>,
}

/// A value that a step writes to a file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OutputParameterDefinition {
    /// Its type.
    pub parameter_type: ParameterType,
    /// What it is for.
    pub description: Option<String>,
}

/// How components are run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeploymentSpec {
    /// By executor label.
    pub executors: BTreeMap<String, Executor>,
}

/// How one component is run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Executor {
    /// In a container; other executors need Kubeflow.
    pub container: Container,
}

/// A container. The local runner leaves image and resources aside.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Container {
    /// Its image.
    pub image: String,
    /// Program and first arguments.
    pub command: Vec<String>,
    /// Further arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: Vec<EnvironmentVariable>,
    /// What the container may use.
    #[serde(default)]
    pub resources: Resources,
}

/// One environment variable; Kubeflow resolves no placeholders here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Kubernetes quantities such as `500m` and `2Gi`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Resources {
    /// CPU limit.
    pub resource_cpu_limit: Option<String>,
    /// Memory limit.
    pub resource_memory_limit: Option<String>,
    /// CPU request.
    pub resource_cpu_request: Option<String>,
    /// Memory request.
    pub resource_memory_request: Option<String>,
}

/// The pipeline's own inputs and its steps.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Root {
    /// The steps.
    pub dag: Dag,
    /// The pipeline's parameters.
    #[serde(default)]
    pub input_definitions: Definitions,
}

/// Steps by name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Dag {
    /// By name.
    pub tasks: BTreeMap<String, Task>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Task {
    /// The name for people.
    pub task_info: Option<NameOf>,
    /// Which component.
    pub component_ref: NameOf,
    /// Steps that must have ended well before. Kubeflow orders by this list alone, so producers of inputs are in it.
    #[serde(default)]
    pub dependent_tasks: Vec<String>,
    /// Where the inputs come from.
    #[serde(default)]
    pub inputs: TaskInputs,
    /// Whether an earlier result may be taken.
    #[serde(default)]
    pub caching_options: CachingOptions,
    /// How often it is tried again.
    #[serde(default)]
    pub retry_policy: RetryPolicy,
}

/// A reference by name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameOf {
    /// The name.
    pub name: String,
}

/// Where a step's inputs come from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TaskInputs {
    /// Values.
    pub parameters: BTreeMap<String, InputParameter>,
    /// Files and folders.
    pub artifacts: BTreeMap<String, InputArtifact>,
}

/// Where a value comes from: exactly one of the fields is there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InputParameter {
    /// A parameter of the pipeline.
    pub component_input_parameter: Option<String>,
    /// A value that another step wrote.
    pub task_output_parameter: Option<OutputParameterOf>,
    /// A value in the file.
    pub runtime_value: Option<RuntimeValue>,
}

/// An output parameter of another step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OutputParameterOf {
    /// Which step.
    pub producer_task: String,
    /// Which of its output parameters.
    pub output_parameter_key: String,
}

/// A value in the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RuntimeValue {
    /// The value.
    pub constant: Value,
}

/// Where a file or folder comes from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InputArtifact {
    /// Another step's output.
    pub task_output_artifact: OutputArtifactOf,
}

/// An output artifact of another step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OutputArtifactOf {
    /// Which step.
    pub producer_task: String,
    /// Which of its output artifacts.
    pub output_artifact_key: String,
}

/// Whether an earlier result with the same inputs may be taken.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CachingOptions {
    /// Off when left out, as in Kubeflow.
    pub enable_cache: bool,
}

/// How often a failed step is tried again, and after which pauses.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RetryPolicy {
    /// Further attempts after the first.
    pub max_retry_count: u32,
    /// Pause before the second attempt, such as `30s`.
    pub backoff_duration: Option<String>,
    /// Each further pause is this many times the one before; 2 when left out.
    pub backoff_factor: Option<f64>,
    /// Longest pause.
    pub backoff_max_duration: Option<String>,
}
