//! Policies × seeds: runs, intervals, tables, one page.

mod figures;
mod page;
mod runs;
mod stats;

pub(crate) use figures::{LEGEND, number};
pub use figures::{Row, ScenarioFigures, figures, table};
pub use page::page;
pub(crate) use page::scenario;
pub(crate) use runs::run_all;
pub use runs::{CompareSettings, ScenarioRuns, compare};
pub use stats::{Interval, gap_closed, paired_difference, paired_ratio, t_interval};
