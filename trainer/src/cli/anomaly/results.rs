//! `trainer anomaly results`.

use crate::anomaly::results::labelled::{LabelledResults, LabelledSettings, labelled_results};
use crate::anomaly::results::{AlarmResults, PythonPeers, alarm_results};
use crate::anomaly::{AnomalySettings, History, figures};
use crate::cli::peer_script::{self, PeerScript};
use crate::cli::{Context, FeaturesArgs, JsonArgs, commands, inputs};
use crate::text_table::{figure, text_table};
use clap::{ArgMatches, Args};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct AnomalyResultsArgs {
    #[command(flatten)]
    features: FeaturesArgs,
    /// Name of the set in the table
    #[arg(long, value_name = "NAME")]
    set: String,
    /// File to write the figures to, as JSON
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Folder of pairs <machine>.train.csv and <machine>.test.csv (or .csv.gz) instead of a features dataset
    #[arg(long, conflicts_with_all = ["features", "held_out_nodes", "incident_seed"], value_name = "DIR")]
    pairs: Option<PathBuf>,
    /// With --pairs: column of the labels
    #[arg(long, default_value = "label", value_name = "COLUMN")]
    label: String,
    /// With --pairs: column of the times, which is no reading
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// With --pairs: minutes between two readings
    #[arg(long, default_value_t = 5.0, value_name = "MINUTES")]
    step_minutes: f64,
    /// With --pairs: Python interpreter that has scikit-learn; without it the peers' lines are left out
    #[arg(long, env = "BERTH_SKLEARN_PYTHON", value_name = "FILE")]
    peer_python: Option<PathBuf>,
    /// With --pairs: another peers' script than the one that comes with this program
    #[arg(long, value_name = "FILE")]
    peer_script: Option<PathBuf>,
    /// Share of the nodes that neither train nor choose anything
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    held_out_nodes: f64,
    /// Seed that the set's incidents were drawn by, for the table
    #[arg(long, value_name = "SEED")]
    incident_seed: Option<u64>,
    #[command(flatten)]
    settings: AnomalySettings,
    #[command(flatten)]
    output: JsonArgs,
}

const EXAMPLES: &str = "Examples:
  trainer anomaly results --set synthetic --features features.json --out synthetic.json
  trainer anomaly results --set alibaba2018-nodes --held-out-nodes 0.25 --incident-seed 1 --out alibaba-1.json
  trainer anomaly results --set smd --pairs traces/smd --time t_min --step-minutes 1 --out smd.json";

pub(super) fn run(context: &Context, args: &AnomalyResultsArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let settings: AnomalySettings = context.config.resolve("trainer.anomaly", &args.settings, matches)?;
    settings.validate()?;
    if let Some(pairs) = &args.pairs {
        return labelled(args, pairs.clone(), &settings);
    }
    if !(0.0..1.0).contains(&args.held_out_nodes) {
        return Err(runtime::WrongUse(format!(
            "--held-out-nodes is {}, want at least 0 and below 1",
            args.held_out_nodes
        ))
        .into());
    }
    let dataset = inputs::dataset(context, &args.features)?;
    let history = History::load(&context.store, &dataset)?;
    let spinner = runtime::progress::spinner("training and judging");
    let results = alarm_results(&args.set, &dataset.id, &history, &settings, args.held_out_nodes, args.incident_seed)?;
    spinner.finish_and_clear();
    runtime::files::write_json(&args.out, &results)?;
    commands::print_or_json(args.output.json, &serde_json::to_value(&results)?, || alarm_text(&results));
    Ok(())
}

fn labelled(args: &AnomalyResultsArgs, pairs: PathBuf, settings: &AnomalySettings) -> anyhow::Result<()> {
    let wanted = LabelledSettings {
        set: args.set.clone(),
        pairs,
        label: args.label.clone(),
        time: args.time.clone(),
        step_minutes: args.step_minutes,
        expected_share: settings.expected_share,
        seed: settings.seed,
    };
    let script = PeerScript::new(args.peer_script.as_deref(), peer_script::SCIKIT_LEARN)?;
    let peers = args.peer_python.clone().map(|python| PythonPeers { python, script: script.path() });
    if peers.is_none() {
        tracing::warn!("no --peer-python is given: scikit-learn's lines are left out");
    }
    let spinner = runtime::progress::spinner("scoring machines");
    let results =
        labelled_results(&wanted, peers.as_ref(), |machine| spinner.set_message(format!("scoring {machine}")))?;
    spinner.finish_and_clear();
    runtime::files::write_json(&args.out, &results)?;
    commands::print_or_json(args.output.json, &serde_json::to_value(&results)?, || labelled_text(&results));
    Ok(())
}

fn alarm_text(results: &AlarmResults) -> String {
    let named: Vec<(String, &crate::anomaly::AlarmScores)> =
        results.lines.iter().map(|line| (format!("{}, {} nodes", line.detector, line.nodes), &line.scores)).collect();
    let rows: Vec<(&str, &crate::anomaly::AlarmScores)> =
        named.iter().map(|(name, scores)| (name.as_str(), *scores)).collect();
    format!("{}\n\n{}", results.set, figures(&rows, &results.settings).markdown())
}

fn labelled_text(results: &LabelledResults) -> String {
    let rows: Vec<Vec<String>> = results
        .lines
        .iter()
        .map(|line| {
            let (scores, points) = (&line.scores, &line.scores.points);
            vec![
                line.machine.clone(),
                line.detector.clone(),
                figure(points.roc_auc, 3),
                figure(points.pr_auc, 3),
                figure(scores.recall, 3),
                figure(scores.precision, 3),
                figure(scores.false_alarms_per_node_day, 3),
            ]
        })
        .collect();
    let head = ["machine", "detector", "ROC-AUC", "PR-AUC", "incident recall", "alarm precision", "false alarms/day"];
    let notes: String = results.notes.iter().map(|note| format!("note: {note}\n")).collect();
    format!("{}{notes}", text_table(&head, &rows))
}
