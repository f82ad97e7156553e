//! What `data put` was told to put: which files, in which order, under which
//! names, and in which format.
//!
//! A directory gives the names below it; what else is named gives its file name.
//! The order is that of the command line, and within a directory or a glob that
//! of the names' bytes, so the same command makes the same dataset.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use vivat_shared::dataset::{Shape, is_contained};
use vivat_shared::job::{InputFormat, is_url};
use vivat_shared::limits::PATH_BYTES_MAX;
use vivat_shared::shown::shown;
use vivat_worker::UrlFile;

use crate::failure::Failure;

/// Directories below one another: a loop of mounts would have more.
const DEPTH_MAX: usize = 200;
/// The name of what came by standard input.
const STDIN_NAME: &str = "stdin";

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Standard input.
    Stdin,
    /// A file, or a pipe by its name.
    Path(PathBuf),
    /// An object, or what a web server has.
    Url(UrlFile),
}

/// One file of a dataset to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where its bytes are.
    pub origin: Origin,
    /// Its name in the dataset.
    pub name: String,
    /// Its size, where that is known before it is read.
    pub bytes: Option<u64>,
}

/// All that is to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// In order.
    pub files: Vec<Source>,
    /// What `get` makes of them.
    pub shape: Shape,
    /// Remarks for whoever typed it.
    pub remarks: Vec<String>,
}

impl Sources {
    /// Bytes of all, where that is known.
    pub fn bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The format: what was asked for, else by the files' endings.
    ///
    /// # Errors
    ///
    /// Exit 2 when some end in `.csv` and others do not.
    pub fn format(&self, asked: Option<InputFormat>) -> Result<InputFormat, Failure> {
        if let Some(format) = asked {
            return Ok(format);
        }
        let is_csv = |file: &&Source| {
            let ending = Path::new(&file.name).extension();
            ending.is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
        };
        let csv = self.files.iter().filter(is_csv).count();
        if csv == 0 {
            return Ok(InputFormat::Text);
        }
        if csv == self.files.len() {
            return Ok(InputFormat::Csv);
        }
        let others = self.files.len() - csv;
        Err(Failure::usage(format!(
            "{csv} of the files end in .csv, and {others} do not"
        ))
        .hint("say how their bytes become records: --format text|csv|whole-file|fixed:N"))
    }
}

/// Finds the files.
///
/// # Errors
///
/// Exit 3 for what is not there, 6 for what cannot be read, 2 for what is no
/// source.
pub fn find(typed: &[OsString]) -> Result<Sources, Failure> {
    let mut found = Found {
        files: Vec::new(),
        remarks: Vec::new(),
        is_alone: typed.len() == 1,
    };
    let mut shape = Shape::Directory;
    for typed in typed {
        let kind = found.add(typed)?;
        if found.is_alone && kind == Kind::Single {
            shape = Shape::File;
        }
    }
    check_names(&found.files)?;
    Ok(Sources {
        files: found.files,
        shape,
        remarks: found.remarks,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Several,
}

struct Found {
    files: Vec<Source>,
    remarks: Vec<String>,
    /// Only one source was typed: names need not tell several apart.
    is_alone: bool,
}

impl Found {
    fn add(&mut self, typed: &OsStr) -> Result<Kind, Failure> {
        if typed.is_empty() {
            return Err(Failure::usage("a source is empty"));
        }
        if typed == "-" {
            self.files.push(Source {
                origin: Origin::Stdin,
                name: STDIN_NAME.to_owned(),
                bytes: None,
            });
            return Ok(Kind::Single);
        }
        let path = Path::new(typed);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                self.add_directory(path)?;
                Ok(Kind::Several)
            }
            Ok(metadata) => {
                let name = name_of(path.file_name().unwrap_or(typed), path)?;
                self.files.push(Source {
                    origin: Origin::Path(path.to_owned()),
                    name,
                    bytes: metadata.is_file().then_some(metadata.len()),
                });
                Ok(Kind::Single)
            }
            // What is there as it is typed is no pattern.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.add_glob(path, &error),
            Err(error) => Err(Failure::file("read", path, &error)),
        }
    }

    fn add_glob(&mut self, path: &Path, missing: &io::Error) -> Result<Kind, Failure> {
        let Some(pattern) = path.to_str() else {
            return Err(Failure::file("read", path, missing));
        };
        if is_url(pattern) {
            return self.add_url(pattern);
        }
        if let Some((scheme, _)) = pattern.split_once("://") {
            return Err(Failure::usage(format!(
                "source `{}`: there is no `{scheme}://` here",
                shown(pattern)
            ))
            .hint("files, directories, `-`, http(s)://, s3://, gs:// and az:// can be put"));
        }
        if !pattern.contains(['*', '?', '[']) {
            return Err(Failure::file("read", path, missing));
        }
        let matches = glob::glob(pattern)
            .map_err(|error| Failure::usage(format!("source `{}`: {error}", shown(pattern))))?;
        let root = fixed_part(pattern);
        let mut files = BTreeMap::new();
        for found in matches {
            let found = found.map_err(|error| {
                let path = error.path().to_owned();
                Failure::file("read", &path, &io::Error::from(error))
            })?;
            let metadata =
                fs::metadata(&found).map_err(|error| Failure::file("read", &found, &error))?;
            // A pattern names files, as for a shell's `cat *`.
            if metadata.is_dir() {
                self.remarks.push(format!(
                    "{} is a directory: a pattern takes files only",
                    shown(&found.to_string_lossy())
                ));
                continue;
            }
            let name = below(&found, &root)?;
            files.insert(name, (found, metadata.is_file().then_some(metadata.len())));
        }
        if files.is_empty() {
            return Err(Failure::not_found(format!(
                "no file matches `{}`",
                shown(pattern)
            )));
        }
        self.files
            .extend(files.into_iter().map(|(name, (path, bytes))| Source {
                origin: Origin::Path(path),
                name,
                bytes,
            }));
        Ok(Kind::Several)
    }

    /// What is at a URL; several files have their names below what they share.
    fn add_url(&mut self, url: &str) -> Result<Kind, Failure> {
        let listed = UrlFile::list(url).map_err(|cause| Failure::from(&cause))?;
        let root = match listed.as_slice() {
            [_] => None,
            several => common_folder(several.iter().map(UrlFile::display)),
        };
        let kind = if root.is_none() {
            Kind::Single
        } else {
            Kind::Several
        };
        for file in listed {
            let display = file.display();
            let name = match &root {
                Some(root) => display.strip_prefix(root.as_str()).unwrap_or(display),
                None => display.rsplit('/').next().unwrap_or(display),
            };
            let name = name.split(['?', '#']).next().unwrap_or(name).to_owned();
            if !is_contained(&name) {
                return Err(
                    Failure::usage(format!("source `{display}`: its end is no file name"))
                        .hint("put it through a pipe: ... | vivat data put NAME -"),
                );
            }
            let bytes = Some(file.bytes());
            self.files.push(Source {
                origin: Origin::Url(file),
                name,
                bytes,
            });
        }
        Ok(kind)
    }

    fn add_directory(&mut self, root: &Path) -> Result<(), Failure> {
        let mut files = BTreeMap::new();
        self.walk(root, root, 0, &mut files)?;
        if files.is_empty() {
            return Err(Failure::not_found(format!(
                "there is no file in directory {}",
                shown(&root.to_string_lossy())
            )));
        }
        let prefix = if self.is_alone {
            String::new()
        } else {
            // `.` and `..` have names too.
            let whole = root
                .canonicalize()
                .map_err(|error| Failure::file("read", root, &error))?;
            let name = whole.file_name().unwrap_or(OsStr::new("root"));
            format!("{}/", name_of(name, root)?)
        };
        self.files
            .extend(files.into_iter().map(|(name, (path, bytes))| Source {
                origin: Origin::Path(path),
                name: format!("{prefix}{name}"),
                bytes: Some(bytes),
            }));
        Ok(())
    }

    fn walk(
        &mut self,
        root: &Path,
        directory: &Path,
        depth: usize,
        files: &mut BTreeMap<String, (PathBuf, u64)>,
    ) -> Result<(), Failure> {
        let fail = |error: io::Error| Failure::file("read", directory, &error);
        if depth > DEPTH_MAX {
            return Err(Failure::usage(format!(
                "{} lies more than {DEPTH_MAX} directories deep",
                shown(&directory.to_string_lossy())
            )));
        }
        for entry in fs::read_dir(directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let path = entry.path();
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() {
                self.walk(root, &path, depth + 1, files)?;
                continue;
            }
            let metadata =
                fs::metadata(&path).map_err(|error| Failure::file("read", &path, &error))?;
            if metadata.is_dir() {
                self.remarks.push(format!(
                    "{} links to a directory, and is left out",
                    shown(&path.to_string_lossy())
                ));
                continue;
            }
            if !metadata.is_file() {
                return Err(no_file(&path, metadata.file_type()));
            }
            files.insert(below(&path, root)?, (path, metadata.len()));
        }
        Ok(())
    }
}

/// What is in a directory and is neither a file nor a directory may never end.
fn no_file(path: &Path, kind: FileType) -> Failure {
    use std::os::unix::fs::FileTypeExt;
    let what = if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Failure::usage(format!(
        "{} is {what}: only files of a directory can be put",
        shown(&path.to_string_lossy())
    ))
    .hint("move it away, or name the files one by one")
}

/// A path below another, with `/` between its parts.
fn below(path: &Path, root: &Path) -> Result<String, Failure> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Result<Vec<String>, Failure> = relative
        .components()
        .map(|component| name_of(component.as_os_str(), path))
        .collect();
    Ok(parts?.join("/"))
}

/// A part of a name, which is text in every dataset.
fn name_of(name: &OsStr, path: &Path) -> Result<String, Failure> {
    match name.to_str() {
        Some(name) => Ok(name.to_owned()),
        None => Err(Failure::new(
            "name-not-text",
            crate::failure::exit::USAGE,
            format!(
                "the name of {} is not UTF-8, and names in a dataset are",
                shown(&path.to_string_lossy())
            ),
        )
        .hint("rename it, or put it alone through a pipe: vivat data put NAME - < FILE")),
    }
}

/// The directories of a pattern before the first one with a wildcard.
fn fixed_part(pattern: &str) -> PathBuf {
    let mut fixed = PathBuf::new();
    let path = Path::new(pattern);
    let directories = path.parent().into_iter().flat_map(Path::components);
    for component in directories {
        let has_wildcard = component
            .as_os_str()
            .to_string_lossy()
            .contains(['*', '?', '[']);
        if has_wildcard {
            break;
        }
        fixed.push(component);
    }
    fixed
}

/// Names lead nowhere but below the directory that `get` makes, and no two are
/// the same.
fn check_names(files: &[Source]) -> Result<(), Failure> {
    let mut seen: BTreeMap<&str, &Source> = BTreeMap::new();
    for file in files {
        if !is_contained(&file.name) {
            return Err(Failure::usage(format!(
                "`{}` is no name for a file of a dataset: 1 to {PATH_BYTES_MAX} bytes, below \
                 its directory",
                shown(&file.name)
            )));
        }
        if seen.insert(&file.name, file).is_some() {
            return Err(Failure::usage(format!(
                "two sources have the name `{}`",
                shown(&file.name)
            ))
            .hint("put the directory that they are in, or a glob: then they keep their paths"));
        }
    }
    Ok(())
}

/// What all names begin with, up to its last `/`.
fn common_folder<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let shared = names.map(str::to_owned).reduce(|shared, name| {
        let same = shared.chars().zip(name.chars());
        same.take_while(|(one, other)| one == other)
            .map(|(one, _)| one)
            .collect()
    })?;
    let end = shared.rfind('/').map_or(0, |slash| slash + 1);
    Some(shared[..end].to_owned())
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
