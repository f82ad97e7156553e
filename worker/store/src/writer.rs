//! A block while it is written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::BlockId;

use crate::error::{StoreError, is_full};
use crate::format::{self, CHUNK_BYTES, Footer};
use crate::layout::shard_of;
use crate::space::block_charge;
use crate::store::{Entry, Shard, Store, lock};

/// What [`Store::create`] answers.
#[derive(Debug)]
pub enum Created {
    /// Write it.
    Writer(BlockWriter),
    /// It is here.
    Already(BlockSummary),
}

/// A block that may be acknowledged: it outlives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// What it is.
    pub summary: BlockSummary,
    /// Somebody else had finished the same bytes before.
    pub was_here: bool,
}

/// What came so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes.
    pub bytes: u64,
    /// Their checksum.
    pub crc32c: u32,
}

/// A block that is being written, visible to nobody. Dropped without
/// [`BlockWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BlockWriter {
    store: Store,
    id: BlockId,
    bytes_max: u64,
    reserved: u64,
    path: PathBuf,
    /// None after a failure, which has removed the file.
    file: Option<File>,
    received: Received,
    /// Checksums of the full chunks.
    sums: Vec<u32>,
    /// The chunk that is not full.
    chunk: Received,
    /// Bytes of the file.
    written: u64,
}

impl BlockWriter {
    /// With so much reserved, which is given back whatever happens.
    pub(crate) fn begin(
        store: Store,
        id: BlockId,
        bytes_max: u64,
        reserved: u64,
    ) -> Result<Self, StoreError> {
        let path = store.inner.layout.new_file(store.next_number());
        let nothing = Received {
            bytes: 0,
            crc32c: 0,
        };
        let mut writer = Self {
            store,
            id,
            bytes_max,
            reserved,
            path,
            file: None,
            received: nothing,
            sums: Vec::new(),
            chunk: nothing,
            written: 0,
        };
        match File::create_new(&writer.path) {
            Ok(file) => writer.file = Some(file),
            Err(error) => return Err(writer.fail("create", error)),
        }
        writer.append(&format::header(id))?;
        Ok(writer)
    }

    /// Which block it is.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// How much came: where a sender goes on whose connection broke. It compares
    /// the checksum with that of its own first so many bytes.
    #[must_use]
    pub fn received(&self) -> Received {
        self.received
    }

    /// Appends bytes. Each call is a write of the file: hand over what a message
    /// carries, not single records.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLong`]; [`StoreError::Full`]; the operating system's. Each
    /// ends the writing and removes the file; later calls say
    /// [`StoreError::Broken`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.file.is_none() {
            return Err(StoreError::Broken { block: self.id });
        }
        if bytes.len() as u64 > self.bytes_max - self.received.bytes {
            self.abandon();
            return Err(StoreError::TooLong {
                block: self.id,
                bytes_max: self.bytes_max,
            });
        }
        self.append(bytes)?;
        self.count(bytes);
        Ok(())
    }

    /// Makes the block last, and then visible. The sender's checksum, if it gave
    /// one, must be that of what came.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`]; [`StoreError::Conflict`]; [`StoreError::Full`];
    /// [`StoreError::Stopped`]; the operating system's. The block is not here then,
    /// unless another sender finished it.
    pub fn finish(mut self, expected_crc32c: Option<u32>) -> Result<Finished, StoreError> {
        let found = self.received.crc32c;
        if let Some(expected) = expected_crc32c.filter(|expected| *expected != found) {
            let block = self.id;
            return Err(StoreError::Corrupt {
                block,
                expected,
                found,
            });
        }
        self.store.check_running()?;
        let file = self.append_end()?;
        if let Err(error) = file.sync_all() {
            if !is_full(&error) {
                self.store.stop();
            }
            return Err(self.fail("sync", error));
        }
        drop(file);
        self.publish()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(mut file) = self.file.as_ref() else {
            return Err(StoreError::Broken { block: self.id });
        };
        if let Err(error) = file.write_all(bytes) {
            return Err(self.fail("write", error));
        }
        self.written += bytes.len() as u64;
        self.store.inner.space.add_written(bytes.len() as u64);
        Ok(())
    }

    fn count(&mut self, mut bytes: &[u8]) {
        self.received.bytes += bytes.len() as u64;
        self.received.crc32c = crc32c::crc32c_append(self.received.crc32c, bytes);
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.chunk.bytes;
            let taken = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
            let (now, later) = bytes.split_at(taken);
            self.chunk.bytes += taken as u64;
            self.chunk.crc32c = crc32c::crc32c_append(self.chunk.crc32c, now);
            if self.chunk.bytes == CHUNK_BYTES {
                self.end_chunk();
            }
            bytes = later;
        }
    }

    fn end_chunk(&mut self) {
        self.sums.push(self.chunk.crc32c);
        self.chunk = Received {
            bytes: 0,
            crc32c: 0,
        };
    }

    /// Table and footer; hands out the file, to be synced.
    fn append_end(&mut self) -> Result<File, StoreError> {
        if self.chunk.bytes > 0 {
            self.end_chunk();
        }
        let mut end = format::encode_table(&self.sums);
        let footer = Footer {
            id: self.id,
            bytes: self.received.bytes,
            crc32c: self.received.crc32c,
            table_crc32c: crc32c::crc32c(&end),
        };
        end.extend_from_slice(&footer.encode());
        self.append(&end)?;
        self.file
            .take()
            .ok_or(StoreError::Broken { block: self.id })
    }

    /// Gives the synced file its name. Whoever comes second finds the first.
    fn publish(&mut self) -> Result<Finished, StoreError> {
        let store = self.store.clone();
        let id = self.id;
        let summary = BlockSummary {
            id,
            bytes: self.received.bytes,
            crc32c: self.received.crc32c,
        };
        let shard = shard_of(id);
        let mut guard = store.lock_shard(shard);
        store.check_running()?;
        if let Some(here) = store.summary(id) {
            return already_here(summary, here);
        }
        let folder = store.inner.layout.shard(shard);
        self.make_shard(&mut guard, shard)?;
        let target = store.inner.layout.block(id);
        if let Err(error) = fs::rename(&self.path, &target) {
            return Err(self.fail("rename", error));
        }
        if let Err(error) = store.sync_directory(&folder) {
            // Nobody was told; a restart must not find it by chance.
            fs::remove_file(&target).ok();
            return Err(error);
        }
        let entry = Entry {
            bytes: summary.bytes,
            crc32c: summary.crc32c,
            generation: store.next_number(),
            pins: Arc::default(),
        };
        store.lock_index().insert(id, entry);
        self.settle(block_charge(summary.bytes));
        Ok(Finished {
            summary,
            was_here: false,
        })
    }

    /// Under the lock of the shard.
    fn make_shard(&self, shard: &mut Shard, number: u8) -> Result<(), StoreError> {
        if shard.is_made {
            return Ok(());
        }
        let inner = &self.store.inner;
        let folder = inner.layout.shard(number);
        let _making = lock(&inner.making);
        // Another shard's failure may have been about this directory too.
        self.store.check_running()?;
        match fs::create_dir(&folder) {
            Err(error) if is_full(&error) => {
                return Err(inner.space.overtaken(self.reserved));
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("create", &folder)(error));
            }
            Ok(()) | Err(_) => {}
        }
        self.store.sync_directory(&inner.layout.blocks())?;
        shard.is_made = true;
        Ok(())
    }

    /// Removes what there is, and makes an error of what the system said.
    fn fail(&mut self, what: &'static str, error: io::Error) -> StoreError {
        let reserved = self.reserved;
        self.abandon();
        if is_full(&error) {
            return self.store.inner.space.overtaken(reserved);
        }
        StoreError::io(what, &self.path)(error)
    }

    fn abandon(&mut self) {
        self.file = None;
        // What cannot be removed now is removed at the next start.
        fs::remove_file(&self.path).ok();
        self.settle(0);
    }

    /// Gives the reserve back, once.
    fn settle(&mut self, used: u64) {
        let space = &self.store.inner.space;
        space.settle(self.reserved, self.written, used);
        self.reserved = 0;
        self.written = 0;
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if self.reserved > 0 {
            self.abandon();
        }
    }
}

fn already_here(ours: BlockSummary, here: BlockSummary) -> Result<Finished, StoreError> {
    if ours == here {
        return Ok(Finished {
            summary: here,
            was_here: true,
        });
    }
    Err(StoreError::Conflict {
        block: here.id,
        bytes: here.bytes,
        crc32c: here.crc32c,
    })
}
