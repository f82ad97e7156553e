//! One object, looked at and read.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStoreExt};

use super::error::RemoteError;
use super::location::Scheme;
use super::stores::Store;

/// Until a call is answered: the worst that a store under load needs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two pieces of a stream.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// An object of a store, or what is at a URL.
#[derive(Debug, Clone)]
pub(crate) struct RemoteObject {
    pub(crate) store: Store,
    pub(crate) path: Path,
    pub(crate) scheme: Scheme,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) bytes: u64,
    /// Changes with the bytes: the entity tag, else the time of modification,
    /// else empty.
    pub(crate) version: String,
}

impl From<&ObjectMeta> for Found {
    fn from(meta: &ObjectMeta) -> Self {
        let modified = || match meta.last_modified.timestamp() {
            // What stands for a server that does not tell.
            0 => String::new(),
            _ => meta.last_modified.to_rfc3339(),
        };
        Self {
            bytes: meta.size,
            // Some stores quote it in one answer and not in another.
            version: match &meta.e_tag {
                Some(tag) => tag.trim_matches('"').to_owned(),
                None => modified(),
            },
        }
    }
}

/// Pieces of an object; an error ends it.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes, RemoteError>>;

impl RemoteObject {
    /// What is there, and whether a part of it can be read alone.
    pub(crate) async fn look(&self) -> Result<(Found, bool), RemoteError> {
        match self.scheme {
            Scheme::S3 | Scheme::Google | Scheme::Azure => {
                let meta = soon(self.store.objects.head(&self.path)).await?;
                Ok((Found::from(&meta), true))
            }
            Scheme::Web => self.look_at_web().await,
        }
    }

    /// A server may know neither ranges nor `HEAD`, and a URL may be signed for
    /// reading alone: reading the first byte tells most, and costs least.
    async fn look_at_web(&self) -> Result<(Found, bool), RemoteError> {
        let refused = match self.get(Some(0..1)).await {
            Ok((found, _)) => return Ok((found, true)),
            Err(RemoteError::Unsupported) => None,
            // Of an empty file there is no first byte, which looks like a defect.
            Err(RemoteError::Temporary { detail }) => Some(detail),
            Err(error) => return Err(error),
        };
        let found = match soon(self.store.objects.head(&self.path)).await {
            Ok(meta) => Found::from(&meta),
            // The body is not asked for: dropping the answer ends it.
            Err(_no_head) => match self.get(None).await {
                Ok((found, _)) => found,
                Err(RemoteError::Temporary { detail }) => {
                    let detail = format!("{detail}; or it does not tell the size");
                    return Err(RemoteError::Temporary { detail });
                }
                Err(error) => return Err(error),
            },
        };
        match refused {
            Some(detail) if found.bytes > 0 => Err(RemoteError::Temporary { detail }),
            Some(_) | None => Ok((found, false)),
        }
    }

    /// Reads a range, or all of it.
    pub(crate) async fn get(
        &self,
        range: Option<Range<u64>>,
    ) -> Result<(Found, Pieces), RemoteError> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let answer = soon(self.store.objects.get_opts(&self.path, options)).await?;
        let found = Found::from(&answer.meta);
        let pieces = futures_util::stream::unfold(answer.into_stream(), |mut body| async {
            let piece = match tokio::time::timeout(STALL_TIMEOUT, body.next()).await {
                Ok(piece) => piece?.map_err(RemoteError::from),
                Err(_elapsed) => Err(RemoteError::Temporary {
                    detail: "the server stopped in the middle".to_owned(),
                }),
            };
            Some((piece, body))
        });
        Ok((found, pieces.boxed()))
    }

    /// All of a small object, with its version as the store has it.
    pub(crate) async fn read(&self, bytes_max: u64) -> Result<(Vec<u8>, ObjectMeta), RemoteError> {
        let answer = soon(self.store.objects.get(&self.path)).await?;
        if answer.meta.size > bytes_max {
            return Err(RemoteError::Refused {
                detail: format!("it is larger than {bytes_max} bytes"),
            });
        }
        let meta = answer.meta.clone();
        let bytes = soon(answer.bytes()).await?;
        Ok((bytes.into(), meta))
    }
}

/// Waits for an answer, not for ever.
pub(crate) async fn soon<T>(
    call: impl Future<Output = object_store::Result<T>>,
) -> Result<T, RemoteError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(RemoteError::from),
        Err(_elapsed) => Err(RemoteError::Temporary {
            detail: "the server did not answer in time".to_owned(),
        }),
    }
}
