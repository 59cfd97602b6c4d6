//! `collector datasets list | show | verify`.

use clap::{Args, Subcommand};
use cluster::NODE_METRICS;
use store::{DatasetVersion, Store};

/// What to do with dataset versions.
#[derive(Debug, Clone, Subcommand)]
pub enum DatasetsCommand {
    /// List the dataset versions, oldest first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a dataset version is and what it was made from
    Show(OneDataset),
    /// Read every file of a dataset version again and compare it with the manifest; exit code 1 when one differs
    Verify(OneDataset),
}

/// One dataset version.
#[derive(Debug, Clone, Args)]
pub struct OneDataset {
    /// Its id, its manifest file, or `latest` for the newest version of the raw tables
    #[arg(default_value = "latest")]
    pub dataset: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// When there is no such version, when a manifest is damaged, or when `verify` finds a difference.
pub fn run(command: &DatasetsCommand, store: &Store) -> anyhow::Result<()> {
    match command {
        DatasetsCommand::List { json } => list(store, *json),
        DatasetsCommand::Show(one) => show(&store.find_version(&one.dataset, &NODE_METRICS)?, one.json),
        DatasetsCommand::Verify(one) => verify(&store.find_version(&one.dataset, &NODE_METRICS)?, store, one.json),
    }
}

fn list(store: &Store, json: bool) -> anyhow::Result<()> {
    let versions = store.versions()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&versions)?);
        return Ok(());
    }
    println!("{:<36} {:<24} {:>12} {:<23} made from", "id", "created", "rows", "days");
    for version in &versions {
        let rows: u64 = version.rows.values().sum();
        let days = version.days.map_or_else(String::new, |(first, last)| format!("{first}..{last}"));
        let inputs = version.inputs.iter().map(|input| input.kind.as_str()).collect::<Vec<_>>().join(", ");
        println!("{:<36} {:<24} {rows:>12} {days:<23} {inputs}", version.id, version.created_at);
    }
    Ok(())
}

fn show(version: &DatasetVersion, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(version)?);
        return Ok(());
    }
    println!(
        "id       {}\nhash     {}\ncreated  {}\ncode     {}",
        version.id, version.hash, version.created_at, version.code
    );
    if let Some((first, last)) = version.days {
        println!("days     {first}..{last}");
    }
    for input in &version.inputs {
        println!("input    {} {}", input.kind, input.name);
    }
    for (table, rows) in &version.rows {
        let columns = version.schema.get(table).map_or(0, Vec::len);
        println!("table    {table}: {rows} rows, {columns} columns");
    }
    for (figure, value) in &version.quality {
        println!("quality  {figure} = {value}");
    }
    let bytes: u64 = version.files.iter().map(|file| file.bytes).sum();
    println!("files    {} ({:.1} MiB)", version.files.len(), bytes as f64 / f64::from(1 << 20));
    Ok(())
}

fn verify(version: &DatasetVersion, store: &Store, json: bool) -> anyhow::Result<()> {
    let problems = store.verify(&version.id)?;
    if json {
        println!("{}", serde_json::json!({ "id": version.id, "files": version.files.len(), "problems": problems }));
    } else if problems.is_empty() {
        println!("`{}` is whole: {} files match their hashes", version.id, version.files.len());
    } else {
        for problem in &problems {
            println!("{}: {}", problem.path, problem.problem);
        }
    }
    anyhow::ensure!(
        problems.is_empty(),
        "{} of {} files of `{}` differ from its manifest",
        problems.len(),
        version.files.len(),
        version.id
    );
    Ok(())
}
