//! Reading an output of objects: only one that is whole, and only what its
//! manifest names.

use std::io;
use std::ops::ControlFlow;

use futures_util::StreamExt;
use vivat_shared::cause::FailureCause;

use super::{MANIFEST, MANIFEST_BYTES_MAX, Manifest, SUCCESS};
use crate::remote::{Location, RemoteError, RemoteObject, Stores, patiently, shown};

/// Tries to read a part on from where it broke, without progress between them.
const TRIES_MAX: u32 = 5;

/// A whole output below a prefix of an object store.
#[derive(Debug)]
pub struct ObjectResult {
    prefix: RemoteObject,
    display: String,
    manifest: Manifest,
}

/// Why an output could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there, not whole, or cannot be read.
    #[error(transparent)]
    Cause(#[from] FailureCause),
    /// Whoever takes the bytes did not.
    #[error("cannot write the parts")]
    Write(#[source] io::Error),
}

impl ObjectResult {
    /// Opens the output at a URL, with the credentials of this process.
    ///
    /// # Errors
    ///
    /// `InputNotFound` when there is none; `InvalidInput` when it is not whole.
    pub async fn open(url: &str) -> Result<Self, FailureCause> {
        let display = shown(url);
        let location = Location::parse(url).map_err(|reason| FailureCause::InputUnreadable {
            path: display.clone(),
            detail: reason.to_owned(),
        })?;
        let failed = |error: RemoteError| error.of_input(&display);
        let prefix = Stores::default().object(&location).map_err(failed)?;
        let below = |name: &str| RemoteObject {
            path: prefix.path.clone().join(name),
            ..prefix.clone()
        };
        let (manifest, success) = (below(MANIFEST), below(SUCCESS));
        let read = patiently(|| manifest.read(MANIFEST_BYTES_MAX)).await;
        let (json, _) = read.map_err(failed)?;
        let invalid = |detail: &str| FailureCause::InvalidInput {
            path: display.clone(),
            detail: detail.to_owned(),
        };
        let manifest =
            Manifest::decode(&json).ok_or_else(|| invalid("its manifest is none of ours"))?;
        match patiently(|| success.look()).await {
            Ok(_) => {}
            Err(RemoteError::NotFound) => return Err(invalid("it is not a whole result")),
            Err(error) => return Err(failed(error)),
        }
        Ok(Self {
            prefix,
            display,
            manifest,
        })
    }

    /// Hands over the bytes of all parts, in order.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; what was handed over until then is right.
    pub async fn copy(
        &self,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ReadError> {
        for part in self.manifest.parts() {
            let Some(key) = part.key() else {
                return Err(self.invalid("its manifest names no objects").into());
            };
            let mut copy = Copy {
                object: RemoteObject {
                    path: self.prefix.path.clone().join(key),
                    ..self.prefix.clone()
                },
                bytes: part.bytes(),
                position: 0,
                crc32c: 0,
            };
            match copy.run(&mut write).await {
                Ok(()) => {}
                Err(ControlFlow::Break(error)) => return Err(ReadError::Write(error)),
                Err(ControlFlow::Continue(error)) => {
                    return Err(error.of_input(&format!("{}/{key}", self.display)).into());
                }
            }
            if Some(copy.crc32c) != part.crc32c() {
                let detail = format!("{key} has another checksum than was written");
                return Err(self.invalid(&detail).into());
            }
        }
        Ok(())
    }

    fn invalid(&self, detail: &str) -> FailureCause {
        FailureCause::InvalidInput {
            path: self.display.clone(),
            detail: detail.to_owned(),
        }
    }
}

/// One part on its way.
struct Copy {
    object: RemoteObject,
    bytes: u64,
    position: u64,
    crc32c: u32,
}

/// An error of the writer ends it, one of the store may be mended.
type CopyError = ControlFlow<io::Error, RemoteError>;

impl Copy {
    async fn run(
        &mut self,
        write: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), CopyError> {
        let mut tries = 0;
        while self.position < self.bytes {
            let before = self.position;
            match self.stream(write).await {
                Ok(()) => {}
                Err(ControlFlow::Continue(RemoteError::Temporary { .. }))
                    if self.position > before => {}
                Err(ControlFlow::Continue(RemoteError::Temporary { .. })) if tries < TRIES_MAX => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn stream(
        &mut self,
        write: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), CopyError> {
        let range = self.position..self.bytes;
        let object = &self.object;
        let got = patiently(|| object.get(Some(range.clone()))).await;
        let (_, mut pieces) = got.map_err(ControlFlow::Continue)?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(ControlFlow::Continue)?;
            write(&piece).map_err(ControlFlow::Break)?;
            self.crc32c = crc32c::crc32c_append(self.crc32c, &piece);
            self.position += piece.len() as u64;
        }
        if self.position < self.bytes {
            return Err(ControlFlow::Continue(RemoteError::Temporary {
                detail: "the server ended too early".to_owned(),
            }));
        }
        Ok(())
    }
}
