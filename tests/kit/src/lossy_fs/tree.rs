//! Files, folders and their names, as seen and as on the disk.
//!
//! A change of names is pending until one of the folders that it touches is
//! synced; then it is done on the disk as a whole, as a journal does. Each
//! change is a statement about an inode ("this name means that file"), so any
//! subset of them in order leaves a file system that is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use rustix::io::Errno;

use super::file::FileData;

/// The root folder's inode, for ever.
pub(super) const ROOT: u64 = 1;

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    folder: u64,
    name: OsString,
}

/// A change of names that was not synced.
#[derive(Debug)]
struct NameChange {
    /// Place among all changes of the file system.
    sequence: u64,
    inode: u64,
    /// Where the name vanishes.
    from: Option<Slot>,
    /// Where it appears.
    to: Option<Slot>,
}

/// Names and what they mean.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub names: BTreeMap<OsString, u64>,
    pub durable: BTreeMap<OsString, u64>,
}

#[derive(Debug)]
pub(super) enum Kind {
    File(FileData),
    Folder(Folder),
}

/// A file or a folder.
#[derive(Debug)]
pub(super) struct Node {
    pub mode: u16,
    pub changed_at: SystemTime,
    pub kind: Kind,
}

impl Node {
    fn new(mode: u16, kind: Kind) -> Self {
        Self {
            mode,
            changed_at: SystemTime::now(),
            kind,
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    names: Vec<NameChange>,
    next_inode: u64,
    next_sequence: u64,
    capacity_bytes: u64,
}

impl Tree {
    /// An empty root. Inodes begin after those of a former life, so that a
    /// handle from then meets nothing.
    pub fn new(capacity_bytes: u64, next_inode: u64) -> Self {
        let mut nodes = BTreeMap::new();
        nodes.insert(ROOT, Node::new(0o755, Kind::Folder(Folder::default())));
        Self {
            nodes,
            names: Vec::new(),
            next_inode: next_inode.max(ROOT + 1),
            next_sequence: 0,
            capacity_bytes,
        }
    }

    pub fn next_inode(&self) -> u64 {
        self.next_inode
    }

    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    pub fn node(&self, inode: u64) -> Result<&Node, Errno> {
        self.nodes.get(&inode).ok_or(Errno::IO)
    }

    pub fn node_mut(&mut self, inode: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&inode).ok_or(Errno::IO)
    }

    pub fn file(&self, inode: u64) -> Result<&FileData, Errno> {
        match &self.node(inode)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Folder(_) => Err(Errno::ISDIR),
        }
    }

    pub fn file_mut(&mut self, inode: u64) -> Result<&mut FileData, Errno> {
        match &mut self.node_mut(inode)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Folder(_) => Err(Errno::ISDIR),
        }
    }

    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut FileData> {
        self.nodes
            .values_mut()
            .filter_map(|node| match &mut node.kind {
                Kind::File(file) => Some(file),
                Kind::Folder(_) => None,
            })
    }

    pub fn files(&self) -> impl Iterator<Item = &FileData> {
        self.nodes.values().filter_map(|node| match &node.kind {
            Kind::File(file) => Some(file),
            Kind::Folder(_) => None,
        })
    }

    pub fn folder(&self, inode: u64) -> Result<&Folder, Errno> {
        match &self.node(inode)?.kind {
            Kind::Folder(folder) => Ok(folder),
            Kind::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn folder_mut(&mut self, inode: u64) -> Result<&mut Folder, Errno> {
        match &mut self.node_mut(inode)?.kind {
            Kind::Folder(folder) => Ok(folder),
            Kind::File(_) => Err(Errno::NOTDIR),
        }
    }

    pub fn lookup(&self, folder: u64, name: &OsStr) -> Result<u64, Errno> {
        let names = &self.folder(folder)?.names;
        names.get(name).copied().ok_or(Errno::NOENT)
    }

    /// A node that was on the disk before the mount.
    pub fn load(&mut self, folder: u64, name: OsString, mode: u16, kind: Kind) -> u64 {
        let inode = self.insert(mode, kind);
        if let Ok(folder) = self.folder_mut(folder) {
            folder.names.insert(name.clone(), inode);
            folder.durable.insert(name, inode);
        }
        inode
    }

    fn insert(&mut self, mode: u16, kind: Kind) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.nodes.insert(inode, Node::new(mode, kind));
        inode
    }

    fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    fn touch(&mut self, inode: u64) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.changed_at = SystemTime::now();
        }
    }

    pub fn create(&mut self, folder: u64, name: &OsStr, node: (u16, Kind)) -> Result<u64, Errno> {
        if self.folder(folder)?.names.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let inode = self.insert(node.0, node.1);
        let names = &mut self.folder_mut(folder)?.names;
        names.insert(name.to_owned(), inode);
        let slot = Slot {
            folder,
            name: name.to_owned(),
        };
        self.pend(inode, None, Some(slot));
        Ok(inode)
    }

    fn pend(&mut self, inode: u64, from: Option<Slot>, to: Option<Slot>) {
        for slot in [&from, &to].into_iter().flatten() {
            self.touch(slot.folder);
        }
        let sequence = self.sequence();
        self.names.push(NameChange {
            sequence,
            inode,
            from,
            to,
        });
    }

    /// Removes a name: of a file, or of an empty folder.
    pub fn remove(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Result<(), Errno> {
        let inode = self.lookup(folder, name)?;
        match (&self.node(inode)?.kind, is_folder) {
            (Kind::File(_), true) => return Err(Errno::NOTDIR),
            (Kind::Folder(_), false) => return Err(Errno::ISDIR),
            (Kind::Folder(found), true) if !found.names.is_empty() => {
                return Err(Errno::NOTEMPTY);
            }
            (Kind::File(_), false) | (Kind::Folder(_), true) => {}
        }
        self.folder_mut(folder)?.names.remove(name);
        let name = name.to_owned();
        self.pend(inode, Some(Slot { folder, name }), None);
        Ok(())
    }

    pub fn rename(
        &mut self,
        (folder, name): (u64, &OsStr),
        (to_folder, to_name): (u64, &OsStr),
        may_replace: bool,
    ) -> Result<(), Errno> {
        let inode = self.lookup(folder, name)?;
        self.folder(to_folder)?;
        if let Ok(replaced) = self.lookup(to_folder, to_name) {
            if !may_replace {
                return Err(Errno::EXIST);
            }
            if replaced == inode {
                return Ok(());
            }
            match (&self.node(inode)?.kind, &self.node(replaced)?.kind) {
                (Kind::File(_), Kind::Folder(_)) => return Err(Errno::ISDIR),
                (Kind::Folder(_), Kind::File(_)) => return Err(Errno::NOTDIR),
                (_, Kind::Folder(found)) if !found.names.is_empty() => {
                    return Err(Errno::NOTEMPTY);
                }
                (Kind::File(_), Kind::File(_)) | (Kind::Folder(_), Kind::Folder(_)) => {}
            }
        }
        self.folder_mut(folder)?.names.remove(name);
        let names = &mut self.folder_mut(to_folder)?.names;
        names.insert(to_name.to_owned(), inode);
        let slot = |folder, name: &OsStr| {
            let name = name.to_owned();
            Some(Slot { folder, name })
        };
        self.pend(inode, slot(folder, name), slot(to_folder, to_name));
        Ok(())
    }

    pub fn write(&mut self, inode: u64, offset: usize, data: &[u8]) -> Result<(), Errno> {
        let end = offset.checked_add(data.len()).ok_or(Errno::FBIG)?;
        self.reserve(inode, end)?;
        let sequence = self.sequence();
        self.file_mut(inode)?.write(sequence, offset, data);
        self.touch(inode);
        Ok(())
    }

    pub fn resize(&mut self, inode: u64, bytes: usize) -> Result<(), Errno> {
        self.reserve(inode, bytes)?;
        let sequence = self.sequence();
        self.file_mut(inode)?.resize(sequence, bytes);
        self.touch(inode);
        Ok(())
    }

    /// Refuses what does not fit on the disk.
    fn reserve(&self, inode: u64, end: usize) -> Result<(), Errno> {
        let grown = end.saturating_sub(self.file(inode)?.content().len()) as u64;
        if grown > 0 && self.used_bytes() + grown > self.capacity_bytes {
            return Err(Errno::NOSPC);
        }
        Ok(())
    }

    pub fn used_bytes(&self) -> u64 {
        self.files().map(|file| file.content().len() as u64).sum()
    }

    pub fn unsynced_bytes(&self) -> u64 {
        self.files().map(FileData::unsynced_bytes).sum()
    }

    /// Makes the names of a folder durable.
    pub fn sync_folder(&mut self, inode: u64) -> Result<(), Errno> {
        self.folder(inode)?;
        let touches = |slot: &Option<Slot>| slot.as_ref().is_some_and(|it| it.folder == inode);
        for change in std::mem::take(&mut self.names) {
            if touches(&change.from) || touches(&change.to) {
                self.commit(change);
            } else {
                self.names.push(change);
            }
        }
        Ok(())
    }

    /// Makes the changes of names durable that the caller lets through, in
    /// order; how many it did not.
    pub fn settle_names(&mut self, mut survives: impl FnMut(u64) -> bool) -> u64 {
        let mut lost = 0;
        for change in std::mem::take(&mut self.names) {
            if survives(change.sequence) {
                self.commit(change);
            } else {
                lost += 1;
            }
        }
        lost
    }

    /// Places of the changes of names that are pending.
    pub fn pending_names(&self) -> impl Iterator<Item = u64> {
        self.names.iter().map(|change| change.sequence)
    }

    fn commit(&mut self, change: NameChange) {
        let inode = change.inode;
        // A folder that is gone for good takes its names with it.
        if let Some(from) = change.from
            && let Ok(folder) = self.folder_mut(from.folder)
            && folder.durable.get(&from.name) == Some(&inode)
        {
            folder.durable.remove(&from.name);
        }
        if let Some(to) = change.to
            && let Ok(folder) = self.folder_mut(to.folder)
        {
            folder.durable.insert(to.name, inode);
        }
    }

    /// Frees what no name means any more, now or after a cut, and nobody holds open.
    pub fn sweep(&mut self, open: &BTreeSet<u64>) {
        let mut wanted = open.clone();
        wanted.insert(ROOT);
        wanted.extend(self.names.iter().map(|change| change.inode));
        for node in self.nodes.values() {
            if let Kind::Folder(folder) = &node.kind {
                wanted.extend(folder.names.values().chain(folder.durable.values()));
            }
        }
        self.nodes.retain(|inode, _| wanted.contains(inode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (u16, Kind) {
        (0o644, Kind::File(FileData::default()))
    }

    fn durable_names(tree: &Tree) -> Vec<&str> {
        let names = tree.folder(ROOT).unwrap().durable.keys();
        names.filter_map(|name| name.to_str()).collect()
    }

    #[test]
    fn a_name_is_durable_only_after_its_folder_was_synced() {
        let mut tree = Tree::new(1 << 20, 0);
        let inode = tree.create(ROOT, OsStr::new("a"), file()).unwrap();
        tree.write(inode, 0, b"x").unwrap();
        tree.file_mut(inode).unwrap().sync();
        assert!(durable_names(&tree).is_empty());
        tree.sync_folder(ROOT).unwrap();
        assert_eq!(durable_names(&tree), ["a"]);
        tree.remove(ROOT, OsStr::new("a"), false).unwrap();
        assert_eq!(durable_names(&tree), ["a"]);
        tree.sync_folder(ROOT).unwrap();
        assert!(durable_names(&tree).is_empty());
    }

    #[test]
    fn a_rename_survives_as_a_whole_or_not_at_all() {
        for survives in [true, false] {
            let mut tree = Tree::new(1 << 20, 0);
            let old = tree.create(ROOT, OsStr::new("f"), file()).unwrap();
            let new = tree.create(ROOT, OsStr::new("f.new"), file()).unwrap();
            tree.sync_folder(ROOT).unwrap();
            let to = (ROOT, OsStr::new("f"));
            tree.rename((ROOT, OsStr::new("f.new")), to, true).unwrap();
            let lost = tree.settle_names(|_| survives);
            assert_eq!(lost, u64::from(!survives));
            let durable = &tree.folder(ROOT).unwrap().durable;
            let meaning = durable.get(OsStr::new("f")).copied();
            assert_eq!(meaning, Some(if survives { new } else { old }));
            assert_eq!(durable.contains_key(OsStr::new("f.new")), !survives);
        }
    }

    #[test]
    fn a_file_that_only_the_disk_still_names_is_kept() {
        let mut tree = Tree::new(1 << 20, 0);
        let inode = tree.create(ROOT, OsStr::new("a"), file()).unwrap();
        tree.sync_folder(ROOT).unwrap();
        tree.remove(ROOT, OsStr::new("a"), false).unwrap();
        tree.sweep(&BTreeSet::new());
        assert!(tree.file(inode).is_ok());
        tree.sync_folder(ROOT).unwrap();
        tree.sweep(&BTreeSet::from([inode]));
        assert!(tree.file(inode).is_ok(), "it is open");
        tree.sweep(&BTreeSet::new());
        assert!(tree.file(inode).is_err());
    }

    #[test]
    fn a_full_disk_refuses_to_grow_and_still_overwrites() {
        let mut tree = Tree::new(10, 0);
        let inode = tree.create(ROOT, OsStr::new("a"), file()).unwrap();
        tree.write(inode, 0, &[1; 10]).unwrap();
        assert_eq!(tree.write(inode, 5, &[1; 6]), Err(Errno::NOSPC));
        assert_eq!(tree.resize(inode, 11), Err(Errno::NOSPC));
        tree.write(inode, 0, &[2; 10]).unwrap();
    }
}
