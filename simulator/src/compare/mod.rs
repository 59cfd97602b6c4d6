//! Policies × seeds: runs, intervals, tables, one page.

mod figures;
mod page;
mod runs;
mod stats;

pub(crate) use figures::{LEGEND, least_cost, number};
pub use figures::{Row, Saved, ScenarioFigures, figures, table};
pub use page::page;
pub(crate) use page::{knows_the_future, scenario};
pub(crate) use runs::run_all;
pub use runs::{CompareSettings, ScenarioRuns, compare};
pub use stats::{Interval, gap_closed, paired_difference, paired_ratio, t_interval};
