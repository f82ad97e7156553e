//! `vivat data get` and `vivat data cat`

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tokio::runtime::Handle;
use vivat_client::LeaderClient;
use vivat_client::data::{DatasetReader, DatasetView, Workers};
use vivat_shared::dataset::{DatasetFile, Shape, is_contained};
use vivat_shared::shown::shown;

use super::transfer::{Standing, Transfer};
use crate::app::App;
use crate::failure::{Failure, exit};
use crate::quantity::{ByteSize, TimeSpan};
use crate::signals::Interrupt;

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);
/// For the thread that writes to see that it is to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A dataset that can be read.
struct Fetched {
    view: DatasetView,
    files: Vec<DatasetFile>,
    reader: DatasetReader,
}

async fn open(client: &LeaderClient, name: &str) -> Result<Fetched, Failure> {
    let (view, mut files) = client.get_dataset(name).await?;
    let workers = Workers::of(client).await?;
    if view.list_blocks > 0 {
        files = DatasetReader::files(client, &workers, &view).await?;
    }
    let reader = DatasetReader::open(client, &workers, &view).await?;
    Ok(Fetched {
        view,
        files,
        reader,
    })
}

/// Prints the files, one after the other.
pub async fn cat(app: &App, name: &str) -> Result<(), Failure> {
    let fetched = open(&app.client()?, name).await?;
    let out = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Failure::output(&error))?;
    let mut out = File::from(out);
    let runtime = Handle::current();
    let printing = tokio::task::spawn_blocking(move || {
        let Fetched {
            view,
            files,
            mut reader,
        } = fetched;
        let mut checked = Checked::new(&view.name, files);
        while let Some(bytes) = runtime.block_on(reader.next())? {
            // Bytes that are not those of their file are not printed, as far as
            // that is known before the file's end.
            checked.take(&bytes, |_, part| {
                out.write_all(part).map_err(|error| Failure::output(&error))
            })?;
        }
        checked.end(|_, _| Ok(()))
    });
    printing
        .await
        .map_err(|error| Failure::failed(error.to_string()))?
}

/// Fetches it to a path that does not exist yet.
pub async fn get(app: &App, name: &str, dest: &Path) -> Result<(), Failure> {
    let beside = Beside::new(dest)?;
    let client = app.client()?;
    let mut interrupt = Interrupt::new()?;
    let began = std::time::Instant::now();
    let fetched = tokio::select! {
        fetched = open(&client, name) => fetched?,
        () = interrupt.wait() => return Err(given_up(name)),
    };
    let total = fetched.view.bytes;
    let files = fetched.view.files;
    let watch = Arc::new(Watch::default());
    let writing = Writing {
        runtime: Handle::current(),
        watch: Arc::clone(&watch),
        temporary: beside.temporary.clone(),
    };
    let mut thread = tokio::task::spawn_blocking(move || writing.run(fetched));
    let mut transfer = Transfer::new(app, name);
    let mut ticks = tokio::time::interval(TICK);
    let leadership = client.leadership();
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut thread => {
                break outcome.unwrap_or_else(|error| Err(Failure::failed(error.to_string())));
            }
            () = interrupt.wait() => {
                watch.given_up.store(true, Ordering::Relaxed);
                let _ended_later = tokio::time::timeout(END_TIMEOUT, &mut thread).await;
                break Err(given_up(name));
            }
            _ = ticks.tick() => {
                let standing = Standing {
                    bytes: watch.written.load(Ordering::Relaxed),
                    total: Some(total),
                    blocks: 0,
                };
                let gap = leadership.borrow().gone_for();
                transfer.tick(standing, gap);
            }
        }
    };
    transfer.finish();
    outcome?;
    beside.appear()?;
    app.note(&format!(
        "{name}: {} in {} fetched to {} in {}",
        ByteSize(total),
        super::form::count(files, "file"),
        shown(&dest.to_string_lossy()),
        TimeSpan(began.elapsed())
    ));
    Ok(())
}

fn given_up(name: &str) -> Failure {
    Failure::new(
        "cancelled",
        exit::CANCELLED,
        format!("the fetch of `{name}` was given up: nothing of it stays"),
    )
}

#[derive(Debug, Default)]
struct Watch {
    written: AtomicU64,
    given_up: AtomicBool,
}

/// The thread that writes.
struct Writing {
    runtime: Handle,
    watch: Arc<Watch>,
    temporary: PathBuf,
}

impl Writing {
    fn run(self, fetched: Fetched) -> Result<(), Failure> {
        let Fetched {
            view,
            files,
            mut reader,
        } = fetched;
        let is_directory = view.shape == Shape::Directory || files.len() != 1;
        if is_directory {
            fs::create_dir(&self.temporary)
                .map_err(|error| Failure::file("make", &self.temporary, &error))?;
        }
        let mut target = Target {
            root: self.temporary,
            is_directory,
            made: PathBuf::new(),
            open: None,
        };
        let mut checked = Checked::new(&view.name, files);
        while let Some(bytes) = self.runtime.block_on(reader.next())? {
            if self.watch.given_up.load(Ordering::Relaxed) {
                return Err(given_up(&view.name));
            }
            checked.take(&bytes, |file, part| target.write(file, part))?;
            let length = bytes.len() as u64;
            self.watch.written.fetch_add(length, Ordering::Relaxed);
        }
        checked.end(|file, part| target.write(file, part))
    }
}

/// Where files are written; one is open at a time.
struct Target {
    root: PathBuf,
    is_directory: bool,
    /// The directory that was made last.
    made: PathBuf,
    open: Option<(String, File)>,
}

impl Target {
    fn write(&mut self, file: &DatasetFile, part: &[u8]) -> Result<(), Failure> {
        let path = if self.is_directory {
            self.root.join(&file.name)
        } else {
            self.root.clone()
        };
        let fail = |error: io::Error| Failure::file("write", &path, &error);
        let is_open = matches!(&self.open, Some((name, _)) if *name == file.name);
        if !is_open {
            // Files of a directory follow one another: most need no new one.
            let parent = path.parent().filter(|_| self.is_directory);
            if let Some(parent) = parent.filter(|parent| self.made != **parent) {
                fs::create_dir_all(parent).map_err(fail)?;
                self.made = parent.to_owned();
            }
            let new = File::create_new(&path).map_err(fail)?;
            self.open = Some((file.name.clone(), new));
        }
        match &mut self.open {
            Some((_, open)) => open.write_all(part).map_err(fail),
            None => Ok(()),
        }
    }
}

/// Tells the bytes of a dataset apart into those of its files, and checks each
/// file's when it ends.
struct Checked<'a> {
    dataset: &'a str,
    files: std::vec::IntoIter<DatasetFile>,
    /// The file that bytes go to, what it lacks, and the checksum of what it has.
    at: Option<(DatasetFile, u64, u32)>,
}

impl<'a> Checked<'a> {
    fn new(dataset: &'a str, files: Vec<DatasetFile>) -> Self {
        Self {
            dataset,
            files: files.into_iter(),
            at: None,
        }
    }

    /// Gives bytes to the files that they belong to.
    fn take(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&DatasetFile, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while !bytes.is_empty() {
            self.begin(&mut each)?;
            let Some((file, left, crc)) = &mut self.at else {
                return Err(self.wrong("its blocks have more bytes than its files"));
            };
            let most = usize::try_from(*left).unwrap_or(usize::MAX);
            let (part, later) = bytes.split_at(bytes.len().min(most));
            *crc = crc32c::crc32c_append(*crc, part);
            *left -= part.len() as u64;
            each(file, part)?;
            bytes = later;
            if *left == 0 {
                self.end_file()?;
            }
        }
        Ok(())
    }

    /// Nothing follows: empty files at the end, and nothing that lacks bytes.
    fn end(
        mut self,
        mut each: impl FnMut(&DatasetFile, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.begin(&mut each)?;
        match &self.at {
            None => Ok(()),
            Some((file, left, _)) => {
                let problem = format!(
                    "{left} bytes of its file {} are in no block",
                    shown(&file.name)
                );
                Err(self.wrong(&problem))
            }
        }
    }

    /// Turns to the next file that has bytes; those before it are empty.
    fn begin(
        &mut self,
        each: &mut impl FnMut(&DatasetFile, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while self.at.is_none() {
            let Some(file) = self.files.next() else {
                return Ok(());
            };
            if !is_contained(&file.name) {
                let problem = format!("a file of it is named {}", shown(&file.name));
                return Err(self.wrong(&problem));
            }
            let bytes = file.bytes;
            if bytes == 0 {
                each(&file, &[])?;
            }
            self.at = Some((file, bytes, 0));
            if bytes == 0 {
                self.end_file()?;
            }
        }
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), Failure> {
        match self.at.take() {
            Some((file, _, crc)) if crc != file.crc32c => {
                let problem = format!(
                    "its file {} has checksum {crc:08x}, and should have {:08x}",
                    shown(&file.name),
                    file.crc32c
                );
                Err(self.wrong(&problem))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn wrong(&self, problem: &str) -> Failure {
        Failure::new(
            "dataset-damaged",
            exit::FAILED,
            format!("dataset `{}`: {problem}", self.dataset),
        )
        .hint("`vivat data check` compares the directory with the disks")
    }
}

/// A path beside the one that is wanted, which gets its name when it is whole
/// and goes when it is not.
struct Beside {
    temporary: PathBuf,
    dest: PathBuf,
    has_appeared: bool,
}

impl Beside {
    fn new(dest: &Path) -> Result<Self, Failure> {
        let name = dest
            .file_name()
            .ok_or_else(|| Failure::usage("DEST must end with a name that does not exist yet"))?;
        match fs::symlink_metadata(dest) {
            Ok(_) => return Err(taken(dest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::file("write", dest, &error)),
        }
        let temporary = dest.with_file_name(format!(
            ".{}.vivat-{:08x}",
            // A name may be as long as the file system allows: not all of it.
            name.to_string_lossy().chars().take(40).collect::<String>(),
            rand::random::<u32>()
        ));
        let parent = dest
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            let metadata =
                fs::metadata(parent).map_err(|error| Failure::file("write", parent, &error))?;
            if !metadata.is_dir() {
                let text = shown(&parent.to_string_lossy()).into_owned();
                return Err(Failure::usage(format!("{text} is no directory")));
            }
        }
        Ok(Self {
            temporary,
            dest: dest.to_owned(),
            has_appeared: false,
        })
    }

    fn appear(mut self) -> Result<(), Failure> {
        match renameat_with(
            CWD,
            &self.temporary,
            CWD,
            &self.dest,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(taken(&self.dest)),
            // File systems that cannot do it in one step look first.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                if fs::symlink_metadata(&self.dest).is_ok() {
                    return Err(taken(&self.dest));
                }
                fs::rename(&self.temporary, &self.dest)
                    .map_err(|error| Failure::file("write", &self.dest, &error))?;
            }
            Err(errno) => return Err(Failure::file("write", &self.dest, &errno.into())),
        }
        self.has_appeared = true;
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.has_appeared {
            return;
        }
        // What cannot be removed is hidden, and named after us.
        let _left = match fs::symlink_metadata(&self.temporary) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&self.temporary),
            Ok(_) => fs::remove_file(&self.temporary),
            Err(_) => Ok(()),
        };
    }
}

fn taken(dest: &Path) -> Failure {
    Failure::conflict(format!("{} exists", shown(&dest.to_string_lossy())))
        .hint("name a path that does not exist yet, or move that one away")
}

#[cfg(test)]
#[path = "get_tests.rs"]
mod tests;
