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

/// The files of a pattern, as a plan would list them: a file of exactly that
/// name, else what the glob matches, in order.
fn expand(place: &Place, inputs: &mut Vec<OracleInput>) -> Result<(), Failure> {
    let path = PathBuf::from(&place.path);
    let pattern = place.path.contains(['*', '?', '[']) && !path.exists();
    if !pattern {
        return add(path, place.display.clone(), inputs);
    }
    let unreadable = |detail: String| {
        Failure::from(&FailureCause::InputUnreadable {
            path: place.display.clone(),
            detail,
        })
    };
    let matches = glob::glob(&place.path)
        .map_err(|error| Failure::usage(format!("{}: {error}", place.display)))?;
    let mut found = Vec::new();
    for path in matches {
        found.push(path.map_err(|error| unreadable(error.to_string()))?);
    }
    found.sort();
    let before = inputs.len();
    for path in found {
        // A glob means the files that it matches, not the directories.
        if !path.is_dir() {
            let display = shown(place, &path);
            add(path, display, inputs)?;
        }
    }
    if inputs.len() == before {
        return Err(Failure::from(&FailureCause::InputNotFound {
            path: place.display.clone(),
        }));
    }
    Ok(())
}

/// A matched file as the user would write it: in the form of the pattern.
fn shown(place: &Place, path: &Path) -> String {
    let whole = path.to_string_lossy().into_owned();
    if place.everyone || place.display.starts_with('/') {
        return whole;
    }
    let directory = place
        .path
        .strip_suffix(place.display.trim_start_matches("./"));
    match directory.and_then(|directory| whole.strip_prefix(directory)) {
        Some(rest) => rest.to_owned(),
        None => whole,
    }
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
