//! Hashes of what goes into a step and comes out of it.

use super::RunError;
use super::bind::Bound;
use crate::plan::Step;
use runtime::files::{sha256, sha256_file};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Variables that change what the steps do begin with this.
const OWN_VARIABLES: &str = "BERTH_";
/// Variables of others that the steps read.
const OTHER_VARIABLES: [&str; 1] = ["MLFLOW_TRACKING_URI"];
/// Variables that change where or how things are written, not what: the data root is a parameter of the pipeline.
const WITHOUT_EFFECT: [&str; 6] =
    ["BERTH_LOG", "BERTH_LOG_FORMAT", "BERTH_CACHE", "BERTH_TEST_DATA", "BERTH_DATA", "BERTH_CONFIG"];

/// What all steps of a run share: settings from the environment and from the configuration file.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    settings: BTreeMap<String, String>,
    programs: Arc<Mutex<BTreeMap<PathBuf, String>>>,
}

impl Surroundings {
    /// Reads the process's environment and `config`, the configuration file that the steps will read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(config: Option<&Path>) -> Result<Self, RunError> {
        let mut settings = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            let counts = name.starts_with(OWN_VARIABLES)
                && !name.starts_with("BERTH_PIPELINES_")
                && !WITHOUT_EFFECT.contains(&name);
            if counts || OTHER_VARIABLES.contains(&name) {
                settings.insert(format!("environment variable `{name}`"), sha256(value.as_encoded_bytes()));
            }
        }
        if let Some(path) = config {
            settings.insert("the configuration file".to_owned(), sha256_file(path)?);
        }
        Ok(Self { settings, programs: Arc::default() })
    }

    /// The hash of a program's file; each file is read once per run.
    fn program(&self, path: &Path) -> Result<String, RunError> {
        let known = |programs: &Mutex<BTreeMap<PathBuf, String>>| {
            programs.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
        };
        if let Some(hash) = known(&self.programs) {
            return Ok(hash);
        }
        let hash = sha256_file(path)?;
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), hash.clone());
        Ok(hash)
    }

    /// What goes into a step: in words, with its hash.
    ///
    /// # Errors
    /// When the program or an input cannot be read.
    pub fn inputs(&self, step: &Step, bound: &Bound, program: &Path) -> Result<BTreeMap<String, String>, RunError> {
        let mut inputs = self.settings.clone();
        let command: Vec<String> = step.command.iter().map(ToString::to_string).collect();
        let declared =
            format!("{command:?} {:?} {:?} {:?}", step.environment, step.output_artifacts, step.output_parameters);
        inputs.insert("its definition".to_owned(), sha256(declared.as_bytes()));
        inputs.insert("its program".to_owned(), self.program(program)?);
        for (name, value) in &bound.parameters {
            inputs.insert(format!("parameter `{name}`"), sha256(value.to_string().as_bytes()));
        }
        for (name, artifact) in &bound.artifacts {
            inputs.insert(format!("input `{name}`"), artifact.sha256.clone());
        }
        Ok(inputs)
    }
}

/// What differs between the inputs of then and now; `None` when nothing does.
pub fn difference(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Option<String> {
    let changed: Vec<&str> = then
        .keys()
        .chain(now.keys().filter(|name| !then.contains_key(*name)))
        .filter(|name| then.get(*name) != now.get(*name))
        .map(String::as_str)
        .collect();
    match changed.as_slice() {
        [] => None,
        [only] => Some(format!("{only} changed")),
        [first, second] => Some(format!("{first} and {second} changed")),
        [first, rest @ ..] => Some(format!("{first} and {} others changed", rest.len())),
    }
}

/// The content hash of a file, or of a folder with the names and contents of all files in it.
///
/// # Errors
/// When something cannot be read.
pub fn hash_of(path: &Path) -> Result<String, RunError> {
    if !path.is_dir() {
        return Ok(sha256_file(path)?);
    }
    let mut files = Vec::new();
    list(path, &mut files)?;
    files.sort_unstable();
    let mut lines = String::from("folder\n");
    for file in files {
        let name = file.strip_prefix(path).unwrap_or(&file).display();
        lines.push_str(&format!("{} {name}\n", sha256_file(&file)?));
    }
    Ok(sha256(lines.as_bytes()))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), RunError> {
    let fail = |source| RunError::file("list", folder, source);
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned())).collect()
    }

    #[test]
    fn the_difference_names_what_changed() {
        let then = inputs(&[("its program", "a"), ("parameter `days`", "b"), ("input `raw`", "c")]);
        assert_eq!(difference(&then, &then), None);
        let now = inputs(&[("its program", "a"), ("parameter `days`", "x"), ("input `raw`", "c")]);
        assert_eq!(difference(&then, &now).as_deref(), Some("parameter `days` changed"));
        let now = inputs(&[("its program", "a"), ("input `raw`", "c"), ("the configuration file", "d")]);
        assert_eq!(
            difference(&then, &now).as_deref(),
            Some("parameter `days` and the configuration file changed"),
            "what went and what came counts too"
        );
    }

    #[test]
    fn the_hash_of_a_folder_sees_names_and_contents() {
        let root = tempfile::tempdir().expect("temporary folder");
        let write =
            |path: &str, text: &str| runtime::files::write_text(&root.path().join(path), text).expect("written");
        write("a/model.ubj", "1");
        write("a/deep/metadata.json", "2");
        write("b/model.ubj", "1");
        write("b/deep/metadata.json", "2");
        let hash = |name: &str| hash_of(&root.path().join(name)).expect("hash");
        assert_eq!(hash("a"), hash("b"));
        write("b/deep/metadata.json", "3");
        assert_ne!(hash("a"), hash("b"));
        std::fs::rename(root.path().join("a/model.ubj"), root.path().join("a/other.ubj")).expect("renamed");
        write("b/deep/metadata.json", "2");
        assert_ne!(hash("a"), hash("b"));
    }
}
