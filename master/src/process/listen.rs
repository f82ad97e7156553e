//! The sockets of a master, and the names under which others reach them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use vivat_ground::Listener;

use super::error::StartError;
use crate::config::{Listen, MasterConfig};

/// Where a master is reached, `HOST:PORT` each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Client and worker services.
    pub client: String,
    /// Raft.
    pub raft: String,
    /// `/livez`, `/readyz`, `/metrics`, if served.
    pub http: Option<String>,
}

/// Sockets of a master, bound before anything else is begun.
pub(super) struct Listeners {
    pub(super) client: Listener,
    pub(super) raft: Listener,
    pub(super) http: Option<TcpListener>,
    pub(super) addresses: Addresses,
}

impl Listeners {
    /// Takes from the settings where to listen, and listens.
    pub(super) fn bind(config: &mut MasterConfig) -> Result<Self, StartError> {
        let advertise = config.advertise.as_deref();
        let (client, client_address) = listen(std::mem::take(&mut config.listen), advertise)?;
        let (raft, raft_address) = listen(std::mem::take(&mut config.raft), advertise)?;
        let http = config
            .http
            .as_ref()
            .map(|listen| bind(listen, advertise))
            .transpose()?;
        let (http, http_address) = http.unzip();
        Ok(Self {
            client,
            raft,
            http,
            addresses: Addresses {
                client: client_address,
                raft: raft_address,
                http: http_address,
            },
        })
    }
}

fn listen(listen: Listen, advertise: Option<&str>) -> Result<(Listener, String), StartError> {
    let other = match listen {
        Listen::Other(listener) => listener,
        tcp @ (Listen::Address(_) | Listen::Bound(_)) => {
            let (listener, address) = bind(&tcp, advertise)?;
            return Ok((listener.into(), address));
        }
    };
    match other.address() {
        Ok(address) => Ok((other, address)),
        Err(source) => Err(StartError::Listen {
            address: "another network".to_owned(),
            source,
        }),
    }
}

fn bind(listen: &Listen, advertise: Option<&str>) -> Result<(TcpListener, String), StartError> {
    let address = match listen {
        Listen::Address(address) => address.clone(),
        Listen::Bound(_) => "a bound socket".to_owned(),
        Listen::Other(_) => "another network".to_owned(),
    };
    let listener = match listen {
        Listen::Address(address) => TcpListener::bind(address),
        Listen::Bound(listener) => listener.try_clone(),
        // For the HTTP endpoint, which nothing but TCP serves.
        Listen::Other(_) => Err(io::ErrorKind::Unsupported.into()),
    };
    let bound = listener.and_then(|listener| {
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    });
    match bound {
        Ok((listener, local)) => Ok((listener, advertised(local, advertise))),
        Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
            Err(StartError::PortInUse { address })
        }
        Err(source) => Err(StartError::Listen { address, source }),
    }
}

/// The name under which others reach a socket. A socket on all interfaces has
/// none of its own; without `--advertise` only this machine can be meant.
fn advertised(local: SocketAddr, advertise: Option<&str>) -> String {
    let port = local.port();
    match advertise {
        Some(host) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        Some(host) => format!("{host}:{port}"),
        None if local.ip().is_unspecified() => format!("127.0.0.1:{port}"),
        None => local.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_name_goes_before_the_address_listened_on() {
        let local: SocketAddr = "0.0.0.0:7070".parse().unwrap();
        assert_eq!(
            advertised(local, Some("vivat-0.vivat")),
            "vivat-0.vivat:7070"
        );
        assert_eq!(advertised(local, Some("::1")), "[::1]:7070");
        assert_eq!(advertised(local, None), "127.0.0.1:7070");
    }

    #[test]
    fn taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let refused = bind(&Listen::Address(address.clone()), None);
        assert!(matches!(
            refused,
            Err(StartError::PortInUse { address: named }) if named == address
        ));
    }
}
