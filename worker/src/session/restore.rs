//! What a worker that comes back still has: it looks at every segment file of
//! its disk, throws away what is damaged, and offers the rest.

use vivat_engine::{SegmentError, verify};
use vivat_proto::convert::outcome::sizes_to_wire;
use vivat_proto::v1;
use vivat_shared::ids::AttemptId;
use vivat_shared::size_code::SizeCode;

use super::{
    CALL_TIMEOUT, Registration, SEARCH_BUDGET, Session, SessionEnd, after_error, blocking,
};
use crate::dir::WorkerDir;

/// At 4,096 partitions about 1 MiB, far below the limit of a message.
const OFFERED_PER_CALL_MAX: usize = 256;

impl Session {
    pub(super) async fn restore(&self, registration: Registration) -> Result<(), SessionEnd> {
        let dir = self.dir.clone();
        let Some(intact) = blocking(self.dir.threads(), move || look_through(&dir)).await else {
            tracing::error!("looking through the segments panicked");
            return Ok(());
        };
        for held in intact.chunks(OFFERED_PER_CALL_MAX) {
            let request = v1::RestoreSegmentsRequest {
                worker: Some(registration.worker.into()),
                held: held.to_vec(),
            };
            loop {
                let answer = self
                    .call(
                        SEARCH_BUDGET,
                        CALL_TIMEOUT,
                        &request,
                        |mut client, request| async move { client.restore_segments(request).await },
                    )
                    .await;
                match answer {
                    Ok(v1::RestoreSegmentsResponse {}) => break,
                    Err(error) => after_error("restore", error).await?,
                }
            }
        }
        if !intact.is_empty() {
            tracing::info!(
                segments = intact.len(),
                "segments on the disk offered again"
            );
        }
        Ok(())
    }
}

fn look_through(dir: &WorkerDir) -> Vec<v1::HeldSegments> {
    let found = dir.segments().unwrap_or_else(|error| {
        tracing::error!(error = %error, "cannot list segments");
        Vec::new()
    });
    found
        .into_iter()
        .filter_map(|map| {
            let stored_bytes = intact(dir, map)?;
            let sizes: Vec<SizeCode> = stored_bytes.into_iter().map(SizeCode::of).collect();
            Some(v1::HeldSegments {
                attempt: Some(map.into()),
                sizes: sizes_to_wire(&sizes),
            })
        })
        .collect()
}

fn intact(dir: &WorkerDir, map: AttemptId) -> Option<Vec<u64>> {
    match verify(&dir.segment_path(map)) {
        Ok(stored_bytes) => Some(stored_bytes),
        Err(error @ (SegmentError::Damaged { .. } | SegmentError::UnknownVersion { .. })) => {
            tracing::warn!(%map, error = %error, "segment is damaged; deleted");
            if let Err(error) = dir.remove_segment(map) {
                tracing::warn!(%map, error = %error, "cannot delete a segment");
            }
            None
        }
        Err(error @ SegmentError::Io { .. }) => {
            tracing::warn!(%map, error = %error, "cannot read a segment");
            None
        }
    }
}
