//! Where data are: of this machine, of every worker, in the cluster or elsewhere.
//!
//! A plain path is a file of the machine where the command is typed, resolved
//! against the directory where it is typed. `file:///x` is a path that every
//! worker sees, `vivat://NAME` a dataset, and a URL is read by the workers.

use std::path::{Component, Path, PathBuf};

use vivat_shared::dataset;
use vivat_shared::job::{HostIdentity, InputPattern, OutputLocation, Visibility, is_url};

use crate::failure::Failure;

/// What is typed where data are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// Files, or a directory for output.
    Files,
    /// A dataset.
    Dataset,
    /// A URL.
    Url,
}

/// A path as typed, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What it is.
    pub kind: PlaceKind,
    /// Absolute, or as typed if it is no path.
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
                kind: PlaceKind::Files,
                path: tidy(Path::new(rest), typed)?,
                display: typed.to_owned(),
                everyone: true,
            });
        }
        if let Some((scheme, _)) = typed.split_once("://") {
            let elsewhere = |kind, display| Self {
                kind,
                path: typed.to_owned(),
                display,
                everyone: true,
            };
            return match typed {
                _ if typed.starts_with(dataset::SCHEME) => {
                    Ok(elsewhere(PlaceKind::Dataset, typed.to_owned()))
                }
                _ if is_url(typed) => match vivat_worker::display_url(typed) {
                    Ok(display) => Ok(elsewhere(PlaceKind::Url, display)),
                    // Not repeated: it may hold credentials.
                    Err(reason) => Err(Failure::usage(format!("the URL of an {what}: {reason}"))),
                },
                _ => Err(Failure::usage(format!(
                    "{what} `{typed}`: there is no `{scheme}://` here"
                ))
                .hint(
                    "a path, file:///PATH when every worker sees it, vivat://DATASET, \
                     s3://, gs://, az:// or, for input, http(s)://",
                )),
            };
        }
        if typed == "-" {
            return Err(
                Failure::usage(format!("{what} `-`: a job reads and writes files"))
                    .hint("write standard input to a file first"),
            );
        }
        Ok(Self {
            kind: PlaceKind::Files,
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
        match self.kind {
            PlaceKind::Files => OutputLocation::Directory {
                visibility: self.visibility(host),
                path: self.path,
                display: self.display,
            },
            PlaceKind::Dataset => OutputLocation::Dataset {
                name: Some(self.path.trim_start_matches(dataset::SCHEME).to_owned()),
            },
            PlaceKind::Url => OutputLocation::Objects { url: self.path },
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
    fn datasets_and_urls_are_the_workers_business() {
        let place = parse("vivat://words 2016").unwrap();
        assert_eq!((place.kind, place.everyone), (PlaceKind::Dataset, true));
        let output = place.output(&HostIdentity("here".to_owned()));
        assert_eq!(
            output,
            OutputLocation::Dataset {
                name: Some("words 2016".to_owned())
            }
        );
        let place = parse("s3://bucket/logs/*.txt").unwrap();
        assert_eq!((place.kind, place.everyone), (PlaceKind::Url, true));
        assert_eq!(place.display, place.path);
    }

    #[test]
    fn url_is_shown_without_its_query_and_refused_with_credentials() {
        let place = parse("https://host/a.txt?sig=secret").unwrap();
        assert_eq!(place.display, "https://host/a.txt");
        assert_eq!(place.path, "https://host/a.txt?sig=secret");
        let refused = parse("https://ada:secret@host/a.txt").unwrap_err();
        assert_eq!(refused.exit, 2);
        assert!(!format!("{refused:?}").contains("secret"));
    }

    #[test]
    fn what_is_no_file_is_refused_as_usage() {
        for typed in ["", "-", "file://host/x", "ftp://host/x", "s4://bucket/x"] {
            assert_eq!(parse(typed).unwrap_err().exit, 2, "{typed}");
        }
    }
}
