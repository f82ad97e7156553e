//! What a training was asked for.

use crate::parameters::{ParameterError, Parameters};

use super::net::{Course, Shape};

/// Parameters, read.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) hidden: usize,
    pub(super) classes: usize,
    pub(super) rounds: u32,
    pub(super) decay: f64,
    pub(super) seed: u64,
    pub(super) is_scaled: bool,
    /// Rounds without a lower validation error; none: do not look.
    pub(super) patience: Option<u32>,
    /// Names of side files; empty: none.
    pub(super) validate: String,
    pub(super) init: String,
    course: Course,
}

impl Settings {
    pub(super) fn of(parameters: &Parameters) -> Self {
        let whole = |name| usize::try_from(parameters.integer(name)).unwrap_or(0);
        let some = |number: usize| (number > 0).then_some(number);
        let short = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            hidden: whole("hidden"),
            classes: whole("classes"),
            rounds: short(whole("rounds")),
            decay: parameters.number("decay"),
            seed: u64::try_from(parameters.integer("seed")).unwrap_or(0),
            is_scaled: parameters.is_true("scale"),
            patience: some(whole("patience")).map(short),
            validate: parameters.text("validate").to_owned(),
            init: parameters.text("init").to_owned(),
            course: Course {
                epochs: short(whole("epochs")),
                eta: parameters.number("eta"),
                min_change: parameters.number("min-change"),
                batch: some(whole("batch")),
                adam: parameters.text("optimizer") == "adam",
            },
        }
    }

    /// The course of a round.
    pub(super) fn course(&self, round: u32) -> Course {
        let mut course = self.course;
        for _ in 0..round {
            course.eta *= self.decay;
        }
        course
    }

    pub(super) fn shape(&self, features: usize) -> Shape {
        Shape {
            features,
            hidden: self.hidden,
            classes: self.classes,
        }
    }
}

/// Refuses parameters that do not go together.
pub(super) fn check(parameters: &Parameters) -> Result<(), ParameterError> {
    if parameters.integer("patience") > 0 && parameters.text("validate").is_empty() {
        return Err(parameters.error(
            "patience",
            "it looks at the validation error: name a file with `validate`".to_owned(),
        ));
    }
    Ok(())
}
