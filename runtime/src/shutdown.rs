//! Ends long-running commands in good order.

/// Resolves at the first SIGTERM or Ctrl-C.
///
/// # Errors
/// When the process cannot listen for signals.
pub async fn requested() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}
