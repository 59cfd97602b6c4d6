//! What every program of Berth that listens needs, and nothing of what it answers.
//!
//! - [`listen`]: connections, from the first byte to the last. [`tls`]: certificates that may be replaced meanwhile.
//! - [`gate`]: requests under way, and work that outlives its answer. [`body`]: bodies, decompressed and within a [`budget`].
//! - [`token`]: the bearer token that clients must send. [`error`]: what goes wrong with a request.
//! - [`journal`]: records kept as JSON Lines and rolled to Parquet.

pub mod body;
pub mod budget;
mod client_names;
pub mod error;
pub mod gate;
pub mod journal;
pub mod listen;
mod peers;
mod pulse;
mod seal;
pub mod tls;
pub mod token;

pub use error::ApiError;
