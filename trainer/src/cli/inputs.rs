//! Finding and reading what a command works on.

use super::{Context, FeaturesArgs};
use crate::recipe;
use crate::rows::LoadRows;
use anyhow::Context as _;
use clap::{Args, FromArgMatches};
use features::Selection;
use features::catalogue::NODE_HISTORY;
use runtime::WrongUse;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use store::DatasetVersion;

/// The features dataset that was named, or the newest.
pub(super) fn dataset(context: &Context, args: &FeaturesArgs) -> anyhow::Result<DatasetVersion> {
    let version = match args.features.as_deref() {
        None => context
            .store
            .newest_version(&NODE_HISTORY)
            .context("no features dataset to train on. Run `features build` first")?,
        Some(name) if Path::new(name).is_file() => {
            let manifest: DatasetVersion = runtime::files::read_json(Path::new(name))?;
            context
                .store
                .version(&manifest.id)
                .with_context(|| format!("manifest `{name}` names a dataset that is not below the data folder"))?
        }
        Some(id) => {
            context.store.version(id).with_context(|| format!("`{id}` is neither a manifest file nor a dataset"))?
        }
    };
    if !version.rows.contains_key(NODE_HISTORY.name) {
        let tables: Vec<&str> = version.rows.keys().map(String::as_str).collect();
        return Err(WrongUse(format!(
            "dataset `{}` has no table `{}`, it has {}. Give the dataset of `features build`",
            version.id,
            NODE_HISTORY.name,
            tables.join(", ")
        ))
        .into());
    }
    Ok(version)
}

/// The rows of a dataset with these columns.
pub(super) fn rows(context: &Context, dataset: &DatasetVersion, columns: &[String]) -> anyhow::Result<LoadRows> {
    let selection = Selection::new(columns)?;
    let store = context.store.open_version(&dataset.id)?;
    LoadRows::load(&store, &selection).with_context(|| format!("failed to read features dataset `{}`", dataset.id))
}

/// The rows with the columns that the load predictor reads.
pub(super) fn schema_rows(context: &Context, dataset: &DatasetVersion) -> anyhow::Result<LoadRows> {
    rows(context, dataset, &recipe::schema_columns())
}

/// Settings that no flag can give here: environment, file, default.
pub(super) fn defaults<S: Args + FromArgMatches + Serialize + DeserializeOwned>(
    context: &Context,
    section: &str,
) -> anyhow::Result<S> {
    let matches = S::augment_args(clap::Command::new("trainer").no_binary_name(true))
        .try_get_matches_from(std::iter::empty::<&str>())?;
    context.config.resolve(section, &S::from_arg_matches(&matches)?, &matches)
}
