//! Slots as tasks, for a worker that has no threads of its own: a simulation's.
//!
//! The work is the same and is done at once; the time that it would take passes
//! before, and an order to stop ends that. Only a plan cannot wait for the leader
//! while it works, so its pieces are sent when all of them are there.

use std::sync::Arc;
use std::time::Duration;

use super::{Runner, panics};
use crate::held::{SlotKind, Taken};

impl Runner {
    /// Takes one attempt after the other, until the worker ends.
    pub(crate) async fn run_slot_here(
        self: Arc<Self>,
        kind: SlotKind,
        cell: usize,
        pace: fn() -> Duration,
    ) {
        while let Some(taken) = self.core.taken(kind).await {
            self.mark(cell, Some(taken.grant.attempt));
            tokio::select! {
                () = tokio::time::sleep(pace()) => {}
                () = taken.grant.stopped.cancelled() => {}
            }
            self.run_here(taken, cell).await;
            self.mark(cell, None);
        }
    }

    async fn run_here(&self, taken: Taken, cell: usize) {
        let mut chunks = Vec::new();
        let seat = self.seat(&taken, cell);
        let mut ended = panics::caught(|| {
            self.work(&taken, &seat, &mut |number, chunk, seal| {
                chunks.push((number, chunk, seal.cloned()));
                Ok(())
            })
        });
        if let Ok(Ok(_)) = &ended {
            for (number, chunk, seal) in chunks {
                let sent = self.send(&taken.grant, number, chunk, seal.as_ref());
                if let Err(fault) = sent.await {
                    ended = Ok(Err(fault));
                    break;
                }
            }
        }
        self.end(taken, &seat, ended);
    }
}
