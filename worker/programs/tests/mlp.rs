//! Training and prediction: the same bits as their oracles, whatever was cut.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod common;

use std::path::{Path, PathBuf};

use common::{Inputs, Shape};
use tempfile::TempDir;
use vivat_programs::generate;
use vivat_shared::job::InputFormat;

const SHAPE: Shape = Shape {
    split_bytes: 1 << 30,
    reducers: 1,
    memory_bytes: 8 << 20,
};

/// So many bytes of rows.
fn letters(size: u64, seed: u64) -> Vec<u8> {
    let mut text = Vec::new();
    generate::letters(size, seed, &mut text).unwrap();
    text
}

fn three_shards() -> Inputs {
    let texts = [letters(5_000, 1), letters(3_000, 2), letters(4_100, 3)];
    let names = ["a.txt", "b.txt", "c.txt"];
    let files: Vec<(&str, &[u8])> = names
        .into_iter()
        .zip(texts.iter().map(Vec::as_slice))
        .collect();
    Inputs::named(InputFormat::Text, &files)
}

struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    fn put(&self, name: &str, content: &[u8]) -> String {
        let path: PathBuf = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    }
}

fn train(inputs: &Inputs, parameters: &[(&str, &str)], shape: Shape) -> Vec<u8> {
    inputs
        .try_steps("mlp-train", parameters, (shape, 0))
        .unwrap()
}

fn refusal(inputs: &Inputs, parameters: &[(&str, &str)]) -> String {
    let refused = inputs.try_steps("mlp-train", parameters, (SHAPE, 0));
    refused.unwrap_err().cause().to_string()
}

#[test]
fn model_has_the_bits_of_the_oracle_whatever_was_cut() {
    let files = Files::new();
    let validate = files.put("validate.txt", &letters(2_000, 9));
    let validate = ("validate", validate.as_str());
    let plain = [("hidden", "5"), ("rounds", "3"), ("epochs", "4"), validate];
    let batches = [
        ("hidden", "9"),
        ("rounds", "2"),
        ("epochs", "2"),
        ("batch", "7"),
        ("scale", "true"),
        ("optimizer", "adam"),
        ("eta", "0.01"),
        ("decay", "0.9"),
        ("seed", "77"),
        validate,
    ];
    let inputs = three_shards();
    for parameters in [&plain[..], &batches] {
        let expected = inputs.expected_of_steps("mlp-train", parameters, 1);
        for split_bytes in [1 << 30, 1_000, 77] {
            let shape = Shape {
                split_bytes,
                ..SHAPE
            };
            let found = train(&inputs, parameters, shape);
            assert!(found == expected, "{parameters:?} {shape:?}");
        }
    }
}

#[test]
fn training_that_rests_keeps_the_best_model_and_one_that_began_with_it_goes_on() {
    let files = Files::new();
    let validate = files.put("validate.txt", &letters(1_500, 9));
    let validate = ("validate", validate.as_str());
    let inputs = three_shards();
    // Steps that are far too large: the error goes up and down.
    let restless = [
        ("hidden", "6"),
        ("rounds", "30"),
        ("epochs", "3"),
        ("eta", "0.004"),
        ("min-change", "0"),
        ("patience", "2"),
        ("scale", "true"),
        validate,
    ];
    let model = train(&inputs, &restless, SHAPE);
    assert!(model == inputs.expected_of_steps("mlp-train", &restless, 1));
    let text = String::from_utf8_lossy(&model).into_owned();
    assert!(
        text.contains("best_round") && !text.contains("next.W"),
        "{text}"
    );
    let init = files.put("init.safetensors", &model);
    for scale in ["false", "true"] {
        let further = [
            ("hidden", "6"),
            ("rounds", "2"),
            ("epochs", "2"),
            ("init", init.as_str()),
            ("scale", scale),
        ];
        let found = train(&inputs, &further, SHAPE);
        assert!(
            found == inputs.expected_of_steps("mlp-train", &further, 1),
            "{scale}"
        );
    }
}

#[test]
fn prediction_gives_every_row_its_class_and_counts_what_is_wrong() {
    let files = Files::new();
    let inputs = three_shards();
    let model = train(
        &inputs,
        &[
            ("hidden", "16"),
            ("scale", "true"),
            ("eta", "0.002"),
            ("epochs", "20"),
        ],
        SHAPE,
    );
    let model = files.put("model.safetensors", &model);
    let parameters = [("model", model.as_str())];
    inputs.check("mlp-predict", &parameters, &[1 << 30, 500], &[8 << 20]);
    let (text, counters) = inputs.run("mlp-predict", &parameters, SHAPE);
    let lines = text.split(|byte| *byte == b'\n').count() as u64 - 1;
    assert_eq!(counters["mlp.rows"], lines);
    assert_eq!(counters["mlp.labelled"], lines);
    assert!(counters["mlp.errors"] < lines / 2, "{counters:?}");
    let unlabelled = Inputs::new(&[b"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,0\n\n"]);
    let (_, counters) = unlabelled.run("mlp-predict", &parameters, SHAPE);
    assert_eq!((counters["mlp.rows"], counters["mlp.labelled"]), (1, 0));
    let short = Inputs::new(&[b"1,2,3\n"]);
    let refused = short
        .try_run("mlp-predict", &parameters, SHAPE)
        .unwrap_err();
    let said = refused.cause().to_string();
    assert!(
        said.contains("in/0.txt line 1: it has 3 columns: the model wants 16"),
        "{said}"
    );
}

#[test]
fn bad_rows_are_named_by_file_and_line_and_can_be_left_out() {
    let good = "1,2,0\n2,1,1\n1,3,0\n";
    for (bad, said) in [
        ("1,x,0\n", "column 2 is `x`, which is no number"),
        ("1,nan,0\n", "column 2 is `nan`"),
        ("1,inf,0\n", "column 2 is `inf`"),
        ("1,0\n", "it has 2 columns, and the rows before it have 3"),
        (
            "1,2,2\n",
            "its class, the last column, is 2: with 2 classes",
        ),
        ("1,2,-1\n", "its class, the last column, is -1"),
        ("1,2,0.5\n", "its class, the last column, is 0.5"),
    ] {
        let text = format!("{good}{bad}{good}");
        let inputs = Inputs::new(&[text.as_bytes()]);
        let parameters = [("classes", "2"), ("rounds", "1"), ("hidden", "2")];
        let refused = refusal(&inputs, &parameters);
        let place = format!("in/0.txt line 4: {said}");
        assert!(refused.contains(&place), "{refused}");
        let skipped = inputs
            .try_steps("mlp-train", &parameters, (SHAPE, 1))
            .unwrap();
        let clean = Inputs::new(&[format!("{good}{good}").as_bytes()]);
        assert!(skipped == train(&clean, &parameters, SHAPE), "{bad}");
    }
}

#[test]
fn what_cannot_be_trained_says_why() {
    let rows = Inputs::new(&[b"1,2,0\n2,1,1\n", b"", b"\n\n", b"3,3,1\n"]);
    let two = [("classes", "2"), ("rounds", "1"), ("hidden", "2")];
    // Empty shards are none, and break nothing.
    let found = train(&rows, &two, SHAPE);
    assert!(found == rows.expected_of_steps("mlp-train", &two, 1));
    let nothing = Inputs::new(&[b"", b"\n"]);
    assert!(refusal(&nothing, &two).contains("no rows to learn from"));
    let ragged = Inputs::new(&[b"1,2,0\n", b"1,2,3,0\n"]);
    assert!(refusal(&ragged, &two).contains("rows of 4 columns, and others are of 3"));
    let scaled = [&two[..], &[("scale", "true")]].concat();
    assert!(refusal(&ragged, &scaled).contains("rows of 3 columns, others of 4"));
    let files = Files::new();
    let mut huge = train(&rows, &two, SHAPE);
    let header = usize::try_from(u64::from_le_bytes(*huge.first_chunk().unwrap())).unwrap();
    for weight in huge[8 + header..].as_chunks_mut().0 {
        *weight = 1e200_f64.to_le_bytes();
    }
    let huge = files.put("huge", &huge);
    let eager = [&two[..], &[("init", huge.as_str())]].concat();
    let said = refusal(&rows, &eager);
    assert!(said.contains("give a smaller eta"), "{said}");
    let init = files.put(
        "init",
        &train(&rows, &[("classes", "3"), ("hidden", "2")], SHAPE),
    );
    let other = [&two[..], &[("init", init.as_str())]].concat();
    let said = refusal(&rows, &other);
    assert!(
        said.contains("`V` [3, 3]") && said.contains("classes=2 want [3, 2] and [3, 2]"),
        "{said}"
    );
    let broken = files.put("broken", b"not a model");
    let other = [&two[..], &[("init", broken.as_str())]].concat();
    assert!(refusal(&rows, &other).contains("not a whole .safetensors file"));
    for (content, said) in [
        (&b"1,2,0\n1,b,0\n"[..], "line 2: column 2 is `b`"),
        (b"", "has no rows"),
        (b"1,2,3,0\n", "rows of 4 columns"),
    ] {
        let validate = files.put("validate", content);
        let other = [&two[..], &[("validate", validate.as_str())]].concat();
        let refused = refusal(&rows, &other);
        assert!(refused.contains(said), "{refused}");
    }
    assert!(!Path::new("validate").exists());
}
