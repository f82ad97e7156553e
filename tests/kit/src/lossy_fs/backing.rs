//! The backing folder: where the disk's content lies between mounts.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::file::FileData;
use super::tree::{Folder, Kind, ROOT, Tree};

const MODE_BITS: u32 = 0o7777;

/// Reads everything below the backing folder, as durable.
pub(super) fn load(tree: &mut Tree, backing: &Path) -> io::Result<()> {
    load_folder(tree, ROOT, backing)
}

fn load_folder(tree: &mut Tree, inode: u64, path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let mode = mode_of(&metadata);
        let name: OsString = entry.file_name();
        if metadata.is_dir() {
            let kind = Kind::Folder(Folder::default());
            let child = tree.load(inode, name, mode, kind);
            load_folder(tree, child, &entry.path())?;
        } else if metadata.is_file() {
            let file = FileData::durable(fs::read(entry.path())?);
            tree.load(inode, name, mode, Kind::File(file));
        } else {
            let place = entry.path();
            let what = format!("{} is neither file nor folder", place.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
    }
    Ok(())
}

fn mode_of(metadata: &fs::Metadata) -> u16 {
    let bits = metadata.permissions().mode() & MODE_BITS;
    u16::try_from(bits).unwrap_or_default()
}

/// Makes the backing folder hold what is durable, and nothing else.
pub(super) fn store(tree: &Tree, backing: &Path) -> io::Result<()> {
    store_folder(tree, ROOT, backing)
}

fn store_folder(tree: &Tree, inode: u64, path: &Path) -> io::Result<()> {
    let durable = &tree.folder(inode)?.durable;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let survivor = durable.get(&entry.file_name());
        let is_folder = entry.file_type()?.is_dir();
        let stays = match survivor {
            Some(&child) => tree.folder(child).is_ok() == is_folder,
            None => false,
        };
        if !stays && is_folder {
            fs::remove_dir_all(entry.path())?;
        } else if !stays {
            fs::remove_file(entry.path())?;
        }
    }
    for (name, &child) in durable {
        let place = path.join(name);
        let node = tree.node(child)?;
        match &node.kind {
            Kind::File(file) => fs::write(&place, file.durable_content())?,
            Kind::Folder(_) => {
                if !place.is_dir() {
                    fs::create_dir(&place)?;
                }
                store_folder(tree, child, &place)?;
            }
        }
        fs::set_permissions(&place, Permissions::from_mode(node.mode.into()))?;
    }
    Ok(())
}
