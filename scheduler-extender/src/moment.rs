//! Now, by both clocks.

use std::time::Instant;

/// A moment by the clock of the wall, which is compared with what other machines tell, and by the one that never steps, by which spans are
/// measured: the first may be set back by an hour at any time.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// UTC milliseconds.
    pub wall: i64,
    /// Monotonic.
    pub clock: Instant,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self { wall: chrono::Utc::now().timestamp_millis(), clock: Instant::now() }
    }
}
