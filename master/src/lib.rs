//! The master process: Raft, storage, leadership, services.
