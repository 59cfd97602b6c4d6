//! Forecasts of several contenders for the same hours, kept as a file, so that every question about the gate is asked of the same
//! forecasts and none of them costs a training.

use crate::folds::{SplitSettings, Window, split_before};
use crate::heads::{self, DEFAULT_SPLIT, HeadInput, Scoring};
use crate::recipe::{ColumnSet, Recipe, without_calendar};
use crate::rows::LoadRows;
use crate::workers;
use anyhow::Context;
use cluster::{DAY_MS, GRID_STEP_MS, HOUR_MS, Resource};
use features::TargetKind;
use models::FitOptions;
use models::load::{HeadKey, HeadSettings};
use polars::prelude::{Column, DataFrame, ParquetReader, ParquetWriter, SerReader};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;

/// The recipe that the others are beside.
pub const REFERENCE: &str = "default";
/// What a contender is made worse by, as far as that is wanted: a head that learned less lies between the two.
pub const POOR: &str = "persistence";
/// A forecaster that errs in another way and far more.
pub const OTHER: &str = "same hour yesterday";

/// A recipe that differs from the default in what it reads or how deep its trees are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Default,
    OwnColumns,
    NoCalendar,
    Shallow,
    Deep,
    FewTrees,
}

impl Contender {
    const ALL: [Self; 6] =
        [Self::Default, Self::OwnColumns, Self::NoCalendar, Self::Shallow, Self::Deep, Self::FewTrees];

    const fn name(self) -> &'static str {
        match self {
            Self::Default => REFERENCE,
            Self::OwnColumns => "own columns only",
            Self::NoCalendar => "no calendar",
            Self::Shallow => "depth 3",
            Self::Deep => "depth 6",
            Self::FewTrees => "20 trees",
        }
    }

    fn settings(self, recipe: &Recipe, resource: Resource, columns: ColumnSet) -> HeadSettings {
        let depth = |max_depth| Recipe { max_depth, ..recipe.clone() }.head(resource, columns);
        let usual = recipe.head(resource, columns);
        match self {
            Self::Default => usual,
            Self::OwnColumns => recipe.head(resource, ColumnSet::Lean),
            Self::NoCalendar => HeadSettings { features: without_calendar(&usual.features), ..usual },
            Self::Shallow => depth(3),
            Self::Deep => depth(6),
            Self::FewTrees => Recipe { rounds: 20, upper_rounds: 12, ..recipe.clone() }.head(resource, columns),
        }
    }
}

/// Forecasts of one head: rows in the order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadForecasts {
    /// Which head.
    pub key: HeadKey,
    /// When each was made, UTC milliseconds on the grid.
    pub ts: Vec<i64>,
    /// What came, a ratio.
    pub observed: Vec<f64>,
    /// Medians by contender, the reference first.
    pub contenders: Vec<(String, Vec<f64>)>,
}

impl HeadForecasts {
    /// The forecasts of a contender.
    ///
    /// # Errors
    /// When the file has none of that name.
    pub fn of(&self, contender: &str) -> anyhow::Result<&[f64]> {
        let found = self.contenders.iter().find(|(name, _)| name == contender);
        found.map(|(_, values)| &values[..]).with_context(|| format!("the stored forecasts have no `{contender}`"))
    }
}

/// How many fits [`forecast`] makes.
pub fn fits() -> u64 {
    (HeadKey::all().count() * Contender::ALL.len()) as u64
}

/// Fits every contender on everything before the last `test_days` and forecasts these days.
///
/// # Errors
/// When the history is too short, or a fit fails.
pub fn forecast(
    rows: &LoadRows,
    recipe: &Recipe,
    test_days: u32,
    seed: u64,
    max_rows: usize,
    threads: NonZeroUsize,
    progress: impl Fn(&str) + Sync,
) -> anyhow::Result<Vec<HeadForecasts>> {
    let span = rows.span();
    let test_from = span.until - i64::from(test_days) * DAY_MS;
    let shares = SplitSettings { test_share: 0.5, ..DEFAULT_SPLIT };
    let keys: Vec<HeadKey> = HeadKey::all().collect();
    workers::each(threads, &keys, |key| {
        let horizon_ms = i64::from(key.horizon.hours()) * HOUR_MS;
        let kind = TargetKind::HourMean;
        let target = rows.target(kind, key.resource, key.horizon);
        let split = split_before(span, test_from, &shares, horizon_ms)
            .with_context(|| format!("{test_days} test days leave too little to learn from"))?;
        let columns = ColumnSet::for_history(split.train.hours());
        let wanted = rows.select(Window { from: test_from, until: span.until }, None, &target, 1);
        let input = HeadInput { rows, target: &target, nodes: None, max_rows };
        let scoring = Scoring { rows, target: &target, kind, taught_by: kind, wanted: &wanted };
        let mut head = HeadForecasts { key: *key, ts: Vec::new(), observed: Vec::new(), contenders: Vec::new() };
        for contender in Contender::ALL {
            let settings = contender.settings(recipe, key.resource, columns);
            let fit = heads::fit_settings(&settings, columns, *key, &input, &split, &FitOptions::seeded(seed))?;
            let (outcomes, _) = heads::outcomes(&fit.fitted, &scoring)?;
            if contender == Contender::Default {
                let yesterday = crate::train::yesterday(rows, *key, &outcomes, kind);
                head = HeadForecasts { ts: outcomes.ts, observed: outcomes.observed, ..head };
                head.contenders.push((contender.name().to_owned(), outcomes.median));
                head.contenders.push((POOR.to_owned(), outcomes.persistence));
                head.contenders.push((OTHER.to_owned(), yesterday.median));
            } else {
                head.contenders.push((contender.name().to_owned(), outcomes.median));
            }
            progress(&format!("{} {}", key.slug(), contender.name()));
        }
        Ok(head)
    })
}

/// Writes forecasts as a Parquet file, whole.
///
/// # Errors
/// When the disk is full or not writable.
pub fn write(path: &Path, heads: &[HeadForecasts]) -> anyhow::Result<()> {
    let mut all: Option<DataFrame> = None;
    for head in heads {
        let mut columns = vec![
            Column::new("head".into(), vec![head.key.slug(); head.ts.len()]),
            Column::new("ts".into(), head.ts.clone()),
            Column::new("observed".into(), head.observed.clone()),
        ];
        let contenders = head.contenders.iter();
        columns.extend(contenders.map(|(name, values)| Column::new(name.as_str().into(), values.clone())));
        let frame = DataFrame::new(head.ts.len(), columns).context("forecasts of different length")?;
        match &mut all {
            Some(all) => drop(all.vstack_mut(&frame).context("heads with different contenders")?),
            None => all = Some(frame),
        }
    }
    let mut all = all.context("no forecasts to write")?;
    all.rechunk_mut();
    runtime::files::write_atomic(path, |writer| {
        ParquetWriter::new(writer).finish(&mut all).map(drop).map_err(std::io::Error::other)
    })?;
    Ok(())
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// When the file is absent, damaged or of something else.
pub fn read(path: &Path) -> anyhow::Result<Vec<HeadForecasts>> {
    let doing = || format!("failed to read forecasts from `{}`", path.display());
    let frame = ParquetReader::new(File::open(path).with_context(doing)?).finish().with_context(doing)?;
    let heads = frame.column("head").and_then(|column| column.str()).with_context(doing)?.clone();
    let times = frame.column("ts").and_then(|column| column.i64()).with_context(doing)?.clone();
    let numbers = |name: &str| -> anyhow::Result<Vec<f64>> {
        let column = frame.column(name).and_then(|column| column.f64()).with_context(doing)?;
        Ok(column.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
    };
    let names: Vec<String> = frame.get_column_names().iter().map(ToString::to_string).collect();
    let named = names.iter().filter(|name| !["head", "ts", "observed"].contains(&name.as_str()));
    let contenders = named.map(|name| Ok((name.clone(), numbers(name)?))).collect::<anyhow::Result<Vec<_>>>()?;
    let (times, observed): (Vec<i64>, Vec<f64>) =
        (times.iter().map(Option::unwrap_or_default).collect(), numbers("observed")?);
    let mut all = Vec::new();
    for key in HeadKey::all() {
        let slug = key.slug();
        let own: Vec<usize> =
            heads.iter().enumerate().filter(|(_, head)| *head == Some(slug.as_str())).map(|(row, _)| row).collect();
        anyhow::ensure!(!own.is_empty(), "`{}` has no forecasts of {slug}", path.display());
        let pick = |values: &[f64]| own.iter().map(|row| values[*row]).collect::<Vec<f64>>();
        all.push(HeadForecasts {
            key,
            ts: own.iter().map(|row| times[*row]).collect(),
            observed: pick(&observed),
            contenders: contenders.iter().map(|(name, values)| (name.clone(), pick(values))).collect(),
        });
    }
    Ok(all)
}

/// The first grid time of the forecasts and the one after the last.
pub fn span(heads: &[HeadForecasts]) -> Window {
    let times = || heads.iter().flat_map(|head| head.ts.iter().copied());
    Window { from: times().min().unwrap_or(0), until: times().max().map_or(0, |last| last + GRID_STEP_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forecasts_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("forecasts.parquet");
        let heads: Vec<HeadForecasts> = HeadKey::all()
            .enumerate()
            .map(|(at, key)| HeadForecasts {
                key,
                ts: vec![0, GRID_STEP_MS],
                observed: vec![0.5, 0.1 * at as f64],
                contenders: vec![
                    (REFERENCE.to_owned(), vec![0.4, 0.2]),
                    (POOR.to_owned(), vec![0.3, f64::from(at as u32)]),
                ],
            })
            .collect();
        write(&path, &heads).expect("written");
        assert_eq!(read(&path).expect("read"), heads);
        assert_eq!(span(&heads), Window { from: 0, until: 2 * GRID_STEP_MS });
        assert!(heads[0].of("nobody").expect_err("no such contender").to_string().contains("`nobody`"));
        std::fs::write(&path, b"no Parquet").expect("written");
        assert!(format!("{:#}", read(&path).expect_err("damaged")).contains("forecasts.parquet"));
    }
}
