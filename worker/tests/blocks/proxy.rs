//! A link between two workers that can be cut and stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::rig::within;

/// How the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Good,
    /// It carries nothing and says nothing.
    Stopped,
    Cut,
}

/// A listener whose connections go to another address.
#[derive(Debug)]
pub struct Proxy {
    pub address: String,
    condition: watch::Sender<Condition>,
    carried: Arc<AtomicU64>,
    connections: watch::Sender<u64>,
}

impl Proxy {
    /// To an address; cut by itself when it carried so many bytes, both ways.
    pub async fn start(origin: &str, bytes_max: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let condition = watch::Sender::new(Condition::Good);
        let carried = Arc::new(AtomicU64::new(0));
        let link = Link {
            condition: condition.clone(),
            carried: carried.clone(),
            bytes_max,
        };
        let origin = origin.to_owned();
        let connections = watch::Sender::new(0);
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                counted.send_modify(|count| *count += 1);
                if *link.condition.borrow() == Condition::Cut {
                    continue;
                }
                let (near_read, near_write) = near.into_split();
                let far = TcpStream::connect(&origin).await.unwrap();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(link.clone().carry(near_read, far_write));
                tokio::spawn(link.clone().carry(far_read, near_write));
            }
        });
        Self {
            address,
            condition,
            carried,
            connections,
        }
    }

    /// Waits until somebody connected.
    pub async fn until_asked(&self) {
        let mut connections = self.connections.subscribe();
        let asked = connections.wait_for(|count| *count > 0);
        within(asked).await.unwrap();
    }

    pub fn cut(&self) {
        self.condition.send_replace(Condition::Cut);
    }

    pub fn stop(&self) {
        self.condition.send_replace(Condition::Stopped);
    }

    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Clone)]
struct Link {
    condition: watch::Sender<Condition>,
    carried: Arc<AtomicU64>,
    bytes_max: u64,
}

impl Link {
    async fn carry(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut condition = self.condition.subscribe();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let now = *condition.borrow_and_update();
            let got = match now {
                Condition::Cut => return,
                Condition::Stopped => {
                    let _changed = condition.changed().await;
                    continue;
                }
                Condition::Good => tokio::select! {
                    got = from.read(&mut buffer) => got.unwrap_or(0),
                    _ = condition.changed() => continue,
                },
            };
            let carried = self.carried.fetch_add(got as u64, Ordering::SeqCst) + got as u64;
            if carried > self.bytes_max {
                self.condition.send_replace(Condition::Cut);
                return;
            }
            if got == 0 || to.write_all(&buffer[..got]).await.is_err() {
                return;
            }
        }
    }
}
