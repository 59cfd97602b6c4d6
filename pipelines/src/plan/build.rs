//! Turns a checked definition into a plan.

use super::check::Checker;
use super::order::in_order;
use super::{ArtifactInput, Finding, ParameterSource, Plan, PlanError, Retry, Step};
use crate::placeholder::Template;
use crate::spec::{Component, Container, Definition, InputParameter, RetryPolicy, Task, parse_duration};
use std::time::Duration;

/// Kubeflow's own values where a retry policy leaves them out.
const BACKOFF_FACTOR: f64 = 2.0;
const BACKOFF_LONGEST: Duration = Duration::from_secs(3600);

impl Plan {
    /// Checks a definition and puts its steps in order.
    ///
    /// # Errors
    /// All that the definition names and does not have, and steps that wait for each other.
    pub fn new(definition: &Definition) -> Result<Self, PlanError> {
        let findings = Checker::run(definition);
        if !findings.is_empty() {
            return Err(PlanError { findings });
        }
        let pipeline = &definition.pipeline;
        let steps = pipeline.root.dag.tasks.iter().map(|(name, task)| step(definition, name, task));
        let steps = steps.collect::<Option<Vec<_>>>().ok_or_else(|| error("root.dag", "a step has no component"))?;
        let steps = in_order(steps)
            .map_err(|circle| error("root.dag", format!("steps `{}` wait for each other", circle.join("`, `"))))?;
        let parameters = pipeline.root.input_definitions.parameters.clone();
        Ok(Self { name: pipeline.pipeline_info.name.clone(), parameters, steps })
    }
}

fn error(place: &str, problem: impl Into<String>) -> PlanError {
    PlanError { findings: vec![Finding { place: place.to_owned(), problem: problem.into() }] }
}

/// `None` when something is not there that the checker has seen.
fn step(definition: &Definition, name: &str, task: &Task) -> Option<Step> {
    let pipeline = &definition.pipeline;
    let component = pipeline.components.get(&task.component_ref.name)?;
    let container = &pipeline.deployment_spec.executors.get(&component.executor_label)?.container;
    let kubernetes = &definition.platform.platforms.kubernetes.deployment_spec.executors;
    let outputs = &component.output_definitions;
    Some(Step {
        name: name.to_owned(),
        image: container.image.clone(),
        command: command(container)?,
        environment: container.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect(),
        parameters: component
            .input_definitions
            .parameters
            .iter()
            .map(|(name, declared)| {
                let source = match task.inputs.parameters.get(name) {
                    Some(given) => parameter_source(given)?,
                    None => ParameterSource::Constant(declared.default_value.clone()?),
                };
                Some((name.clone(), source))
            })
            .collect::<Option<_>>()?,
        artifacts: task.inputs.artifacts.keys().map(|name| artifact(component, task, name)).collect::<Option<_>>()?,
        output_artifacts: outputs
            .artifacts
            .iter()
            .map(|(name, artifact)| (name.clone(), artifact.artifact_type.schema_title.clone()))
            .collect(),
        output_parameters: outputs
            .parameters
            .iter()
            .map(|(name, parameter)| (name.clone(), parameter.parameter_type))
            .collect(),
        after: task.dependent_tasks.iter().cloned().collect(),
        cached: task.caching_options.enable_cache,
        retry: retry(&task.retry_policy)?,
        time_limit: kubernetes
            .get(&component.executor_label)
            .and_then(|executor| executor.active_deadline_seconds)
            .map(Duration::from_secs),
    })
}

fn command(container: &Container) -> Option<Vec<Template>> {
    container.command.iter().chain(&container.args).map(|text| Template::parse(text).ok()).collect()
}

fn parameter_source(given: &InputParameter) -> Option<ParameterSource> {
    if let Some(outer) = &given.component_input_parameter {
        return Some(ParameterSource::Pipeline(outer.clone()));
    }
    if let Some(of) = &given.task_output_parameter {
        return Some(ParameterSource::Step { step: of.producer_task.clone(), output: of.output_parameter_key.clone() });
    }
    given.runtime_value.as_ref().map(|value| ParameterSource::Constant(value.constant.clone()))
}

fn artifact(component: &Component, task: &Task, name: &str) -> Option<(String, ArtifactInput)> {
    let of = &task.inputs.artifacts.get(name)?.task_output_artifact;
    let kind = component.input_definitions.artifacts.get(name)?.artifact_type.schema_title.clone();
    let input = ArtifactInput { step: of.producer_task.clone(), output: of.output_artifact_key.clone(), kind };
    Some((name.to_owned(), input))
}

fn retry(policy: &RetryPolicy) -> Option<Retry> {
    let duration = |text: &Option<String>, default| text.as_deref().map_or(Some(default), parse_duration);
    Some(Retry {
        count: policy.max_retry_count,
        pause: duration(&policy.backoff_duration, Duration::ZERO)?,
        factor: policy.backoff_factor.unwrap_or(BACKOFF_FACTOR),
        longest: duration(&policy.backoff_max_duration, BACKOFF_LONGEST)?,
    })
}
