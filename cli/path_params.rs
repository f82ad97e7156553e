//! Parameters that name files: each becomes a side file of the job, which every
//! task reads under a name, and the parameter's value that name.

use std::path::Path;

use vivat_programs::ParameterKind;
use vivat_shared::job::StepSpec;
use vivat_shared::limits::NAME_BYTES_MAX;

use crate::failure::Failure;
use crate::paths::{Place, PlaceKind};
use crate::spec::program;

/// The only part of a result that is one file, such as a model.
const FIRST_PART: &str = "part-00000";

/// Names the files that parameters of steps ask for, and adds them to `files`.
///
/// # Errors
///
/// Exit 3 or 6 for a file of this machine that cannot be read.
pub fn bring(
    steps: &mut [StepSpec],
    files: &mut Vec<(String, Place)>,
    directory: &Path,
) -> Result<(), Failure> {
    for step in steps {
        for name in names(step)? {
            let typed = step.parameters.get_mut(name);
            let Some(typed) = typed.filter(|typed| !typed.is_empty()) else {
                continue;
            };
            let place = whole(Place::parse(typed, "file of a parameter", directory)?)?;
            *typed = named(place, files);
        }
    }
    Ok(())
}

/// The step with the paths of its files again, for who reads them on the spot.
///
/// # Errors
///
/// Exit 3 for a program that is not there.
pub fn on_the_spot(step: &StepSpec, files: &[(String, Place)]) -> Result<StepSpec, Failure> {
    let mut step = step.clone();
    for name in names(&step)? {
        if let Some(value) = step.parameters.get_mut(name)
            && let Some((_, place)) = files.iter().find(|(name, _)| name == value)
        {
            value.clone_from(&place.path);
        }
    }
    Ok(step)
}

fn names(step: &StepSpec) -> Result<Vec<&'static str>, Failure> {
    let parameters = program(&step.program)?.parameters.iter();
    let paths = parameters.filter(|spec| spec.kind == ParameterKind::Path);
    Ok(paths.map(|spec| spec.name).collect())
}

/// A file that can be read, if it is one of this machine; of a result its part.
fn whole(mut place: Place) -> Result<Place, Failure> {
    if place.kind != PlaceKind::Files || place.everyone {
        return Ok(place);
    }
    let path = Path::new(&place.path);
    let part = path.join(FIRST_PART);
    if path.is_dir() && part.is_file() {
        place.path = part.to_string_lossy().into_owned();
        place.display = format!("{}/{FIRST_PART}", place.display.trim_end_matches('/'));
    }
    let path = Path::new(&place.path);
    match std::fs::File::open(path) {
        Ok(_) => Ok(place),
        Err(error) => Err(Failure::file("read", path, &error)),
    }
}

/// The name of a place among the side files: its own, if no other has it.
fn named(place: Place, files: &mut Vec<(String, Place)>) -> String {
    if let Some((name, _)) = files.iter().find(|(_, other)| other.path == place.path) {
        return name.clone();
    }
    let own = place.display.rsplit('/').next().unwrap_or_default();
    let end = own.floor_char_boundary(NAME_BYTES_MAX - 8);
    let own: String = own[..end].chars().filter(|it| !it.is_control()).collect();
    let mut name = own.clone();
    let mut number = 2;
    while name.is_empty() || files.iter().any(|(other, _)| *other == name) {
        name = format!("{number}-{own}");
        number += 1;
    }
    files.push((name.clone(), place));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(program: &str, parameters: &[(&str, &str)]) -> StepSpec {
        let mut step = StepSpec::once(program, 1);
        for (name, value) in parameters {
            let (name, value) = ((*name).to_owned(), (*value).to_owned());
            step.parameters.insert(name, value);
        }
        step
    }

    #[test]
    fn files_of_parameters_become_side_files_under_names_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        for name in ["a", "b"] {
            std::fs::create_dir(here.join(name)).unwrap();
            std::fs::write(here.join(name).join("rows.txt"), name).unwrap();
        }
        std::fs::write(here.join("b").join(FIRST_PART), "model").unwrap();
        let given = [("validate", "a/rows.txt"), ("init", "b/rows.txt")];
        let mut steps = [
            step("mlp-train", &given),
            step("mlp-train", &[("validate", "./a/rows.txt")]),
            step("mlp-predict", &[("model", "b")]),
        ];
        let mut files = Vec::new();
        bring(&mut steps, &mut files, here).unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        // Parameters come in the order that the program tells them.
        assert_eq!(names, ["rows.txt", "2-rows.txt", FIRST_PART]);
        assert_eq!(steps[0].parameters["validate"], "rows.txt");
        assert_eq!(steps[0].parameters["init"], "2-rows.txt");
        assert_eq!(steps[1].parameters["validate"], "rows.txt");
        let back = on_the_spot(&steps[2], &files).unwrap();
        let part = here.join("b").join(FIRST_PART);
        assert_eq!(back.parameters["model"], part.to_string_lossy());
        let mut missing = [step("mlp-predict", &[("model", "nowhere")])];
        let refused = bring(&mut missing, &mut files, here).unwrap_err();
        assert_eq!(refused.exit, 3);
    }
}
