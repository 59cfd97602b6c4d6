//! What the tests share: a made-up server that can fail in every way, and a made-up cluster for a real one.

#![allow(dead_code, reason = "each test file uses its own share")]

pub mod fake;
pub mod history;
pub mod text;

use clap::{Args, FromArgMatches};
use cluster::NODE_METRICS;
use collector::prometheus::{PrometheusArgs, Source};
use collector::testing::{PrometheusServer, load_openmetrics, program};
use runtime::ConfigFile;
use runtime::http::HttpArgs;
use std::collections::BTreeMap;
use store::Store;

/// A history that is served by a real Prometheus for as long as it lives.
pub struct Served {
    pub server: PrometheusServer,
    _folder: tempfile::TempDir,
}

/// Serves a text; `None` when servers may be skipped.
pub fn serve(text: &str) -> Option<Served> {
    program("prometheus").expect("prometheus")?;
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("history.om");
    std::fs::write(&file, text).expect("text");
    load_openmetrics(&file, folder.path()).expect("loaded");
    Some(Served { server: PrometheusServer::start(folder.path(), &[]).expect("started"), _folder: folder })
}

/// A store of its own.
pub fn new_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(folder.path());
    (folder, store)
}

/// A source as the command line would make it.
pub fn source(flags: &[&str]) -> Source {
    let command = HttpArgs::augment_args(PrometheusArgs::augment_args(clap::Command::new("test")));
    let quick = ["test", "--retry-delay", "10ms"];
    let matches = command.get_matches_from([&quick, flags].concat());
    let args = PrometheusArgs::from_arg_matches(&matches).expect("flags");
    let http = HttpArgs::from_arg_matches(&matches).expect("flags");
    Source::resolve(&ConfigFile::default(), &args, &http, &matches).expect("source")
}

/// A table's column: node → time → value.
pub type Values = BTreeMap<String, BTreeMap<i64, Option<f64>>>;

/// A column of `raw/node_metrics`, over all days. Every row of every part counts, so that a row which is there twice
/// is found.
pub fn column(store: &Store, name: &str) -> Values {
    let mut values = Values::new();
    for day in store.days(&NODE_METRICS).expect("days") {
        for part in store.parts(&NODE_METRICS, day).expect("parts") {
            use polars::prelude::{DataType, ParquetReader, SerReader};
            let frame = ParquetReader::new(std::fs::File::open(part).expect("part")).finish().expect("frame");
            let times = frame.column("ts").expect("ts").cast(&DataType::Int64).expect("times");
            let nodes = frame.column("node").expect("node").str().expect("texts").clone();
            let column = frame.column(name).expect("column").f64().expect("floats").clone();
            for ((ts, node), value) in times.i64().expect("times").iter().zip(nodes.iter()).zip(column.iter()) {
                let (ts, node) = (ts.expect("ts"), node.expect("node").to_owned());
                assert!(
                    values.entry(node.clone()).or_default().insert(ts, value).is_none(),
                    "`{node}` at {ts} is there twice"
                );
            }
        }
    }
    values
}
