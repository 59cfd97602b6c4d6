//! A lock between processes that never blocks a thread: two tasks of one thread may want it.

use crate::TrackingError;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// How often a lock that somebody else holds is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits for the lock on a file, made when absent. It is held until the returned file is dropped.
pub(crate) async fn hold(path: &Path) -> Result<File, TrackingError> {
    let file = File::create(path).map_err(|source| TrackingError::io("create", path, source))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            Err(TryLockError::Error(source)) => return Err(TrackingError::io("lock", path, source)),
        }
    }
}
