//! Addresses on loopback that nothing listens on.
//!
//! Ports come from below the range that the kernel gives to outgoing
//! connections, so that a client of one test cannot take the port of another
//! test's server between the look and the bind. Two tests that pick the same
//! port all the same see it when a server exits with "port taken"; whoever
//! starts a cluster then starts it again on others.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;

const PORT_FIRST: u16 = 11_000;
const PORT_LAST: u16 = 31_999;
const TRIES_MAX: u32 = 1_000;

/// A free address, `127.0.0.1:PORT`.
pub fn free_address() -> String {
    let range = u64::from(PORT_LAST - PORT_FIRST) + 1;
    for _ in 0..TRIES_MAX {
        // Each `RandomState` has other keys: enough of a die for a port.
        let draw = RandomState::new().build_hasher().finish() % range;
        let port = PORT_FIRST + u16::try_from(draw).expect("a remainder of a port range");
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("no free port in {PORT_FIRST}..={PORT_LAST}");
}
