//! What workers say that they have, against what the directory says of them.

use vivat_core::command::{Command, DataCommand, Reply};
use vivat_core::placement::{self, Report};
use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::{BlockId, WorkerEpoch};

use super::super::{Leader, LeaderError};

/// Blocks of one command: well within an entry.
const BLOCKS_PER_COMMAND: usize = 1_000;

/// One page of what a worker has on its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockReport {
    /// The page has the blocks after this one.
    pub after: Option<BlockId>,
    /// In the order of ids.
    pub blocks: Vec<BlockSummary>,
    /// Nothing follows.
    pub last: bool,
}

/// What a worker is to do with blocks that the directory does not know to be there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockOrders {
    /// Delete them.
    pub remove: Vec<BlockId>,
    /// Keep them for now.
    pub unknown: Vec<BlockId>,
}

impl Leader {
    /// Makes the directory agree with a worker's disk, and tells what may go from
    /// it: both only after the log has it, so that no copy is deleted that the
    /// directory counts on (S15).
    ///
    /// # Errors
    ///
    /// [`LeaderError`]; the same page is to be sent again.
    pub async fn report_blocks(
        &self,
        worker: WorkerEpoch,
        report: &BlockReport,
    ) -> Result<BlockOrders, LeaderError> {
        self.hear(worker)?;
        let Report {
            add,
            mut drop,
            surplus,
            gone,
            unknown,
        } = self.raft.read(|state| {
            placement::compare_report(
                state,
                worker.worker,
                report.after,
                &report.blocks,
                report.last,
            )
        });
        // The next report misses what is missing for good.
        drop.retain(|block| !self.data.is_fresh(block.dataset));
        let added = add.chunks(BLOCKS_PER_COMMAND).map(|blocks| {
            Command::from(DataCommand::AddReplicas {
                worker,
                blocks: blocks.to_vec(),
            })
        });
        let dropped = dropping(worker, &drop, false).chain(dropping(worker, &surplus, true));
        self.propose_all(added.chain(dropped).collect()).await?;
        for block in &add {
            self.data.note_recorded(block.id.dataset);
        }
        if gone.is_empty() && surplus.is_empty() {
            return Ok(BlockOrders {
                remove: Vec::new(),
                unknown,
            });
        }
        // Deleting is decided by who leads now, and by the log alone.
        let remove = self
            .read_decided(|state, _| {
                let gone = gone
                    .into_iter()
                    .filter(|block| state.is_gone(block.dataset));
                let surplus = surplus
                    .into_iter()
                    .filter(|block| !placement::is_listed(state, *block, worker.worker));
                gone.chain(surplus).collect()
            })
            .await?;
        Ok(BlockOrders { remove, unknown })
    }

    /// Copies that a worker found damaged or gone.
    ///
    /// # Errors
    ///
    /// [`LeaderError`]; to be reported again.
    pub async fn report_lost_blocks(
        &self,
        worker: WorkerEpoch,
        blocks: Vec<BlockId>,
    ) -> Result<(), LeaderError> {
        self.hear(worker)?;
        self.propose_all(dropping(worker, &blocks, false).collect())
            .await
    }

    /// Proposes commands of which none may be refused, if there are any.
    async fn propose_all(&self, commands: Vec<Command>) -> Result<(), LeaderError> {
        if commands.is_empty() {
            return Ok(());
        }
        for reply in self.propose(commands).await? {
            if let Reply::Rejected(rejection) = reply {
                return Err(rejection.into());
            }
        }
        Ok(())
    }
}

fn dropping(
    worker: WorkerEpoch,
    blocks: &[BlockId],
    surplus: bool,
) -> impl Iterator<Item = Command> + '_ {
    blocks.chunks(BLOCKS_PER_COMMAND).map(move |blocks| {
        let drop = DataCommand::DropReplicas {
            worker,
            blocks: blocks.to_vec(),
            surplus,
        };
        drop.into()
    })
}
