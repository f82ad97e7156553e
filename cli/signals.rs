//! Ctrl-C and SIGTERM, as one thing to await. SIGHUP is left alone, so that
//! `nohup` means what it says.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Ctrl-C and SIGTERM. While one exists, neither ends the process by itself.
#[derive(Debug)]
pub struct Interrupt {
    interrupts: Signal,
    terminations: Signal,
}

impl Interrupt {
    /// Takes the signals over.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn new() -> Result<Self, Failure> {
        let take = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("cannot take signals: {error}")))
        };
        Ok(Self {
            interrupts: take(SignalKind::interrupt())?,
            terminations: take(SignalKind::terminate())?,
        })
    }

    /// Returns at the next one. Cancel-safe.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupts.recv() => {}
            _ = self.terminations.recv() => {}
        }
    }
}
