//! `trainer anomaly stream`.

use super::super::Context;
use super::model::ModelArgs;
use anyhow::Context as _;
use clap::Args;
use detection::metrics::{self, Metrics};
use detection::stream::Engine;
use detection::stream::kafka::{self, KafkaArgs};
use detection::stream::lines::answer_lines;
use detection::table::Renamed;
use std::io::{BufReader, BufWriter, stdin, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const EXAMPLES: &str = "Examples:
  tail -F metrics.jsonl | trainer anomaly stream --model detector
  trainer anomaly stream --model detector < metrics.jsonl > verdicts.jsonl
  trainer anomaly stream --model detector --kafka kafka:9092 --input-topic metrics --output-topic verdicts --group anomaly

Each reading is a JSON object of columns and values; each gets one answer, also those that make no sense:
  {\"line\":1,\"entity\":\"node-3\",\"score\":0.71,\"severity\":\"critical\",\"alarm\":\"critical\",\"type\":\"performance\",\"response\":\"quarantine\",\"blame\":[…]}
  {\"line\":2,\"error\":{\"kind\":\"not_json\",\"message\":\"…\"}}

With --kafka, offsets are committed after the answers were acknowledged: after a kill some readings are answered twice and
none is lost. Standard output holds answers alone; the summary goes to standard error. Exit codes: 0 done, 1 failed, 2 wrong use";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct StreamArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Key of times, where it goes by another name than in training
    #[arg(long, value_name = "NAME")]
    time: Option<String>,
    /// Key that says whose reading it is, where it goes by another name than in training
    #[arg(long, value_name = "NAME")]
    entity: Option<String>,
    /// Key of labels, to count how good the verdicts are
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Serve Prometheus metrics on this address, such as 127.0.0.1:9464
    #[arg(long, env = "BERTH_ANOMALY_METRICS_ADDRESS", value_name = "ADDRESS")]
    metrics_address: Option<SocketAddr>,
    /// Where to write the closing summary as JSON
    #[arg(long, value_name = "FILE")]
    summary_out: Option<PathBuf>,
    /// Print the closing summary on standard error as one JSON document instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(context: &Context, args: &StreamArgs) -> anyhow::Result<()> {
    let loaded = args.model.load(context)?;
    let metrics = Arc::new(Metrics::default());
    let renamed = Renamed { time: args.time.as_deref(), entity: args.entity.as_deref(), label: args.label.as_deref() };
    let engine = Engine::new(loaded, &renamed, Arc::clone(&metrics));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(async {
        if let Some(address) = args.metrics_address {
            metrics::serve(address, Arc::clone(&metrics)).await?;
        }
        if args.kafka.kafka.is_some() {
            let summary = kafka::run(&args.kafka, engine, metrics, runtime::shutdown::requested()).await?;
            Ok((serde_json::to_value(&summary)?, summary.text()))
        } else {
            lines(engine).await
        }
    });
    // A read of standard input cannot be called back; the process need not wait for it.
    runtime.shutdown_background();
    let (document, text) = done?;
    if let Some(path) = &args.summary_out {
        runtime::files::write_json(path, &document)?;
    }
    if args.json {
        eprintln!("{document:#}");
    } else {
        eprint!("{text}");
    }
    Ok(())
}

/// Answers standard input until it ends or the process is told to stop.
async fn lines(engine: Engine) -> anyhow::Result<(serde_json::Value, String)> {
    let engine = Arc::new(Mutex::new(engine));
    let shared = Arc::clone(&engine);
    let answering = tokio::task::spawn_blocking(move || {
        answer_lines(&shared, BufReader::new(stdin()), BufWriter::new(stdout().lock()))
    });
    tokio::select! {
        stopped = runtime::shutdown::requested() => stopped?,
        answered = answering => answered?.context("failed to answer standard input")?,
    }
    let summary = engine.lock().map(|engine| engine.summary()).map_err(|_| anyhow::anyhow!("the engine has failed"))?;
    Ok((serde_json::to_value(&summary)?, summary.text()))
}
