//! How patient a client is.

use std::time::Duration;

use vivat_ground::Transport;

/// Settings of a [`crate::LeaderClient`]; the default suits all but tests.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// For a connection to a master: short, because a dead address swallows
    /// packets without a word and the next master may lead.
    pub connect_timeout: Duration,
    /// First pause before a leader that is full is asked again. After a round
    /// over all masters that found no leader it is a quarter.
    pub backoff_min: Duration,
    /// Longest pause of either sort: a new leader is found at most this late, so it is a
    /// part of the stall that a dead leader costs.
    pub backoff_max: Duration,
    /// How often an open connection is asked whether it lives, also when idle.
    pub keepalive_interval: Duration,
    /// How long that question may stay unanswered.
    pub keepalive_timeout: Duration,
    /// For a call to the leader as a whole, retries included: the wrappers'
    /// budget. [`crate::LeaderClient::call`] takes its own.
    pub call_budget: Duration,
    /// For one try of such a call at one master.
    pub try_timeout: Duration,
    /// How masters are connected to.
    pub transport: Transport,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_millis(300),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(100),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(2),
            call_budget: Duration::from_secs(10),
            try_timeout: Duration::from_secs(3),
            transport: Transport::default(),
        }
    }
}
