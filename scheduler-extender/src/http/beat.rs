//! Whether the main listener lives, for those who ask at another address.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// It is heard so often.
const EVERY: Duration = Duration::from_secs(1);
/// Silence of this length is no busy machine any more.
const SILENCE: Duration = Duration::from_secs(15);

/// The pulse of a listener. It beats in the task that accepts connections, so it stops when that hangs or has ended.
#[derive(Debug, Clone)]
pub struct Beat(Arc<Mutex<Instant>>);

impl Default for Beat {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Beat {
    /// Ends when `stopped` says so, and beats until then. To be waited for by the listener itself.
    pub async fn until(self, stopped: watch::Receiver<bool>) {
        self.beating(stopped, EVERY).await;
    }

    async fn beating(self, mut stopped: watch::Receiver<bool>, every: Duration) {
        loop {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            // A sender that is gone is an end as well.
            if tokio::time::timeout(every, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
                return;
            }
        }
    }

    /// Whether it was heard lately.
    pub fn is_heard(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < SILENCE
    }

    #[cfg(test)]
    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_beats_for_as_long_as_somebody_waits_for_the_end() {
        let (stop, stopped) = watch::channel(false);
        let beat = Beat::default();
        let waiting = tokio::spawn(beat.clone().beating(stopped, Duration::from_millis(1)));
        for _ in 0..3 {
            let last = beat.last();
            while beat.last() == last {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert!(beat.is_heard());
        stop.send(true).expect("somebody waits");
        waiting.await.expect("it ends");
        let last = beat.last();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(beat.last(), last, "nobody waits any more");
        // A listener that has ended or hangs is not heard after a while.
        let silent = Instant::now().checked_sub(SILENCE).expect("the machine has run for longer");
        *beat.0.lock().expect("a lock") = silent;
        assert!(!beat.is_heard());
    }
}
