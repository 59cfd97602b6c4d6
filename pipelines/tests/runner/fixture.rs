//! Pipelines whose steps are shell scripts, and the built `pipelines` command to run them.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Where a step writes its output.
pub const OUT: &str = "{{$.outputs.artifacts['out'].path}}";

/// A step whose work is a shell script. It has one output, `out`, and one input per step that it reads.
pub struct FakeStep {
    name: String,
    script: String,
    reads: Vec<String>,
    cached: bool,
    retries: u32,
    limit: Option<u64>,
    parameters: Vec<String>,
}

pub fn step(name: &str, script: &str) -> FakeStep {
    FakeStep {
        name: name.to_owned(),
        script: script.replace("OUT", OUT),
        reads: Vec::new(),
        cached: true,
        retries: 0,
        limit: None,
        parameters: Vec::new(),
    }
}

/// What a step reads from: the path of `step`'s output.
pub fn input(step: &str) -> String {
    format!("{{{{$.inputs.artifacts['{step}'].path}}}}")
}

impl FakeStep {
    pub fn reads(mut self, step: &str) -> Self {
        self.reads.push(step.to_owned());
        self
    }

    pub fn always(mut self) -> Self {
        self.cached = false;
        self
    }

    pub fn retries(mut self, count: u32) -> Self {
        self.retries = count;
        self
    }

    pub fn limit_seconds(mut self, seconds: u64) -> Self {
        self.limit = Some(seconds);
        self
    }

    pub fn parameter(mut self, name: &str) -> Self {
        self.parameters.push(name.to_owned());
        self
    }
}

/// The text of a definition. Every parameter that a step names is one of the pipeline, text, `default` by default.
pub fn definition(steps: &[FakeStep]) -> String {
    let (pipeline, platform) = documents(steps);
    format!("{pipeline}\n---\n{platform}\n")
}

/// The two documents of a definition.
pub fn documents(steps: &[FakeStep]) -> (Value, Value) {
    let artifact = json!({"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}});
    let mut pipeline = json!({
        "pipelineInfo": {"name": "fake"},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
        "root": {"dag": {"tasks": {}}, "inputDefinitions": {"parameters": {}}},
        "components": {},
        "deploymentSpec": {"executors": {}},
    });
    let mut platform = json!({"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}});
    for step in steps {
        let (component, executor) = (format!("comp-{}", step.name), format!("exec-{}", step.name));
        let mut task = json!({
            "taskInfo": {"name": step.name},
            "componentRef": {"name": component},
            "dependentTasks": step.reads,
            "inputs": {"artifacts": {}, "parameters": {}},
            "cachingOptions": {"enableCache": step.cached},
            "retryPolicy": {"maxRetryCount": step.retries, "backoffDuration": "0.05s"},
        });
        let mut inputs = json!({"artifacts": {}, "parameters": {}});
        for read in &step.reads {
            task["inputs"]["artifacts"][read] =
                json!({"taskOutputArtifact": {"producerTask": read, "outputArtifactKey": "out"}});
            inputs["artifacts"][read] = artifact.clone();
        }
        for parameter in &step.parameters {
            task["inputs"]["parameters"][parameter] = json!({"componentInputParameter": parameter});
            inputs["parameters"][parameter] = json!({"parameterType": "STRING"});
            pipeline["root"]["inputDefinitions"]["parameters"][parameter] =
                json!({"parameterType": "STRING", "defaultValue": "default", "isOptional": true});
        }
        pipeline["root"]["dag"]["tasks"][&step.name] = task;
        pipeline["components"][&component] = json!({
            "executorLabel": executor,
            "inputDefinitions": inputs,
            "outputDefinitions": {"artifacts": {"out": artifact}},
        });
        pipeline["deploymentSpec"]["executors"][&executor] =
            json!({"container": {"image": "fake:1", "command": ["sh", "-euc", step.script]}});
        if let Some(limit) = step.limit {
            platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][&executor] =
                json!({"activeDeadlineSeconds": limit});
        }
    }
    (pipeline, platform)
}

/// A folder with a definition, a data root and a place for the marks that scripts leave.
pub struct Place {
    folder: tempfile::TempDir,
}

/// How a run of the command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub errors: String,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("temporary folder") }
    }

    pub fn with(steps: &[FakeStep]) -> Self {
        let place = Self::new();
        place.define(&definition(steps));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn define(&self, text: &str) {
        std::fs::write(self.path("pipeline.yaml"), text).expect("definition written");
    }

    /// The lines of a mark: scripts append to `$MARKS/<name>`.
    pub fn marks(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(Path::new(env!("CARGO_BIN_EXE_pipelines")));
        command.args(arguments);
        command
    }

    /// A program that sees this place's marks and none of the settings of whoever runs the tests.
    pub fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("BERTH_") || name == "MLFLOW_TRACKING_URI") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.folder.path())
            .env("MARKS", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Arguments for a run of this place's definition.
    fn arguments<'a>(further: &[&'a str]) -> Vec<&'a str> {
        [&["--data", "data", "run", "--pipeline", "pipeline.yaml"], further].concat()
    }

    pub fn start(&self, further: &[&str]) -> Child {
        self.command(&Self::arguments(further)).spawn().expect("runner started")
    }

    pub fn run(&self, further: &[&str]) -> Ended {
        ended(self.start(further).wait_with_output().expect("runner ended"))
    }

    pub fn check(&self) -> Ended {
        ended(self.command(&["check", "pipeline.yaml"]).output().expect("runner ended"))
    }

    /// Runs with `--json` and returns the exit code and the summary.
    pub fn summary(&self, further: &[&str]) -> (i32, Value) {
        let ended = self.run(&[&["--json"], further].concat());
        let summary = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("no JSON: {error}: {ended:?}"));
        (ended.code.expect("exit code"), summary)
    }
}

pub fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
}

/// The state of every step, such as `a:done b:skipped`.
pub fn states(summary: &Value) -> String {
    let steps = summary["steps"].as_array().expect("steps");
    let state = |step: &Value| format!("{}:{}", text(&step["name"]), text(&step["state"]));
    steps.iter().map(state).collect::<Vec<_>>().join(" ")
}

/// One step's part of a summary.
pub fn report<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let steps = summary["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step `{name}` in {summary}"))
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The content of a step's output.
pub fn output(summary: &Value, name: &str) -> String {
    let path = text(&report(summary, name)["artifacts"]["out"]);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

/// Waits until `path` exists.
pub fn wait_for(path: &Path) {
    wait_until(&path.display().to_string(), || path.exists());
}

/// Waits until `condition` holds, at most 30 s.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process is there and has not ended.
pub fn is_alive(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub fn send(signal: &str, id: u32) {
    let status = Command::new("kill").args([signal, &id.to_string()]).status().expect("kill");
    assert!(status.success());
}
