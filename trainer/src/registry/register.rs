//! `trainer register`: a validated model becomes a version, and champion.

use super::semver::Lineage;
use super::{
    ANOMALY_MODEL, CHALLENGER, CHAMPION, MODEL, PLACEMENT_MODEL, SemanticVersion, by_alias, lineage, tags, who,
};
use crate::anomaly::{self, AnomalyVerdict, read_detector};
use crate::placement::{self, PlacementVerdict, read_placement};
use crate::train::{FRESH_FOLDER, MODEL_PATH, ModelFolder, RUN_FILE, RunReference, read_model};
use crate::validate::Verdict;
use anyhow::Context;
use models::artifact::{ArtifactMetadata, METADATA_FILE, METADATA_SHA256_TAG};
use runtime::GateRefused;
use serde::Serialize;
use std::path::Path;
use tracking::promotion;
use tracking::{Decision, Labels, ModelVersion, NewRun, NewVersion, RunStatus, Tracker};

/// What a registration did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registered {
    /// The version's number.
    pub version: String,
    /// Its semantic version.
    pub semver: String,
    /// Whether it was registered now; otherwise the very model was there already.
    pub is_new: bool,
    /// Whether it is champion now.
    pub is_champion: bool,
    /// The champion before.
    pub previous: Option<String>,
    /// The version that was judged, where the one above is a fresh fit of its recipe.
    pub judged: Option<String>,
    /// Why it is not champion yet, where only days are missing.
    pub waits_for: Option<String>,
}

/// Registers the model in `folder` after its `verdict`. With `promote` it becomes champion and the former one
/// `previous`; without, or where the verdict is "not yet", it stays challenger. Where a fresh fit of its recipe agrees with it,
/// both become versions and the fresh fit takes the alias. Registering the same model again changes nothing.
///
/// # Errors
/// [`GateRefused`] when the validation did not pass, is of another model, or compared with another champion; what the
/// store answers.
pub async fn register(
    tracker: &dyn Tracker,
    folder: &Path,
    verdict: &Verdict,
    promote: bool,
) -> anyhow::Result<Registered> {
    let model = read_model(folder)?;
    let candidate = Candidate {
        name: MODEL,
        words: "forecasts CPU and memory utilization of each node, P50 and P90 at 1h, 2h and 4h",
        experiment: crate::train::EXPERIMENT,
        hash: model.hash,
        metadata: model.metadata,
        fresh: fresh_fit(model.fresh.as_deref(), verdict)?,
    };
    let judged = Judged {
        passed: verdict.passed,
        waits_for: verdict.waits_for(),
        model_hash: &verdict.model_hash,
        reasons: verdict.reasons(),
        champion: verdict.champion.as_deref(),
        saw_champion: verdict.champion_note.is_some(),
        evidence: evidence(verdict),
    };
    register_judged(tracker, folder, &candidate, &judged, promote).await
}

/// The fresh fit in a model's folder, if the verdict lets it serve.
fn fresh_fit(fresh: Option<&ModelFolder>, verdict: &Verdict) -> anyhow::Result<Option<FreshFit>> {
    let (Some(fresh), Some(of)) = (fresh, verdict.fresh.as_ref()) else { return Ok(None) };
    if of.model_hash != fresh.hash {
        return Err(GateRefused(format!(
            "the validation is of fresh fit {}, the folder holds {}. Run `trainer validate` on this folder",
            short(&of.model_hash),
            short(&fresh.hash)
        ))
        .into());
    }
    if !of.passed {
        tracing::warn!(
            reasons = of.reasons.join("; "),
            "the fresh fit departs from the judged model, which serves instead"
        );
        return Ok(None);
    }
    Ok(Some(FreshFit { hash: fresh.hash.clone(), metadata: fresh.metadata.clone() }))
}

/// The same for a placement agent.
///
/// # Errors
/// See [`register`].
pub async fn register_placement(
    tracker: &dyn Tracker,
    folder: &Path,
    verdict: &PlacementVerdict,
    promote: bool,
) -> anyhow::Result<Registered> {
    let model = read_placement(folder)?;
    let candidate = Candidate {
        name: PLACEMENT_MODEL,
        words: "scores candidate nodes for a pod by the cost that it is expected to add there",
        experiment: placement::EXPERIMENT,
        hash: model.hash,
        metadata: model.metadata,
        fresh: None,
    };
    let judged = Judged {
        passed: verdict.passed,
        waits_for: None,
        model_hash: &verdict.model_hash,
        reasons: verdict.reasons(),
        champion: verdict.champion.as_deref(),
        saw_champion: false,
        evidence: serde_json::json!({ "at": verdict.at, "champion": verdict.champion, "costs": verdict.costs }),
    };
    register_judged(tracker, folder, &candidate, &judged, promote).await
}

/// The same for an anomaly detector.
///
/// # Errors
/// See [`register`].
pub async fn register_detector(
    tracker: &dyn Tracker,
    folder: &Path,
    verdict: &AnomalyVerdict,
    promote: bool,
) -> anyhow::Result<Registered> {
    let model = read_detector(folder)?;
    let candidate = Candidate {
        name: ANOMALY_MODEL,
        words: "tells when a node behaves unlike its past and the cluster, how bad it is, and which features say so",
        experiment: anomaly::EXPERIMENT,
        hash: model.hash,
        metadata: model.metadata,
        fresh: None,
    };
    let judged = Judged {
        passed: verdict.passed,
        waits_for: None,
        model_hash: &verdict.model_hash,
        reasons: verdict.reasons(),
        champion: verdict.champion.as_deref(),
        saw_champion: verdict.champion_note.is_some(),
        evidence: serde_json::json!({ "at": verdict.at, "champion": verdict.champion, "scores": verdict.scores }),
    };
    register_judged(tracker, folder, &candidate, &judged, promote).await
}

/// A model that may become a version.
struct Candidate {
    name: &'static str,
    words: &'static str,
    experiment: &'static str,
    hash: String,
    metadata: ArtifactMetadata,
    /// What is to serve in its place.
    fresh: Option<FreshFit>,
}

/// A fresh fit that may serve.
struct FreshFit {
    hash: String,
    metadata: ArtifactMetadata,
}

/// What a registration reads of a verdict.
struct Judged<'a> {
    passed: bool,
    /// Why it may not be promoted yet.
    waits_for: Option<String>,
    model_hash: &'a str,
    reasons: Vec<String>,
    /// The champion that it was compared with.
    champion: Option<&'a str>,
    /// There was one that it could not be compared with.
    saw_champion: bool,
    evidence: serde_json::Value,
}

async fn register_judged(
    tracker: &dyn Tracker,
    folder: &Path,
    model: &Candidate,
    verdict: &Judged<'_>,
    promote: bool,
) -> anyhow::Result<Registered> {
    let name = model.name;
    if verdict.model_hash != model.hash {
        return Err(GateRefused(format!(
            "the validation is of model {}, the folder holds {}. Run `trainer validate` on this folder",
            short(verdict.model_hash),
            short(&model.hash)
        ))
        .into());
    }
    if !verdict.passed {
        return Err(GateRefused(format!("the validation refused this model: {}", verdict.reasons.join("; "))).into());
    }
    tracker.register_model(name, model.words).await.context("failed to register the model's name")?;
    let champion = by_alias(tracker, name, CHAMPION).await?;
    let challenger = by_alias(tracker, name, CHALLENGER).await?;
    let promote = promote && verdict.waits_for.is_none();
    let is_same = |version: &&ModelVersion| model.is(version);
    let same = champion.as_ref().filter(is_same).map(|version| (version, true));
    let same = same.or_else(|| Some((challenger.as_ref().filter(is_same).filter(|_| !promote)?, false)));
    if let Some((same, is_champion)) = same {
        if is_champion {
            // The last step of a registration that was cut off.
            leave_challengers(tracker, name, &same.version, &Decision::new(who(), "became champion")).await?;
        }
        return Ok(Registered {
            version: same.version.clone(),
            semver: same.tags.get(tags::SEMVER).cloned().unwrap_or_default(),
            is_new: false,
            is_champion,
            previous: None,
            judged: None,
            waits_for: verdict.waits_for.clone().filter(|_| !is_champion),
        });
    }
    let judged = verdict
        .champion
        .or_else(|| champion.as_ref().filter(|_| verdict.saw_champion).map(|champion| champion.version.as_str()));
    if promote && judged != champion.as_ref().map(|champion| champion.version.as_str()) {
        let now = champion.as_ref().map_or("none", |champion| champion.version.as_str());
        return Err(GateRefused(format!(
            "the validation compared with champion {}, now it is {now}. Run `trainer validate` again",
            judged.unwrap_or("none")
        ))
        .into());
    }
    let mut run = None;
    let validation = if verdict.waits_for.is_some() { tags::NOT_YET } else { tags::PASSED };
    let judged = version_of(tracker, folder, model, &mut run, validation, None).await?;
    let named = match &model.fresh {
        Some(fresh) => version_of(tracker, folder, model, &mut run, validation, Some(fresh)).await?,
        None => judged.clone(),
    };
    let decision = |why: String| Decision { who: who(), why, evidence: verdict.evidence.clone() };
    tracker
        .set_alias(name, CHALLENGER, &named.version, &decision(format!("validation: {validation}")))
        .await
        .context("failed to set `challenger`")?;
    let mut previous = None;
    if promote {
        let why = champion.as_ref().map_or_else(
            || "first version that passed validation".to_owned(),
            |former| format!("passed validation against champion {}", former.version),
        );
        previous = promotion::promote(tracker, name, CHAMPION, &named.version, &decision(why)).await?.from;
        leave_challengers(tracker, name, &named.version, &decision("became champion".into())).await?;
    }
    Ok(Registered {
        version: named.version,
        semver: named.semver,
        is_new: named.is_new,
        is_champion: promote,
        previous,
        judged: model.fresh.is_some().then_some(judged.version),
        waits_for: verdict.waits_for.clone(),
    })
}

/// A version that became champion is challenger no more.
async fn leave_challengers(
    tracker: &dyn Tracker,
    name: &str,
    version: &str,
    decision: &Decision,
) -> anyhow::Result<()> {
    let challenger = by_alias(tracker, name, CHALLENGER).await?;
    if challenger.is_none_or(|challenger| challenger.version != version) {
        return Ok(());
    }
    tracker.delete_alias(name, CHALLENGER, decision).await.context("failed to take `challenger` away")
}

impl Candidate {
    /// Whether a version is this very model, or a fresh fit of its recipe.
    fn is(&self, version: &ModelVersion) -> bool {
        [tags::MODEL_HASH, tags::FRESH_FIT_OF].iter().any(|tag| version.tags.get(*tag) == Some(&self.hash))
    }
}

/// A version in the registry.
#[derive(Clone)]
struct Named {
    version: String,
    semver: String,
    is_new: bool,
}

/// The version of the judged model, or of its fresh fit: the one that an earlier registration left, before it was cut off or without
/// becoming champion, or a new one. A version that was taken back does not come again: it comes as another version.
async fn version_of(
    tracker: &dyn Tracker,
    folder: &Path,
    model: &Candidate,
    run: &mut Option<RunReference>,
    validation: &str,
    fresh: Option<&FreshFit>,
) -> anyhow::Result<Named> {
    let name = model.name;
    let (hash, metadata) = fresh.map_or((&model.hash, &model.metadata), |fresh| (&fresh.hash, &fresh.metadata));
    let versions = tracker.versions(name).await.context("failed to list versions")?;
    let is_left = |version: &&ModelVersion| {
        let tag = |key: &str| version.tags.get(key).map(String::as_str);
        tag(tags::MODEL_HASH) == Some(hash) && tag(tags::WITHDRAWN).is_none()
    };
    if let Some(left) = versions.iter().find(is_left) {
        if left.tags.get(tags::VALIDATION).map(String::as_str) != Some(validation) {
            let tagged = tracker.set_version_tag(name, &left.version, tags::VALIDATION, validation).await;
            tagged.context("failed to tag the version with its validation")?;
        }
        let semver = left.tags.get(tags::SEMVER).cloned().unwrap_or_default();
        return Ok(Named { version: left.version.clone(), semver, is_new: false });
    }
    let run_id = match run {
        Some(run) => run.run_id.clone(),
        None => run.insert(run_of(tracker, folder, model).await?).run_id.clone(),
    };
    let own = lineage(metadata);
    // Versions come newest first; numbers are not used twice, whatever became of them.
    let semver = next_version(versions.first(), &own).to_string();
    let trained = format!("trained on {} at {}", metadata.dataset.id, metadata.trained_at);
    let place = if fresh.is_some() { folder.join(FRESH_FOLDER) } else { folder.to_owned() };
    let mut tags = Labels::from([
        (tags::SEMVER.to_owned(), semver.clone()),
        (tags::MODEL_HASH.to_owned(), hash.clone()),
        (METADATA_SHA256_TAG.to_owned(), runtime::files::sha256_file(&place.join(METADATA_FILE))?),
        (tags::SCHEMA.to_owned(), own.schema),
        (tags::RECIPE.to_owned(), own.recipe),
        (tags::DATASET.to_owned(), metadata.dataset.id.clone()),
        (tags::VALIDATION.to_owned(), validation.to_owned()),
    ]);
    if fresh.is_some() {
        tags.insert(tags::FRESH_FIT_OF.to_owned(), model.hash.clone());
    }
    let version = NewVersion {
        model: name.to_owned(),
        run_id,
        artifact_path: if fresh.is_some() { format!("{MODEL_PATH}/{FRESH_FOLDER}") } else { MODEL_PATH.to_owned() },
        description: if fresh.is_some() { format!("fresh fit of the recipe {trained}") } else { trained },
        tags,
    };
    let version = tracker.create_version(version).await.context("failed to create the version")?.version;
    Ok(Named { version, semver, is_new: true })
}

fn short(hash: &str) -> &str {
    &hash[..hash.len().min(12)]
}

/// The figures that a decision rests on, small enough to be read in a log.
fn evidence(verdict: &Verdict) -> serde_json::Value {
    let heads: Vec<_> = verdict
        .heads
        .iter()
        .map(|head| {
            serde_json::json!({
                "head": head.head,
                "mae_points": head.scores.map(|scores| scores.mae_points),
                "skill": head.scores.and_then(|scores| scores.skill),
                "p90_coverage": head.scores.and_then(|scores| scores.p90_coverage),
                "against_champion": head.against_champion,
            })
        })
        .collect();
    serde_json::json!({
        "dataset": verdict.dataset,
        "at": verdict.at,
        "champion": verdict.champion,
        "decision": verdict.decision,
        "comparison": verdict.comparison,
        "heads": heads,
    })
}

fn next_version(before: Option<&ModelVersion>, own: &Lineage) -> SemanticVersion {
    let Some(before) = before else { return SemanticVersion::FIRST };
    let tag = |key: &str| before.tags.get(key).cloned().unwrap_or_default();
    let version: SemanticVersion = tag(tags::SEMVER).parse().unwrap_or(SemanticVersion::FIRST);
    version.next(&Lineage { schema: tag(tags::SCHEMA), recipe: tag(tags::RECIPE) }, own)
}

/// The run that trained the model; where this store does not have it (trained elsewhere, or without a store), a run
/// that holds the files.
async fn run_of(tracker: &dyn Tracker, folder: &Path, model: &Candidate) -> anyhow::Result<RunReference> {
    let file = folder.join(RUN_FILE);
    if file.exists() {
        let reference: RunReference = runtime::files::read_json(&file)?;
        if reference.store == tracker.describe() {
            return Ok(reference);
        }
        tracing::info!(
            trained_in = reference.store,
            "the training was logged elsewhere, its files are logged here again"
        );
    }
    let experiment = tracker.experiment(model.experiment).await.context("failed to open the experiment")?;
    let run = NewRun::new(experiment.id, format!("register {}", model.metadata.dataset.id))
        .tag("step", "register")
        .tag("dataset", &model.metadata.dataset.id);
    let run = tracker.create_run(run).await.context("failed to start a run for the model's files")?;
    tracker.log_artifacts(&run.id, "model", folder).await.context("failed to log the model's files")?;
    tracker
        .set_status(&run.id, RunStatus::Finished, Some(chrono::Utc::now()))
        .await
        .context("failed to end the run")?;
    Ok(RunReference { run_id: run.id, store: tracker.describe() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::artifact::Artifact;
    use models::placement::{Layer, PlacementNetwork};
    use tracking::TrackingArgs;
    use tracking::promotion::PREVIOUS;
    use tracking::testing::Interrupted;

    fn candidate(hash: &str) -> Candidate {
        let layer = Layer { inputs: 1, outputs: 1, weights: vec![0.0], bias: vec![0.0] };
        let network = PlacementNetwork::new(vec!["cpu_after".to_owned()], vec![-1.0], vec![layer]).expect("a network");
        let artifact = Artifact::of_placement_agent(&network, Default::default()).expect("sealed");
        Candidate {
            name: PLACEMENT_MODEL,
            words: "for tests",
            experiment: "tests",
            hash: hash.to_owned(),
            metadata: artifact.metadata().clone(),
            fresh: None,
        }
    }

    fn judged<'a>(hash: &'a str, champion: Option<&'a str>) -> Judged<'a> {
        Judged {
            passed: true,
            waits_for: None,
            model_hash: hash,
            reasons: Vec::new(),
            champion,
            saw_champion: false,
            evidence: serde_json::Value::Null,
        }
    }

    #[tokio::test]
    async fn a_registration_that_is_killed_is_completed_by_the_next_one() {
        let model = tempfile::tempdir().expect("temporary folder");
        std::fs::write(model.path().join("weights"), "1").expect("written");
        std::fs::write(model.path().join(METADATA_FILE), "{}").expect("written");
        let mut killed_after = 0;
        loop {
            let root = tempfile::tempdir().expect("temporary folder");
            let tracker = tracking::open(&TrackingArgs::default(), root.path()).await.expect("a registry");
            let register = async |tracker: &dyn Tracker, hash: &str, champion: Option<&str>| {
                register_judged(tracker, model.path(), &candidate(hash), &judged(hash, champion), true).await
            };
            register(&*tracker, "one", None).await.expect("the first champion");
            register(&*tracker, "two", Some("1")).await.expect("the second");
            let killed = Interrupted::after(killed_after, &*tracker);
            let done = register(&killed, "three", Some("2")).await.is_ok();
            let again = register(&*tracker, "three", Some("2")).await.expect("completed");
            assert!(again.is_champion && again.version == "3", "after {killed_after} steps: {again:?}");
            let versions = tracker.versions(PLACEMENT_MODEL).await.expect("versions");
            assert_eq!(versions.len(), 3, "the version that was made is not made twice");
            let aliases = tracker.registered_model(PLACEMENT_MODEL).await.expect("a model").aliases;
            let named = |alias: &str| aliases.get(alias).map(String::as_str);
            let all = (named(CHAMPION), named(PREVIOUS), named(CHALLENGER));
            assert_eq!(all, (Some("3"), Some("2"), None), "after {killed_after} steps");
            let back =
                super::super::rollback(&*tracker, PLACEMENT_MODEL, None, "it is slow").await.expect("a way back");
            assert_eq!((back.from.as_str(), back.to.as_str(), back.previous.as_deref()), ("3", "2", Some("1")));
            if done {
                break;
            }
            killed_after += 1;
        }
        assert_eq!(killed_after, 5, "the version, `challenger`, `previous`, `champion`, and `challenger` away");
    }

    #[tokio::test]
    async fn a_rollback_that_is_killed_goes_back_once_and_not_twice() {
        let model = tempfile::tempdir().expect("temporary folder");
        std::fs::write(model.path().join("weights"), "1").expect("written");
        std::fs::write(model.path().join(METADATA_FILE), "{}").expect("written");
        for killed_after in 0..=3 {
            let root = tempfile::tempdir().expect("temporary folder");
            let tracker = tracking::open(&TrackingArgs::default(), root.path()).await.expect("a registry");
            for (hash, champion) in [("one", None), ("two", Some("1")), ("three", Some("2"))] {
                let verdict = judged(hash, champion);
                register_judged(&*tracker, model.path(), &candidate(hash), &verdict, true).await.expect("registered");
            }
            let killed = Interrupted::after(killed_after, &*tracker);
            let done = super::super::rollback(&killed, PLACEMENT_MODEL, None, "it is slow").await.is_ok();
            assert_eq!(done, killed_after == 3, "`champion`, the tag, `previous`");
            if !done {
                let back =
                    super::super::rollback(&*tracker, PLACEMENT_MODEL, None, "it is slow").await.expect("completed");
                assert_eq!((back.from.as_str(), back.to.as_str()), ("3", "2"), "after {killed_after} steps");
            }
            let champion = by_alias(&*tracker, PLACEMENT_MODEL, CHAMPION).await.expect("a registry");
            assert_eq!(champion.map(|champion| champion.version).as_deref(), Some("2"));
            let next =
                super::super::rollback(&*tracker, PLACEMENT_MODEL, None, "worse still").await.expect("one further");
            assert_eq!((next.to.as_str(), next.previous), ("1", None));
        }
    }
}
