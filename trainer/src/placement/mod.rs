//! The placement agent: it learns in simulated clusters, is judged in others against kube-scheduler's default scoring, and
//! becomes a version of the registered model `placement-agent`.

mod artifact;
mod clusters;
mod gate;
mod history;
mod log;
mod page;
mod search;
mod settings;
mod start;
mod state;
mod train;
mod weights;

pub use artifact::{PlacementFolder, read_placement, seal_placement};
pub use clusters::{Clusters, JUDGED, LEARNED};
pub use gate::{PlacementGate, PlacementVerdict, judge};
pub use history::OwnHistory;
pub use log::{EXPERIMENT, log_run};
pub(crate) use page::kept;
pub use page::page;
pub use search::Round;
pub use settings::{PlacementSettings, REWARD_UNIT};
pub use start::{RULES, Rule, Start};
pub use state::{CurvePoint, Look};
pub use train::{Trained, train};
pub use weights::{Tried, WEIGHTS_TRIED, WeightSearch, search_weights};
