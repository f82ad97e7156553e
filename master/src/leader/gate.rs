//! The gate before a leader's services.
//!
//! Services hold a [`Gate`] and ask it for the leader at every call. It opens
//! only after the barrier is committed and the soft state is rebuilt, and it
//! closes in one step: the leader's token is cancelled with it, so that every
//! waiting poll and stream ends too. Who keeps an `Arc<Leader>` beyond that
//! holds a leader whose proposals are refused by their term.
//!
//! A process that was stopped and goes on finds its gate open for a moment. So
//! every call also looks at the age of the quorum's last word, which by then is
//! too old: nobody is answered from a state that others have left behind.

use std::sync::Arc;

use tokio::sync::watch;

use super::Leader;
use super::error::LeaderError;

/// Reading side: cheap to clone.
#[derive(Clone)]
pub struct Gate {
    current: watch::Receiver<Option<Arc<Leader>>>,
}

/// Writing side, held by the lifecycle alone.
pub(super) struct GateKeeper {
    current: watch::Sender<Option<Arc<Leader>>>,
}

/// A closed gate and its keeper.
pub(super) fn closed() -> (GateKeeper, Gate) {
    let (sender, receiver) = watch::channel(None);
    (GateKeeper { current: sender }, Gate { current: receiver })
}

impl Gate {
    /// The leader whose services are open in this process.
    ///
    /// # Errors
    ///
    /// [`LeaderError::NotLeader`] while the gate is closed.
    pub fn current(&self) -> Result<Arc<Leader>, LeaderError> {
        let current = self.current.borrow().clone();
        current
            .filter(|leader| leader.is_confirmed())
            .ok_or(LeaderError::NotLeader)
    }

    /// Whether services are open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.current().is_ok()
    }

    /// Waits until the gate opens or closes after the last look.
    /// Returns whether its keeper still lives.
    pub(crate) async fn changed(&mut self) -> bool {
        self.current.changed().await.is_ok()
    }
}

impl GateKeeper {
    pub(super) fn open(&self, leader: Arc<Leader>) {
        self.current.send_replace(Some(leader));
    }

    pub(super) fn close(&self) {
        if let Some(leader) = self.current.send_replace(None) {
            leader.close();
        }
    }
}

impl Drop for GateKeeper {
    fn drop(&mut self) {
        self.close();
    }
}
