//! Training beside a plain NumPy run of the same algorithm, from the same weights.
//!
//! Without NumPy it says so and checks nothing. `VIVAT_PYTHON` names another
//! interpreter than `python3`; `VIVAT_LETTERS` a directory with shards `train_*.txt`
//! and a `validate_*.txt` to take instead of generated ones.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use vivat_engine::SegmentCompression;
use vivat_engine::local::{self, LocalOptions};
use vivat_programs::{expand, find, generate, validate_parameters};
use vivat_shared::job::{InputFormat, StepSpec};

const ROUNDS: usize = 3;

/// Reads shards and first weights, prints loss and validation errors of each round.
const SCRIPT: &str = r#"
import json, struct, sys
import numpy as np
init, validate, shards = sys.argv[1], sys.argv[2], sys.argv[3:]
data = open(init, "rb").read()
length, = struct.unpack("<Q", data[:8])
header = json.loads(data[8:8 + length])
def tensor(name):
    start, end = header[name]["data_offsets"]
    numbers = np.frombuffer(data[8 + length + start:8 + length + end], "<f8")
    return numbers.reshape(header[name]["shape"]).copy()
def load(path):
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    return rows[:, :-1], rows[:, -1].astype(int)
def forward(W, V, X):
    H = np.maximum(W[0] + X @ W[1:], 0)
    Z = V[0] + H @ V[1:]
    Z -= Z.max(axis=1, keepdims=True)
    E = np.exp(Z)
    return H, Z, E, E.sum(axis=1, keepdims=True)
def loss(Z, S, y):
    return (np.log(S[:, 0]) - Z[np.arange(len(y)), y]).sum()
W, V = tensor("W"), tensor("V")
X_v, y_v = load(validate)
for _ in range(3):
    rows, total, d_W, d_V = 0, 0.0, 0, 0
    for X, y in map(load, shards):
        w, v, before = W.copy(), V.copy(), None
        for _ in range(75):
            H, Z, E, S = forward(w, v, X)
            now = loss(Z, S, y)
            if before is not None and abs(before - now) <= 0.2:
                break
            before = now
            D = E / S
            D[np.arange(len(y)), y] -= 1
            B = (D @ v[1:].T) * (H > 0)
            v = v - 1e-4 * np.vstack([D.sum(axis=0), H.T @ D])
            w = w - 1e-4 * np.vstack([B.sum(axis=0), X.T @ B])
        _, Z, _, S = forward(w, v, X)
        total += loss(Z, S, y)
        rows += len(y)
        d_W, d_V = d_W + len(y) * (w - W), d_V + len(y) * (v - V)
    W, V = W + d_W / rows, V + d_V / rows
    _, Z, _, _ = forward(W, V, X_v)
    print(repr(float(total / rows)), int((Z.argmax(axis=1) != y_v).sum()), len(y_v))
"#;

fn python() -> Option<String> {
    let python = std::env::var("VIVAT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import numpy"]).output();
    found.is_ok_and(|it| it.status.success()).then_some(python)
}

/// Shards in order, and the rows to validate with.
fn data(directory: &Path) -> (Vec<PathBuf>, PathBuf) {
    if let Some(letters) = std::env::var_os("VIVAT_LETTERS") {
        let entries = std::fs::read_dir(letters).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let named = |path: &PathBuf, front: &str| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(front)
        };
        let validate = paths.iter().find(|path| named(path, "validate_")).unwrap();
        let validate = validate.clone();
        paths.retain(|path| named(path, "train_"));
        return (paths, validate);
    }
    let make = |name: &str, bytes: u64, seed: u64| {
        let mut text = Vec::new();
        generate::letters(bytes, seed, &mut text).unwrap();
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let shards = (1..5).map(|seed| make(&format!("train_{seed}.txt"), 20_000 + 1_000 * seed, seed));
    (shards.collect(), make("validate.txt", 140_000, 77))
}

/// The model, and what each round told.
fn train(
    shards: &[PathBuf],
    scratch: &Path,
    given: &[(&str, &str)],
) -> (Vec<u8>, Vec<BTreeMap<String, f64>>) {
    let given: BTreeMap<String, String> = given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let step = StepSpec {
        parameters: given,
        ..StepSpec::once("mlp-train", 1)
    };
    let step = expand(&step, InputFormat::Text).unwrap().pop().unwrap();
    let entry = find("mlp-train").unwrap();
    let parameters = validate_parameters(entry, &step.parameters).unwrap();
    let files = ["validate", "init"].map(|name| parameters.text(name));
    let files = files.into_iter().filter(|path| !path.is_empty());
    let options = LocalOptions {
        format: InputFormat::Text,
        split_bytes: 1 << 30,
        reducers: 1,
        memory_bytes: 8 << 20,
        compression: SegmentCompression::default(),
        skipped_max: 0,
        parameters: parameters.to_map(),
        side_files: files.map(|it| (it.to_owned(), PathBuf::from(it))).collect(),
    };
    let inputs = shards
        .iter()
        .map(|path| (path.clone(), path.to_string_lossy().into_owned()));
    let inputs: Vec<(PathBuf, String)> = inputs.collect();
    let program = (entry.build)(&parameters).unwrap();
    let mut model = Vec::new();
    let limits = (&options, step.rounds_max);
    let rounds =
        local::run_rounds(program.as_ref(), &inputs, limits, &[], scratch, &mut model).unwrap();
    (
        model,
        rounds.into_iter().map(|round| round.metrics).collect(),
    )
}

#[test]
fn training_agrees_with_a_plain_numpy_run_from_the_same_weights() {
    let Some(python) = python() else {
        eprintln!("skipped: there is no python3 with numpy; VIVAT_PYTHON names one");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (shards, validate) = data(directory.path());
    let validate = validate.to_string_lossy().into_owned();
    // A step of nothing: the weights that were drawn.
    let nothing = [("rounds", "1"), ("epochs", "1"), ("eta", "0")];
    let (mut drawn, _) = train(&shards, directory.path(), &nothing);
    // Small ones: from large ones plain steps of this size swing to and fro, and what
    // is a last bit of difference at first is a different network two rounds later.
    let header = usize::try_from(u64::from_le_bytes(*drawn.first_chunk().unwrap())).unwrap();
    for bytes in drawn[8 + header..].as_chunks_mut().0 {
        *bytes = (f64::from_le_bytes(*bytes) / 30.0).to_le_bytes();
    }
    let init = directory.path().join("init.safetensors");
    std::fs::write(&init, drawn).unwrap();
    let init = init.to_string_lossy().into_owned();
    let rounds = ROUNDS.to_string();
    let given = [
        ("rounds", rounds.as_str()),
        ("epochs", "75"),
        ("hidden", "24"),
        ("eta", "0.0001"),
        ("init", &init),
        ("validate", &validate),
    ];
    let (_, told) = train(&shards, directory.path(), &given);
    let script = Command::new(python)
        .args(["-c", SCRIPT, &init, &validate])
        .args(&shards)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&script.stdout).into_owned();
    let said = String::from_utf8_lossy(&script.stderr).into_owned();
    assert!(script.status.success(), "{said}");
    assert_eq!(
        (told.len(), text.lines().count()),
        (ROUNDS, ROUNDS),
        "{text}"
    );
    for (round, (line, told)) in text.lines().zip(&told).enumerate() {
        let numbers: Vec<f64> = line.split(' ').map(|it| it.parse().unwrap()).collect();
        let errors = told["validation_error"] * numbers[2];
        println!(
            "round {round}: {line}; here {} and {errors}",
            told["train_loss"]
        );
        assert!(
            (errors - numbers[1]).abs().round() <= 2.0,
            "round {round}: {errors} {line}"
        );
        if round == 0 {
            let apart = (told["train_loss"] - numbers[0]).abs() / numbers[0];
            assert!(apart <= 1e-6, "{apart}: {line}");
        }
    }
}
