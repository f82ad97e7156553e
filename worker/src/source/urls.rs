//! URLs for a client: it reads as workers do, with the credentials of its own
//! environment.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use vivat_engine::InputOpener;
use vivat_shared::attempt::InputFile;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::{InputPattern, Visibility};

use super::remote::{RemoteOpener, list_remote};
use crate::remote::{Stores, Waiting};

/// What is read at once, and handed over.
const PIECE_BYTES: usize = 512 * 1024;
/// Pieces that wait to be taken.
const PIECES_WAITING: usize = 4;

/// An object, or what a web server has under a URL.
#[derive(Debug, Clone)]
pub struct UrlFile {
    file: InputFile,
    stores: Arc<Stores>,
}

impl PartialEq for UrlFile {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl Eq for UrlFile {}

impl UrlFile {
    /// The files of a URL: one, those that match a glob, or all below a `/` at its
    /// end. Must be called within a runtime, on a thread that may wait.
    ///
    /// # Errors
    ///
    /// The cause that a job would fail with.
    pub fn list(url: &str) -> Result<Vec<Self>, FailureCause> {
        let stores = Arc::new(Stores::default());
        let pattern = InputPattern {
            path: url.to_owned(),
            display: url.to_owned(),
            visibility: Visibility::Everyone,
        };
        let waiting = waiting();
        let listing = Arc::clone(&stores);
        // Those of a runtime cannot wait for its tasks.
        let listed = thread::spawn(move || list_remote(&listing, &pattern, &waiting)).join();
        let listed = listed.map_err(|_panicked| FailureCause::Internal {
            detail: "listing a URL panicked".to_owned(),
        })??;
        let file = |file| Self {
            file,
            stores: Arc::clone(&stores),
        };
        Ok(listed
            .into_iter()
            .map(|planned| file(planned.file))
            .collect())
    }

    /// Without what is not to be shown.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.file.display
    }

    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file.bytes
    }

    /// Its bytes, of the version that was listed. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// No thread could be started.
    pub fn read(&self) -> io::Result<UrlReader> {
        let (sender, pieces) = sync_channel(PIECES_WAITING);
        let waiting = waiting();
        let stop = waiting.stopped.clone().drop_guard();
        let this = self.clone();
        thread::Builder::new()
            .name("url".to_owned())
            .spawn(move || this.bring(waiting, &sender))?;
        Ok(UrlReader {
            pieces,
            piece: io::Cursor::new(Vec::new()),
            _stop: stop,
        })
    }

    fn bring(&self, waiting: Waiting, sender: &SyncSender<io::Result<Vec<u8>>>) {
        let opener = RemoteOpener {
            stores: &self.stores,
            waiting,
        };
        let bring = || -> Result<(), vivat_engine::InputError> {
            let mut reader = opener.open(&self.file)?;
            reader.expect(0..self.file.bytes);
            let mut offset = 0;
            while offset < self.file.bytes {
                let mut piece = vec![0; PIECE_BYTES];
                let count = reader.read_at(&mut piece, offset)?;
                piece.truncate(count);
                offset += count as u64;
                // Whoever took the pieces may be gone: then nobody wants more.
                if count == 0 || sender.send(Ok(piece)).is_err() {
                    return Ok(());
                }
            }
            reader.check()
        };
        if let Err(error) = bring() {
            let _gone = sender.send(Err(io::Error::other(error)));
        }
    }
}

/// The bytes of a [`UrlFile`].
#[derive(Debug)]
pub struct UrlReader {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
    /// Ends the thread's wait.
    _stop: DropGuard,
}

impl Read for UrlReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.pieces.recv() {
                Ok(piece) => self.piece = io::Cursor::new(piece?),
                Err(_ended) => return Ok(0),
            }
        }
    }
}

pub(super) fn waiting() -> Waiting {
    Waiting {
        runtime: Handle::current(),
        stopped: CancellationToken::new(),
    }
}
