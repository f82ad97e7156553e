//! A job without a cluster, on one thread: the programs' oracles.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use vivat_client::host;
use vivat_programs::OracleInput;
use vivat_shared::attempt::InputFile;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::{StepInput, StepSpec};

use crate::app::App;
use crate::failure::Failure;
use crate::path_params;
use crate::paths::{Place, PlaceKind};
use crate::spec::{self, Draft};

/// Runs it, to standard output or into one part of an output directory.
pub fn run(app: &App, draft: &Draft) -> Result<(), Failure> {
    let mut places = draft.inputs.iter().chain(&draft.output);
    if let Some(place) = places.find(|place| place.kind != PlaceKind::Files) {
        return Err(Failure::usage(format!(
            "--sequential reads and writes files, and `{}` is none",
            place.display
        )));
    }
    let inputs = expand(&draft.inputs)?;
    let steps = draft.steps.iter().enumerate();
    let steps = steps
        .filter(|(_, step)| is_whole(step))
        .map(|(number, step)| {
            let step = path_params::on_the_spot(step, &draft.side_files)?;
            Ok::<_, Failure>((number, step))
        });
    let steps: Vec<(usize, StepSpec)> = steps.collect::<Result<_, _>>()?;
    let between = tempfile::tempdir()
        .map_err(|error| Failure::failed(format!("cannot make a temporary directory: {error}")))?;
    let run = |out: &mut dyn Write| oracles(&steps, &inputs, between.path(), out);
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

/// Oracles know the whole: what samples for them is left out.
fn is_whole(step: &StepSpec) -> bool {
    !vivat_programs::hidden()
        .iter()
        .any(|entry| entry.name == step.program)
}

/// Runs one oracle after the other; each but the last writes a file for the next.
fn oracles(
    steps: &[(usize, StepSpec)],
    inputs: &[OracleInput],
    between: &Path,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut written: Option<OracleInput> = None;
    for (place, (number, step)) in steps.iter().enumerate() {
        let failed = |failure: Failure| io::Error::other(failure.message);
        let entry = spec::program(&step.program).map_err(failed)?;
        let parameters = spec::parameters(step).map_err(failed)?;
        let read = match (step.input, &written) {
            (StepInput::Previous, Some(written)) => std::slice::from_ref(written),
            (StepInput::Previous | StepInput::Job, _) => inputs,
        };
        if place + 1 == steps.len() {
            return (entry.oracle)(&parameters, read, step.reducers, out);
        }
        let path = between.join(format!("step-{place}"));
        let mut file = BufWriter::new(File::create(&path)?);
        (entry.oracle)(&parameters, read, step.reducers, &mut file)?;
        file.flush()?;
        // As a plan names it: people count steps from 1, those that sample too.
        let display = format!("output of step {}", number + 1);
        written = Some(OracleInput { path, display });
    }
    Ok(())
}

/// The files that a plan of the job would list.
fn expand(places: &[Place]) -> Result<Vec<OracleInput>, Failure> {
    let host = host::identity();
    let patterns: Vec<_> = places
        .iter()
        .map(|place| place.clone().input(&host))
        .collect();
    let files = vivat_worker::list_inputs(&patterns).map_err(|cause| Failure::from(&cause))?;
    let input = |file: InputFile| OracleInput {
        path: PathBuf::from(file.path),
        display: file.display,
    };
    Ok(files.into_iter().map(input).collect())
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
            let inputs = expand(&[place]).unwrap();
            assert_eq!(inputs.len(), 2, "{typed}");
            assert_eq!(inputs[0].display, first);
        }
        let nothing = Place::parse("*.json", "input", &books).unwrap();
        assert_eq!(expand(&[nothing]).unwrap_err().exit, 3);
        let itself = Place::parse(".", "input", &books).unwrap();
        assert_eq!(expand(&[itself]).unwrap_err().exit, 2);
    }
}
