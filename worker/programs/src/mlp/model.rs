//! Models as files, and what goes from round to round.
//!
//! A model is a `.safetensors` file in f64 with the tensors `W` [features + 1,
//! hidden] and `V` [hidden + 1, classes], row 0 the biases; they are for rows as
//! they stand in the input. Its metadata has one entry, `vivat`, a JSON object of
//! texts: what was reached.
//!
//! What a round hands on is the same file. While the training goes on it may have
//! more tensors: `mean` and `deviation` of the columns, `next.W` and `next.V` for
//! standardised rows, `best.W` and `best.V` where a stop is looked for, `adam.means`
//! and `adam.squares`.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use super::net::{Scale, Shape, Weights};

/// The entry of the metadata that is ours.
const ENTRY: &str = "vivat";

/// Tensors by name, and facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Model {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
    /// What was reached, and what the next round must know.
    pub(super) facts: BTreeMap<String, String>,
}

impl Model {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let broken = |error: safetensors::SafeTensorError| {
            format!("it is not a whole .safetensors file: {error}")
        };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let told = metadata.metadata().as_ref();
        let facts = match told.and_then(|entries| entries.get(ENTRY)) {
            None => BTreeMap::new(),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| format!("its metadata `{ENTRY}` cannot be read: {error}"))?,
        };
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(broken)?.tensors() {
            if view.dtype() != Dtype::F64 {
                continue;
            }
            let numbers = view.data().as_chunks::<8>().0.iter();
            let numbers = numbers.map(|bytes| f64::from_le_bytes(*bytes)).collect();
            tensors.insert(name, (view.shape().to_vec(), numbers));
        }
        Ok(Self { tensors, facts })
    }

    /// As a file.
    ///
    /// # Errors
    ///
    /// What the format does not take.
    pub(super) fn write(&self) -> Result<Vec<u8>, String> {
        let facts = serde_json::to_string(&self.facts).map_err(|error| error.to_string())?;
        let bytes: Vec<Vec<u8>> = self
            .tensors
            .values()
            .map(|(_, numbers)| numbers.iter().flat_map(|it| it.to_le_bytes()).collect())
            .collect();
        let views: Result<Vec<_>, _> = self
            .tensors
            .iter()
            .zip(&bytes)
            .map(|((name, (shape, _)), bytes)| {
                Ok((name, TensorView::new(Dtype::F64, shape.clone(), bytes)?))
            })
            .collect();
        let said = |error: safetensors::SafeTensorError| error.to_string();
        // One entry: a map of several would have no order.
        let metadata = HashMap::from([(ENTRY.to_owned(), facts)]);
        serialize(views.map_err(said)?, Some(metadata)).map_err(said)
    }

    /// Whether a round of ours wrote it.
    pub(super) fn is_ours(&self) -> bool {
        self.facts.contains_key("round") || self.tensors.contains_key("mean")
    }

    /// Puts weights under `prefix`.
    pub(super) fn put(&mut self, prefix: &str, weights: &Weights) {
        let Shape {
            features,
            hidden,
            classes,
        } = weights.shape;
        let first = (vec![features + 1, hidden], weights.w.clone());
        let second = (vec![hidden + 1, classes], weights.v.clone());
        self.tensors.insert(format!("{prefix}W"), first);
        self.tensors.insert(format!("{prefix}V"), second);
    }

    /// The weights under `prefix`.
    ///
    /// # Errors
    ///
    /// Says which tensor is missing or of what shape it is.
    pub(super) fn weights(&self, prefix: &str) -> Result<Weights, String> {
        let matrix = |name: &str| {
            let name = format!("{prefix}{name}");
            match self.tensors.get(&name) {
                None => Err(format!("it has no f64 tensor `{name}`")),
                Some((shape, numbers)) => match shape[..] {
                    [rows, columns] if rows > 1 && columns > 0 => {
                        Ok((rows, columns, numbers.clone()))
                    }
                    _ => Err(format!(
                        "tensor `{name}` has shape {shape:?}, not two sizes"
                    )),
                },
            }
        };
        let (inputs, hidden, w) = matrix("W")?;
        let (units, classes, v) = matrix("V")?;
        if units != hidden + 1 || classes < 2 {
            return Err(format!(
                "tensor `{prefix}V` has shape [{units}, {classes}], and behind `{prefix}W` of \
                 shape [{inputs}, {hidden}] it is [{}, classes]",
                hidden + 1
            ));
        }
        let shape = Shape {
            features: inputs - 1,
            hidden,
            classes,
        };
        let weights = Weights { shape, w, v };
        if weights.are_finite() {
            Ok(weights)
        } else {
            Err("it has weights that are not finite".to_owned())
        }
    }

    /// Makes a finished model of one that went on: the best weights, or else these.
    pub(super) fn take_best(&mut self, weights: &Weights) {
        let best = self.weights("best.");
        self.tensors.clear();
        self.put("", best.as_ref().unwrap_or(weights));
    }

    /// Puts where the columns lie.
    pub(super) fn put_scale(&mut self, scale: &Scale) {
        for (name, numbers) in [("mean", &scale.means), ("deviation", &scale.deviations)] {
            let tensor = (vec![numbers.len()], numbers.clone());
            self.tensors.insert(name.to_owned(), tensor);
        }
    }

    /// Puts what Adam goes on with: means, then as many squares.
    pub(super) fn put_moments(&mut self, mut means: Vec<f64>) {
        let squares = means.split_off(means.len() / 2);
        for (name, numbers) in [("adam.means", means), ("adam.squares", squares)] {
            let tensor = (vec![numbers.len()], numbers);
            self.tensors.insert(name.to_owned(), tensor);
        }
    }

    /// Means and squares that Adam goes on with, if they are in it.
    pub(super) fn moments(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        let numbers = |name: &str| Some(self.tensors.get(name)?.1.clone());
        Some((numbers("adam.means")?, numbers("adam.squares")?))
    }

    /// Where the columns lie, if that is in it.
    pub(super) fn scale(&self) -> Option<Scale> {
        let column = |name: &str| Some(self.tensors.get(name)?.1.clone());
        Some(Scale {
            means: column("mean")?,
            deviations: column("deviation")?,
        })
    }

    /// A number among the facts.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.facts.get(name)?.parse().ok()
    }

    /// Notes a fact.
    pub(super) fn note(&mut self, name: &str, value: impl ToString) {
        self.facts.insert(name.to_owned(), value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        let shape = Shape {
            features: 3,
            hidden: 2,
            classes: 5,
        };
        Weights::drawn(shape, 7)
    }

    #[test]
    fn model_comes_back_as_it_was_written_and_has_the_same_bytes_every_time() {
        let mut model = Model::default();
        model.put("", &weights());
        for name in ["round", "rows", "train_error", "validation_error"] {
            model.note(name, 0.1 + 0.2);
        }
        let bytes = model.write().unwrap();
        for _ in 0..20 {
            assert_eq!(model.clone().write().unwrap(), bytes);
        }
        let read = Model::read(&bytes).unwrap();
        assert_eq!(read, model);
        assert_eq!(read.weights("").unwrap(), weights());
        assert_eq!(read.number::<f64>("rows"), Some(0.1 + 0.2));
    }

    #[test]
    fn model_of_the_wrong_shape_says_which() {
        assert!(
            Model::read(b"nonsense")
                .unwrap_err()
                .contains("safetensors")
        );
        let mut model = Model::default();
        assert!(model.weights("").unwrap_err().contains("no f64 tensor `W`"));
        model.put("", &weights());
        model
            .tensors
            .insert("V".to_owned(), (vec![4, 5], vec![0.0; 20]));
        let said = model.weights("").unwrap_err();
        assert!(
            said.contains("`V` has shape [4, 5]") && said.contains("[3, classes]"),
            "{said}"
        );
        model
            .tensors
            .insert("V".to_owned(), (vec![15], vec![0.0; 15]));
        assert!(model.weights("").unwrap_err().contains("not two sizes"));
    }
}
