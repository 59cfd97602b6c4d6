//! From drawn rows to a detector with honest figures.

use super::TableSettings;
use super::profile::{MOST_COLUMNS, MOST_MEMBERS, Profile};
use super::sample::{Cut, Part, Reservoir, walk};
use crate::anomaly::PointScores;
use anyhow::ensure;
use detection::table::RowCounts;
use models::FeatureMatrix;
use models::anomaly::{
    AnomalyKind, Detector, DetectorSettings, LabelledRows, MemberSettings, Side, Vote, fit_detector,
};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// Why the threshold is what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdChoice {
    /// The cheapest on labelled rows.
    ByCost {
        /// Rows that chose it.
        rows: usize,
        /// Anomalies among them.
        anomalies: usize,
        /// What it costs on them.
        cost: f64,
    },
    /// So that a stated share of the readings lies above it.
    ByShare {
        /// The share.
        share: f64,
        /// Why labels do not choose it.
        reason: String,
    },
}

/// A detector with what is known of it.
#[derive(Debug, Clone)]
pub struct TableTraining {
    /// The detector.
    pub detector: Detector,
    /// What the table is.
    pub profile: Profile,
    /// What happened to its rows.
    pub counts: RowCounts,
    /// Rows that the forests were grown on, and all that they were drawn from.
    pub learned: (usize, u64),
    /// How the threshold was chosen.
    pub choice: ThresholdChoice,
    /// Figures of single readings of the test, not point-adjusted; absent where nothing was tested.
    pub test: Option<PointScores>,
    /// Share of the test's readings above the threshold.
    pub test_flagged: Option<f64>,
    /// Rows that were judged and all rows of the test.
    pub tested: (usize, u64),
    /// Wall time.
    pub seconds: f64,
}

/// A drawn row.
type Drawn = (Box<[f32]>, Option<bool>);
/// Readings that are kept for the figures of the test.
const MOST_TESTED: usize = 1_000_000;
/// Fewer rows say nothing about what is usual.
const LEAST_ROWS: usize = 20;
/// A cheaper threshold that flags a larger share of the usual rows is not taken.
const MOST_FLAGGED: f64 = 0.08;

/// Learns from a table whose profile is known. `tick` hears of rows, of two passes.
///
/// # Errors
/// Too few usual rows, a table that cannot be read.
pub fn train_table(
    path: &Path,
    profile: Profile,
    settings: &TableSettings,
    mut tick: impl FnMut(u64),
) -> anyhow::Result<TableTraining> {
    settings.validate()?;
    let began = Instant::now();
    let (from, until) = profile.span.unwrap_or((0, profile.rows as i64 - 1));
    let cut = Cut::new(from, until, settings.test_share, settings.validation_share);
    let mut train: Reservoir<Drawn> = Reservoir::new(settings.sample_rows, settings.seed);
    let mut later: Reservoir<Drawn> = Reservoir::new(settings.sample_rows, settings.seed.wrapping_add(1));
    let counts = walk(
        path,
        &profile.plan,
        cut,
        |part, features, label| {
            match part {
                Part::Train => train.offer(|| (features.into(), label)),
                Part::Validation => later.offer(|| (features.into(), label)),
                Part::Test => {}
            }
            Ok(())
        },
        &mut tick,
    )?;
    let both = |rows: &[Drawn]| [true, false].iter().all(|class| rows.iter().any(|row| row.1 == Some(*class)));
    let can_choose = both(later.kept());
    // Without labels to choose with, these rows are better learned from.
    let mut rows: Vec<&Drawn> = train.kept().iter().collect();
    let mut drawn_from = train.offered();
    if !can_choose {
        rows.extend(later.kept());
        drawn_from += later.offered();
    }
    let usual = rows.iter().filter(|row| row.1 != Some(true)).count();
    ensure!(
        usual >= LEAST_ROWS,
        "{usual} usual rows to learn from, at least {LEAST_ROWS} are needed: of {} rows {} could be used, {} are labelled as anomalies, and the last {:.0} % are kept for the test",
        counts.rows,
        counts.used,
        profile.labels.1,
        100.0 * settings.test_share
    );
    let names = profile.plan.features();
    let matrix = |rows: &[&Drawn]| {
        FeatureMatrix::new(names.clone(), rows.len(), rows.iter().flat_map(|row| row.0.iter().copied()).collect())
    };
    let odd: Vec<bool> = rows.iter().map(|row| row.1 == Some(true)).collect();
    let is_usual: Vec<bool> = odd.iter().map(|odd| !odd).collect();
    let detector_settings = detector_settings(&profile, settings);
    let x = matrix(&rows)?;
    let fitted = fit_detector(&LabelledRows { x: &x, odd: &odd, usual: &is_usual }, &detector_settings, settings.seed)?;
    let learned = (rows.len(), drawn_from);
    let (detector, choice) = if can_choose {
        let told: Vec<&Drawn> = later.kept().iter().filter(|row| row.1.is_some()).collect();
        let labels: Vec<bool> = told.iter().map(|row| row.1 == Some(true)).collect();
        choose(fitted, &matrix(&told)?, &labels, settings)?
    } else {
        let reason = match profile.labels {
            (0, 0) => "no row is labelled",
            (_, 0) | (0, _) => "the labels are of one class only",
            _ => "the rows that would choose have labels of one class only",
        };
        (fitted, ThresholdChoice::ByShare { share: settings.contamination, reason: reason.to_owned() })
    };
    let mut tested: Reservoir<(f32, Option<bool>)> = Reservoir::new(MOST_TESTED, settings.seed.wrapping_add(2));
    if settings.test_share > 0.0 {
        let judge = |part: Part, features: &[f32], label: Option<bool>| -> anyhow::Result<()> {
            if part == Part::Test {
                let reading = detector.read(features)?;
                tested.offer(|| (reading.vote, label));
            }
            Ok(())
        };
        walk(path, &profile.plan, cut, judge, tick)?;
    }
    let flagged = |vote: f32| vote >= detector.threshold();
    let test_flagged = (!tested.kept().is_empty())
        .then(|| tested.kept().iter().filter(|row| flagged(row.0)).count() as f64 / tested.kept().len() as f64);
    let told: Vec<(f32, bool)> = tested.kept().iter().filter_map(|(vote, label)| Some((*vote, (*label)?))).collect();
    let test = (!told.is_empty()).then(|| {
        let (votes, labels): (Vec<f32>, Vec<bool>) = told.into_iter().unzip();
        let flags: Vec<bool> = votes.iter().map(|vote| flagged(*vote)).collect();
        PointScores::of(&votes, &flags, &labels)
    });
    Ok(TableTraining {
        tested: (tested.kept().len(), tested.offered()),
        detector,
        profile,
        counts,
        learned,
        choice,
        test,
        test_flagged,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// One forest for the values and one for each window; tables of many columns get several of each, every one with columns
/// from all over the table. Tables of few columns get one forest for each column besides: a value far off in one column
/// is rarer there than beside others.
fn detector_settings(profile: &Profile, settings: &TableSettings) -> DetectorSettings {
    let (plan, names) = (&profile.plan, profile.plan.features());
    let blocks = std::iter::once((None, "values".to_owned()))
        .chain(plan.windows.iter().enumerate().map(|(place, window)| (Some(place), format!("last-{window}-rows"))));
    let mut members = Vec::new();
    for (window, name) in blocks {
        let columns = &names[plan.group(window)];
        let forests = columns.len().div_ceil(MOST_COLUMNS);
        for forest in 0..forests {
            members.push(MemberSettings {
                name: if forests == 1 { name.clone() } else { format!("{name}-{}", forest + 1) },
                kind: AnomalyKind::Performance,
                columns: columns.iter().skip(forest).step_by(forests).cloned().collect(),
                side: Side::Both,
            });
        }
    }
    if plan.columns.len() > 1 && members.len() + plan.columns.len() <= MOST_MEMBERS {
        // A column's name may hold what a file's name must not.
        members.extend(plan.columns.iter().enumerate().map(|(place, column)| MemberSettings {
            name: format!("column-{}", place + 1),
            kind: AnomalyKind::Performance,
            columns: vec![column.clone()],
            side: Side::Both,
        }));
    }
    debug_assert!(members.len() <= MOST_MEMBERS, "the profile has checked it");
    DetectorSettings {
        forest: settings.forest(),
        members,
        rules: Vec::new(),
        alarms: settings.alarms(),
        expected_share: settings.contamination,
    }
}

/// The vote and the threshold that cost least on labelled rows.
fn choose(
    fitted: Detector,
    x: &FeatureMatrix,
    labels: &[bool],
    settings: &TableSettings,
) -> anyhow::Result<(Detector, ThresholdChoice)> {
    let surprises = fitted.surprises(x)?;
    let candidates = [Vote::Largest, fitted.vote().clone()];
    let tried = candidates.into_iter().filter_map(|vote| {
        let votes: Vec<f32> = surprises.chunks_exact(fitted.members().len()).map(|row| vote.of(row)).collect();
        let (threshold, cost) = cheapest_reading(&votes, labels, settings)?;
        Some((vote, threshold, cost))
    });
    let best = tried.min_by(|left, right| left.2.total_cmp(&right.2));
    let anomalies = labels.iter().filter(|label| **label).count();
    Ok(match best {
        Some((vote, threshold, cost)) => {
            (fitted.with_vote(vote, threshold), ThresholdChoice::ByCost { rows: labels.len(), anomalies, cost })
        }
        None => {
            let reason = format!(
                "every threshold that finds a labelled anomaly flags more than {:.0} % of the usual rows",
                100.0 * MOST_FLAGGED
            );
            (fitted, ThresholdChoice::ByShare { share: settings.contamination, reason })
        }
    })
}

/// The threshold whose missed and wrongly flagged readings cost least, and the cost. Thresholds are the votes themselves.
/// `None` where no threshold above 0 flags an anomaly without flagging too much.
fn cheapest_reading(votes: &[f32], labels: &[bool], settings: &TableSettings) -> Option<(f32, f64)> {
    let mut order: Vec<usize> = (0..votes.len()).collect();
    order.sort_by(|left, right| votes[*right].total_cmp(&votes[*left]));
    let anomalies = labels.iter().filter(|label| **label).count();
    let usual = labels.len() - anomalies;
    let (mut found, mut wrong) = (0_usize, 0_usize);
    let mut best: Option<(f32, f64)> = None;
    for equal in order.chunk_by(|left, right| votes[*left] == votes[*right]) {
        let threshold = votes[equal[0]];
        let here = equal.iter().filter(|row| labels[**row]).count();
        (found, wrong) = (found + here, wrong + equal.len() - here);
        if threshold <= 0.0 || wrong as f64 > MOST_FLAGGED * usual as f64 {
            break;
        }
        let cost = (anomalies - found) as f64 * settings.missed_cost + wrong as f64 * settings.false_alarm_cost;
        if found > 0 && best.is_none_or(|(_, least)| cost < least) {
            best = Some((threshold, cost));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_threshold_agrees_with_a_calculation_by_hand() {
        // Usual votes 0.01 to 0.50, one usual at 2; anomalies at 3, 1.5 and 0.2.
        let mut votes: Vec<f32> = (1..=50).map(|vote| vote as f32 / 100.0).collect();
        let mut labels = vec![false; 50];
        votes.extend([2.0, 3.0, 1.5, 0.2]);
        labels.extend([false, true, true, true]);
        // At 3: two missed, 20. At 1.5: one missed and one wrong, 11. Further down every usual row costs 1, and after
        // 8 % of 51 rows nothing is tried any more.
        assert_eq!(cheapest_reading(&votes, &labels, &TableSettings::default()), Some((1.5, 11.0)));
        let cheap = TableSettings { missed_cost: 0.5, ..TableSettings::default() };
        assert_eq!(cheapest_reading(&votes, &labels, &cheap), Some((3.0, 1.0)));
        assert_eq!(cheapest_reading(&[0.0, 0.0], &[true, false], &cheap), None);
    }
}
