//! The parts of a result on this machine or in an object store: printed in
//! order, or found wanting.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use vivat_worker::{ObjectResult, ReadError};

use crate::failure::Failure;

/// The marker of a result that is whole.
const SUCCESS: &str = "_SUCCESS";

/// Prints the parts of a finished job, in the order of their numbers.
///
/// # Errors
///
/// Exit 3 when the result is not on this machine, or not whole.
pub fn print_parts(directory: &Path) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for part in parts(directory)? {
        let mut file = File::open(&part).map_err(|error| Failure::file("read", &part, &error))?;
        io::copy(&mut file, &mut out).map_err(|error| Failure::output(&error))?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

/// Prints the parts of a result in an object store, with the credentials of this
/// environment.
///
/// # Errors
///
/// As [`print_parts`]; the store's.
pub async fn print_objects(url: &str) -> Result<(), Failure> {
    let result = ObjectResult::open(url)
        .await
        .map_err(|cause| Failure::from(&cause))?;
    let mut out = io::stdout().lock();
    let copied = result.copy(|bytes| out.write_all(bytes)).await;
    match copied.and_then(|()| out.flush().map_err(ReadError::Write)) {
        Ok(()) => Ok(()),
        Err(ReadError::Cause(cause)) => Err(Failure::from(&cause)),
        Err(ReadError::Write(error)) => Err(Failure::output(&error)),
    }
}

/// The parts in order.
fn parts(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let missing = |error: io::Error| {
        let failure = Failure::file("read the output", directory, &error);
        failure.hint("it may be on another machine: the output is where the job was submitted")
    };
    if !directory.join(SUCCESS).exists() {
        fs::metadata(directory).map_err(missing)?;
        return Err(Failure::not_found(format!(
            "{} has no {SUCCESS}: it is not a whole result",
            directory.display()
        )));
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(missing)? {
        let path = entry.map_err(missing)?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("part-"))
            .and_then(|digits| digits.parse::<u64>().ok());
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_the_order_of_their_numbers_and_only_when_whole() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "part-00010",
            "part-00002",
            "part-100000",
            "_manifest.json",
            "part-x",
        ] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        assert_eq!(parts(directory.path()).unwrap_err().exit, 3);
        fs::write(directory.path().join(SUCCESS), "").unwrap();
        let names: Vec<_> = parts(directory.path())
            .unwrap()
            .into_iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["part-00002", "part-00010", "part-100000"]);
        assert_eq!(parts(Path::new("/nowhere")).unwrap_err().exit, 3);
    }
}
