//! Ctrl-C, SIGTERM and the end of the terminal, as one thing to await. A SIGHUP
//! that whoever started us wants ignored stays so: `nohup` means what it says.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Ctrl-C, SIGTERM and SIGHUP. While one exists, none of them ends the process by
/// itself.
#[derive(Debug)]
pub struct Interrupt {
    interrupts: Signal,
    terminations: Signal,
    /// None when it is ignored.
    hangups: Option<Signal>,
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
            hangups: if is_hangup_ignored() {
                None
            } else {
                Some(take(SignalKind::hangup())?)
            },
        })
    }

    /// Returns at the next one. Cancel-safe.
    pub async fn wait(&mut self) {
        let hangup = async {
            match &mut self.hangups {
                Some(hangups) => hangups.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupts.recv() => {}
            _ = self.terminations.recv() => {}
            _ = hangup => {}
        }
    }
}

/// As the kernel tells; where it does not, SIGHUP is left alone.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| {
        let mask = line.strip_prefix("SigIgn:")?.trim();
        u64::from_str_radix(mask, 16).ok()
    });
    // Bit 0 is signal 1, which is SIGHUP.
    ignored.is_none_or(|mask| mask & 1 != 0)
}
