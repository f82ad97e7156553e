//! turmoil's network as a process sees it.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::stream;
use turmoil::net::{TcpListener, TcpStream};
use vivat_ground::{Connecting, Listener, Network, Stream, Transport};

use crate::evidence::Fact;
use crate::town::Town;

/// The connections that one host makes.
struct Host {
    name: String,
    town: Town,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A host's way to others.
pub fn transport(name: &str, town: &Town) -> Transport {
    Transport::over(Arc::new(Host {
        name: name.to_owned(),
        town: town.clone(),
    }))
}

impl Network for Host {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let (town, from, to) = (self.town.clone(), self.name.clone(), host.to_owned());
        Box::pin(async move {
            let made = TcpStream::connect((to.as_str(), port)).await;
            // turmoil refuses at once where a packet gets lost. A network does
            // not answer then, and whoever takes a refusal for the end of a
            // process would be deceived.
            if town.is_cut(&from, &to) {
                town.note(Fact::ConnectionUnanswered);
                return std::future::pending().await;
            }
            if made.is_err() {
                town.note(Fact::ConnectionRefused);
            }
            Ok(Box::new(made?) as Box<dyn Stream>)
        })
    }
}

/// Listens on a port of this host.
pub async fn listen(name: &str, port: u16) -> io::Result<Listener> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let accepted = stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await;
        let stream = accepted.map(|(stream, _)| Box::new(stream) as Box<dyn Stream>);
        Some((stream, listener))
    });
    Ok(Listener::Other {
        address: format!("{name}:{port}"),
        accepted: Box::pin(accepted),
    })
}
