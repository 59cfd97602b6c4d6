//! Machines whose incidents experts labelled: a first part without labels, meant as usual, and a second with them.

use super::PythonPeers;
use crate::anomaly::peers::{CompareSettings, TableSettings, Task, read_tables};
use crate::anomaly::train::exceeded_by;
use crate::anomaly::{AlarmScores, ZScore, evaluate};
use crate::folds::Window;
use anyhow::Context;
use cluster::GRID_STEP_MS;
use models::anomaly::series::{SeriesDetector, SeriesSettings};
use runtime::WrongUse;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One detector on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineLine {
    /// Which machine.
    pub machine: String,
    /// Whether the detector's settings were chosen on it.
    pub chosen_on: bool,
    /// Which detector.
    pub detector: String,
    /// On the labelled part.
    pub scores: AlarmScores,
}

/// The figures of a labelled set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelledResults {
    /// Tells the document from other sets' ones.
    pub form: String,
    /// The set's name.
    pub set: String,
    /// Minutes between two readings.
    pub minutes: f64,
    /// The share of the calibration's readings that a threshold lets pass.
    pub expected_share: f64,
    /// Seed of every draw.
    pub seed: u64,
    /// What was left out of the files.
    pub notes: Vec<String>,
    /// The figures.
    pub lines: Vec<MachineLine>,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct LabelledSettings {
    /// The set's name.
    pub set: String,
    /// The folder of pairs `<machine>.train.csv[.gz]` and `<machine>.test.csv[.gz]`.
    pub pairs: PathBuf,
    /// Column of the labels in the second of each pair.
    pub label: String,
    /// Column of the times.
    pub time: Option<String>,
    /// Minutes between two readings.
    pub step_minutes: f64,
    /// The share of the calibration's readings that a threshold lets pass.
    pub expected_share: f64,
    /// Seed of every draw.
    pub seed: u64,
}

/// Share of the unlabelled part that is learned from; the rest sets thresholds, since scores of rows that were learned
/// from are lower than those of new ones.
const LEARNED: f64 = 0.7;
/// The detector's settings were chosen on this part of the machines, the first by name.
const CHOSEN_ON: f64 = 1.0 / 3.0;

/// Measures every detector on every machine.
///
/// # Errors
/// A folder without pairs, files that cannot be used, a peer that fails.
pub fn labelled_results(
    settings: &LabelledSettings,
    peers: Option<&PythonPeers>,
    progress: impl Fn(&str),
) -> anyhow::Result<LabelledResults> {
    let pairs = pairs(&settings.pairs)?;
    let chosen_on = (pairs.len() as f64 * CHOSEN_ON).ceil() as usize;
    let (mut notes, mut lines) = (Vec::new(), Vec::new());
    for (place, (machine, train, test)) in pairs.iter().enumerate() {
        progress(machine);
        let (task, fit_rows) = read(settings, machine, train, test, &mut notes)?;
        for (detector, scores) in
            scores(&task, fit_rows, settings, peers).with_context(|| format!("failed to score machine `{machine}`"))?
        {
            let threshold = exceeded_by(&scores, &task.history, task.validation, settings.expected_share);
            let certain = vec![false; scores.len()];
            let timeline = task.timeline(&scores, &certain, &CompareSettings::default());
            let scores = task.in_real_time(evaluate(&timeline, task.test, threshold));
            lines.push(MachineLine { machine: machine.clone(), chosen_on: place < chosen_on, detector, scores });
        }
    }
    Ok(LabelledResults {
        form: "labelled".to_owned(),
        set: settings.set.clone(),
        minutes: settings.step_minutes,
        expected_share: settings.expected_share,
        seed: settings.seed,
        notes,
        lines,
    })
}

type Pair = (String, PathBuf, PathBuf);

fn pairs(folder: &Path) -> anyhow::Result<Vec<Pair>> {
    let doing = || format!("failed to list `{}`", folder.display());
    let mut pairs = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(doing)? {
        let path = entry.with_context(doing)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some((machine, ending)) = name.split_once(".train.") else { continue };
        let test = folder.join(format!("{machine}.test.{ending}"));
        if !test.is_file() {
            return Err(WrongUse(format!("`{}` has no `{}` beside it", path.display(), test.display())).into());
        }
        pairs.push((machine.to_owned(), path.clone(), test));
    }
    pairs.sort();
    if pairs.is_empty() {
        return Err(WrongUse(format!(
            "`{}` has no pairs `<machine>.train.csv` and `<machine>.test.csv` (or .csv.gz)",
            folder.display()
        ))
        .into());
    }
    Ok(pairs)
}

/// Both parts as one series, and how many rows are learned from.
fn read(
    settings: &LabelledSettings,
    machine: &str,
    train: &Path,
    test: &Path,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Task, usize)> {
    let of = |path: &Path, has_labels: bool| {
        let table = TableSettings {
            input: vec![path.to_owned()],
            label: settings.label.clone(),
            time: settings.time.clone(),
            entity: None,
            step_minutes: settings.step_minutes,
        };
        read_tables(&table, has_labels)
    };
    let (first, second) = (of(train, false)?, of(test, true)?);
    anyhow::ensure!(
        first.columns == second.columns,
        "the two parts of machine `{machine}` have other numeric columns: {} and {}",
        first.columns.join(", "),
        second.columns.join(", ")
    );
    notes.extend(first.notes.into_iter().chain(second.notes));
    let (Some(mut series), Some(labelled)) = (first.series.into_iter().next(), second.series.into_iter().next()) else {
        anyhow::bail!("machine `{machine}` has no readings");
    };
    let unlabelled = series.odd.len();
    series.values.extend(labelled.values);
    series.odd.extend(labelled.odd);
    let all = series.odd.len();
    let minutes = settings.step_minutes;
    let mut task = Task::new(machine.to_owned(), first.columns, vec![series], minutes, &CompareSettings::default())?;
    let fit_rows = (unlabelled as f64 * LEARNED) as usize;
    let window = |from: usize, until: usize| Window {
        from: (from as i64 + 1) * GRID_STEP_MS,
        until: (until as i64 + 1) * GRID_STEP_MS,
    };
    (task.train, task.validation, task.test) =
        (window(0, fit_rows), window(fit_rows, unlabelled), window(unlabelled, all));
    Ok((task, fit_rows))
}

fn scores(
    task: &Task,
    fit_rows: usize,
    settings: &LabelledSettings,
    peers: Option<&PythonPeers>,
) -> anyhow::Result<Vec<(String, Vec<f32>)>> {
    let x = &task.history.x;
    let rows: Vec<usize> = (0..fit_rows).collect();
    let of_series = SeriesSettings::every(settings.step_minutes);
    let detector = SeriesDetector::fit(&x.select_rows(&rows)?, &vec![true; fit_rows], &of_series, settings.seed)?;
    let may_teach: Vec<bool> = (0..x.rows()).map(|row| row < fit_rows).collect();
    let mut all = vec![
        ("detector".to_owned(), detector.scores(x)?),
        ("max z-score".to_owned(), ZScore::learn(&task.history, &may_teach).votes(&task.history)),
    ];
    if let Some(peers) = peers {
        all.extend(peers.scores(x, fit_rows, settings.seed)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, rows: usize, odd: std::ops::Range<usize>, labelled: bool) {
        let mut text = String::from(if labelled { "t,a,b,label\n" } else { "t,a,b\n" });
        for row in 0..rows {
            let wave = (row as f64 * 0.05).sin();
            // A little that never repeats, so that no two rows are the same.
            let noise = ((row * 7_919) % 1_009) as f64 / 20_180.0;
            let shift = if odd.contains(&row) { 3.0 } else { 0.0 };
            text.push_str(&format!("{row},{},{}", wave + noise + shift, wave - noise));
            text.push_str(if !labelled {
                "\n"
            } else if odd.contains(&row) {
                ",1\n"
            } else {
                ",0\n"
            });
        }
        std::fs::write(folder.join(name), text).expect("written");
    }

    fn settings(folder: &Path) -> LabelledSettings {
        LabelledSettings {
            set: "made-up".into(),
            pairs: folder.to_owned(),
            label: "label".into(),
            time: Some("t".into()),
            step_minutes: 1.0,
            expected_share: 0.002,
            seed: 7,
        }
    }

    #[test]
    fn a_plain_incident_is_found_by_all_and_time_is_that_of_the_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        for machine in ["m-1", "m-2", "m-3", "m-4"] {
            write(folder.path(), &format!("{machine}.train.csv"), 3_000, 0..0, false);
            write(folder.path(), &format!("{machine}.test.csv"), 2_880, 1_000..1_060, true);
        }
        let results = labelled_results(&settings(folder.path()), None, |_| {}).expect("results");
        assert_eq!(results.lines.len(), 8);
        assert_eq!(
            results.lines.iter().filter(|line| line.chosen_on).count(),
            4,
            "two machines of four, two lines each"
        );
        for line in &results.lines {
            assert_eq!((line.scores.incidents, line.scores.found), (1, 1), "{line:?}");
            // 2,880 minutes are two days.
            assert!((line.scores.node_days - 2.0).abs() < 1e-9, "{}", line.scores.node_days);
            assert!(line.scores.points.roc_auc > Some(0.99) && line.scores.delay_minutes <= Some(5.0), "{line:?}");
        }
    }

    #[test]
    fn a_folder_without_pairs_and_half_a_pair_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused =
            || format!("{:#}", labelled_results(&settings(folder.path()), None, |_| {}).expect_err("refused"));
        assert!(refused().contains("has no pairs"));
        write(folder.path(), "m-1.train.csv", 300, 0..0, false);
        assert!(refused().contains("m-1.test.csv` beside it"));
        write(folder.path(), "m-1.test.csv", 300, 0..0, false);
        assert!(refused().contains("there is no column `label`"));
    }
}
