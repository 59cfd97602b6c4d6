//! Who competes: the references, the learners on equal terms, the load predictor, and variants of it.

use super::plain::{Plain, Scope, TargetForm};
use crate::recipe::{self, ColumnSet, Recipe};
use models::learners::{BinnedDecisionTree, ElasticNet, ForustBoosting, LinearRegression, RandomForest};
use models::load::HeadKey;
use models::{Learner, Loss};

/// What a candidate is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What anybody could forecast without a model.
    Reference,
    /// A learner with the same features and the same rows.
    Learner,
    /// What `trainer train load` makes.
    Chosen,
    /// The chosen one with one thing changed, to show what that thing is worth.
    Variant,
}

/// One competitor.
#[derive(Debug)]
pub struct Candidate {
    /// For tables.
    pub name: &'static str,
    /// What it is there for.
    pub role: Role,
    /// What is special, in a sentence; subsampling is stated here.
    pub note: String,
    /// How it forecasts.
    pub how: How,
}

/// How a candidate forecasts.
#[derive(Debug)]
pub enum How {
    /// Mean of the last hour, or the last value for the 5-minute target.
    Persistence,
    /// The last 5-minute value, whatever the target.
    LastValue,
    /// The target as it was a day before; persistence where that is unknown.
    SameHourYesterday,
    /// A learner on plain terms.
    Plain(Plain),
    /// A head of the load predictor by this recipe.
    Head(Box<Recipe>),
}

/// All candidates for one head. `recipe` is the chosen one.
pub fn candidates(recipe: &Recipe, key: HeadKey) -> Vec<Candidate> {
    let mut all = references();
    all.extend(learners(recipe, key));
    all.push(Candidate {
        name: "load predictor",
        role: Role::Chosen,
        note: "gradient-boosted residual on a fitted baseline, median and calibrated P90".into(),
        how: How::Head(Box::new(recipe.clone())),
    });
    all.extend(variants(recipe, key));
    all
}

fn references() -> Vec<Candidate> {
    let reference = |name, note: &str, how| Candidate { name, role: Role::Reference, note: note.into(), how };
    vec![
        reference("persistence", "the mean of the last hour", How::Persistence),
        reference("last value", "the last 5-minute value", How::LastValue),
        reference("same hour yesterday", "the target a day before", How::SameHourYesterday),
    ]
}

fn learners(recipe: &Recipe, key: HeadKey) -> Vec<Candidate> {
    let forest = RandomForest { max_rows: 20_000, ..RandomForest::default() };
    let tree = BinnedDecisionTree { max_rows: 10_000, ..BinnedDecisionTree::default() };
    let learner = |name, note: String, learner: Box<dyn Learner>| Candidate {
        name,
        role: Role::Learner,
        note,
        how: How::Plain(Plain {
            learner,
            columns: ColumnSet::Lean.columns(key.resource),
            target: TargetForm::Level,
            scope: Scope::Global,
        }),
    };
    vec![
        learner("linear", "least squares (linfa)".into(), Box::new(LinearRegression {})),
        learner("elastic net", "L1 and L2 penalty (linfa)".into(), Box::<ElasticNet>::default()),
        learner(
            "decision tree",
            format!("one tree over target bins (linfa-trees), at most {} rows drawn", tree.max_rows),
            Box::new(tree),
        ),
        learner(
            "random forest",
            format!("{} trees (smartcore), at most {} rows drawn", forest.trees, forest.max_rows),
            Box::new(forest),
        ),
        learner("forust", "the fallback booster, squared error".into(), Box::<ForustBoosting>::default()),
        learner(
            "plain boosting",
            "gradient boosting on the level with squared error, as XGBoost does by default".into(),
            Box::new(recipe.booster(Loss::Squared)),
        ),
    ]
}

fn variants(recipe: &Recipe, key: HeadKey) -> Vec<Candidate> {
    let variant = |name, note: &str, how| Candidate { name, role: Role::Variant, note: note.into(), how };
    let plain = |loss, columns: Vec<String>, target, scope| {
        How::Plain(Plain { learner: Box::new(recipe.booster(loss)), columns, target, scope })
    };
    let same = || ColumnSet::Lean.columns(key.resource);
    vec![
        variant(
            "level target",
            "the booster forecasts the level itself",
            plain(Loss::Absolute, same(), TargetForm::Level, Scope::Global),
        ),
        variant(
            "residual target",
            "the booster forecasts the change against persistence",
            plain(Loss::Absolute, same(), TargetForm::Residual, Scope::Global),
        ),
        variant(
            "squared error",
            "the residual with squared instead of absolute error",
            plain(Loss::Squared, same(), TargetForm::Residual, Scope::Global),
        ),
        variant(
            "node-normalised target",
            "the residual divided by the node's own spread",
            plain(Loss::Absolute, same(), TargetForm::NodeNormalised, Scope::Global),
        ),
        variant(
            "one model per node",
            "as residual target, each node alone",
            plain(Loss::Absolute, same(), TargetForm::Residual, Scope::PerNode),
        ),
        variant(
            "without time of day",
            "as residual target, calendar features left out",
            plain(Loss::Absolute, recipe::without_calendar(&same()), TargetForm::Residual, Scope::Global),
        ),
        variant(
            "with seasonal features",
            "as residual target, same hour on earlier days added",
            plain(
                Loss::Absolute,
                [same(), recipe::seasonal_columns(key.resource, key.horizon.hours())].concat(),
                TargetForm::Residual,
                Scope::Global,
            ),
        ),
        variant(
            "with surroundings",
            "as residual target, the other resource and the other nodes added",
            plain(
                Loss::Absolute,
                ColumnSet::WithSurroundings.columns(key.resource),
                TargetForm::Residual,
                Scope::Global,
            ),
        ),
    ]
}
