//! One channel per master, built when first needed and given up when broken.
//!
//! tonic reconnects a channel by itself, but a channel that is stuck in a
//! half-dead connection keeps every later call waiting; a new one never does.

use std::collections::HashMap;
use std::sync::Mutex;

use tonic::transport::{Channel, Endpoint};

use crate::options::ClientOptions;

/// A channel and which build of it this is.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) channel: Channel,
    generation: u64,
}

#[derive(Debug, Default)]
struct Pool {
    built: HashMap<String, Built>,
    generation: u64,
}

/// Channels by endpoint, `HOST:PORT`.
#[derive(Debug)]
pub(crate) struct Channels {
    pool: Mutex<Pool>,
    options: ClientOptions,
}

impl Channels {
    pub(crate) fn new(options: ClientOptions) -> Self {
        Self {
            pool: Mutex::default(),
            options,
        }
    }

    /// The channel to an endpoint; it dials at its first call. None when the
    /// text is no endpoint.
    pub(crate) fn get(&self, endpoint: &str) -> Option<Built> {
        let mut pool = self.lock();
        if let Some(built) = pool.built.get(endpoint) {
            return Some(built.clone());
        }
        let dialled = Endpoint::from_shared(format!("http://{endpoint}"))
            .ok()?
            .connect_timeout(self.options.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout)
            .keep_alive_while_idle(true);
        let channel = self.options.transport.channel(&dialled);
        pool.generation += 1;
        let built = Built {
            channel,
            generation: pool.generation,
        };
        pool.built.insert(endpoint.to_owned(), built.clone());
        Some(built)
    }

    /// Gives a broken channel up; the next call builds a new one. One that
    /// another caller has rebuilt meanwhile stays.
    pub(crate) fn give_up(&self, endpoint: &str, broken: &Built) {
        let mut pool = self.lock();
        if pool
            .built
            .get(endpoint)
            .is_some_and(|built| built.generation == broken.generation)
        {
            pool.built.remove(endpoint);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        // The map is whole at every point where a panic could happen.
        self.pool
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
