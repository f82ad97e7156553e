//! The leader's stream of locations for one reduce, subscribed to again
//! whenever it breaks: after a change of leaders it starts from the beginning,
//! and what is known already changes nothing.

use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Request;
use vivat_client::{ClientError, LeaderClient};
use vivat_proto::v1;

use crate::session::another_leader;

const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
const SEARCH_BUDGET: Duration = Duration::from_secs(30);
/// After a refusal: the attempt is not granted any more, and the order to stop
/// it is on its way.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// After a stream that ended: no spin against a leader that closes at once.
const PAUSE_AFTER_END: Duration = Duration::from_millis(20);

/// Passes on what the leader says until the receiver is gone.
pub(super) async fn follow(
    leader: LeaderClient,
    request: v1::WatchSegmentsRequest,
    updates: mpsc::Sender<v1::WatchSegmentsResponse>,
) {
    loop {
        let subscribed = leader
            .call(SEARCH_BUDGET, SUBSCRIBE_TIMEOUT, |channel| {
                let request = Request::new(request);
                async move {
                    vivat_client::worker_service(channel)
                        .watch_segments(request)
                        .await
                }
            })
            .await;
        match subscribed {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                let another = another_leader(&leader);
                tokio::pin!(another);
                loop {
                    let message = tokio::select! {
                        message = stream.message() => message,
                        () = &mut another => break,
                    };
                    let Ok(Some(update)) = message else {
                        break;
                    };
                    if updates.send(update).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(PAUSE_AFTER_END).await;
            }
            Err(ClientError::NoLeader { .. }) => {}
            Err(error @ (ClientError::Refused(_) | ClientError::BadAnswer { .. })) => {
                tracing::debug!(error = %error, "locations refused");
                tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
            }
        }
        if updates.is_closed() {
            return;
        }
    }
}
