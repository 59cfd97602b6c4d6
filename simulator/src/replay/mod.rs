//! A user's own history under other placements, and planning questions.

mod change;
mod page;
mod report;

pub use change::{NodeChange, change_nodes};
pub(crate) use page::budget;
pub use page::page;
pub use report::{PolicyReport, ReplayReport, ReplaySettings, replay};
