//! `trainer anomaly compare`.

use crate::anomaly::peers::{
    CompareSettings, Comparison, PeerKind, Scenario, TableSettings, Task, compare, comparison_table, generate, page,
    read_tables,
};
use crate::cli::{Context, JsonArgs, commands};
use clap::{ArgMatches, Args};
use runtime::GateRefused;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct CompareArgs {
    /// Who is compared: all, or some of detector, z-score, random-forest, linear, lstm
    #[arg(long, value_delimiter = ',', default_value = "all", value_name = "MODELS", value_parser = models)]
    models: Vec<Models>,
    /// Made-up history to compare on, where no --input is given
    #[arg(long, value_enum, default_value = "standard", conflicts_with = "input", value_name = "SCENARIO")]
    scenario: Scenario,
    #[command(flatten)]
    table: TableSettings,
    /// Folder for comparison.json, comparison.md and comparison.html [default: reports/anomaly-compare below the data folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// End with exit code 3 where no model qualifies
    #[arg(long)]
    require_best: bool,
    #[command(flatten)]
    settings: CompareSettings,
    #[command(flatten)]
    output: JsonArgs,
}

const EXAMPLES: &str = "Examples:
  trainer anomaly compare --models all --scenario standard
  trainer anomaly compare --models detector,random-forest,lstm --scenario high-anomaly --primary cost
  trainer anomaly compare --input node-1.csv node-2.csv --label is_anomaly --time timestamp --step-minutes 1
  trainer anomaly compare --input nodes.parquet --entity node --time ts --min-recall 0.8 --require-best

Exit codes: 0 done, 1 failed, 2 wrong use, 3 no model qualifies (with --require-best)";

/// One model or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Models {
    All,
    One(PeerKind),
}

fn models(text: &str) -> Result<Models, String> {
    if text == "all" {
        return Ok(Models::All);
    }
    <PeerKind as clap::ValueEnum>::from_str(text, false)
        .map(Models::One)
        .map_err(|_| "models are all, detector, z-score, random-forest, linear and lstm".to_owned())
}

pub(super) fn run(context: &Context, args: &CompareArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let settings: CompareSettings = context.config.resolve("trainer.anomaly_compare", &args.settings, matches)?;
    settings.validate()?;
    let (task, notes) = task(args, &settings)?;
    let mut kinds: Vec<PeerKind> = Vec::new();
    for models in &args.models {
        let wanted = match models {
            Models::All => PeerKind::ALL.to_vec(),
            Models::One(kind) => vec![*kind],
        };
        kinds.extend(wanted.into_iter().filter(|kind| !kinds.contains(kind)).collect::<Vec<_>>());
    }
    let bar = runtime::progress::bar(kinds.len() as u64, "comparing detectors");
    let comparison = compare(&task, &kinds, &settings, |kind| {
        bar.set_message(kind.name());
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    let folder = args.out.clone().unwrap_or_else(|| context.store.root().join("reports").join("anomaly-compare"));
    let document = serde_json::json!({ "comparison": comparison, "notes": notes });
    runtime::files::write_json(&folder.join("comparison.json"), &document)?;
    runtime::files::write_text(&folder.join("comparison.md"), &comparison_table(&comparison).markdown())?;
    runtime::files::write_text(&folder.join("comparison.html"), &page(&comparison, &notes))?;
    commands::print_or_json(args.output.json, &document, || text(&comparison, &notes, &folder));
    if args.require_best && comparison.choice.best.is_none() {
        return Err(GateRefused(format!("no model qualifies: {}", refusals(&comparison))).into());
    }
    Ok(())
}

fn task(args: &CompareArgs, settings: &CompareSettings) -> anyhow::Result<(Task, Vec<String>)> {
    if args.table.input.is_empty() {
        return Ok((generate(args.scenario, settings.seed, settings)?, Vec::new()));
    }
    let table = read_tables(&args.table, true)?;
    let files: Vec<String> = args
        .table
        .input
        .iter()
        .map(|path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()))
        .collect();
    let name = match files.as_slice() {
        [file] => file.clone(),
        files => format!("{} files from {} on", files.len(), files[0]),
    };
    let name = format!("{name}, {} series", table.series.len());
    Ok((Task::new(name, table.columns, table.series, args.table.step_minutes, settings)?, table.notes))
}

fn refusals(comparison: &Comparison) -> String {
    let of = |(kind, reason): &(PeerKind, String)| format!("{}: {reason}", kind.name());
    comparison.choice.refused.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn text(comparison: &Comparison, notes: &[String], folder: &std::path::Path) -> String {
    let mut text = format!("{}\n\n{}\n", comparison.task, comparison_table(comparison).markdown());
    for (kind, reason) in &comparison.left_out {
        text.push_str(&format!("left out: {}: {reason}\n", kind.name()));
    }
    for note in notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push_str(&match comparison.choice.best {
        Some(best) => format!("best   {}\n", best.name()),
        None => format!("best   none qualifies: {}\n", refusals(comparison)),
    });
    text.push_str(&format!("report {}\n", folder.join("comparison.html").display()));
    text
}
