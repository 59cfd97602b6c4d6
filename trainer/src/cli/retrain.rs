//! `trainer` without a command: everything that exists so far, from the newest features.

use super::{Context, FeaturesArgs, commands, inputs};
use crate::recipe::Recipe;
use crate::registry;
use crate::train::LoadSettings;
use crate::validate::{GateSettings, page};
use clap::{Args, FromArgMatches};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Trains, validates and registers the load predictor.
pub(super) fn run(context: &Context) -> anyhow::Result<()> {
    let settings: LoadSettings = defaults(context, "trainer.load")?;
    let recipe: Recipe = defaults(context, "trainer.booster")?;
    let limits: GateSettings = defaults(context, "trainer.validate")?;
    let dataset = inputs::dataset(context, &FeaturesArgs { features: std::env::var("BERTH_FEATURES").ok() })?;
    let folder = context.store.root().join("models").join(registry::MODEL);
    let reports = context.store.root().join("reports");
    let (trained, run) = commands::train(context, &dataset, &settings, &recipe, &folder)?;
    print(commands::training_text(&trained, &run, &folder));
    let verdict = commands::judge(context, &dataset, &folder, &limits)?;
    runtime::files::write_json(&reports.join("validation.json"), &verdict)?;
    runtime::files::write_text(&reports.join("validation.html"), &page(&verdict))?;
    print(commands::verdict_text(&verdict));
    commands::refuse(&verdict)?;
    let registered =
        context.with_tracker(async |tracker| registry::register(tracker, &folder, &verdict, true).await)?;
    print(commands::registered_text(&registered));
    Ok(())
}

/// Settings that no flag can give here: environment, file, default.
fn defaults<S: Args + FromArgMatches + Serialize + DeserializeOwned>(
    context: &Context,
    section: &str,
) -> anyhow::Result<S> {
    let matches = S::augment_args(clap::Command::new("trainer").no_binary_name(true))
        .try_get_matches_from(std::iter::empty::<&str>())?;
    context.config.resolve(section, &S::from_arg_matches(&matches)?, &matches)
}

fn print(text: String) {
    commands::print_or_json(false, &serde_json::Value::Null, || text);
}
