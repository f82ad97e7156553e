//! What a task and the supervisor of its command tell each other, over a pair of
//! sockets: one order with three descriptors, one report back.
//!
//! Both ends are the same binary, so the form has no version.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A command to run. Texts are bytes: they need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    /// Program and arguments, at least one.
    pub words: Vec<Vec<u8>>,
    /// All of the environment.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// The working directory.
    pub directory: Vec<u8>,
    /// What it may use.
    pub limits: Limits,
}

/// What a command may use; none: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Bytes in memory, of all of its processes.
    pub memory_bytes: Option<u64>,
    /// CPU time of one process.
    pub cpu_seconds: Option<u64>,
    /// Descriptors of one process.
    pub open_files: Option<u64>,
    /// The largest file that it may write.
    pub file_bytes: Option<u64>,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The command could not be started.
    NotStarted {
        /// There is no such file, or it may not be executed.
        is_missing: bool,
        /// The operating system's words.
        detail: String,
    },
    /// It ended, and nothing that it started is left.
    Ended {
        /// Its exit code, unless a signal ended it.
        code: Option<i32>,
        /// The signal.
        signal: Option<i32>,
        /// Bytes that its processes had in memory when that was too much.
        memory_bytes: Option<u64>,
    },
}

/// Descriptors that travel with an order: input, output, error.
pub(super) const DESCRIPTORS: usize = 3;
/// Longer messages are refused: the kernel would refuse such an environment too.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const LENGTH_BYTES: usize = 4;
/// Room for the descriptors of one message, in bytes: more than it takes.
const CONTROL_BYTES: usize = 256;

/// Sends an order with the descriptors that the command is to have.
pub(super) fn send_order(
    mut socket: &UnixStream,
    order: &Order,
    descriptors: [&OwnedFd; DESCRIPTORS],
) -> io::Result<()> {
    let bytes = encode(order)?;
    let (length, rest) = bytes.split_at(LENGTH_BYTES);
    let borrowed = descriptors.map(AsFd::as_fd);
    let mut room = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("no room for the descriptors of an order"));
    }
    let sent = sendmsg(
        socket,
        &[IoSlice::new(length)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    socket.write_all(&length[sent..])?;
    socket.write_all(rest)
}

/// Takes an order and its descriptors.
pub(super) fn receive_order(mut socket: &UnixStream) -> io::Result<(Order, Vec<OwnedFd>)> {
    let mut length = [0; LENGTH_BYTES];
    let mut room = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    socket.read_exact(&mut length[received.bytes..])?;
    Ok((receive(socket, length)?, descriptors))
}

/// Sends a report.
pub(super) fn send_report(mut socket: &UnixStream, report: &Report) -> io::Result<()> {
    socket.write_all(&encode(report)?)
}

/// The report in the bytes that came so far, if all of it has come.
pub(super) fn report_in(bytes: &[u8]) -> Option<Report> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    postcard::from_bytes(rest.get(..length)?).ok()
}

fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "command and environment have {} bytes, {MESSAGE_BYTES_MAX} may be",
            body.len()
        )));
    }
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn receive<T: DeserializeOwned>(
    mut socket: &UnixStream,
    length: [u8; LENGTH_BYTES],
) -> io::Result<T> {
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("an order is too long"));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    postcard::from_bytes(&body).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::PipeWriter;

    use super::*;

    #[test]
    fn order_arrives_with_descriptors_that_work() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let order = Order {
            words: vec![b"cat".to_vec(), vec![0xFF; 100_000]],
            environment: vec![(b"A".to_vec(), b"b".to_vec())],
            directory: b"/tmp".to_vec(),
            limits: Limits {
                open_files: Some(9),
                ..Limits::default()
            },
        };
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        let sent = order.clone();
        let sender = std::thread::spawn(move || {
            send_order(&ours, &sent, [&writer, &writer, &writer]).unwrap();
        });
        let (received, mut descriptors) = receive_order(&theirs).unwrap();
        sender.join().unwrap();
        assert_eq!(received, order);
        assert_eq!(descriptors.len(), DESCRIPTORS);
        let mut writer = PipeWriter::from(descriptors.remove(1));
        writer.write_all(b"through").unwrap();
        drop((writer, descriptors));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn report_is_read_once_all_of_it_is_there() {
        let report = Report::Ended {
            code: Some(3),
            signal: None,
            memory_bytes: None,
        };
        let bytes = encode(&report).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(report_in(&bytes[..end]), None, "{end}");
        }
        assert_eq!(report_in(&bytes), Some(report));
    }
}
