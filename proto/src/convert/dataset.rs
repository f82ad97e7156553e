//! Datasets, blocks and who has them.

use vivat_shared::dataset::{
    BlockSummary, DatasetFile, DatasetSpec, Holder, LocatedBlock, ReplicatedBlock, Shape,
};
use vivat_shared::ids::{BlockId, DatasetId, WorkerId};

use super::job::{format_from_wire, format_to_wire};
use crate::error::{WireError, narrow, required};
use crate::v1;

impl From<BlockId> for v1::BlockId {
    fn from(id: BlockId) -> Self {
        Self {
            dataset: id.dataset.0,
            index: id.index,
        }
    }
}

impl From<v1::BlockId> for BlockId {
    fn from(id: v1::BlockId) -> Self {
        Self {
            dataset: DatasetId(id.dataset),
            index: id.index,
        }
    }
}

impl From<BlockSummary> for v1::BlockSummary {
    fn from(summary: BlockSummary) -> Self {
        Self {
            block: Some(summary.id.into()),
            bytes: summary.bytes,
            crc32c: summary.crc32c,
        }
    }
}

impl TryFrom<v1::BlockSummary> for BlockSummary {
    type Error = WireError;

    fn try_from(summary: v1::BlockSummary) -> Result<Self, WireError> {
        Ok(Self {
            id: required(summary.block, "block")?.into(),
            bytes: summary.bytes,
            crc32c: summary.crc32c,
        })
    }
}

impl From<ReplicatedBlock> for v1::AppendedBlock {
    fn from(block: ReplicatedBlock) -> Self {
        Self {
            summary: Some(block.summary.into()),
            workers: block.workers.into_iter().map(|worker| worker.0).collect(),
        }
    }
}

impl TryFrom<v1::AppendedBlock> for ReplicatedBlock {
    type Error = WireError;

    fn try_from(block: v1::AppendedBlock) -> Result<Self, WireError> {
        Ok(Self {
            summary: required(block.summary, "summary")?.try_into()?,
            workers: block.workers.into_iter().map(WorkerId).collect(),
        })
    }
}

impl From<Holder> for v1::Hop {
    fn from(holder: Holder) -> Self {
        Self {
            worker: holder.worker.0,
            address: holder.address,
        }
    }
}

impl From<v1::Hop> for Holder {
    fn from(hop: v1::Hop) -> Self {
        Self {
            worker: WorkerId(hop.worker),
            address: hop.address,
        }
    }
}

impl From<LocatedBlock> for v1::DatasetBlock {
    fn from(block: LocatedBlock) -> Self {
        Self {
            summary: Some(block.summary.into()),
            holders: block.holders.into_iter().map(Into::into).collect(),
            lost_holders: Vec::new(),
        }
    }
}

impl TryFrom<v1::DatasetBlock> for LocatedBlock {
    type Error = WireError;

    fn try_from(block: v1::DatasetBlock) -> Result<Self, WireError> {
        Ok(Self {
            summary: required(block.summary, "summary")?.try_into()?,
            holders: block.holders.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<DatasetFile> for v1::DatasetFile {
    fn from(file: DatasetFile) -> Self {
        Self {
            name: file.name,
            bytes: file.bytes,
            crc32c: file.crc32c,
        }
    }
}

impl From<v1::DatasetFile> for DatasetFile {
    fn from(file: v1::DatasetFile) -> Self {
        Self {
            name: file.name,
            bytes: file.bytes,
            crc32c: file.crc32c,
        }
    }
}

impl From<Shape> for v1::DatasetShape {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::File => Self::File,
            Shape::Directory => Self::Directory,
        }
    }
}

/// A shape from its number.
///
/// # Errors
///
/// When there is no such shape.
pub fn shape_from_wire(value: i32) -> Result<Shape, WireError> {
    match v1::DatasetShape::try_from(value) {
        Ok(v1::DatasetShape::File) => Ok(Shape::File),
        Ok(v1::DatasetShape::Directory) => Ok(Shape::Directory),
        Ok(v1::DatasetShape::Unspecified) | Err(_) => Err(WireError::UnknownValue {
            field: "shape",
            value,
        }),
    }
}

/// The request that opens a dataset under a key.
#[must_use]
pub fn open_to_wire(key: String, spec: DatasetSpec) -> v1::OpenDatasetRequest {
    let (format, fixed_bytes) = format_to_wire(spec.format);
    v1::OpenDatasetRequest {
        key,
        name: spec.name,
        format: format.into(),
        fixed_bytes,
        shape: v1::DatasetShape::from(spec.shape).into(),
        replicas: u32::from(spec.replicas),
    }
}

/// Key and specification from the request that opens a dataset.
///
/// # Errors
///
/// Names the field that has no domain form.
pub fn open_from_wire(request: v1::OpenDatasetRequest) -> Result<(String, DatasetSpec), WireError> {
    let spec = DatasetSpec {
        name: request.name,
        format: format_from_wire(request.format, request.fixed_bytes)?,
        shape: shape_from_wire(request.shape)?,
        replicas: narrow(request.replicas, "replicas")?,
    };
    Ok((request.key, spec))
}
