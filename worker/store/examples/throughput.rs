//! How fast blocks are written and read, beside a plain file of the same bytes.
//!
//! `cargo run --release -p vivat-store --example throughput -- FOLDER [MIB]`
//!
//! Each round writes the same bytes plainly (write, sync, sync of the folder), and
//! through the store, in turn; then reads both, with the page cache and, where it
//! can be emptied file by file, without.

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Advice, fadvise};
use vivat_shared::ids::{BlockId, DatasetId};
use vivat_store::{Created, Store};

const BLOCK_BYTES: usize = 64 << 20;
const PIECE_BYTES: usize = 256 << 10;
const ROUNDS: u64 = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: throughput FOLDER [MIB]")?;
    let mib: u64 = arguments.next().unwrap_or("256".to_owned()).parse()?;
    let root = Path::new(&folder).join("throughput");
    fs::create_dir_all(&root)?;
    let blocks = (mib << 20).div_ceil(BLOCK_BYTES as u64);
    let store = Store::open(&root.join("store"), u64::MAX)?.store;
    let data: Vec<u8> = (0..BLOCK_BYTES / 8)
        .flat_map(|word| {
            (word as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes()
        })
        .collect();
    for round in 0..ROUNDS {
        let rate = |start: Instant| {
            let seconds = start.elapsed().as_secs_f64();
            (blocks * BLOCK_BYTES as u64) as f64 / seconds / 1e6
        };
        let start = Instant::now();
        for index in 0..blocks {
            write_plain(&root, index, &data)?;
        }
        let plain_write = rate(start);
        let start = Instant::now();
        let ids: Vec<BlockId> = (0..blocks).map(|index| id(round, index)).collect();
        for id in &ids {
            write_block(&store, *id, &data)?;
        }
        let block_write = rate(start);
        let mut line = format!("write {plain_write:.0} plain, {block_write:.0} blocks");
        for is_cached in [true, false] {
            let start = Instant::now();
            for index in 0..blocks {
                read_plain(&root, index, is_cached)?;
            }
            let plain_read = rate(start);
            let start = Instant::now();
            for id in &ids {
                read_block(&store, &root, *id, is_cached)?;
            }
            let block_read = rate(start);
            let how = if is_cached { "cached" } else { "from disk" };
            line += &format!("; read {how} {plain_read:.0} plain, {block_read:.0} blocks");
        }
        eprintln!("{line} (MB/s)");
        store.delete(&ids)?;
    }
    fs::remove_dir_all(root)?;
    Ok(())
}

fn id(round: u64, index: u64) -> BlockId {
    let dataset = DatasetId(round);
    BlockId { dataset, index }
}

fn write_plain(root: &Path, index: u64, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut file = File::create(root.join(format!("plain-{index}")))?;
    for piece in data.chunks(PIECE_BYTES) {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    File::open(root)?.sync_all()?;
    Ok(())
}

fn write_block(store: &Store, id: BlockId, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let Created::Writer(mut writer) = store.create(id, data.len() as u64)? else {
        return Err("the block is here already".into());
    };
    for piece in data.chunks(PIECE_BYTES) {
        writer.write(piece)?;
    }
    writer.finish(None)?;
    Ok(())
}

fn read_plain(root: &Path, index: u64, is_cached: bool) -> Result<(), Box<dyn Error>> {
    let mut file = File::open(root.join(format!("plain-{index}")))?;
    forget(&file, is_cached)?;
    // A new buffer for each piece, as a message needs one.
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        if file.read(&mut piece)? == 0 {
            return Ok(());
        }
        std::hint::black_box(&piece);
    }
}

fn read_block(
    store: &Store,
    root: &Path,
    id: BlockId,
    is_cached: bool,
) -> Result<(), Box<dyn Error>> {
    if !is_cached {
        forget_below(&root.join("store/blocks"), id)?;
    }
    let reader = store.reader(id)?;
    for piece in reader.stream(0..reader.summary().bytes)? {
        std::hint::black_box(&piece?);
    }
    Ok(())
}

fn forget(file: &File, is_cached: bool) -> Result<(), Box<dyn Error>> {
    if !is_cached {
        fadvise(file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn forget_below(folder: &Path, id: BlockId) -> Result<(), Box<dyn Error>> {
    let name = format!("{:016x}-{:016x}.block", id.dataset.0, id.index);
    for shard in fs::read_dir(folder)? {
        let path = shard?.path().join(&name);
        if path.exists() {
            forget(&File::open(path)?, false)?;
        }
    }
    Ok(())
}
