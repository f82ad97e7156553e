//! Waits for what must end, and not for what hangs.

use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Waits for all parts together until the deadline; what has not ended by then
/// is told so in the log and aborted.
pub(super) async fn until(deadline: Instant, parts: Vec<(&'static str, JoinHandle<()>)>) {
    for (part, mut task) in parts {
        // Who has waited for it before must not be waited for again.
        if task.is_finished() {
            continue;
        }
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            tracing::warn!(part, "did not end in time");
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L10: one deadline for all, not one for each.
    #[tokio::test]
    async fn parts_that_hang_beyond_the_deadline_are_aborted_and_not_waited_for() {
        let hanging = || tokio::spawn(std::future::pending());
        let done = tokio::spawn(async {});
        let parts = vec![hanging(), done, hanging(), hanging()];
        let aborts: Vec<_> = parts.iter().map(JoinHandle::abort_handle).collect();
        let parts = parts.into_iter().map(|part| ("one", part)).collect();
        until(Instant::now(), parts).await;
        while !aborts.iter().all(|part| part.is_finished()) {
            tokio::task::yield_now().await;
        }
    }
}
