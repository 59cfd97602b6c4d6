//! Where scenarios come from.

mod combine;
mod csv_rows;
mod error;
mod history;
mod openb;
mod scenario_args;
mod synthetic;
mod usage_sets;

pub use combine::{CombineSettings, PodLives, combine};
pub use error::InputError;
pub use history::{HistorySettings, read_history};
pub use openb::{OpenbNode, OpenbPod, OpenbTrace};
pub use scenario_args::{ScenarioArgs, ScenarioKind, Sources};
pub use synthetic::{Shape, Synthetic};
pub use usage_sets::{UsageLibrary, UsageSet};
