//! Training on somebody's own table: any columns of numbers, a few passes over a file that may be larger than memory.
//!
//! Pass 1 looks at the columns ([`profile`]), pass 2 draws the rows to learn from ([`sample`]), pass 3 judges the rest.

mod learn;
mod profile;
mod sample;
mod seal;
mod settings;

pub use learn::{TableTraining, ThresholdChoice, train_table};
pub use profile::{LeftOut, Profile, profile};
pub use sample::{Cut, Reservoir};
pub use seal::seal_table;
pub use settings::{TableColumns, TableSettings};
