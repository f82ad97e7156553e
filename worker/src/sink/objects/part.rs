//! The object of one reduce attempt: appears as a whole when it is finished.

use std::collections::VecDeque;
use std::io::{self, Write};

use object_store::multipart::PartId;
use object_store::{MultipartId, ObjectStoreExt, PutPayload};
use tokio::task::JoinHandle;

use crate::remote::{RemoteError, RemoteObject, Waiting, patiently, soon};

/// Bytes of the first pieces: above the 5 MiB that stores ask for.
const PIECE_BYTES: usize = 8 * 1024 * 1024;
/// Pieces of one size; the next ones are twice as large, up to a bound, because a
/// store takes 10,000 at most.
const PIECES_OF_A_SIZE: usize = 1_000;
const PIECE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pieces on their way at once, beside the one that is filled.
const UNDER_WAY_MAX: usize = 2;

type Sent = Result<PartId, RemoteError>;

/// An object that is being written. Small ones are put at once, larger ones in
/// pieces; dropped before its end it gives the pieces up.
#[derive(Debug)]
pub(crate) struct ObjectPart {
    object: RemoteObject,
    waiting: Waiting,
    buffer: Vec<u8>,
    bytes: u64,
    upload: Option<Upload>,
}

/// An object in pieces.
#[derive(Debug)]
struct Upload {
    id: MultipartId,
    done: Vec<PartId>,
    under_way: VecDeque<JoinHandle<Sent>>,
    begun: usize,
}

impl ObjectPart {
    pub(super) fn new(object: RemoteObject, waiting: Waiting) -> Self {
        Self {
            object,
            waiting,
            buffer: Vec::new(),
            bytes: 0,
            upload: None,
        }
    }

    /// Makes it visible. What was reported as done is durable then.
    pub(crate) fn finish(&mut self) -> Result<(), RemoteError> {
        let Some(mut upload) = self.upload.take() else {
            let payload = PutPayload::from(std::mem::take(&mut self.buffer));
            let object = &self.object;
            let put = || async {
                let put = object.store.objects.put(&object.path, payload.clone());
                soon(put).await.map(|_| ())
            };
            return self.waiting.wait(patiently(put))?;
        };
        let ended = self.end(&mut upload);
        if ended.is_err() {
            self.upload = Some(upload);
        }
        ended
    }

    fn end(&mut self, upload: &mut Upload) -> Result<(), RemoteError> {
        if !self.buffer.is_empty() {
            let piece = std::mem::take(&mut self.buffer);
            self.send(upload, piece)?;
        }
        while let Some(sent) = upload.under_way.pop_front() {
            upload.done.push(self.sent(sent)?);
        }
        let (object, bytes) = (&self.object, self.bytes);
        let (id, parts) = (&upload.id, &upload.done);
        let complete = || async {
            let Some(multipart) = &object.store.multipart else {
                return Err(RemoteError::Unsupported);
            };
            let done = multipart.complete_multipart(&object.path, id, parts.clone());
            match soon(done).await {
                Ok(_) => Ok(()),
                // The answer to the try before may have been lost.
                Err(RemoteError::NotFound) => match object.look().await {
                    Ok((found, _)) if found.bytes == bytes => Ok(()),
                    Ok(_) | Err(_) => Err(RemoteError::NotFound),
                },
                Err(error) => Err(error),
            }
        };
        self.waiting.wait(patiently(complete))?
    }

    /// Starts to send a piece; waits while enough are on their way.
    fn send(&self, upload: &mut Upload, piece: Vec<u8>) -> Result<(), RemoteError> {
        while upload.under_way.len() >= UNDER_WAY_MAX
            && let Some(sent) = upload.under_way.pop_front()
        {
            upload.done.push(self.sent(sent)?);
        }
        let (object, id, number) = (self.object.clone(), upload.id.clone(), upload.begun);
        let payload = PutPayload::from(piece);
        let stopped = self.waiting.stopped.clone();
        let sending = async move {
            let Some(multipart) = &object.store.multipart else {
                return Err(RemoteError::Unsupported);
            };
            let put = || soon(multipart.put_part(&object.path, &id, number, payload.clone()));
            tokio::select! {
                sent = patiently(put) => sent,
                () = stopped.cancelled() => Err(crate::remote::stopped()),
            }
        };
        upload
            .under_way
            .push_back(self.waiting.runtime.spawn(sending));
        upload.begun += 1;
        Ok(())
    }

    fn sent(&self, sent: JoinHandle<Sent>) -> Sent {
        self.waiting
            .wait(sent)?
            .map_err(|_| RemoteError::Temporary {
                detail: "the worker is ending".to_owned(),
            })?
    }

    fn create(&self) -> Result<Upload, RemoteError> {
        let object = &self.object;
        let create = || async {
            let Some(multipart) = &object.store.multipart else {
                return Err(RemoteError::Unsupported);
            };
            soon(multipart.create_multipart(&object.path)).await
        };
        Ok(Upload {
            id: self.waiting.wait(patiently(create))??,
            done: Vec::new(),
            under_way: VecDeque::new(),
            begun: 0,
        })
    }

    fn piece_bytes(&self) -> usize {
        let begun = self.upload.as_ref().map_or(0, |upload| upload.begun);
        let doublings = u32::try_from(begun / PIECES_OF_A_SIZE).unwrap_or(u32::MAX);
        PIECE_BYTES
            .saturating_mul(2_usize.saturating_pow(doublings))
            .min(PIECE_BYTES_MAX)
    }

    fn flush_piece(&mut self) -> Result<(), RemoteError> {
        let piece = std::mem::take(&mut self.buffer);
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.create()?,
        };
        let sent = self.send(&mut upload, piece);
        self.upload = Some(upload);
        sent
    }
}

impl Write for ObjectPart {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.piece_bytes().saturating_sub(self.buffer.len()).max(1);
        let taken = room.min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        self.bytes += taken as u64;
        if self.buffer.len() >= self.piece_bytes() {
            self.flush_piece().map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ObjectPart {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else {
            return;
        };
        for sent in &upload.under_way {
            sent.abort();
        }
        // Best effort: stores are told to drop old uploads by rules of their own.
        let object = self.object.clone();
        self.waiting.runtime.spawn(async move {
            if let Some(multipart) = &object.store.multipart {
                let _given_up = soon(multipart.abort_multipart(&object.path, &upload.id)).await;
            }
        });
    }
}
