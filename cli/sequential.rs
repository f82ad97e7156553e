//! A job without a cluster, on one thread: the programs' oracles.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use vivat_programs::OracleInput;
use vivat_shared::cause::FailureCause;

use crate::app::App;
use crate::failure::Failure;
use crate::paths::Place;
use crate::spec::{self, Draft};

/// Runs it, to standard output or into one part of an output directory.
pub fn run(app: &App, draft: &Draft) -> Result<(), Failure> {
    let [step] = draft.steps.as_slice() else {
        return Err(Failure::usage("--sequential runs jobs of one step"));
    };
    let entry = spec::program(&step.program)?;
    let parameters = spec::parameters(step)?;
    let mut inputs = Vec::new();
    for place in &draft.inputs {
        expand(place, &mut inputs)?;
    }
    let run = |out: &mut dyn Write| (entry.oracle)(&parameters, &inputs, step.reducers, out);
    let Some(output) = &draft.output else {
        let mut out = BufWriter::new(io::stdout().lock());
        return run(&mut out)
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error));
    };
    let directory = Path::new(&output.path);
    let failed = |error: io::Error| Failure::file("write", directory, &error);
    if directory.exists() {
        let cause = FailureCause::OutputExists {
            path: output.display.clone(),
        };
        return Err(Failure::from(&cause));
    }
    fs::create_dir_all(directory).map_err(failed)?;
    let mut part = BufWriter::new(File::create(directory.join("part-00000")).map_err(failed)?);
    run(&mut part).and_then(|()| part.flush()).map_err(failed)?;
    File::create(directory.join("_SUCCESS")).map_err(failed)?;
    app.note(&format!("the result is in {}", output.display));
    Ok(())
}

/// As a plan has it: a star stays within a component and skips hidden files.
const GLOB_OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The files of a pattern, as a plan would list them: a file of exactly that
/// name, else what the glob matches, in order.
fn expand(place: &Place, inputs: &mut Vec<OracleInput>) -> Result<(), Failure> {
    let path = PathBuf::from(&place.path);
    let not_found = || {
        Failure::from(&FailureCause::InputNotFound {
            path: place.display.clone(),
        })
    };
    if path.symlink_metadata().is_ok() {
        return add(path, place.display.clone(), inputs);
    }
    let glob = Glob::of(place).ok_or_else(not_found)?;
    let pattern = format!("{}{}", glob::Pattern::escape(glob.directory), glob.rest);
    let matches = glob::glob_with(&pattern, GLOB_OPTIONS)
        .map_err(|error| Failure::usage(format!("{}: {error}", place.display)))?;
    let mut found = Vec::new();
    for path in matches {
        found.push(path.map_err(|error| {
            Failure::from(&FailureCause::InputUnreadable {
                path: place.display.clone(),
                detail: error.to_string(),
            })
        })?);
    }
    if found.is_empty() {
        return Err(not_found());
    }
    found.sort();
    for path in found {
        let display = glob.display_of(&path);
        add(path, display, inputs)?;
    }
    Ok(())
}

/// A pattern taken apart. Glob characters in the directory that the user stands
/// in were not typed: they mean themselves.
struct Glob<'a> {
    /// Absolute, above the first component with a glob.
    directory: &'a str,
    /// The same as the user wrote it.
    display_directory: &'a str,
    rest: &'a str,
}

impl<'a> Glob<'a> {
    fn of(place: &'a Place) -> Option<Self> {
        let (display_directory, rest) = split_at_glob(&place.display)?;
        if let Some(directory) = place.path.strip_suffix(rest) {
            return Some(Self {
                directory,
                display_directory,
                rest,
            });
        }
        let (directory, rest) = split_at_glob(&place.path)?;
        Some(Self {
            directory,
            display_directory: directory,
            rest,
        })
    }

    fn display_of(&self, path: &Path) -> String {
        match path.strip_prefix(self.directory) {
            Ok(rest) => format!("{}{}", self.display_directory, rest.display()),
            Err(_) => path.display().to_string(),
        }
    }
}

fn split_at_glob(path: &str) -> Option<(&str, &str)> {
    let glob = path.find(['*', '?', '['])?;
    let start = path[..glob].rfind('/').map_or(0, |slash| slash + 1);
    Some(path.split_at(start))
}

fn add(path: PathBuf, display: String, inputs: &mut Vec<OracleInput>) -> Result<(), Failure> {
    let cause = match File::open(&path) {
        Ok(_) if path.is_dir() => Some(FailureCause::InputIsDirectory {
            path: display.clone(),
        }),
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(FailureCause::InputNotFound {
                path: display.clone(),
            })
        }
        Err(error) => Some(FailureCause::InputUnreadable {
            path: display.clone(),
            detail: error.to_string(),
        }),
    };
    match cause {
        Some(cause) => Err(Failure::from(&cause)),
        None => {
            inputs.push(OracleInput { path, display });
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matched_files_are_shown_in_the_form_that_was_typed() {
        let directory = tempfile::tempdir().unwrap();
        let books = directory.path().join("books[1]");
        fs::create_dir(&books).unwrap();
        for name in ["b.txt", "a.txt", ".hidden.txt", "a.csv"] {
            fs::write(books.join(name), name).unwrap();
        }
        for (typed, first) in [("*.txt", "a.txt"), ("./*.txt", "./a.txt")] {
            let place = Place::parse(typed, "input", &books).unwrap();
            let mut inputs = Vec::new();
            expand(&place, &mut inputs).unwrap();
            assert_eq!(inputs.len(), 2, "{typed}");
            assert_eq!(inputs[0].display, first);
        }
        let nothing = Place::parse("*.json", "input", &books).unwrap();
        assert_eq!(expand(&nothing, &mut Vec::new()).unwrap_err().exit, 3);
        let itself = Place::parse(".", "input", &books).unwrap();
        assert_eq!(expand(&itself, &mut Vec::new()).unwrap_err().exit, 2);
    }
}
