//! Channels to other workers, by address.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use vivat_ground::Transport;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A holder that vanished without a word is noticed by this.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Channels kept open; past it all are dropped and built again when needed.
const CHANNELS_MAX: usize = 4_096;
/// Bytes in flight on one stream and on one connection: a whole batch of small
/// segments, or several messages of a large one.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// The channels.
#[derive(Debug)]
pub(crate) struct Holders {
    transport: Transport,
    channels: Mutex<HashMap<String, Channel>>,
}

impl Holders {
    pub(crate) fn new(transport: Transport) -> Self {
        Self {
            transport,
            channels: Mutex::default(),
        }
    }

    /// The channel to an address; it dials at its first call. None when the
    /// text is no address.
    pub(crate) fn get(&self, address: &str) -> Option<Channel> {
        let mut channels = self.lock();
        if let Some(channel) = channels.get(address) {
            return Some(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .ok()?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE);
        let channel = self.transport.channel(&endpoint);
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Some(channel)
    }

    /// Gives a channel up after a transport error; the next call builds one.
    pub(crate) fn give_up(&self, address: &str) {
        self.lock().remove(address);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        // Nothing panics under this lock.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
