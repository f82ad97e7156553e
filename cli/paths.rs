//! Where a path is: of this machine, or of every worker.
//!
//! A plain path is a file of the machine where the command is typed, resolved
//! against the directory where it is typed. `file:///x` is a path that every
//! worker sees.

use std::path::{Component, Path, PathBuf};

use vivat_shared::job::{HostIdentity, InputPattern, OutputLocation, Visibility};

use crate::failure::Failure;

/// A path as typed, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Absolute.
    pub path: String,
    /// As typed.
    pub display: String,
    /// Whether every worker sees it.
    pub everyone: bool,
}

impl Place {
    /// Resolves what was typed against a directory.
    ///
    /// # Errors
    ///
    /// Exit 2 for schemes that are not files and for paths that are no text.
    pub fn parse(typed: &str, what: &str, directory: &Path) -> Result<Self, Failure> {
        if typed.is_empty() {
            return Err(Failure::usage(format!("an {what} is empty")));
        }
        if let Some(rest) = typed.strip_prefix("file://") {
            if !rest.starts_with('/') {
                return Err(
                    Failure::usage(format!("{what} `{typed}`: a host is not allowed"))
                        .hint("three slashes: file:///absolute/path"),
                );
            }
            return Ok(Self {
                path: tidy(Path::new(rest), typed)?,
                display: typed.to_owned(),
                everyone: true,
            });
        }
        if let Some((scheme, _)) = typed.split_once("://") {
            return Err(Failure::usage(format!(
                "{what} `{typed}`: `{scheme}://` is not supported yet"
            ))
            .hint("name files by a path, or by file:///PATH when every worker sees them"));
        }
        if typed == "-" {
            return Err(
                Failure::usage(format!("{what} `-`: a job reads and writes files"))
                    .hint("write standard input to a file first"),
            );
        }
        Ok(Self {
            path: tidy(&directory.join(typed), typed)?,
            display: typed.to_owned(),
            everyone: false,
        })
    }

    fn visibility(&self, host: &HostIdentity) -> Visibility {
        if self.everyone {
            Visibility::Everyone
        } else {
            Visibility::Host(host.clone())
        }
    }

    /// As an input.
    pub fn input(self, host: &HostIdentity) -> InputPattern {
        InputPattern {
            visibility: self.visibility(host),
            path: self.path,
            display: self.display,
        }
    }

    /// As an output.
    pub fn output(self, host: &HostIdentity) -> OutputLocation {
        OutputLocation::Directory {
            visibility: self.visibility(host),
            path: self.path,
            display: self.display,
        }
    }
}

/// Without `.` and doubled slashes. `..` stays: what it means is the file
/// system's to say, where links are.
fn tidy(path: &Path, typed: &str) -> Result<String, Failure> {
    let tidied: PathBuf = path
        .components()
        .filter(|component| *component != Component::CurDir)
        .collect();
    tidied
        .into_os_string()
        .into_string()
        .map_err(|_| Failure::usage(format!("`{typed}` resolves to a path that is no text")))
}

/// The directory where the command is typed.
///
/// # Errors
///
/// It is gone.
pub fn here() -> Result<PathBuf, Failure> {
    std::env::current_dir()
        .map_err(|error| Failure::failed(format!("cannot tell the current directory: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &str) -> Result<Place, Failure> {
        Place::parse(typed, "input", Path::new("/home/ada"))
    }

    #[test]
    fn plain_path_is_of_this_machine_and_keeps_its_typed_form() {
        let place = parse("./books//a*.txt").unwrap();
        assert_eq!(place.path, "/home/ada/books/a*.txt");
        assert_eq!(place.display, "./books//a*.txt");
        assert!(!place.everyone);
        assert_eq!(parse("/x/../y").unwrap().path, "/x/../y");
    }

    #[test]
    fn file_url_is_a_path_that_everyone_sees() {
        let place = parse("file:///srv/logs/*.txt").unwrap();
        assert_eq!(
            (place.path.as_str(), place.everyone),
            ("/srv/logs/*.txt", true)
        );
    }

    #[test]
    fn what_is_no_file_is_refused_as_usage() {
        for typed in ["", "-", "file://host/x", "s3://bucket/x", "vivat://words"] {
            assert_eq!(parse(typed).unwrap_err().exit, 2, "{typed}");
        }
    }
}
