//! The wire: generated messages and services, and their conversion to domain types.

pub mod convert;
pub mod error;

/// What clients and workers say to masters, and workers to one another.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated; the comments stand in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("vivat.v1");
}

/// What masters say to one another.
pub mod raft {
    /// Version 1.
    #[expect(
        missing_docs,
        unused_qualifications,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated; the comments stand in the .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("vivat.raft.v1");
    }
}

/// Every message and service, with their imports, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
