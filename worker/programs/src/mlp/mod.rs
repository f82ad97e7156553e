//! Federated training of a network with one hidden layer, and what it predicts.
//!
//! Every file is a shard. In a round each shard learns for some epochs, beginning
//! with the weights that the round was handed; the mean of how far they went,
//! weighted by rows, is added to those weights (H. B. McMahan and others,
//! Communication-Efficient Learning of Deep Networks from Decentralized Data,
//! 2017). The reduce of a round writes the model, and its close hands that on.
//!
//! A file that one map task reads whole is trained there. The rows of one that was
//! cut into several splits travel to the reduce task and are trained there, so
//! that the result depends on files and not on how they were cut.
//!
//! The result has the same bits for any number of workers, whoever dies: shards
//! are added up in the order of the files, and [`kernel`] says in which order
//! everything within a shard is.

mod kernel;
mod model;
mod net;
mod oracle;
mod oracle_files;
mod predict;
mod product;
mod scale;
mod settings;
mod shard;
mod train;

use std::collections::BTreeMap;

use vivat_shared::job::StepSpec;

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};

pub(crate) use predict::ENTRY as PREDICT_ENTRY;
pub(crate) use scale::ENTRY as SCALE_ENTRY;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    parameters: &[
        whole("hidden", "24", (1, 4_096), "units of the hidden layer"),
        whole(
            "classes",
            "26",
            (2, 65_536),
            "classes, numbered from 0: the last column",
        ),
        whole(
            "rounds",
            "10",
            (1, 10_000),
            "rounds at most; `rounds` of a job file's step goes first",
        ),
        whole(
            "epochs",
            "5",
            (1, 1_000_000),
            "passes of a shard over its rows in a round",
        ),
        number(
            "eta",
            "0.0001",
            "the step: downhill on the cross-entropy summed over the rows of a step",
        ),
        number("decay", "1", "what eta is multiplied by after every round"),
        number(
            "min-change",
            "0.2",
            "an epoch whose loss moved by at most so much is a shard's last in the round",
        ),
        whole(
            "batch",
            "0",
            (0, 1_000_000_000),
            "rows of a step, shuffled by the seed; 0: all of a shard",
        ),
        ParameterSpec {
            name: "scale",
            kind: ParameterKind::Boolean,
            default: Some("false"),
            help: "take its mean from every column and divide by its deviation, over all shards",
        },
        ParameterSpec {
            name: "optimizer",
            kind: ParameterKind::Choice(&["plain", "adam"]),
            default: Some("plain"),
            help: "plain steps, or Adam's",
        },
        SEED,
        file(
            "validate",
            "a file of rows that none is trained with: the model is tried on it",
        ),
        whole(
            "patience",
            "0",
            (0, 10_000),
            "rounds without a lower validation error before the best model is taken; 0: never",
        ),
        file(
            "init",
            "a .safetensors file with `W` and `V` to begin with, instead of drawn weights",
        ),
    ],
    formats: &[Format::Text],
    example: "vivat run mlp-train data/input/letters/train-*.txt \
              -p validate=data/input/letters/validate.txt -p rounds=3 -p epochs=20",
    oracle: oracle::train,
    ..ProgramEntry::new(
        "mlp-train",
        "trains a network of one hidden layer on shards, by federated averaging",
        train::build,
    )
};

const SEED: ParameterSpec = ParameterSpec {
    name: "seed",
    kind: ParameterKind::Integer {
        min: 0,
        max: i64::MAX,
    },
    default: Some("1"),
    help: "what draws depend on",
};

const fn whole(
    name: &'static str,
    default: &'static str,
    (min, max): (i64, i64),
    help: &'static str,
) -> ParameterSpec {
    ParameterSpec {
        name,
        kind: ParameterKind::Integer { min, max },
        default: Some(default),
        help,
    }
}

const fn number(name: &'static str, default: &'static str, help: &'static str) -> ParameterSpec {
    ParameterSpec {
        name,
        kind: ParameterKind::Number {
            min: 0.0,
            max: f64::MAX,
        },
        default: Some(default),
        help,
    }
}

const fn file(name: &'static str, help: &'static str) -> ParameterSpec {
    ParameterSpec {
        name,
        kind: ParameterKind::Path,
        default: Some(""),
        help,
    }
}

/// Training as the steps that it takes: with scaling, one before it looks where
/// the columns lie.
///
/// # Errors
///
/// Names a parameter that does not go with the others.
pub(crate) fn expand(
    step: &StepSpec,
    parameters: &Parameters,
) -> Result<Vec<StepSpec>, ParameterError> {
    settings::check(parameters)?;
    let mut train = step.clone();
    if step.closes {
        let rounds = step.rounds_max.to_string();
        train.parameters.insert("rounds".to_owned(), rounds);
    } else {
        train.rounds_max = u32::try_from(parameters.integer("rounds")).unwrap_or(1);
    }
    train.closes = true;
    train.reducers = 1;
    if !parameters.is_true("scale") {
        return Ok(vec![train]);
    }
    if step.input == vivat_shared::job::StepInput::Previous {
        return Err(parameters.error(
            "scale",
            "what a step before it wrote can be read once only: scale the input itself".to_owned(),
        ));
    }
    let classes = parameters.text("classes").to_owned();
    let scale = StepSpec {
        parameters: BTreeMap::from([("classes".to_owned(), classes)]),
        closes: true,
        ..StepSpec::once(SCALE_ENTRY.name, 1)
    };
    Ok(vec![scale, train])
}
