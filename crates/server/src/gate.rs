//! Requests under way: how many at once, and for how long each. A place is held by the work and not by the answer, so that work
//! that goes on after its client was told to try again still counts.

use crate::ApiError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for requests.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    most: usize,
}

impl Gate {
    /// `most` places, all free.
    pub fn new(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most }
    }

    /// A place for a request that may take `limit`.
    ///
    /// # Errors
    /// 503 while all are taken.
    pub fn admit(&self, limit: Duration) -> Result<Admission, ApiError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            ApiError::not_now(format!("{} requests are under way, the most at once: try again later", self.most))
        })?;
        let inner = Inner { _place: place, until: Instant::now() + limit, is_over: AtomicBool::new(false) };
        Ok(Admission { inner: Arc::new(inner), limit })
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.most - self.places.available_permits()
    }
}

#[derive(Debug)]
struct Inner {
    _place: OwnedSemaphorePermit,
    until: Instant,
    /// Nobody waits for the answer any more.
    is_over: AtomicBool,
}

/// A request's place among those under way, and how long it may take.
#[derive(Debug)]
pub struct Admission {
    inner: Arc<Inner>,
    limit: Duration,
}

impl Admission {
    /// What the request's work holds: with it the place, for as long as the work takes.
    pub fn work(&self) -> Work {
        Work(Some(Arc::clone(&self.inner)))
    }

    /// Runs the request for no longer than it may take. Work that goes on afterwards finds at its next look that it is over.
    ///
    /// # Errors
    /// 408 when it takes longer.
    pub async fn within<T>(self, answer: impl Future<Output = T>) -> Result<T, ApiError> {
        // However this ends: in time, too late, or because the client has gone.
        struct Over(Arc<Inner>);
        impl Drop for Over {
            fn drop(&mut self) {
                self.0.is_over.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(self.inner);
        let late = |_| ApiError::too_late(format!("not answered within {} ms", self.limit.as_millis()));
        tokio::time::timeout(self.limit, answer).await.map_err(late)
    }
}

/// Work for a request. Dropping the last one gives the request's place back.
#[derive(Debug, Clone)]
pub struct Work(Option<Arc<Inner>>);

impl Work {
    /// Work that nobody waits for in vain: of tests, benches and tasks of the process itself.
    pub const fn unlimited() -> Self {
        Self(None)
    }

    /// Whether somebody still waits for the answer. Long work asks between its pieces.
    ///
    /// # Errors
    /// 408 when nobody does.
    pub fn check(&self) -> Result<(), ApiError> {
        match &self.0 {
            Some(inner) if inner.is_over.load(Ordering::Relaxed) || Instant::now() >= inner.until => {
                Err(ApiError::too_late("the work was given up: its time is over, or the client has gone"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_taken_until_the_work_has_ended_and_not_until_the_answer() {
        let gate = Gate::new(1);
        let admission = gate.admit(Duration::from_millis(1)).expect("a place");
        let work = admission.work();
        assert_eq!(work.check(), Ok(()));
        let answer = admission.within(std::future::pending::<()>()).await;
        assert_eq!(answer.expect_err("too late").status.as_u16(), 408);
        assert_eq!(gate.admit(Duration::from_secs(1)).expect_err("taken").status.as_u16(), 503);
        assert_eq!(work.check().expect_err("over").status.as_u16(), 408);
        drop(work);
        assert_eq!(gate.taken(), 0);
    }

    #[tokio::test]
    async fn work_whose_client_has_gone_is_over_before_its_time() {
        let gate = Gate::new(2);
        let admission = gate.admit(Duration::from_secs(3_600)).expect("a place");
        let work = admission.work();
        {
            let mut answer = Box::pin(admission.within(std::future::pending::<()>()));
            assert!(futures::poll!(&mut answer).is_pending());
            assert_eq!(work.check(), Ok(()));
        }
        assert!(work.check().is_err());
        assert_eq!(Work::unlimited().check(), Ok(()));
    }
}
