//! Placeholders in command lines, such as `{{$.inputs.parameters['days']}}`.

use std::fmt;

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    /// `{{$.inputs.parameters['p']}}`: the value.
    InputParameter(String),
    /// `{{$.inputs.artifacts['a'].path}}`: where the file or folder is.
    InputArtifact(String),
    /// `{{$.outputs.artifacts['a'].path}}`: where the step writes the file or folder.
    OutputArtifact(String),
    /// `{{$.outputs.parameters['p'].output_file}}`: the file that the step writes the value to.
    OutputParameterFile(String),
    /// `{{$.outputs.output_file}}`: the file for the step's own description of its outputs.
    OutputFile,
    /// `{{$}}`: all inputs and outputs as one JSON document.
    ExecutorInput,
    /// `{{$.pipeline_job_name}}`, `{{$.pipeline_job_uuid}}`: the run's id.
    RunId,
    /// `{{$.pipeline_task_name}}`, `{{$.pipeline_task_uuid}}`: the step's name.
    StepName,
}

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(Placeholder),
}

/// A text has something that looks like a placeholder and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// It is not closed.
    #[error("placeholder `{0}` is not closed by `}}}}`")]
    Open(String),
    /// Nothing has this name.
    #[error(
        "unknown placeholder `{0}`. Known are inputs.parameters['…'], inputs.artifacts['…'].path, outputs.artifacts['…'].path, outputs.parameters['…'].output_file and $"
    )]
    Unknown(String),
    /// Kubeflow knows it and this runner does not.
    #[error("`{0}` placeholders are not supported by the local runner")]
    Unsupported(&'static str),
}

impl Template {
    /// Finds the placeholders of `text`.
    ///
    /// # Errors
    /// When one is not closed, not known or not supported.
    pub fn parse(text: &str) -> Result<Self, PlaceholderError> {
        for (start, name) in [("{\"IfPresent\"", "IfPresent"), ("{\"Concat\"", "Concat")] {
            if text.trim_start().starts_with(start) {
                return Err(PlaceholderError::Unsupported(name));
            }
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{$") {
            let end = rest[start..].find("}}").ok_or_else(|| PlaceholderError::Open(rest[start..].to_owned()))? + start;
            let inner = &rest[start + 3..end];
            let placeholder =
                Placeholder::parse(inner).ok_or_else(|| PlaceholderError::Unknown(rest[start..end + 2].to_owned()))?;
            parts.push(Part::Literal(rest[..start].to_owned()));
            parts.push(Part::Placeholder(placeholder));
            rest = &rest[end + 2..];
        }
        parts.push(Part::Literal(rest.to_owned()));
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The placeholders in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(placeholder) => Some(placeholder),
            Part::Literal(_) => None,
        })
    }

    /// The text with every placeholder replaced by what `value` says it stands for.
    ///
    /// # Errors
    /// What `value` says.
    pub fn resolve<E>(&self, mut value: impl FnMut(&Placeholder) -> Result<String, E>) -> Result<String, E> {
        let mut resolved = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => resolved.push_str(text),
                Part::Placeholder(placeholder) => resolved.push_str(&value(placeholder)?),
            }
        }
        Ok(resolved)
    }
}

impl fmt::Display for Template {
    /// The text as it was.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Placeholder {
    /// `inner` is what stands between `{{$` and `}}`.
    fn parse(inner: &str) -> Option<Self> {
        match inner {
            "" => return Some(Self::ExecutorInput),
            ".outputs.output_file" => return Some(Self::OutputFile),
            ".pipeline_job_name" | ".pipeline_job_uuid" => return Some(Self::RunId),
            ".pipeline_task_name" | ".pipeline_task_uuid" => return Some(Self::StepName),
            _ => {}
        }
        let (place, rest) = inner.split_once("['")?;
        let (name, suffix) = rest.split_once("']")?;
        let name = (!name.is_empty()).then(|| name.to_owned())?;
        match (place, suffix) {
            (".inputs.parameters", "") => Some(Self::InputParameter(name)),
            (".inputs.artifacts", ".path" | ".uri") => Some(Self::InputArtifact(name)),
            (".outputs.artifacts", ".path" | ".uri") => Some(Self::OutputArtifact(name)),
            (".outputs.parameters", ".output_file") => Some(Self::OutputParameterFile(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn every_known_placeholder_is_found_in_its_text() {
        let text =
            "--in={{$.inputs.artifacts['raw'].path}}:{{$.inputs.parameters['days']}} {{$}} {{$.pipeline_job_name}}";
        let template = Template::parse(text).expect("known placeholders");
        let found: Vec<_> = template.placeholders().cloned().collect();
        assert_eq!(
            found,
            [
                Placeholder::InputArtifact("raw".into()),
                Placeholder::InputParameter("days".into()),
                Placeholder::ExecutorInput,
                Placeholder::RunId
            ]
        );
        let Ok(resolved) = template.resolve(|placeholder| {
            Ok::<_, Infallible>(match placeholder {
                Placeholder::InputArtifact(name) => format!("/runs/{name}"),
                Placeholder::InputParameter(_) => "35".into(),
                Placeholder::RunId => "monday".into(),
                _ => "{}".into(),
            })
        });
        assert_eq!(resolved, "--in=/runs/raw:35 {} monday");
        assert_eq!(template.to_string(), text);
    }

    #[test]
    fn what_looks_like_a_placeholder_and_is_none_is_refused() {
        let error = |text: &str| Template::parse(text).expect_err("refused").to_string();
        for wrong in [
            "{{$.inputs.parameter['days']}}",
            "{{$.inputs.artifacts['raw']}}",
            "{{$.outputs.parameters['p'].path}}",
            "{{$.inputs.parameters['']}}",
            "{{$.nothing}}",
        ] {
            assert!(error(wrong).contains(wrong), "{wrong}");
        }
        assert!(error("a {{$.inputs.parameters['days']").contains("not closed"));
        assert!(error(r#"{"IfPresent": {"InputName": "days", "Then": "x"}}"#).contains("IfPresent"));
    }

    #[test]
    fn text_without_a_placeholder_stays() {
        for text in ["", "plain", "{{ .Values.helm }}", "{}"] {
            let Ok(resolved) =
                Template::parse(text).expect("plain text").resolve(|_| Ok::<_, Infallible>(String::new()));
            assert_eq!(resolved, text);
        }
    }
}
