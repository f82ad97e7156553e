//! Where work that blocks is done.

use std::io;

use futures_util::future::{self, BoxFuture};
use futures_util::{FutureExt, TryFutureExt};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Threads {
    /// On threads of their own: no async task waits for it.
    #[default]
    Own,
    /// On the caller's, at once: a simulation has one thread, and no time passes
    /// in it while work is done.
    Callers,
}

impl Threads {
    /// Does work that blocks.
    ///
    /// # Errors
    ///
    /// When it panicked, or the runtime is ending.
    // A named type, because the compiler cannot always tell of an unnamed one
    // that it is `Send`.
    pub fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> BoxFuture<'static, io::Result<T>> {
        match self {
            Self::Own => tokio::task::spawn_blocking(work)
                .map_err(io::Error::other)
                .boxed(),
            Self::Callers => future::lazy(|_| Ok(work())).boxed(),
        }
    }
}
