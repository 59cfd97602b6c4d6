//! What could have been, for whoever knows all that is to come: a cost that no placement can beat ([`lower_bound`]), and the
//! cheapest placement that a long search finds ([`search`]). The least possible cost lies between the two, so that the share of it
//! that a policy saves can be told as a range.

mod board;
mod bound;
mod plan;
mod search;
#[cfg(test)]
mod tests;

pub use bound::lower_bound;
pub use search::{SearchSettings, search};
