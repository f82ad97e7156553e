//! From patterns to files, each looked at and found readable.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vivat_shared::attempt::{InputFile, InputOrigin};
use vivat_shared::cause::FailureCause;
use vivat_shared::job::{InputPattern, is_url};
use vivat_shared::limits::{INPUT_FILES_MAX, PATH_BYTES_MAX};

pub(super) const GLOB_CHARACTERS: [char; 3] = ['*', '?', '['];

/// As a shell has it: a star stays within a component and skips hidden files.
pub(super) const GLOB_OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The files of the patterns as a plan lists them, for a job without a cluster.
///
/// # Errors
///
/// The first pattern or file that cannot be read, by its typed cause.
pub fn list_inputs(patterns: &[InputPattern]) -> Result<Vec<InputFile>, FailureCause> {
    if let Some(url) = patterns.iter().find(|pattern| is_url(&pattern.path)) {
        return Err(FailureCause::InputUnreadable {
            path: crate::remote::shown(&url.display),
            detail: "only a cluster's workers read URLs".to_owned(),
        });
    }
    list(patterns, &|| false)
}

/// The files of the patterns, in the order of the patterns, those of one
/// pattern sorted by path.
///
/// # Errors
///
/// The first pattern or file that cannot be read, by its typed cause.
/// `stopped` is asked between files; when it says so, what was found until then
/// is returned, for a caller that is going to throw it away.
pub(crate) fn list(
    patterns: &[InputPattern],
    stopped: &dyn Fn() -> bool,
) -> Result<Vec<InputFile>, FailureCause> {
    let mut files = Vec::new();
    for pattern in patterns {
        for found in expand(pattern)? {
            if stopped() {
                return Ok(files);
            }
            files.push(look_at(found)?);
            if files.len() > INPUT_FILES_MAX as usize {
                return Err(FailureCause::PlanTooLarge {
                    detail: format!("more than {INPUT_FILES_MAX} input files"),
                });
            }
        }
    }
    Ok(files)
}

/// A path that a pattern names.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    display: String,
}

fn expand(pattern: &InputPattern) -> Result<Vec<Found>, FailureCause> {
    let path = PathBuf::from(&pattern.path);
    let display = pattern.display.clone();
    match fs::symlink_metadata(&path) {
        Ok(_) => return Ok(vec![Found { path, display }]),
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(unreadable(display, &error)),
    }
    let glob = Glob::of(pattern).ok_or_else(|| FailureCause::InputNotFound {
        path: display.clone(),
    })?;
    let found = glob.expand()?;
    if found.is_empty() {
        return Err(FailureCause::InputNotFound { path: display });
    }
    Ok(found)
}

/// A pattern taken apart: what is literal, and what the user typed as a glob.
struct Glob<'p> {
    pattern: &'p InputPattern,
    /// Absolute directory above the first component with a glob, `/` included.
    directory: &'p str,
    /// The same as the user wrote it; may be empty.
    display_directory: &'p str,
    /// From the first component with a glob on.
    rest: &'p str,
}

impl<'p> Glob<'p> {
    /// None when the user typed no glob. Glob characters in the directory that
    /// the user stands in were not typed: they mean themselves.
    fn of(pattern: &'p InputPattern) -> Option<Self> {
        let (display_directory, rest) = split_at_glob(&pattern.display)?;
        if let Some(directory) = pattern.path.strip_suffix(rest)
            && directory.ends_with('/')
        {
            return Some(Self {
                pattern,
                directory,
                display_directory,
                rest,
            });
        }
        // The display is no other spelling of the path: show what is found.
        let (directory, rest) = split_at_glob(&pattern.path)?;
        Some(Self {
            pattern,
            directory,
            display_directory: directory,
            rest,
        })
    }

    fn expand(&self) -> Result<Vec<Found>, FailureCause> {
        let mut paths = vec![PathBuf::from(self.directory)];
        for component in self
            .rest
            .split('/')
            .filter(|component| !component.is_empty())
        {
            paths = self.descend(&paths, component)?;
        }
        paths.sort();
        let found = |path: PathBuf| Found {
            display: self.display_of(&path),
            path,
        };
        Ok(paths.into_iter().map(found).collect())
    }

    /// Those entries of the directories that match one component. Names that
    /// are not UTF-8 match as if their strange bytes were one unknown letter,
    /// so that they are complained about instead of left out; this is why the
    /// walk is our own and only the matching is the library's.
    fn descend(
        &self,
        directories: &[PathBuf],
        component: &str,
    ) -> Result<Vec<PathBuf>, FailureCause> {
        let mut found = Vec::new();
        if !component.contains(GLOB_CHARACTERS) {
            let named = directories
                .iter()
                .map(|directory| directory.join(component));
            found.extend(named.filter(|path| fs::symlink_metadata(path).is_ok()));
            return Ok(found);
        }
        let pattern = self.component_pattern(component)?;
        for directory in directories {
            let entries = match fs::read_dir(directory) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(unreadable(self.display_of(directory), &error)),
            };
            for entry in entries {
                let entry =
                    entry.map_err(|error| unreadable(self.display_of(directory), &error))?;
                let name = entry.file_name();
                if pattern.matches_with(&name.to_string_lossy(), GLOB_OPTIONS) {
                    found.push(entry.path());
                }
            }
        }
        Ok(found)
    }

    fn component_pattern(&self, component: &str) -> Result<glob::Pattern, FailureCause> {
        // Two stars mean no more than one: a pattern never leaves its depth.
        let mut single = component.to_owned();
        while single.contains("**") {
            single = single.replace("**", "*");
        }
        glob::Pattern::new(&single).map_err(|error| FailureCause::InvalidInput {
            path: self.pattern.display.clone(),
            detail: format!("not a glob: {}", error.msg),
        })
    }

    fn display_of(&self, path: &Path) -> String {
        let shown = match path.strip_prefix(self.directory) {
            Ok(relative) => format!("{}{}", self.display_directory, relative.display()),
            Err(_) => path.display().to_string(),
        };
        if shown.is_empty() {
            ".".to_owned()
        } else {
            shown
        }
    }
}

/// Splits before the component that holds the first glob character.
fn split_at_glob(path: &str) -> Option<(&str, &str)> {
    let glob = path.find(GLOB_CHARACTERS)?;
    let start = path[..glob].rfind('/').map_or(0, |slash| slash + 1);
    Some(path.split_at(start))
}

fn look_at(found: Found) -> Result<InputFile, FailureCause> {
    let Found { path, display } = found;
    let invalid = |display: String, detail: &str| FailureCause::InvalidInput {
        path: display,
        detail: detail.to_owned(),
    };
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => {
            return Err(FailureCause::InputNotFound { path: display });
        }
        Err(error) => return Err(unreadable(display, &error)),
    };
    if metadata.is_dir() {
        return Err(FailureCause::InputIsDirectory { path: display });
    }
    // Before it is opened: to open a pipe waits for its writer.
    if !metadata.is_file() {
        return Err(invalid(display, "a pipe, a socket or a device, not a file"));
    }
    let Some(text) = path.to_str() else {
        return Err(invalid(display, "the file's name is not UTF-8"));
    };
    if text.len() > PATH_BYTES_MAX || display.len() > PATH_BYTES_MAX {
        let detail = format!("the path is longer than {PATH_BYTES_MAX} bytes");
        return Err(invalid(display, &detail));
    }
    if let Err(error) = File::open(&path) {
        return Err(unreadable(display, &error));
    }
    Ok(InputFile {
        header: Vec::new(),
        path: text.to_owned(),
        display,
        bytes: metadata.len(),
        origin: InputOrigin::FileSystem {
            modified_ns: modified_ns(&metadata),
        },
    })
}

fn modified_ns(metadata: &Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn unreadable(display: String, error: &io::Error) -> FailureCause {
    FailureCause::InputUnreadable {
        path: display,
        detail: error.to_string(),
    }
}
