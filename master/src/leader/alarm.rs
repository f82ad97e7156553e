//! Notices when a loop of the leader ends by itself.
//!
//! A panic ends one task and nothing else: without this, a leader whose
//! scheduler died would go on leading, and every job would wait for ever.

use tokio_util::sync::CancellationToken;

/// Raised once, for good.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    broken: CancellationToken,
}

impl Alarm {
    /// Runs a part. When it ends, however it does, before `closed`, the alarm
    /// is raised.
    pub(super) fn watch(
        &self,
        closed: CancellationToken,
        part: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let end = End {
            closed,
            broken: self.broken.clone(),
        };
        async move {
            let _end = end;
            part.await;
        }
    }

    /// Waits until a part has ended too early.
    pub(super) async fn raised(&self) {
        self.broken.cancelled().await;
    }
}

struct End {
    closed: CancellationToken,
    broken: CancellationToken,
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.closed.is_cancelled() {
            self.broken.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn part_that_panics_while_leadership_is_open_raises_the_alarm() {
        let alarm = Alarm::default();
        let part = async { panic!("a defect of the scheduler") };
        let task = tokio::spawn(alarm.watch(CancellationToken::new(), part));
        assert!(task.await.is_err_and(|error| error.is_panic()));
        alarm.raised().await;
    }

    #[tokio::test]
    async fn part_that_ends_because_leadership_closed_raises_none() {
        let alarm = Alarm::default();
        let closed = CancellationToken::new();
        let part = closed.clone().cancelled_owned();
        let task = tokio::spawn(alarm.watch(closed.clone(), part));
        closed.cancel();
        assert!(task.await.is_ok());
        assert!(!alarm.broken.is_cancelled());
    }
}
