//! Sorts records of a hundred bytes by their first ten, in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;

use super::{THREADS, Task};

const RECORD_BYTES: usize = 100;
const KEY_BYTES: usize = 10;
/// Records that are gathered before they are written.
const WRITE_RECORDS: usize = 8 * 1024;

/// A key and where its record is: sixteen bytes, compared as one number, so that
/// equal keys stay in the order of the input.
type Entry = u128;

/// Reads all, sorts half of the key space in each thread, writes both halves.
pub fn run(task: &Task) -> io::Result<()> {
    let [input] = task.inputs.as_slice() else {
        return Err(io::Error::other("one input is sorted"));
    };
    let file = File::open(input)?;
    let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut data = vec![0; bytes];
    let half = (bytes / RECORD_BYTES / THREADS) * RECORD_BYTES;
    let (left, right) = data.split_at_mut(half);
    let entries = thread::scope(|scope| {
        let other = scope.spawn(|| read(&file, right, half));
        let mine = read(&file, left, 0);
        let other = other.join().expect("a thread panicked");
        Ok::<_, io::Error>([mine?, other?])
    })?;
    write(task, &data, entries)
}

/// Entries below and above the middle of the key space.
fn read(file: &File, data: &mut [u8], from: usize) -> io::Result<[Vec<Entry>; THREADS]> {
    file.read_exact_at(data, from as u64)?;
    let records = data.len() / RECORD_BYTES;
    let mut halves = [(); THREADS].map(|()| Vec::with_capacity(records / THREADS * 5 / 4));
    for (number, record) in data.chunks_exact(RECORD_BYTES).enumerate() {
        let mut key = [0; 16];
        key[..KEY_BYTES].copy_from_slice(&record[..KEY_BYTES]);
        let at = (from / RECORD_BYTES + number) as u128;
        // Printable keys: the middle of them, so that both threads have work.
        let half = usize::from(record[0] >= MIDDLE);
        halves[half].push(u128::from_be_bytes(key) | at);
    }
    Ok(halves)
}

/// Between the first and the last printable byte.
const MIDDLE: u8 = b' ' + (b'~' - b' ').div_ceil(2);

fn write(task: &Task, data: &[u8], entries: [[Vec<Entry>; THREADS]; THREADS]) -> io::Result<()> {
    let [[low_left, high_left], [low_right, high_right]] = entries;
    let output = File::create(&task.output)?;
    let low_bytes = ((low_left.len() + low_right.len()) * RECORD_BYTES) as u64;
    let write = |parts: [Vec<Entry>; THREADS], from: u64| -> io::Result<()> {
        let mut entries = parts.concat();
        drop(parts);
        entries.sort_unstable();
        let mut at = from;
        let mut buffer = Vec::with_capacity(WRITE_RECORDS * RECORD_BYTES);
        for some in entries.chunks(WRITE_RECORDS) {
            buffer.clear();
            for entry in some {
                let record = number(*entry) * RECORD_BYTES;
                buffer.extend_from_slice(&data[record..record + RECORD_BYTES]);
            }
            output.write_all_at(&buffer, at)?;
            at += buffer.len() as u64;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let high = scope.spawn(|| write([high_left, high_right], low_bytes));
        write([low_left, low_right], 0)?;
        high.join().expect("a thread panicked")
    })
}

/// The record's number: what is below the key.
fn number(entry: Entry) -> usize {
    (entry & ((1 << (8 * (16 - KEY_BYTES))) - 1)) as usize
}
