//! Reports: what piled up while the last call was on its way goes in the next,
//! and each is repeated until a leader has answered it.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use vivat_engine::failpoint::point;
use vivat_proto::convert::outcome::report_to_wire;
use vivat_proto::v1;
use vivat_shared::ids::AttemptId;

use super::{
    CALL_TIMEOUT, PAUSE_AFTER_REFUSAL, Registration, Session, SessionEnd, after_error, blocking,
};
use crate::held::Grant;

/// At 4,096 partitions and 128 counters a report has about 8 KiB, so this many
/// stay below the limit of a message.
const REPORTS_PER_CALL_MAX: usize = 512;
/// The longest that reports of short attempts wait for one another.
const GATHER: Duration = Duration::from_millis(16);

impl Session {
    pub(super) async fn report(
        &self,
        registration: Registration,
    ) -> Result<Infallible, SessionEnd> {
        loop {
            // When the time is over, what is there goes.
            let _over = tokio::time::timeout(GATHER, self.core.gathered()).await;
            let batch = self.core.look(|held| held.reports(REPORTS_PER_CALL_MAX));
            if batch.is_empty() {
                self.core.report_added().await;
                continue;
            }
            let request = v1::ReportOutcomesRequest {
                worker: Some(registration.worker.into()),
                reports: batch
                    .into_iter()
                    .map(|(attempt, outcome)| report_to_wire(attempt, outcome))
                    .collect(),
            };
            if point("report-send").is_err() {
                continue;
            }
            let answer = self
                .call(
                    CALL_TIMEOUT,
                    CALL_TIMEOUT,
                    &request,
                    |mut client, request| async move { client.report_outcomes(request).await },
                )
                .await;
            match answer {
                // As if the answer had got lost.
                Ok(_) if point("report-answered").is_err() => {}
                Ok(answer) => {
                    if !self.settle(answer.verdicts).await {
                        // It said nothing about them: asked again, without a spin.
                        tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                    }
                }
                Err(error) => after_error("report", error).await?,
            }
        }
    }

    /// False when no report was settled.
    async fn settle(&self, verdicts: Vec<v1::Verdict>) -> bool {
        let verdicts: HashMap<AttemptId, bool> = verdicts
            .into_iter()
            .filter_map(|verdict| Some((verdict.attempt?.try_into().ok()?, verdict.accepted)))
            .collect();
        let answered: HashSet<AttemptId> = verdicts.keys().copied().collect();
        let settled = self.core.change(|held| held.reported(&answered));
        let any = !settled.is_empty();
        let refused: Vec<Arc<Grant>> = settled
            .into_iter()
            .filter(|grant| !verdicts.get(&grant.attempt).copied().unwrap_or(true))
            .collect();
        if refused.is_empty() {
            return any;
        }
        tracing::debug!(reports = refused.len(), "reports refused; their files go");
        let runner = self.runner.clone();
        blocking(self.dir.threads(), move || {
            for grant in refused {
                runner.discard(&grant);
            }
        })
        .await;
        any
    }
}
