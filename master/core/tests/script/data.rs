//! Lines about datasets and values.
//!
//! ```text
//! open-dataset KEY NAME [replicas=N]     append dataset-1 FIRST BYTES:WORKERS ...
//! seal dataset-1 BLOCKS BYTES            abandon dataset-1 [term=N]
//! remove-dataset NAME                    add worker-1 BLOCK ...
//! drop worker-1 BLOCK ... [surplus]      put-value KEY NAME TEXT [version=N]
//! remove-value KEY NAME [version=N]
//! ```

use vivat_core::command::{Command, DataCommand};
use vivat_shared::attempt::{ClosedBroadcast, PlanChunk};
use vivat_shared::dataset::{BlockSummary, ReplicatedBlock, output_block};
use vivat_shared::ids::{AttemptId, BlockId, DatasetId};

use super::{Runner, Words, build};

impl Runner {
    pub(super) fn data_command(&self, words: &Words<'_>) -> Option<Command> {
        let command = match words.at(0) {
            "open-dataset" => DataCommand::OpenDataset {
                key: words.at(1).to_owned(),
                spec: build::dataset(words.at(2), words.option("replicas", 2)),
            },
            "append" => {
                let (dataset, first) = (words.parse(1), words.parse(2));
                let blocks = (first..).map(|index| BlockId {
                    dataset,
                    index: u64::from(index),
                });
                DataCommand::AppendBlocks {
                    dataset,
                    first,
                    blocks: blocks_of(words, blocks, &words.positional[3..]),
                }
            }
            "seal" => DataCommand::SealDataset {
                dataset: words.parse(1),
                seal: build::seal(words.parse(2), words.parse(3)),
            },
            "abandon" => DataCommand::AbandonDataset {
                dataset: words.parse(1),
                term: words.option("term", self.state().term()),
            },
            "remove-dataset" => DataCommand::RemoveDataset {
                name: words.at(1).to_owned(),
                dataset: self
                    .state()
                    .directory()
                    .named(words.at(1))
                    .map_or(DatasetId(0), |named| named.id),
                when_unread: words.positional.get(2) == Some(&"when-unread"),
            },
            "add" => DataCommand::AddReplicas {
                worker: self.worker(words.at(1)),
                blocks: words.positional[2..]
                    .iter()
                    .map(|text| self.summary(words.value(text)))
                    .collect(),
            },
            "drop" => DataCommand::DropReplicas {
                worker: self.worker(words.at(1)),
                blocks: words.positional[2..]
                    .iter()
                    .filter(|text| **text != "surplus")
                    .map(|text| words.value(text))
                    .collect(),
                surplus: words.has("surplus"),
            },
            "put-value" => DataCommand::PutValue {
                key: words.at(1).to_owned(),
                name: words.at(2).to_owned(),
                value: words.at(3).as_bytes().to_vec(),
                expect_version: words.options.get("version").map(|text| words.value(text)),
            },
            "remove-value" => DataCommand::RemoveValue {
                key: words.at(1).to_owned(),
                name: words.at(2).to_owned(),
                expect_version: words.options.get("version").map(|text| words.value(text)),
            },
            _ => return None,
        };
        Some(command.into())
    }

    /// What the directory says of a block; nothing that fits when it knows none.
    fn summary(&self, id: BlockId) -> BlockSummary {
        let known = self.state().directory().get(id.dataset);
        known
            .and_then(|known| {
                let position = known.blocks.position(id.index)?;
                known.blocks.summary(id.dataset, position)
            })
            .unwrap_or(BlockSummary {
                id,
                bytes: 1,
                crc32c: 0,
            })
    }

    /// `blocks=BYTES:WORKERS;...` of a reduce attempt.
    pub(super) fn output_blocks(
        &self,
        attempt: AttemptId,
        words: &Words<'_>,
    ) -> Vec<ReplicatedBlock> {
        let active = self.state().job(attempt.job()).and_then(|job| job.active());
        let output = active.and_then(|active| active.output.as_ref());
        let dataset = output.map_or(DatasetId(0), |output| output.dataset);
        let blocks =
            (0..).map(|number| output_block(dataset, attempt.task.index, attempt.number, number));
        let texts: Vec<&str> = words
            .options
            .get("blocks")
            .map_or_else(Vec::new, |list| list.split(';').collect());
        blocks_of(words, blocks, &texts)
    }

    /// `say=TEXT`, or `blocks=` as of a reduce attempt; nothing without either.
    pub(super) fn closed_broadcast(
        &self,
        attempt: AttemptId,
        words: &Words<'_>,
    ) -> ClosedBroadcast {
        let Some(list) = words.options.get("blocks") else {
            let text = words.options.get("say").copied().unwrap_or_default();
            return ClosedBroadcast::Inline(text.as_bytes().to_vec());
        };
        let active = self.state().job(attempt.job()).and_then(|job| job.active());
        let place = active.and_then(|active| Some((active.close_output?, active.round().reducers)));
        let (dataset, partition) = place.unwrap_or((DatasetId(0), 0));
        let blocks = (0..).map(|number| output_block(dataset, partition, attempt.number, number));
        let texts: Vec<&str> = list.split(';').collect();
        ClosedBroadcast::Stored(blocks_of(words, blocks, &texts))
    }

    /// `of=dataset-1` and `start=N`: a file of a dataset.
    pub(super) fn chunk(&self, words: &Words<'_>) -> PlanChunk {
        let (splits, file) = (words.option("splits", 1), words.option("file", 0));
        match words.options.get("of") {
            None => build::chunk(splits, file),
            Some(dataset) => {
                let start = words.option("start", 0);
                build::dataset_chunk(words.value(dataset), start, splits, file)
            }
        }
    }
}

/// `BYTES:WORKER,WORKER`.
fn blocks_of(
    words: &Words<'_>,
    ids: impl Iterator<Item = BlockId>,
    texts: &[&str],
) -> Vec<ReplicatedBlock> {
    ids.zip(texts)
        .map(|(id, text)| {
            let (bytes, workers) = text.split_once(':').unwrap();
            let workers: Vec<u32> = workers
                .split(',')
                .filter(|number| !number.is_empty())
                .map(|number| words.value(number))
                .collect();
            build::block(id, words.value(bytes), &workers)
        })
        .collect()
}
