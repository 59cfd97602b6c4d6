//! Jobs on threads of their own.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The results of `work` in the order of `jobs`, computed on `threads` threads.
///
/// These are no threads of rayon: one of those takes the next job while it waits for a booster's own pool, so that a time
/// measured within a job would count other jobs too.
///
/// # Errors
/// The first error in the order of the threads; jobs that no thread has begun by then are still done.
pub fn each<J: Sync, R: Send>(
    threads: NonZeroUsize,
    jobs: &[J],
    work: impl Fn(&J) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut mine = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at) else { return Ok(mine) };
            mine.push((at, work(job)?));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.get().min(jobs.len())).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::with_capacity(jobs.len());
        for worker in workers {
            let mine: anyhow::Result<Vec<(usize, R)>> =
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.extend(mine?);
        }
        all.sort_by_key(|(at, _)| *at);
        Ok(all.into_iter().map(|(_, result)| result).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_whatever_the_threads() {
        let jobs: Vec<usize> = (0..50).collect();
        for threads in [1, 3, 80] {
            let threads = NonZeroUsize::new(threads).expect("some");
            let squares = each(threads, &jobs, |job| Ok(job * job)).expect("no job fails");
            assert_eq!(squares, jobs.iter().map(|job| job * job).collect::<Vec<_>>());
            let failed = each(threads, &jobs, |job| {
                anyhow::ensure!(*job != 20, "job {job} failed");
                Ok(())
            });
            assert_eq!(failed.expect_err("one fails").to_string(), "job 20 failed");
        }
    }
}
