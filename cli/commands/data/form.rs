//! Datasets as JSON and as words.

use serde_json::{Value, json};
use vivat_client::data::{Audit, BlockView, DatasetView, Difference};
use vivat_shared::dataset::Shape;

/// One of `data ls`.
pub fn dataset(view: &DatasetView) -> Value {
    json!({
        "name": view.name,
        "dataset_id": view.id.to_string(),
        "bytes": view.bytes,
        "files": view.files,
        "shape": shape(view.shape),
        "format": view.format.to_string(),
        "replicas": view.replicas,
        "blocks": view.blocks,
        "list_blocks": view.list_blocks,
        "short_blocks": view.short_blocks,
        "lost_blocks": view.lost_blocks,
        "created_at": crate::form::time(view.created_at_ms),
        "job_id": view.job.map(|job| job.to_string()),
    })
}

/// One of `data where`.
pub fn block(view: &BlockView) -> Value {
    json!({
        "block": view.summary.id.to_string(),
        "bytes": view.summary.bytes,
        "checksum": checksum(view.summary.crc32c),
        "workers": workers(view),
        "lost_workers": lost_workers(view),
    })
}

/// `data check`.
pub fn audit(audit: &Audit) -> Value {
    let differences: Vec<Value> = audit.differences.iter().map(difference).collect();
    json!({
        "datasets": audit.datasets,
        "blocks": audit.blocks,
        "copies": audit.copies,
        "bytes": audit.bytes,
        "differences": differences,
    })
}

fn difference(difference: &Difference) -> Value {
    json!({
        "kind": difference.kind.word(),
        "dataset": difference.dataset,
        "block": difference.block.map(|block| block.to_string()),
        "worker": difference.worker.map(|worker| worker.to_string()),
        "problem": difference.problem,
    })
}

/// Workers that have a block and are there.
pub fn workers(view: &BlockView) -> Vec<String> {
    let holders = view.holders.iter();
    holders.map(|holder| holder.worker.to_string()).collect()
}

/// Workers that had it and are lost.
pub fn lost_workers(view: &BlockView) -> Vec<String> {
    view.lost_holders.iter().map(ToString::to_string).collect()
}

/// A checksum in 8 digits.
pub fn checksum(crc32c: u32) -> String {
    format!("{crc32c:08x}")
}

/// What `get` makes of it, in a word.
pub fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::File => "file",
        Shape::Directory => "directory",
    }
}

/// A number and what it counts.
pub fn count(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        several => format!("{several} {one}s"),
    }
}
