//! Memory that requests may take together, counted in bytes: a number of requests bounds nothing while each may be as large as it likes.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that may be held at once by all who take from it.
#[derive(Debug, Clone)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    most: usize,
}

impl Budget {
    /// A budget of `most` bytes, of which none is taken; more than 2^61 - 1 cannot be counted, nor can they be had.
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { bytes: Arc::new(Semaphore::new(most)), most }
    }

    /// All that may be taken.
    pub const fn most(&self) -> usize {
        self.most
    }

    /// What is held now.
    pub fn held(&self) -> usize {
        self.most - self.bytes.available_permits()
    }

    /// A share of `bytes`, given back when it is dropped; `None` while others hold too much. Nobody waits: what cannot be had at once
    /// would be held up by those who do not let go.
    pub fn take(&self, bytes: usize) -> Option<Share> {
        let mut share = self.empty();
        share.grow(bytes).then_some(share)
    }

    /// A share that has nothing yet.
    pub fn empty(&self) -> Share {
        Share { budget: self.clone(), permits: None }
    }

    fn permits(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // One call counts up to 4 GiB, which no request has.
        Arc::clone(&self.bytes).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

/// Bytes of a [`Budget`] that somebody holds.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    permits: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Takes so many more; false, and nothing is taken, where there are not as many.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let Some(more) = self.budget.permits(bytes) else { return false };
        match &mut self.permits {
            Some(permits) => permits.merge(more),
            None => self.permits = Some(more),
        }
        true
    }

    /// What it is of.
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_missing_to_others_until_it_is_dropped() {
        let budget = Budget::new(100);
        let mut one = budget.take(60).expect("there is as much");
        assert!(budget.take(41).is_none());
        assert!(one.grow(40) && !one.grow(1));
        assert_eq!((one.bytes(), budget.held()), (100, 100));
        drop(one);
        assert_eq!((budget.held(), budget.take(100).map(|share| share.bytes())), (0, Some(100)));
        assert!(budget.take(usize::MAX).is_none(), "more than can be counted");
        assert_eq!(budget.take(0).map(|share| share.bytes()), Some(0));
    }
}
