//! What a worker believes of files that it finds: the decoders alone, without
//! their files, for whoever checks bytes.

use vivat_shared::ids::AttemptId;

use crate::dir::{decode_cells, decode_note, encode_note};
use crate::sink::Manifest;

/// Reads a `_manifest.json` and writes it again; `None` when it is none.
#[must_use]
pub fn manifest(json: &[u8]) -> Option<Vec<u8>> {
    Manifest::decode(json)?.to_json().ok()
}

/// The text of a small file of the worker's directory (`identity`, `cluster`,
/// the names below `staging`); `None` when it is damaged.
#[must_use]
pub fn note(content: &[u8]) -> Option<String> {
    decode_note(content)
}

/// A small file with this text.
#[must_use]
pub fn note_of(text: &str) -> Vec<u8> {
    encode_note(text).into_bytes()
}

/// The attempts that the file `running` names.
#[must_use]
pub fn running(content: &[u8]) -> Vec<AttemptId> {
    decode_cells(content)
}
