//! The channel that follows the leader.
