//! What every program of Berth that listens needs, and nothing of what it answers.
//!
//! - [`listen`]: connections, from the first byte to the last. [`tls`]: certificates that may be replaced meanwhile.
//! - [`token`]: the bearer token that clients must send. [`error`]: what goes wrong with a request.
//! - [`journal`]: records kept as JSON Lines and rolled to Parquet.

mod client_names;
pub mod error;
pub mod journal;
pub mod listen;
pub mod tls;
pub mod token;

pub use error::ApiError;
