//! The memory that a worker has for fetched segments, and what each reduce has of
//! it: a share that goes back whole when the reduce is done with, however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A segment of more bytes goes to a file at once: in memory it would be copied.
const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What is left for all reduces of a worker.
#[derive(Debug)]
pub(super) struct Pool {
    left_bytes: AtomicU64,
}

impl Pool {
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            left_bytes: AtomicU64::new(bytes),
        })
    }

    /// A share of nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share {
            pool: self.clone(),
            taken_bytes: AtomicU64::new(0),
        })
    }
}

/// What one reduce has taken.
#[derive(Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    taken_bytes: AtomicU64,
}

impl Share {
    /// Takes memory for a segment; false when it must go to a file.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let enough = |left: u64| left.checked_sub(bytes);
        let taken = bytes <= SEGMENT_BYTES_MAX
            && self
                .pool
                .left_bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough)
                .is_ok();
        if taken {
            self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Gives back what was taken for a segment that is thrown away.
    pub(super) fn give_back(&self, bytes: u64) {
        self.taken_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.left_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let taken = *self.taken_bytes.get_mut();
        self.pool.left_bytes.fetch_add(taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_reduce_that_is_over_is_there_for_the_next() {
        let pool = Pool::new(100);
        let (first, second) = (pool.share(), pool.share());
        assert!(first.take(60) && !second.take(60) && second.take(40));
        first.give_back(10);
        assert!(second.take(10) && !second.take(1));
        drop(first);
        assert!(second.take(50) && !second.take(1));
        drop(second);
        assert!(pool.share().take(100));
    }

    #[test]
    fn huge_segment_goes_to_a_file_though_there_is_memory() {
        let share = Pool::new(u64::MAX).share();
        assert!(share.take(SEGMENT_BYTES_MAX) && !share.take(SEGMENT_BYTES_MAX + 1));
    }
}
