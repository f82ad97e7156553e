//! Connections that others make to this process.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

use crate::transport::Stream;

/// Where others connect to.
pub enum Listener {
    /// A bound socket.
    Tcp(TcpListener),
    /// Another network's.
    Other {
        /// `HOST:PORT`, as others reach it.
        address: String,
        /// What was accepted there.
        accepted: BoxStream<'static, io::Result<Box<dyn Stream>>>,
    },
}

impl Listener {
    /// `HOST:PORT` as bound.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            Self::Other { address, .. } => Ok(address.clone()),
        }
    }

    /// The connections, for a server. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn incoming(self) -> io::Result<Incoming> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                Ok(Incoming(Source::Tcp(incoming)))
            }
            Self::Other { accepted, .. } => Ok(Incoming(Source::Other(accepted))),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => listener.fmt(f),
            Self::Other { address, .. } => write!(f, "Listener({address})"),
        }
    }
}

/// Connections as they are accepted.
pub struct Incoming(Source);

enum Source {
    Tcp(TcpIncoming),
    Other(BoxStream<'static, io::Result<Box<dyn Stream>>>),
}

impl futures_util::Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Source::Tcp(incoming) => {
                let next = Pin::new(incoming).poll_next(context);
                next.map(|next| next.map(|accepted| accepted.map(Connection::Tcp)))
            }
            Source::Other(accepted) => {
                let next = accepted.as_mut().poll_next(context);
                next.map(|next| next.map(|accepted| accepted.map(Connection::Other)))
            }
        }
    }
}

/// An accepted connection.
pub enum Connection {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over another network.
    Other(Box<dyn Stream>),
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        match self {
            Self::Tcp(stream) => stream.connect_info(),
            Self::Other(_) => TcpConnectInfo {
                local_addr: None,
                remote_addr: None,
            },
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Other(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Other(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Self::Other(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Other(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
