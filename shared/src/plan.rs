//! The checksum that seals a plan.
//!
//! The worker sums its chunks as it sends them, `apply` as it takes them; the
//! sealing entry is believed only when both came to the same. Both call this
//! one function, so the encoding that is summed has one definition.

use crate::attempt::PlanChunk;

/// Continues `running`, a CRC-32C that starts at 0, with the canonical bytes
/// (postcard) of the next chunk, and returns how many bytes those are: what
/// [`crate::limits::PLAN_CHUNK_BYTES_MAX`] bounds.
pub fn checksum(running: &mut u32, chunk: &PlanChunk) -> usize {
    let bytes = postcard::to_stdvec(chunk)
        .expect("strings, integers and vectors of known length always encode");
    *running = crc32c::crc32c_append(*running, &bytes);
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{InputFile, InputOrigin, SplitRange};

    fn chunk(path: &str) -> PlanChunk {
        PlanChunk {
            files: vec![InputFile {
                path: path.to_owned(),
                display: path.to_owned(),
                bytes: 10,
                origin: InputOrigin::FileSystem { modified_ns: -1 },
                header: Vec::new(),
            }],
            splits: vec![SplitRange {
                file: 0,
                offset: 0,
                bytes: 10,
            }],
        }
    }

    #[test]
    fn checksum_depends_on_the_order_of_chunks() {
        let (mut forth, mut back) = (0, 0);
        let bytes = checksum(&mut forth, &chunk("/a")) + checksum(&mut forth, &chunk("/b"));
        let same = checksum(&mut back, &chunk("/b")) + checksum(&mut back, &chunk("/a"));
        assert_eq!(bytes, same);
        assert_ne!(forth, back);
    }
}
