//! The master process: Raft, storage, leadership, services.

pub mod bootstrap;
pub mod config;
pub mod disk;
pub mod failpoints;
pub(crate) mod grpc;
pub(crate) mod http;
pub mod identity;
pub mod leader;
pub mod process;
pub mod raft;
pub mod storage;
