//! The algorithms behind [`Learner`](crate::Learner) and [`Regressor`](crate::Regressor).
//!
//! [`GradientBoosting`] is what the load predictor builds on. The others are baselines for the comparison report, and
//! [`ForustBoosting`] is the fallback should the first engine be given up.

mod decision_tree;
mod document;
mod elastic_net;
mod forust;
mod gradient_boosting;
mod linear;
mod linear_model;
mod naive;
mod preparation;
mod random_forest;
mod xgboost_names;

pub use decision_tree::BinnedDecisionTree;
pub use elastic_net::ElasticNet;
pub use forust::ForustBoosting;
pub use gradient_boosting::{BoostedTrees, Direction, GradientBoosting};
pub use linear::LinearRegression;
pub use naive::{Persistence, SeasonalNaive};
pub use preparation::Preparation;
pub use random_forest::RandomForest;

pub(crate) use document::load;
