//! Artifact paths and names: what is allowed, so that nothing lands outside its folder and every backend can keep it.

use crate::TrackingError;
use crate::types::{Batch, Decision, NewRun, NewVersion};
use std::path::{Path, PathBuf};

/// MLflow's limits (its `mlflow/utils/validation.py`), kept by the embedded store too, so that a run that fits here
/// fits there.
pub(crate) const MAX_KEY: usize = 250;
pub(crate) const MAX_PARAM: usize = 6000;
pub(crate) const MAX_TAG: usize = 8000;
pub(crate) const MAX_NAME: usize = 256;

/// Checks a path of an artifact or of a folder of artifacts; the empty one is the run's whole folder.
pub(crate) fn check(path: &str) -> Result<(), TrackingError> {
    let bad = |why: &str| {
        Err(TrackingError::invalid(
            "artifact path",
            path,
            format!("{why}. Use a relative path such as `model/metadata.json`"),
        ))
    };
    if path.is_empty() {
        return Ok(());
    }
    if path.starts_with('/') || path.ends_with('/') || path.contains("//") {
        return bad("it starts or ends with `/` or has an empty part");
    }
    if path.contains(['\\', '\0', '#', '?', '%', ':']) || path.chars().any(char::is_control) {
        return bad("it has one of `\\ # ? % :` or a control character");
    }
    // The store's own temporary files start with a point and end in `.tmp`.
    if path.split('/').any(|part| {
        part == "." || part == ".." || part.starts_with('~') || (part.starts_with('.') && part.ends_with(".tmp"))
    }) {
        return bad("a part is `.`, `..`, starts with `~`, or is named like a temporary file");
    }
    if path.len() > 500 || path.split('/').any(|part| part.len() > 200) {
        return bad("it is longer than 500 bytes, or a part is longer than 200");
    }
    Ok(())
}

/// The same for a file, which needs a name.
pub(crate) fn check_file(path: &str) -> Result<(), TrackingError> {
    if path.is_empty() {
        return Err(TrackingError::invalid("artifact path", path, "a file needs a name"));
    }
    check(path)
}

pub(crate) fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

/// Every file below a folder with its path relative to it, in order of path. Links are not followed.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<(String, PathBuf)>, TrackingError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let entries = std::fs::read_dir(&current).map_err(|source| TrackingError::io("list", &current, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| TrackingError::io("list", &current, source))?;
            let kind = entry.file_type().map_err(|source| TrackingError::io("inspect", &entry.path(), source))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                let relative = path.strip_prefix(folder).unwrap_or(&path);
                let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                files.push((parts.join("/"), path.clone()));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A key of a metric, parameter or tag.
fn check_key(what: &'static str, key: &str) -> Result<(), TrackingError> {
    let allowed = |letter: char| letter.is_alphanumeric() || "_-. :/".contains(letter);
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(TrackingError::invalid(what, key, format!("it has {} bytes, want 1 to {MAX_KEY}", key.len())));
    }
    if !key.chars().all(allowed) {
        return Err(TrackingError::invalid(what, key, "only letters, digits, spaces and `_ - . : /` are allowed"));
    }
    // MLflow refuses keys that its file store could not keep.
    if key.starts_with('/') || key.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(TrackingError::invalid(
            what,
            key,
            "it reads as a path that is absolute or has empty, `.` or `..` parts",
        ));
    }
    Ok(())
}

fn check_value(what: &'static str, key: &str, value: &str, limit: usize) -> Result<(), TrackingError> {
    let length = value.chars().count();
    if length > limit {
        let why = format!("its value has {length} characters, the limit is {limit}. Keep it as an artifact instead");
        return Err(TrackingError::invalid(what, key, why));
    }
    if value.contains('\0') {
        return Err(TrackingError::invalid(what, key, "its value has a zero byte"));
    }
    Ok(())
}

/// A name of an experiment, a run or a registered model.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), TrackingError> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME {
        return Err(TrackingError::invalid(what, name, format!("want 1 to {MAX_NAME} characters")));
    }
    if name.chars().any(char::is_control) {
        return Err(TrackingError::invalid(what, name, "it has a control character"));
    }
    Ok(())
}

/// A registered model's name goes into addresses, so MLflow allows neither `/` nor `:` in it.
pub(crate) fn check_model(name: &str) -> Result<(), TrackingError> {
    check_name("registered model", name)?;
    if name.contains(['/', ':']) {
        return Err(TrackingError::invalid("registered model", name, "it has `/` or `:`"));
    }
    Ok(())
}

/// An alias: letters, digits, `_` and `-`; neither `latest` nor like `v3`, which MLflow keeps for itself.
pub(crate) fn check_alias(alias: &str) -> Result<(), TrackingError> {
    let plain = !alias.is_empty()
        && alias.len() <= 255
        && alias.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter));
    let lower = alias.to_ascii_lowercase();
    let like_a_version = lower
        .strip_prefix('v')
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|digit| digit.is_ascii_digit()));
    if !plain || lower == "latest" || like_a_version {
        return Err(TrackingError::invalid(
            "alias",
            alias,
            "want letters, digits, `_` and `-`, and neither `latest` nor `v` with a number",
        ));
    }
    Ok(())
}

pub(crate) fn check_run(run: &NewRun) -> Result<(), TrackingError> {
    check_name("run name", &run.name)?;
    run.tags.iter().try_for_each(|(key, value)| check_tag(key, value))
}

pub(crate) fn check_tag(key: &str, value: &str) -> Result<(), TrackingError> {
    check_key("tag", key)?;
    check_value("tag", key, value, MAX_TAG)
}

pub(crate) fn check_batch(batch: &Batch) -> Result<(), TrackingError> {
    for metric in &batch.metrics {
        check_key("metric", &metric.key)?;
    }
    for (key, value) in &batch.params {
        check_key("parameter", key)?;
        check_value("parameter", key, value, MAX_PARAM)?;
    }
    batch.tags.iter().try_for_each(|(key, value)| check_tag(key, value))
}

pub(crate) fn check_version(version: &NewVersion) -> Result<(), TrackingError> {
    check_model(&version.model)?;
    check(&version.artifact_path)?;
    if version.description.chars().count() > 5000 {
        return Err(TrackingError::invalid(
            "description of a version of",
            &version.model,
            "it has more than 5000 characters",
        ));
    }
    version.tags.iter().try_for_each(|(key, value)| check_tag(key, value))
}

/// MLflow before version 3 keeps at most 5000 characters in a tag of a registered model.
const MAX_DECISION: usize = 4500;

pub(crate) fn check_decision(decision: &Decision) -> Result<(), TrackingError> {
    if decision.who.trim().is_empty() || decision.why.trim().is_empty() {
        return Err(TrackingError::invalid("decision", &decision.why, "it wants both who decided and why"));
    }
    let length = decision.who.len() + decision.why.len() + decision.evidence.to_string().len();
    if length > MAX_DECISION {
        let why = format!(
            "it has {length} bytes with its evidence, the limit is {MAX_DECISION}. Keep the rest as an artifact and name that"
        );
        return Err(TrackingError::invalid("decision", &decision.why, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_of_the_folder_are_refused() {
        for path in [
            "../secret",
            "a/../../b",
            "/etc/passwd",
            "a//b",
            "a/",
            "..",
            "a\\b",
            "a/./b",
            "~root/x",
            "a\0b",
            "%2e%2e/x",
            ".x.tmp",
            "c:x",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
        for path in ["", "model.ubj", "model/cpu 1h.ubj", ".hidden/ü.txt", "a..b/c"] {
            check(path).expect(path);
        }
    }

    #[test]
    fn keys_and_aliases_follow_mlflow() {
        for key in ["", "a\nb", "a#b", "../x", "/x", "a//b", &"k".repeat(251)] {
            assert!(check_key("metric", key).is_err(), "{key}");
        }
        for key in ["mae", "cpu/1h p50", "a.b-c_d:e", "größe"] {
            check_key("metric", key).expect(key);
        }
        for alias in ["", "latest", "V12", "a b", "a/b"] {
            assert!(check_alias(alias).is_err(), "{alias}");
        }
        check_alias("champion").expect("champion");
        check_alias("v").expect("v");
    }

    #[test]
    fn a_long_parameter_is_refused_with_its_length_and_the_limit() {
        let batch = Batch { params: [("features".to_owned(), "x".repeat(6001))].into(), ..Batch::default() };
        let error = check_batch(&batch).expect_err("too long").to_string();
        assert!(
            error.contains("`features`")
                && error.contains("6001")
                && error.contains("6000")
                && error.contains("artifact"),
            "{error}"
        );
    }
}
