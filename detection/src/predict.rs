//! A file in, a file out: one row of results for each row of the table, in the same order.

use crate::folder::LoadedDetector;
use crate::plan::InputPlan;
use crate::quality::Quality;
use crate::scorer::{Order, Scorer, Verdict, blame_text};
use crate::table::{
    Binding, Renamed, ResultColumn, RowCounts, RowKeys, TableFormat, TableReader, TableRow, TableWriter,
};
use chrono::{DateTime, SecondsFormat};
use models::anomaly::Severity;
use runtime::files::{FileError, write_atomic};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What became of a file.
#[derive(Debug, Clone, Serialize)]
pub struct PredictSummary {
    /// The table.
    pub input: PathBuf,
    /// The results.
    pub output: PathBuf,
    /// Which detector.
    pub model: String,
    /// What happened to the rows.
    #[serde(flatten)]
    pub counts: RowCounts,
    /// Readings by severity of their own; the others are usual.
    pub readings: BTreeMap<&'static str, u64>,
    /// Readings that an alarm of warning or above stood over.
    pub rows_in_alarm: u64,
    /// Entities whose state is known at the end.
    pub entities: usize,
    /// Entities that were forgotten on the way, because there were more than memory allows.
    pub entities_forgotten: u64,
    /// How good it was, where rows are labelled.
    pub quality: Quality,
    /// Wall time.
    pub seconds: f64,
}

/// What is read how.
#[derive(Debug, Clone, Default)]
pub struct PredictOptions<'a> {
    /// Columns that go by other names than in training.
    pub renamed: Renamed<'a>,
    /// Columns that are absent count as missing values instead of ending everything.
    pub allow_missing: bool,
}

const fn text(name: &'static str) -> ResultColumn {
    ResultColumn { name, is_number: false }
}
const fn number(name: &'static str) -> ResultColumn {
    ResultColumn { name, is_number: true }
}

/// The columns of results.
pub const COLUMNS: [ResultColumn; 10] = [
    number("line"),
    text("time"),
    text("entity"),
    number("score"),
    text("severity"),
    text("alarm"),
    text("type"),
    text("response"),
    text("blame"),
    text("problem"),
];

/// Scores every row of `input` into `output`, which is whole or absent at the end. `tick` hears of every 1,000 rows.
///
/// # Errors
/// A table that lacks columns, that cannot be read to its end or has no row; a full disk.
pub fn predict(
    loaded: LoadedDetector,
    input: &Path,
    output: &Path,
    options: &PredictOptions<'_>,
    mut tick: impl FnMut(u64),
) -> anyhow::Result<PredictSummary> {
    let format = TableFormat::of(output)?;
    let mut reader = TableReader::open(input)?;
    let began = Instant::now();
    let mut counts = RowCounts::default();
    let binding = Binding::new(&mut reader, &loaded.plan, &options.renamed, options.allow_missing, &mut counts)?;
    if matches!(loaded.plan, InputPlan::Features(_)) {
        tracing::info!("the detector reads features of nodes, as `features build` writes them");
    }
    let model = loaded.origin.clone();
    let scorer = Scorer::new(loaded);
    let mut work = Work {
        reader,
        binding,
        scorer,
        counts,
        readings: BTreeMap::new(),
        rows_in_alarm: 0,
        quality: Quality::default(),
    };
    let mut failed = None;
    let written = write_atomic(output, |file| {
        let done = match format {
            TableFormat::Parquet => {
                TableWriter::parquet(&COLUMNS, file.get_ref()).and_then(|writer| work.run(writer, format, &mut tick))
            }
            _ => TableWriter::text(format, &COLUMNS, file).and_then(|writer| work.run(writer, format, &mut tick)),
        };
        done.map_err(|error| {
            failed = Some(error);
            io::Error::other("see the cause")
        })
    });
    match (failed, written) {
        // What went wrong says it better than the file that was not written for it, unless it is the file itself.
        (Some(error), _) => return Err(told(error, output)),
        (None, written) => written?,
    }
    Ok(PredictSummary {
        input: input.to_owned(),
        output: output.to_owned(),
        model,
        counts: work.counts,
        readings: work.readings,
        rows_in_alarm: work.rows_in_alarm,
        entities: work.scorer.entities(),
        entities_forgotten: work.scorer.forgotten(),
        quality: work.quality,
        seconds: began.elapsed().as_secs_f64(),
    })
}

fn told(error: anyhow::Error, output: &Path) -> anyhow::Error {
    match error.downcast::<io::Error>() {
        Ok(source) => FileError::new("write", output, source).into(),
        Err(error) => error,
    }
}

struct Work {
    reader: TableReader,
    binding: Binding,
    scorer: Scorer,
    counts: RowCounts,
    readings: BTreeMap<&'static str, u64>,
    rows_in_alarm: u64,
    quality: Quality,
}

impl Work {
    fn run(
        &mut self,
        mut writer: TableWriter<'_>,
        format: TableFormat,
        tick: &mut dyn FnMut(u64),
    ) -> anyhow::Result<()> {
        let (mut row, mut values) = (TableRow::default(), Vec::new());
        while self.reader.next(&mut row)? {
            writer.row(self.row(&row, &mut values, format)?)?;
            if self.counts.rows.is_multiple_of(1_000) {
                tick(self.counts.rows);
            }
        }
        anyhow::ensure!(self.counts.rows > 0, "the table has a header and no rows: there is nothing to score");
        anyhow::ensure!(
            self.counts.used > 0,
            "none of the {} rows could be used: {}",
            self.counts.rows,
            self.counts.unusable.examples.join("; ")
        );
        writer.finish()
    }

    fn row(&mut self, row: &TableRow, values: &mut Vec<f32>, format: TableFormat) -> anyhow::Result<Vec<Value>> {
        let keys = match self.binding.read(row, values, &mut self.counts) {
            Ok(keys) => keys,
            Err(problem) => {
                let mut out = vec![Value::Null; COLUMNS.len()];
                (out[0], out[COLUMNS.len() - 1]) = (row.line.into(), problem.into());
                return Ok(out);
            }
        };
        let (verdict, order) = self.scorer.score(&keys.entity, keys.time, values)?;
        if order == Order::Late {
            self.counts.late.add(|| format!("line {}", row.line));
        }
        if let Some(severity) = verdict.severity {
            *self.readings.entry(severity.as_str()).or_default() += 1;
        }
        self.rows_in_alarm += u64::from(verdict.alarm >= Some(Severity::Warning));
        if let Some(label) = keys.label {
            self.quality.count(label, verdict.severity >= Some(Severity::Warning));
        }
        Ok(values_of(row.line, &keys, &verdict, order, format))
    }
}

fn values_of(line: u64, keys: &RowKeys, verdict: &Verdict, order: Order, format: TableFormat) -> Vec<Value> {
    let severity = |severity: Option<Severity>| severity.map_or(Value::Null, |severity| severity.as_str().into());
    let blame = match (verdict.blame.is_empty(), format) {
        (true, _) => Value::Null,
        (false, TableFormat::JsonLines) => json!(verdict.blame),
        (false, _) => blame_text(&verdict.blame).into(),
    };
    let time = keys.time.map(|time| {
        let moment = DateTime::from_timestamp_millis(time);
        moment.map_or_else(|| time.to_string(), |moment| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    });
    vec![
        line.into(),
        time.into(),
        if keys.entity.is_empty() { Value::Null } else { keys.entity.as_str().into() },
        // Six decimals are more than a score means.
        ((f64::from(verdict.score) * 1e6).round() / 1e6).into(),
        severity(verdict.severity),
        severity(verdict.alarm),
        verdict.kind.map_or(Value::Null, |kind| kind.as_str().into()),
        verdict.response.as_str().into(),
        blame,
        if order == Order::Late { "older than a row before it".into() } else { Value::Null },
    ]
}

impl PredictSummary {
    /// For people.
    pub fn text(&self) -> String {
        let readings: Vec<String> =
            self.readings.iter().map(|(severity, count)| format!("{count} {severity}")).collect();
        let readings = if readings.is_empty() { "none odd".to_owned() } else { readings.join(", ") };
        let mut text = format!(
            "scored {} of {} rows of {} entities in {:.1} s: {readings}; {} rows in alarm\n",
            self.counts.used, self.counts.rows, self.entities, self.seconds, self.rows_in_alarm
        );
        for line in self.counts.lines().into_iter().chain(self.quality.text()) {
            text.push_str(&format!("note   {line}\n"));
        }
        if self.entities_forgotten > 0 {
            text.push_str(&format!(
                "note   {} entities were more than memory allows and began anew\n",
                self.entities_forgotten
            ));
        }
        text.push_str(&format!("model  {}\noutput {}\n", self.model, self.output.display()));
        text
    }
}
