//! What `serving` is asked about nodes, and what it answers: one definition for the server, its clients and their tests.
//!
//! - [`ScoreRequest`] and [`ScoreAnswer`]: `POST` [`SCORE_PATH`]. [`NodeList`]: `GET` [`NODES_PATH`].
//! - [`Timestamp`]: moments are RFC 3339 in all of them.
//! - [`client`] (feature `client`): asks, within a deadline, through a circuit breaker.
//!
//! Requests are strict: a field that the server does not know is refused by its name. Answers are strict about what is there and lenient
//! about what is new: every field is required, `null` where nothing is known, and only [`NodeScore::explanation`],
//! [`NodeDescription::features`] and [`NodeDescription::features_at`] may be absent; a field that the client does not know is skipped, so
//! that a server may be newer than its clients ([`ApiVersion`]).
//!
//! No I/O, no async and no clock without the feature `client`.

mod answer;
#[cfg(feature = "client")]
pub mod client;
mod explanation;
mod nodes;
mod request;
mod timestamp;
mod version;
mod wire;

pub use answer::{Arm, ExpectedUsage, Mismatch, MissingReason, NodeScore, PodScores, ScoreAnswer, UsageSource};
pub use explanation::{Blame, Contribution, ForecastQuantiles, NodeExplanation, NormalRange};
pub use nodes::{Anomaly, Forecast, NodeDescription, NodeList};
pub use request::{InFlight, InvalidRequest, MAX_AMOUNT, PodRequest, ScoreRequest};
pub use timestamp::Timestamp;
pub use version::ApiVersion;
pub use wire::rfc3339;

/// Where pods are scored.
pub const SCORE_PATH: &str = "/v1/score";
/// Where nodes are listed.
pub const NODES_PATH: &str = "/v1/nodes";
/// The client's own time limit for a request, in whole milliseconds.
pub const TIMEOUT_HEADER: &str = "x-berth-timeout-ms";
/// The largest value of [`TIMEOUT_HEADER`]: an hour.
pub const MAX_TIMEOUT_MILLIS: u64 = 3_600_000;
