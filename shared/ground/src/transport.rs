//! Connections that this process makes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};

/// A connection's two directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is being made.
pub type Connecting = BoxFuture<'static, io::Result<Box<dyn Stream>>>;

/// A network that is not the machine's.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Connects to a host's port.
    fn connect(&self, host: &str, port: u16) -> Connecting;
}

/// Makes connections: over TCP, or over another network.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    network: Option<Arc<dyn Network>>,
}

impl Transport {
    /// Connections over another network than the machine's.
    #[must_use]
    pub fn over(network: Arc<dyn Network>) -> Self {
        Self {
            network: Some(network),
        }
    }

    /// A channel that dials at its first call, and again when it broke.
    #[must_use]
    pub fn channel(&self, endpoint: &Endpoint) -> Channel {
        match &self.network {
            None => endpoint.connect_lazy(),
            Some(network) => endpoint.connect_with_connector_lazy(Dialer {
                network: Arc::clone(network),
            }),
        }
    }
}

/// Dials for a channel.
struct Dialer {
    network: Arc<dyn Network>,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, uri.to_string());
            return Box::pin(async { Err(error) });
        };
        let connecting: Pin<_> = self.network.connect(host, port);
        Box::pin(async { Ok(TokioIo::new(connecting.await?)) })
    }
}
