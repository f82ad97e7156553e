//! Answers the kernel: from FUSE requests to the state and back.
//!
//! No answer may be cached (lifetimes are zero), or a program would be served
//! after the power is off.

use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::file::FileData;
use super::state::{Call, Shared, State};
use super::tree::{Folder, Kind};

/// Nothing is remembered by the kernel.
const LIFETIME: Duration = Duration::ZERO;
const BLOCK_BYTES: u32 = 4096;
const SECTOR_BYTES: u64 = 512;
const NAME_BYTES_MAX: u32 = 255;
const MODE_BITS: u32 = 0o7777;

/// The file system as fuser knows it.
#[derive(Debug)]
pub(super) struct Adapter {
    shared: Arc<Shared>,
}

type Locked<'a> = MutexGuard<'a, State>;

impl Adapter {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The state, if the call may go on.
    fn admit(&self, call: Call) -> Result<Locked<'_>, Errno> {
        let mut state = self.shared.lock();
        let admitted = state.admit(call);
        self.shared.announce();
        if let Some(time) = admitted? {
            drop(state);
            thread::sleep(time);
            state = self.shared.lock();
        }
        Ok(state)
    }

    fn make(
        &self,
        (folder, name): (INodeNo, &OsStr),
        mode: u32,
        kind: Kind,
    ) -> Result<(Locked<'_>, FileAttr), Errno> {
        let mut state = self.admit(Call::Create)?;
        let node = (mode_bits(mode), kind);
        let inode = state.tree.create(folder.0, name, node)?;
        let attributes = attributes(&state, inode)?;
        Ok((state, attributes))
    }

    fn sync_file(&self, handle: u64) -> Result<(), Errno> {
        match self.admit(Call::Sync) {
            Ok(mut state) => state.sync_file(handle),
            Err(refused) => {
                self.shared.lock().fail_sync_of_file(handle)?;
                Err(refused)
            }
        }
    }

    fn resize(&self, inode: INodeNo, bytes: u64) -> Result<(), Errno> {
        let bytes = usize::try_from(bytes).map_err(|_| Errno::FBIG)?;
        self.admit(Call::Write)?.resize(inode.0, bytes)
    }

    fn change_mode(&self, inode: INodeNo, mode: u32) -> Result<(), Errno> {
        let mut state = self.admit(Call::Change)?;
        state.tree.node_mut(inode.0)?.mode = mode_bits(mode);
        Ok(())
    }
}

fn mode_bits(mode: u32) -> u16 {
    u16::try_from(mode & MODE_BITS).unwrap_or_default()
}

/// Ours to fuser's.
fn code(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw_os_error())
}

fn attributes(state: &State, inode: u64) -> Result<FileAttr, Errno> {
    let node = state.tree.node(inode)?;
    let (kind, size, nlink) = match &node.kind {
        Kind::File(file) => (FileType::RegularFile, file.content().len() as u64, 1),
        Kind::Folder(_) => (FileType::Directory, 0, 2),
    };
    Ok(FileAttr {
        ino: INodeNo(inode),
        size,
        blocks: size.div_ceil(SECTOR_BYTES),
        atime: node.changed_at,
        mtime: node.changed_at,
        ctime: node.changed_at,
        crtime: node.changed_at,
        kind,
        perm: node.mode,
        nlink,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    })
}

fn answer_entry(reply: ReplyEntry, answer: Result<FileAttr, Errno>) {
    match answer {
        Ok(attributes) => reply.entry(&LIFETIME, &attributes, Generation(0)),
        Err(errno) => reply.error(code(errno)),
    }
}

fn answer_attributes(reply: ReplyAttr, answer: Result<FileAttr, Errno>) {
    match answer {
        Ok(attributes) => reply.attr(&LIFETIME, &attributes),
        Err(errno) => reply.error(code(errno)),
    }
}

fn answer_empty(reply: ReplyEmpty, answer: Result<(), Errno>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(code(errno)),
    }
}

fn answer_open(reply: ReplyOpen, flags: FopenFlags, answer: Result<u64, Errno>) {
    match answer {
        Ok(handle) => reply.opened(FileHandle(handle), flags),
        Err(errno) => reply.error(code(errno)),
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Where the kernel is too old for it, shared mappings are refused.
        config
            .add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP)
            .ok();
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let answer = self.admit(Call::Look).and_then(|state| {
            let inode = state.tree.lookup(parent.0, name)?;
            attributes(&state, inode)
        });
        answer_entry(reply, answer);
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let answer = self.admit(Call::Look);
        answer_attributes(reply, answer.and_then(|state| attributes(&state, inode.0)));
    }

    fn setattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let resized = size.map_or(Ok(()), |bytes| self.resize(inode, bytes));
        let changed = mode.map_or(Ok(()), |mode| self.change_mode(inode, mode));
        let answer = resized
            .and(changed)
            .and_then(|()| self.admit(Call::Look))
            .and_then(|state| attributes(&state, inode.0));
        answer_attributes(reply, answer);
    }

    fn mkdir(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let kind = Kind::Folder(Folder::default());
        let made = self.make((parent, name), mode & !umask, kind);
        answer_entry(reply, made.map(|(_, attributes)| attributes));
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let state = self.admit(Call::Change);
        let answer = state.and_then(|mut state| state.tree.remove(parent.0, name, false));
        answer_empty(reply, answer);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let state = self.admit(Call::Change);
        let answer = state.and_then(|mut state| state.tree.remove(parent.0, name, true));
        answer_empty(reply, answer);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let may_replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        let known = RenameFlags::RENAME_NOREPLACE.contains(flags);
        let answer = if known {
            self.admit(Call::Change).and_then(|mut state| {
                let to = (to_parent.0, to_name);
                state.tree.rename((parent.0, name), to, may_replace)
            })
        } else {
            Err(Errno::INVAL)
        };
        answer_empty(reply, answer);
    }

    fn open(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let state = self.admit(Call::Look);
        let answer = state.and_then(|mut state| state.open_file(inode.0));
        answer_open(reply, FopenFlags::FOPEN_DIRECT_IO, answer);
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let kind = Kind::File(FileData::default());
        let made = self.make((parent, name), mode & !umask, kind);
        let opened = made.and_then(|(mut state, attributes)| {
            let handle = state.open_file(attributes.ino.0)?;
            Ok((handle, attributes))
        });
        match opened {
            Ok((handle, attributes)) => reply.created(
                &LIFETIME,
                &attributes,
                Generation(0),
                FileHandle(handle),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(errno) => reply.error(code(errno)),
        }
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = match self.admit(Call::Read) {
            Ok(state) => state,
            Err(errno) => return reply.error(code(errno)),
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        match state.read(handle.0, offset, size) {
            Ok(bytes) => reply.data(bytes),
            Err(errno) => reply.error(code(errno)),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.admit(Call::Write).and_then(|mut state| {
            let offset = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
            state.write(handle.0, offset, data)
        });
        // O_SYNC contains the bit of O_DSYNC.
        let flags = OFlags::from_bits_retain(flags.0.cast_unsigned());
        let is_sync = flags.contains(OFlags::DSYNC);
        let synced = written.and_then(|()| {
            if is_sync {
                self.sync_file(handle.0)
            } else {
                Ok(())
            }
        });
        match synced {
            // A request is at most 16 MiB.
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(code(errno)),
        }
    }

    fn fallocate(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(code(Errno::OPNOTSUPP));
        }
        let answer = self.admit(Call::Look).and_then(|mut state| {
            let inode = state.file_of(handle.0)?;
            Ok(state.tree.file(inode)?.content().len() as u64)
        });
        let grown = answer.and_then(|size| match offset.checked_add(length) {
            Some(end) if end > size => self.resize(inode, end),
            Some(_) => Ok(()),
            None => Err(Errno::FBIG),
        });
        answer_empty(reply, grown);
    }

    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        answer_empty(reply, self.admit(Call::Look).map(drop));
    }

    fn release(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.shared.lock().close(handle.0);
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        answer_empty(reply, self.sync_file(handle.0));
    }

    fn opendir(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let state = self.admit(Call::Look);
        let answer = state.and_then(|mut state| state.open_folder(inode.0));
        answer_open(reply, FopenFlags::empty(), answer);
    }

    fn readdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let mut state = match self.admit(Call::Look) {
            Ok(state) => state,
            Err(errno) => return reply.error(code(errno)),
        };
        let names = match state.folder_of(handle.0) {
            Ok((_, names)) => names,
            Err(errno) => return reply.error(code(errno)),
        };
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (next, listed) in (1..).zip(names).skip(skipped) {
            let kind = if listed.is_folder {
                FileType::Directory
            } else {
                FileType::RegularFile
            };
            if reply.add(INodeNo(listed.inode), next, kind, &listed.name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.shared.lock().close(handle.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let state = self.admit(Call::Sync);
        answer_empty(
            reply,
            state.and_then(|mut state| state.sync_folder(handle.0)),
        );
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        let state = match self.admit(Call::Look) {
            Ok(state) => state,
            Err(errno) => return reply.error(code(errno)),
        };
        let block = u64::from(BLOCK_BYTES);
        let blocks = state.tree.capacity_bytes() / block;
        let free = blocks.saturating_sub(state.tree.used_bytes().div_ceil(block));
        reply.statfs(
            blocks,
            free,
            free,
            0,
            0,
            BLOCK_BYTES,
            NAME_BYTES_MAX,
            BLOCK_BYTES,
        );
    }

    fn access(&self, _request: &Request, _inode: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        answer_empty(reply, self.admit(Call::Look).map(drop));
    }
}
