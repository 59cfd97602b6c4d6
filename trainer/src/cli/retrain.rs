//! `trainer` without a command: everything that exists so far, from the newest features.

use super::{Context, FeaturesArgs, commands, inputs, placement, train_anomaly};
use crate::recipe::Recipe;
use crate::registry;
use crate::train::LoadSettings;
use crate::validate::{GateSettings, page};

/// Trains, validates and registers the load predictor, then the anomaly detector, then the placement agent.
pub(super) fn run(context: &Context) -> anyhow::Result<()> {
    let settings: LoadSettings = inputs::defaults(context, "trainer.load")?;
    let recipe: Recipe = inputs::defaults(context, "trainer.booster")?;
    let limits: GateSettings = inputs::defaults(context, "trainer.validate")?;
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
    print(commands::registered_text(registry::MODEL, &registered));
    train_anomaly::retrain(context, &dataset)?;
    placement::retrain(context)
}

fn print(text: String) {
    commands::print_or_json(false, &serde_json::Value::Null, || text);
}
