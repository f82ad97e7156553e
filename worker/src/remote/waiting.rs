//! How a thread of a slot waits for what tasks do.

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::error::{RemoteError, stopped};

/// A runtime, and the attempt's order to stop.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) runtime: Handle,
    /// Ends the wait.
    pub(crate) stopped: CancellationToken,
}

impl Waiting {
    /// Waits until the work is done, or the attempt is told to stop.
    ///
    /// # Errors
    ///
    /// It was; or this thread drives tasks itself and cannot wait for one, which
    /// only a simulation's does.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, RemoteError> {
        if Handle::try_current().is_ok() {
            return Err(RemoteError::Unsupported);
        }
        self.runtime.block_on(async {
            tokio::select! {
                done = work => Ok(done),
                () = self.stopped.cancelled() => Err(stopped()),
            }
        })
    }
}
