//! Runs a program through the engine and through its oracle.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;
use vivat_engine::EngineError;
use vivat_engine::SegmentCompression;
use vivat_engine::local::{self, LocalOptions};
use vivat_programs::{OracleInput, Parameters, expand, find, validate_parameters};
use vivat_shared::attempt::Counters;
use vivat_shared::job::{InputFormat, StepSpec};

/// Input files of one test.
pub struct Inputs {
    directory: TempDir,
    inputs: Vec<OracleInput>,
    format: InputFormat,
}

/// How a run differs from another.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub split_bytes: u64,
    pub reducers: u32,
    pub memory_bytes: usize,
}

impl Inputs {
    pub fn new(contents: &[&[u8]]) -> Self {
        let names: Vec<String> = (0..contents.len())
            .map(|index| format!("in/{index}.txt"))
            .collect();
        let names = names.iter().map(String::as_str);
        let files: Vec<_> = names.zip(contents.iter().copied()).collect();
        Self::named(InputFormat::Text, &files)
    }

    /// Files with names of their own, to be read in a format.
    pub fn named(format: InputFormat, files: &[(&str, &[u8])]) -> Self {
        let directory = TempDir::new().unwrap();
        let inputs = files.iter().enumerate().map(|(index, (name, content))| {
            let path = directory.path().join(format!("input-{index}"));
            std::fs::write(&path, content).unwrap();
            OracleInput {
                path,
                display: (*name).to_owned(),
            }
        });
        let inputs = inputs.collect();
        Self {
            directory,
            inputs,
            format,
        }
    }

    pub fn expected(&self, program: &str, parameters: &[(&str, &str)], reducers: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let checked = checked(program, parameters);
        (find(program).unwrap().oracle)(&checked, &self.inputs, reducers, &mut out).unwrap();
        out
    }

    pub fn run(
        &self,
        program: &str,
        parameters: &[(&str, &str)],
        shape: Shape,
    ) -> (Vec<u8>, Counters) {
        self.try_run(program, parameters, shape).unwrap()
    }

    /// The same, for tests of what is refused.
    pub fn try_run(
        &self,
        program: &str,
        parameters: &[(&str, &str)],
        shape: Shape,
    ) -> Result<(Vec<u8>, Counters), EngineError> {
        let checked = checked(program, parameters);
        let executable = (find(program).unwrap().build)(&checked).unwrap();
        let scratch = self.directory.path().join("scratch");
        std::fs::create_dir_all(&scratch).unwrap();
        let inputs: Vec<(PathBuf, String)> = self
            .inputs
            .iter()
            .map(|input| (input.path.clone(), input.display.clone()))
            .collect();
        let options = LocalOptions {
            side_files: side_files(program, &checked),
            format: self.format,
            split_bytes: shape.split_bytes,
            reducers: shape.reducers,
            memory_bytes: shape.memory_bytes,
            compression: SegmentCompression::default(),
            skipped_max: 0,
            parameters: checked.to_map(),
        };
        let mut out = Vec::new();
        let counters = local::run(executable.as_ref(), &inputs, &options, &scratch, &mut out)?;
        let left: Vec<_> = std::fs::read_dir(&scratch).unwrap().collect();
        assert!(left.is_empty(), "left in scratch: {left:?}");
        Ok((out, counters))
    }

    /// Runs all steps that a step takes; what the last of them gives.
    pub fn try_steps(
        &self,
        program: &str,
        parameters: &[(&str, &str)],
        (shape, skipped_max): (Shape, u64),
    ) -> Result<Vec<u8>, EngineError> {
        let step = StepSpec {
            parameters: checked(program, parameters).to_map(),
            ..StepSpec::once(program, shape.reducers)
        };
        let scratch = self.directory.path().join("scratch");
        std::fs::create_dir_all(&scratch).unwrap();
        let inputs = self.inputs.iter();
        let inputs: Vec<_> = inputs
            .map(|input| (input.path.clone(), input.display.clone()))
            .collect();
        let (mut broadcast, mut out) = (Vec::new(), Vec::new());
        for step in expand(&step, self.format).unwrap() {
            let entry = find(&step.program).unwrap();
            let checked = validate_parameters(entry, &step.parameters).unwrap();
            let executable = (entry.build)(&checked).unwrap();
            let executable = executable.as_ref();
            let options = LocalOptions {
                side_files: side_files(entry.name, &checked),
                format: self.format,
                split_bytes: shape.split_bytes,
                reducers: step.reducers,
                memory_bytes: shape.memory_bytes,
                compression: SegmentCompression::default(),
                skipped_max,
                parameters: checked.to_map(),
            };
            out.clear();
            if step.closes {
                let options = (&options, step.rounds_max);
                let rounds =
                    local::run_rounds(executable, &inputs, options, &broadcast, &scratch, &mut out);
                broadcast = rounds?.pop().unwrap().broadcast;
            } else {
                local::run_after(
                    executable, &inputs, &options, &broadcast, &scratch, &mut out,
                )?;
            }
        }
        Ok(out)
    }

    /// What the oracle of a step gives that takes several.
    pub fn expected_of_steps(
        &self,
        program: &str,
        parameters: &[(&str, &str)],
        reducers: u32,
    ) -> Vec<u8> {
        let step = StepSpec {
            parameters: checked(program, parameters).to_map(),
            ..StepSpec::once(program, reducers)
        };
        let last = expand(&step, self.format).unwrap().pop().unwrap();
        self.expected(program, parameters, last.reducers)
    }

    /// Compares all steps with the oracle for every combination.
    pub fn check_steps(
        &self,
        program: &str,
        parameters: &[(&str, &str)],
        splits: &[u64],
        memories: &[usize],
    ) {
        for reducers in [1, 2, 5] {
            let expected = self.expected_of_steps(program, parameters, reducers);
            for &split_bytes in splits {
                for &memory_bytes in memories {
                    let shape = Shape {
                        split_bytes,
                        reducers,
                        memory_bytes,
                    };
                    let found = self.try_steps(program, parameters, (shape, 0)).unwrap();
                    assert!(
                        found == expected,
                        "{program} {parameters:?} {shape:?}: {}",
                        difference(&found, &expected)
                    );
                }
            }
        }
    }

    /// Compares engine and oracle for every combination.
    pub fn check(
        &self,
        program: &str,
        parameters: &[(&str, &str)],
        splits: &[u64],
        memories: &[usize],
    ) {
        for reducers in [1, 2, 7] {
            let expected = self.expected(program, parameters, reducers);
            for &split_bytes in splits {
                for &memory_bytes in memories {
                    let shape = Shape {
                        split_bytes,
                        reducers,
                        memory_bytes,
                    };
                    let (found, _) = self.run(program, parameters, shape);
                    assert!(
                        found == expected,
                        "{program} {parameters:?} {shape:?}: {}",
                        difference(&found, &expected)
                    );
                }
            }
        }
    }
}

/// Files that parameters name, under the names that they have there.
fn side_files(program: &str, parameters: &Parameters) -> vivat_mapreduce::SideFiles {
    let specs = find(program).unwrap().parameters.iter();
    specs
        .filter(|spec| spec.kind == vivat_programs::ParameterKind::Path)
        .map(|spec| parameters.text(spec.name))
        .filter(|text| !text.is_empty())
        .map(|text| (text.to_owned(), PathBuf::from(text)))
        .collect()
}

fn checked(program: &str, parameters: &[(&str, &str)]) -> Parameters {
    let given: BTreeMap<String, String> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    validate_parameters(find(program).unwrap(), &given).unwrap()
}

fn difference(found: &[u8], expected: &[u8]) -> String {
    let at = found
        .iter()
        .zip(expected)
        .position(|(a, b)| a != b)
        .unwrap_or(found.len().min(expected.len()));
    let show = |bytes: &[u8]| {
        let end = bytes.len().min(at + 80);
        String::from_utf8_lossy(&bytes[at.saturating_sub(40).min(end)..end]).into_owned()
    };
    format!(
        "{} bytes, expected {}; at {at} found {:?}, expected {:?}",
        found.len(),
        expected.len(),
        show(found),
        show(expected)
    )
}

/// A small text of the kind that breaks readers.
pub fn adversarial() -> Vec<Vec<u8>> {
    let mut all = vec![
        b"".to_vec(),
        b"\n".to_vec(),
        b"\n\n\n".to_vec(),
        b"whale".to_vec(),
        b"the whale\nand the sea".to_vec(),
        b"one\r\ntwo whales\r\n\r\nthree\r\nfour\r".to_vec(),
        b"a\rb\rc whale\r\r\nx\n\r\n".to_vec(),
        b"nul \0 in\0side\n\0\n\0whale\0\n".to_vec(),
        b"bad \xFF utf\xC3 \xE2\x82 x\xF0\x9F\x98 whale\xE2\n\x80\x80\n".to_vec(),
        "Größe ΣΊΣΥΦΟΣ straße İstanbul\u{a0}naïve\u{85}x\u{2003}\u{3000}日本 語\nwhälé\u{b}vt\u{c}ff\n"
            .as_bytes()
            .to_vec(),
    ];
    let mut many = Vec::new();
    for line in 0_u32..300 {
        let text = format!(
            "line {} the Whale {} of\n",
            line % 17,
            "abc".repeat(line as usize % 5)
        );
        many.extend_from_slice(text.as_bytes());
    }
    all.push(many);
    all
}
