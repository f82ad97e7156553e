//! The start: what a former process left, and whether it is whole.
//!
//! Only footers are read. Names that the former process may not have synced are
//! synced before anything is reported (mistake 19): a block that is reported and
//! gone after a power cut would be a lie.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use vivat_shared::ids::BlockId;

use crate::aside::Aside;
use crate::error::{Damage, StoreError, is_disk_fault};
use crate::format::{FOOTER_BYTES, FOOTER_SIZE, Footer, HEADER_BYTES};
use crate::layout::{Layout, SHARDS, parse_file_name};
use crate::space::{Space, block_charge, charge};
use crate::store::{DamagedBlock, Entry, Inner, Shard, Store, lock, sync_directory};

/// A store, and what its start found.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Copies that are lost, each once, those that the start found first. A
    /// worker looks before each heartbeat; nothing waits for it.
    pub damaged: Receiver<DamagedBlock>,
    /// Files among the blocks that are not ours. They are left alone.
    pub strangers: u64,
}

impl Store {
    /// Opens the store in that directory, which is made if it is missing. Blocks
    /// may take so many bytes; if they take more already, none is added.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`]; [`StoreError::Damaged`] for a block of another
    /// version's format, which is not for this one to throw away; the operating
    /// system's.
    pub fn open(root: &Path, budget_bytes: u64) -> Result<Opened, StoreError> {
        let layout = Layout::new(root);
        make_directories(&layout)?;
        let lock_file = take_lock(&layout)?;
        remove_new_files(&layout)?;
        let space = Space::new(root, budget_bytes);
        let aside = Aside::open(&layout.damaged(), &space)
            .map_err(StoreError::io("list", &layout.damaged()))?;
        let (sender, damaged) = channel();
        let inner = Inner {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            making: Mutex::default(),
            index: Mutex::default(),
            aside: Mutex::new(aside),
            damaged: sender,
            stopped: AtomicBool::new(false),
            next_number: AtomicU64::new(0),
            _lock: lock_file,
            layout,
            space,
        };
        let store = Self {
            inner: Arc::new(inner),
        };
        let mut strangers = 0;
        for shard in 0..=u8::MAX {
            strangers += store.scan(shard)?;
        }
        Ok(Opened {
            store,
            damaged,
            strangers,
        })
    }

    /// Finds the blocks of a shard; how many files are not ours.
    fn scan(&self, shard: u8) -> Result<u64, StoreError> {
        let folder = self.inner.layout.shard(shard);
        let names = match names_in(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            found => found.map_err(StoreError::io("list", &folder))?,
        };
        sync_directory(&folder)?;
        *self.lock_shard(shard) = Shard { is_made: true };
        let mut strangers = 0;
        let mut bad = Vec::new();
        for name in names {
            let id = parse_file_name(&name)
                .filter(|id| self.inner.layout.block(*id) == folder.join(&name));
            let Some(id) = id else {
                strangers += 1;
                continue;
            };
            let generation = self.next_number();
            let entry = match read_footer(&folder.join(&name), id)? {
                Ok(footer) => Entry {
                    bytes: footer.bytes,
                    crc32c: footer.crc32c,
                    generation,
                    pins: Arc::default(),
                },
                Err(bad_file) => {
                    bad.push((id, bad_file));
                    continue;
                }
            };
            self.inner.space.add_used(block_charge(entry.bytes));
            self.lock_index().insert(id, entry);
        }
        for (id, bad_file) in bad {
            self.set_aside_unread(id, bad_file)?;
        }
        Ok(strangers)
    }

    fn set_aside_unread(&self, id: BlockId, bad: BadFile) -> Result<(), StoreError> {
        if let Damage::Version { .. } = bad.damage {
            let damage = bad.damage;
            return Err(StoreError::Damaged { block: id, damage });
        }
        let inner = &self.inner;
        let charge = charge(bad.file_bytes);
        inner.space.add_used(charge);
        let path = inner.layout.block(id);
        lock(&inner.aside).take(&inner.layout.damaged(), &path, charge, &inner.space);
        let damage = bad.damage;
        // The receiver is ours still.
        inner.damaged.send(DamagedBlock { id, damage }).ok();
        Ok(())
    }
}

/// A file that is no block, whatever its name says.
struct BadFile {
    damage: Damage,
    file_bytes: u64,
}

/// What the end of a file says, or what is wrong with the file. An error is one
/// of this process (too many open files), which says nothing about the block.
fn read_footer(path: &Path, id: BlockId) -> Result<Result<Footer, BadFile>, StoreError> {
    let fault = |error: io::Error, what, offset, file_bytes| {
        if is_disk_fault(&error) {
            let damage = Damage::Unreadable { offset };
            return Ok(Err(BadFile { damage, file_bytes }));
        }
        Err(StoreError::io(what, path)(error))
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return fault(error, "open", 0, 0),
    };
    let file_bytes = match file.metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) => return fault(error, "look at", 0, 0),
    };
    if file_bytes < HEADER_BYTES + FOOTER_BYTES {
        let damage = Damage::Length { found: file_bytes };
        return Ok(Err(BadFile { damage, file_bytes }));
    }
    let mut found = [0; FOOTER_SIZE];
    let offset = file_bytes - FOOTER_BYTES;
    if let Err(error) = file.read_exact_at(&mut found, offset) {
        return fault(error, "read", offset, file_bytes);
    }
    let footer = Footer::decode(id, &found, file_bytes);
    Ok(footer.map_err(|damage| BadFile { damage, file_bytes }))
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Makes what is missing, and every name on the way durable. The lock's file comes
/// after that: where it is, the directories above were synced.
fn make_directories(layout: &Layout) -> Result<(), StoreError> {
    let root = layout.root();
    fs::create_dir_all(root).map_err(StoreError::io("create", root))?;
    for path in [layout.blocks(), layout.new_files(), layout.damaged()] {
        fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
    }
    sync_directory(&layout.blocks())?;
    sync_directory(root)?;
    let lock = layout.lock();
    if lock
        .try_exists()
        .map_err(StoreError::io("look at", &lock))?
    {
        return Ok(());
    }
    // Those above may be as new.
    let full = root
        .canonicalize()
        .map_err(StoreError::io("resolve", root))?;
    for above in full.ancestors().skip(1) {
        match sync_directory(above) {
            // Not ours to open, or a kind that has no sync: not ours to have made.
            Err(StoreError::Io { source, .. }) if !is_disk_fault(&source) => break,
            outcome => outcome?,
        }
    }
    Ok(())
}

fn take_lock(layout: &Layout) -> Result<File, StoreError> {
    let path = layout.lock();
    let mut options = File::options();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse {
            path: layout.root().to_owned(),
        }),
        Err(errno) => Err(StoreError::io("lock", &path)(errno.into())),
    }
}

/// Nobody was told that these are blocks.
fn remove_new_files(layout: &Layout) -> Result<(), StoreError> {
    let folder = layout.new_files();
    let names = names_in(&folder).map_err(StoreError::io("list", &folder))?;
    for name in names {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
    }
    Ok(())
}
