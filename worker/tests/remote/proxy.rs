//! A proxy between a worker and its store that breaks or stalls connections in
//! the middle of an answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What is still to happen; each is counted down as it does.
#[derive(Debug, Default)]
pub struct Faults {
    /// Connections to break, after so many bytes of an answer.
    pub breaks: AtomicU32,
    /// Connections to hold, after so many bytes.
    pub stalls: AtomicU32,
    pub after_bytes: AtomicU64,
    /// Bytes that went to the worker.
    pub passed: AtomicU64,
}

/// Serves on `port`, in front of `target`, while the process lives.
pub fn start(port: u16, target: u16) -> Arc<Faults> {
    let faults = Arc::new(Faults::default());
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let shared = faults.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), faults) = (client, shared.clone()) else {
                continue;
            };
            let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
                continue;
            };
            let (from_client, to_server) = (client.try_clone(), server.try_clone());
            thread::spawn(move || copy(from_client.unwrap(), to_server.unwrap(), None));
            thread::spawn(move || copy(server, client, Some(&faults)));
        }
    });
    faults
}

fn copy(mut from: TcpStream, mut to: TcpStream, faults: Option<&Faults>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        if let Some(faults) = faults {
            passed += got as u64;
            faults.passed.fetch_add(got as u64, Ordering::Relaxed);
            if passed > faults.after_bytes.load(Ordering::Relaxed) {
                if take(&faults.breaks) {
                    break;
                }
                if take(&faults.stalls) {
                    // Longer than any reader waits.
                    thread::sleep(Duration::from_secs(60));
                    break;
                }
            }
        }
        if to.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    let _closed = from.shutdown(Shutdown::Both);
    let _closed = to.shutdown(Shutdown::Both);
}

fn take(count: &AtomicU32) -> bool {
    let less = |count: u32| count.checked_sub(1);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .is_ok()
}
