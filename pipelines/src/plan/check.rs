//! Looks through a definition for names that lead nowhere.

use super::Finding;
use crate::placeholder::{Placeholder, Template};
use crate::spec::{Component, Definition, InputParameter, ParameterType, SCHEMA_VERSION, Task};
use std::collections::BTreeMap;

/// All that is wrong with a definition, in the order of its parts.
pub(super) struct Checker<'a> {
    definition: &'a Definition,
    findings: Vec<Finding>,
}

impl<'a> Checker<'a> {
    pub(super) fn run(definition: &'a Definition) -> Vec<Finding> {
        let mut checker = Self { definition, findings: Vec::new() };
        checker.pipeline();
        checker.executors();
        checker.components();
        for (name, task) in &definition.pipeline.root.dag.tasks {
            checker.task(name, task);
        }
        checker.findings
    }

    fn found(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.findings.push(Finding { place: place.into(), problem: problem.into() });
    }

    fn pipeline(&mut self) {
        let pipeline = &self.definition.pipeline;
        if pipeline.schema_version != SCHEMA_VERSION {
            let problem = format!("is `{}`, this runner reads `{SCHEMA_VERSION}`", pipeline.schema_version);
            self.found("schemaVersion", problem);
        }
        if pipeline.root.dag.tasks.is_empty() {
            self.found("root.dag.tasks", "is empty");
        }
        if !pipeline.root.input_definitions.artifacts.is_empty() {
            self.found("root.inputDefinitions.artifacts", "artifacts as inputs of the pipeline are not supported");
        }
        self.defaults("root", &pipeline.root.input_definitions.parameters);
    }

    fn defaults(&mut self, place: &str, parameters: &'a BTreeMap<String, crate::spec::ParameterDefinition>) {
        for (name, parameter) in parameters {
            if let Some(value) =
                parameter.default_value.as_ref().filter(|value| !parameter.parameter_type.accepts(value))
            {
                let problem = format!("default of parameter `{name}` is `{value}`, want {}", parameter.parameter_type);
                self.found(place, problem);
            }
            if parameter.is_optional && parameter.default_value.is_none() {
                self.found(place, format!("parameter `{name}` is optional and has no default"));
            }
        }
    }

    fn executors(&mut self) {
        let pipeline = &self.definition.pipeline;
        let executors = &pipeline.deployment_spec.executors;
        for (label, executor) in executors {
            let place = format!("executor `{label}`");
            if executor.container.command.first().is_none_or(|program| program.contains("{{")) {
                self.found(&place, "container has no command, or a placeholder as its program");
            }
            for variable in executor.container.env.iter().filter(|variable| variable.value.contains("{{$")) {
                self.found(
                    &place,
                    format!("`env` value of `{}` has a placeholder: Kubeflow passes it on as text", variable.name),
                );
            }
            if !pipeline.components.values().any(|component| component.executor_label == *label) {
                self.found(&place, "no component uses it");
            }
        }
        for (label, settings) in &self.definition.platform.platforms.kubernetes.deployment_spec.executors {
            let place = format!("platforms.kubernetes executor `{label}`");
            if !executors.contains_key(label) {
                self.found(&place, "there is no such executor");
            }
            if settings.active_deadline_seconds == Some(0) {
                self.found(&place, "activeDeadlineSeconds is 0");
            }
        }
    }

    fn components(&mut self) {
        let pipeline = &self.definition.pipeline;
        for (name, component) in &pipeline.components {
            let place = format!("component `{name}`");
            self.defaults(&place, &component.input_definitions.parameters);
            let outputs = &component.output_definitions;
            for output in outputs.artifacts.keys().chain(outputs.parameters.keys()) {
                self.plain_name(&place, "output", output);
            }
            if !pipeline.root.dag.tasks.values().any(|task| task.component_ref.name == *name) {
                self.found(&place, "no step uses it");
            }
            let Some(executor) = pipeline.deployment_spec.executors.get(&component.executor_label) else {
                self.found(&place, format!("executorLabel `{}` is not in deploymentSpec", component.executor_label));
                continue;
            };
            for text in executor.container.command.iter().chain(&executor.container.args) {
                self.placeholders(&place, component, text);
            }
        }
    }

    fn placeholders(&mut self, place: &str, component: &Component, text: &str) {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => return self.found(place, error.to_string()),
        };
        let (inputs, outputs) = (&component.input_definitions, &component.output_definitions);
        for placeholder in template.placeholders() {
            let (kind, name, known) = match placeholder {
                Placeholder::InputParameter(name) => ("input parameter", name, inputs.parameters.contains_key(name)),
                Placeholder::InputArtifact(name) => ("input artifact", name, inputs.artifacts.contains_key(name)),
                Placeholder::OutputArtifact(name) => ("output artifact", name, outputs.artifacts.contains_key(name)),
                Placeholder::OutputParameterFile(name) => {
                    ("output parameter", name, outputs.parameters.contains_key(name))
                }
                _ => continue,
            };
            if !known {
                self.found(place, format!("`{text}` names {kind} `{name}`, which the component does not declare"));
            }
        }
    }

    /// Names become names of files and folders.
    fn plain_name(&mut self, place: &str, what: &str, name: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            self.found(place, format!("{what} name `{name}` has other characters than letters, digits, `-` and `_`"));
        }
    }

    fn task(&mut self, name: &str, task: &'a Task) {
        let place = format!("step `{name}`");
        self.plain_name(&place, "step", name);
        for before in &task.dependent_tasks {
            if !self.definition.pipeline.root.dag.tasks.contains_key(before) {
                self.found(&place, format!("dependentTasks names `{before}`, which is no step"));
            }
        }
        self.retry(&place, task);
        let Some(component) = self.definition.pipeline.components.get(&task.component_ref.name) else {
            return self.found(&place, format!("componentRef `{}` is no component", task.component_ref.name));
        };
        self.parameters(&place, task, component);
        self.artifacts(&place, task, component);
    }

    fn retry(&mut self, place: &str, task: &Task) {
        let policy = &task.retry_policy;
        for text in policy.backoff_duration.iter().chain(&policy.backoff_max_duration) {
            if crate::spec::parse_duration(text).is_none() {
                self.found(place, format!("retryPolicy has the duration `{text}`, want seconds such as `30s`"));
            }
        }
        if policy.backoff_factor.is_some_and(|factor| !(1.0..=100.0).contains(&factor)) {
            self.found(place, "retryPolicy.backoffFactor is not between 1 and 100");
        }
    }

    fn parameters(&mut self, place: &str, task: &'a Task, component: &'a Component) {
        let declared = &component.input_definitions.parameters;
        for (name, source) in &task.inputs.parameters {
            match declared.get(name) {
                Some(parameter) => self.parameter_source(place, task, name, parameter.parameter_type, source),
                None => self.found(place, format!("component has no input parameter `{name}`")),
            }
        }
        for (name, _) in declared.iter().filter(|(_, parameter)| parameter.default_value.is_none()) {
            if !task.inputs.parameters.contains_key(name) {
                self.found(place, format!("input parameter `{name}` is not given and has no default"));
            }
        }
    }

    fn parameter_source(
        &mut self,
        place: &str,
        task: &Task,
        name: &str,
        wanted: ParameterType,
        source: &'a InputParameter,
    ) {
        let pipeline = &self.definition.pipeline;
        let got = match (&source.component_input_parameter, &source.task_output_parameter, &source.runtime_value) {
            (Some(outer), None, None) => match pipeline.root.input_definitions.parameters.get(outer) {
                Some(parameter) => parameter.parameter_type,
                None => {
                    let problem =
                        format!("input parameter `{name}` takes `{outer}`, which is no parameter of the pipeline");
                    return self.found(place, problem);
                }
            },
            (None, Some(of), None) => {
                let Some(producer) = self.producer(place, task, &of.producer_task, name) else { return };
                match producer.output_definitions.parameters.get(&of.output_parameter_key) {
                    Some(parameter) => parameter.parameter_type,
                    None => {
                        let key = &of.output_parameter_key;
                        let problem = format!(
                            "input `{name}` takes output parameter `{key}`, which step `{}` does not declare",
                            of.producer_task
                        );
                        return self.found(place, problem);
                    }
                }
            }
            (None, None, Some(value)) => {
                if !wanted.accepts(&value.constant) {
                    self.found(place, format!("input parameter `{name}` is `{}`, want {wanted}", value.constant));
                }
                return;
            }
            _ => {
                let problem = format!(
                    "input parameter `{name}` wants exactly one of componentInputParameter, taskOutputParameter, runtimeValue"
                );
                return self.found(place, problem);
            }
        };
        if got != wanted {
            self.found(place, format!("input parameter `{name}` is {wanted}, what it takes is {got}"));
        }
    }

    fn artifacts(&mut self, place: &str, task: &'a Task, component: &'a Component) {
        let declared = &component.input_definitions.artifacts;
        for (name, source) in &task.inputs.artifacts {
            let of = &source.task_output_artifact;
            let Some(wanted) = declared.get(name) else {
                self.found(place, format!("component has no input artifact `{name}`"));
                continue;
            };
            let Some(producer) = self.producer(place, task, &of.producer_task, name) else { continue };
            let Some(got) = producer.output_definitions.artifacts.get(&of.output_artifact_key) else {
                let problem = format!(
                    "input `{name}` takes output artifact `{}`, which step `{}` does not declare",
                    of.output_artifact_key, of.producer_task
                );
                self.found(place, problem);
                continue;
            };
            let (wanted, got) = (&wanted.artifact_type.schema_title, &got.artifact_type.schema_title);
            if wanted != got && wanted != "system.Artifact" {
                self.found(place, format!("input artifact `{name}` is {wanted}, what it takes is {got}"));
            }
        }
        for name in declared.keys().filter(|name| !task.inputs.artifacts.contains_key(*name)) {
            self.found(place, format!("input artifact `{name}` is not given"));
        }
    }

    /// The component of the step that an input comes from.
    fn producer(&mut self, place: &str, task: &Task, producer: &str, input: &str) -> Option<&'a Component> {
        let pipeline = &self.definition.pipeline;
        let Some(step) = pipeline.root.dag.tasks.get(producer) else {
            self.found(place, format!("input `{input}` comes from producerTask `{producer}`, which is no step"));
            return None;
        };
        if !task.dependent_tasks.iter().any(|before| before == producer) {
            // Kubeflow starts a step when those in dependentTasks are done, whatever it reads.
            self.found(place, format!("input `{input}` comes from `{producer}`, which dependentTasks does not name"));
        }
        // A producer without component is a finding of its own.
        pipeline.components.get(&step.component_ref.name)
    }
}
