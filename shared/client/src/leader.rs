//! Finding the leader, staying with it, and finding the next one.
//!
//! A call goes to the master that answered last as the leader, else round all
//! masters that are known. A master that does not lead may hint who does; a
//! hint is followed once, and when the hinted master does not lead either, its
//! own hint is left alone and the round goes on. So two masters that point at
//! one another cost two tries and a pause, not a spin.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Channel;

use crate::backoff::Backoff;
use crate::channels::Channels;
use crate::error::{ClientError, Verdict, judge};
use crate::leadership::LeaderView;
use crate::options::ClientOptions;

/// Masters that are learnt beyond those configured: enough for every seat of a
/// large cluster, few enough that a liar cannot make a round endless.
const LEARNT_MAX: usize = 16;

/// Pauses of a search that are all short: leadership that is handed over has a
/// holder again within some 30 ms.
const SEARCHES_EVEN: u32 = 6;

/// Calls the leader, whoever that is. Cheap to clone; clones share channels and
/// what they know of the leader.
#[derive(Debug, Clone)]
pub struct LeaderClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    configured: Vec<String>,
    learnt: Mutex<Vec<String>>,
    channels: Channels,
    options: ClientOptions,
    leadership: watch::Sender<LeaderView>,
}

/// How one try ended without a result.
enum Miss {
    NotLeader { hint: String },
    NoAnswer(Status),
    Again(Status),
    Refused(Status),
}

impl LeaderClient {
    /// A client of the masters at these endpoints, `HOST:PORT` each; any subset
    /// of the cluster's masters will do. Nothing is dialled yet.
    #[must_use]
    pub fn new(endpoints: Vec<String>, options: ClientOptions) -> Self {
        let mut configured: Vec<String> = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let endpoint = bare(&endpoint).to_owned();
            if !configured.contains(&endpoint) {
                configured.push(endpoint);
            }
        }
        Self {
            inner: Arc::new(Inner {
                configured,
                learnt: Mutex::default(),
                channels: Channels::new(options.clone()),
                options,
                leadership: watch::Sender::new(LeaderView::default()),
            }),
        }
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// Leadership as this client sees it, changes included.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<LeaderView> {
        self.inner.leadership.subscribe()
    }

    /// Every master that is known: the configured ones, then the learnt.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let mut all = self.inner.configured.clone();
        all.extend(self.learnt().iter().cloned());
        all
    }

    /// Adds masters that a trusted answer named.
    pub fn learn(&self, endpoints: impl IntoIterator<Item = String>) {
        let mut learnt = self.learnt();
        for endpoint in endpoints {
            let endpoint = bare(&endpoint);
            let known = |list: &[String]| list.iter().any(|known| known == endpoint);
            if endpoint.is_empty() || known(&self.inner.configured) || known(&learnt) {
                continue;
            }
            if learnt.len() == LEARNT_MAX {
                learnt.remove(0);
            }
            learnt.push(endpoint.to_owned());
        }
    }

    /// Calls the leader until it answers or `budget` has passed; one try takes
    /// at most `per_try`. The call may reach a leader more than once, so it must
    /// be idempotent: by a key, an epoch or an attempt.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoLeader`] when the budget passed, [`ClientError::Refused`]
    /// when the leader said no, or until the end that it is too busy.
    pub async fn call<T, F, Fut>(
        &self,
        budget: Duration,
        per_try: Duration,
        call: F,
    ) -> Result<T, ClientError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let began = Instant::now();
        let deadline = began + budget;
        let (min, max) = (
            self.inner.options.backoff_min,
            self.inner.options.backoff_max,
        );
        let mut backoff = Backoff::new(min, max);
        let mut search = Backoff::new(min / 4, max).evenly(SEARCHES_EVEN);
        let mut last = None;
        loop {
            let mut again = None;
            match self.round(deadline, per_try, &call).await {
                Ok(answer) => return Ok(answer),
                Err(Miss::Refused(status)) => return Err(ClientError::Refused(Box::new(status))),
                Err(Miss::NotLeader { .. }) => {}
                Err(Miss::NoAnswer(status)) => last = Some(Box::new(status)),
                Err(Miss::Again(status)) => again = Some(Box::new(status)),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            // One that is full must not be asked as often as one that is sought.
            let pauses = if again.is_some() {
                &mut backoff
            } else {
                &mut search
            };
            tokio::time::sleep(pauses.pause().min(left)).await;
            if Instant::now() >= deadline {
                // There is a leader, then: it is its answer that counts.
                return Err(again.map_or_else(
                    || ClientError::NoLeader {
                        tried: self.endpoints(),
                        waited: began.elapsed(),
                        last,
                    },
                    ClientError::Refused,
                ));
            }
        }
    }

    /// One round: the leader last seen, then all others in a random order, so
    /// that clients which lost the same leader do not all ask the same master.
    async fn round<T, F, Fut>(
        &self,
        deadline: Instant,
        per_try: Duration,
        call: &F,
    ) -> Result<T, Miss>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let mut queue = self.endpoints();
        queue.shuffle(&mut rand::rng());
        // The queue is taken from its end.
        if let Some(leader) = self.inner.leadership.borrow().endpoint.clone() {
            queue.retain(|endpoint| *endpoint != leader);
            queue.push(leader);
        }
        let mut hint_spent = false;
        let mut tried: Vec<String> = Vec::with_capacity(queue.len());
        let mut miss = Miss::NoAnswer(Status::unavailable("no master is configured"));
        while let Some(endpoint) = queue.pop() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            miss = match self.attempt(&endpoint, per_try.min(left), call).await {
                Ok(answer) => return Ok(answer),
                Err(answered @ (Miss::Refused(_) | Miss::Again(_))) => return Err(answered),
                Err(miss) => miss,
            };
            tried.push(endpoint);
            if let Miss::NotLeader { hint } = &miss {
                let fresh = !hint.is_empty() && !hint_spent && !tried.contains(hint);
                if fresh {
                    hint_spent = true;
                    queue.retain(|endpoint| endpoint != hint);
                    queue.push(hint.clone());
                }
            }
        }
        Err(miss)
    }

    async fn attempt<T, F, Fut>(
        &self,
        endpoint: &str,
        timeout: Duration,
        call: &F,
    ) -> Result<T, Miss>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let Some(built) = self.inner.channels.get(endpoint) else {
            let message = format!("`{endpoint}` is not HOST:PORT");
            return Err(Miss::NoAnswer(Status::invalid_argument(message)));
        };
        let status = match tokio::time::timeout(timeout, call(built.channel.clone())).await {
            Ok(Ok(answer)) => {
                self.saw_leader(endpoint, 0);
                return Ok(answer);
            }
            Ok(Err(status)) => status,
            Err(_elapsed) => {
                Status::deadline_exceeded(format!("{endpoint} did not answer in time"))
            }
        };
        match judge(&status) {
            Verdict::NotLeader(not_leader) => {
                let hint = bare(&not_leader.leader_endpoint).to_owned();
                self.saw_no_leader(endpoint, not_leader.term);
                self.learn([hint.clone()]);
                Err(Miss::NotLeader { hint })
            }
            Verdict::Transport => {
                tracing::debug!(endpoint, error = %status, "channel given up");
                self.inner.channels.give_up(endpoint, &built);
                self.saw_no_leader(endpoint, 0);
                Err(Miss::NoAnswer(status))
            }
            Verdict::Again => Err(Miss::Again(status)),
            Verdict::Final => Err(Miss::Refused(status)),
        }
    }

    /// Asks masters in turn until one answers, whether it leads or not.
    pub(crate) async fn call_any<T, F, Fut>(
        &self,
        per_try: Duration,
        call: F,
    ) -> Result<T, ClientError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let began = Instant::now();
        let mut last = None;
        for endpoint in self.endpoints() {
            let Some(built) = self.inner.channels.get(&endpoint) else {
                continue;
            };
            match tokio::time::timeout(per_try, call(built.channel.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => match judge(&status) {
                    Verdict::Final => return Err(ClientError::Refused(Box::new(status))),
                    Verdict::NotLeader(_) | Verdict::Transport | Verdict::Again => {
                        self.inner.channels.give_up(&endpoint, &built);
                        last = Some(Box::new(status));
                    }
                },
                Err(_elapsed) => self.inner.channels.give_up(&endpoint, &built),
            }
        }
        Err(ClientError::NoLeader {
            tried: self.endpoints(),
            waited: began.elapsed(),
            last,
        })
    }

    /// Notes that an endpoint answered as the leader; `term` 0 when unknown.
    pub(crate) fn saw_leader(&self, endpoint: &str, term: u64) {
        self.inner.leadership.send_if_modified(|view| {
            let changed = view.endpoint.as_deref() != Some(endpoint)
                || view.none_since.is_some()
                || term > view.term;
            if changed {
                view.endpoint = Some(endpoint.to_owned());
                view.none_since = None;
                view.term = view.term.max(term);
            }
            changed
        });
    }

    /// Notes a term that the present leader's answer named.
    pub(crate) fn saw_term(&self, term: u64) {
        self.inner.leadership.send_if_modified(|view| {
            let newer = term > view.term;
            view.term = view.term.max(term);
            newer
        });
    }

    /// Notes that an endpoint does not lead. Only the word of the one believed
    /// to lead ends that belief; a follower's answer is no news.
    pub(crate) fn saw_no_leader(&self, endpoint: &str, term: u64) {
        self.inner.leadership.send_if_modified(|view| {
            let newer = term > view.term;
            view.term = view.term.max(term);
            if view.endpoint.as_deref() == Some(endpoint) {
                view.endpoint = None;
                view.none_since = Some(Instant::now());
                return true;
            }
            if view.endpoint.is_none() && view.none_since.is_none() {
                view.none_since = Some(Instant::now());
                return true;
            }
            newer
        });
    }

    fn learnt(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        // The list is whole at every point where a panic could happen.
        self.inner
            .learnt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An endpoint as `HOST:PORT`, whether or not it was written as a URL.
fn bare(endpoint: &str) -> &str {
    endpoint
        .trim()
        .trim_start_matches("http://")
        .trim_end_matches('/')
}
