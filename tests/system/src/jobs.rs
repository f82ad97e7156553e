//! The jobs of a run: a word count over a few small files, and what it must
//! come to.
//!
//! Paths go through the process' own link to its directory, so that they are
//! absolute and yet the same in every run of a seed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use vivat_shared::job::{
    ATTEMPTS_DEFAULT, InputFormat, InputPattern, JobSpec, OutputLocation, PRIORITY_DEFAULT, Policy,
    StepSpec, Visibility,
};
use vivat_testkit::dice::Dice;

const HERE: &str = "/proc/self/cwd";
const WORDS: [&str; 12] = [
    "ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "willow",
    "yew",
];
const FILES: u64 = 3;
/// So that a file is cut into two or three.
const SPLIT_BYTES: u64 = 200;

/// The key of a client's next job.
pub fn key(client: u64, number: u64) -> String {
    format!("job-{client}-{number}")
}

/// What is submitted under a key; always the same.
pub fn spec(key: &str) -> JobSpec {
    let input = format!("{HERE}/in/*.txt");
    let output = format!("{HERE}/out/{key}");
    JobSpec {
        name: key.to_owned(),
        comment: String::new(),
        inputs: vec![InputPattern {
            path: input.clone(),
            display: input,
            visibility: Visibility::Everyone,
        }],
        format: InputFormat::Text,
        split_bytes: SPLIT_BYTES,
        steps: vec![StepSpec::once("word-count", 2)],
        output: OutputLocation::Directory {
            path: output.clone(),
            display: output,
            visibility: Visibility::Everyone,
        },
        overwrite: false,
        priority: PRIORITY_DEFAULT,
        policy: Policy::LeastLoaded,
        attempts_max: ATTEMPTS_DEFAULT,
        timeout_ms: None,
        speculation: true,
        skipped_max: 0,
        side_files: Vec::new(),
        notify: None,
        source: String::new(),
        size_hint_bytes: None,
    }
}

/// Writes the inputs into the present directory, and counts their words.
///
/// # Errors
///
/// The file system's.
pub fn write_inputs(dice: &mut Dice) -> io::Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    fs::create_dir("in")?;
    fs::create_dir("out")?;
    for number in 0..FILES {
        let mut text = String::new();
        for _ in 0..dice.between(8, 14) {
            let mut words = Vec::new();
            for _ in 0..dice.between(3, 8) {
                let word = *dice.pick(&WORDS).unwrap_or(&WORDS[0]);
                *counts.entry(word.to_owned()).or_default() += 1;
                words.push(word);
            }
            text.push_str(&words.join(" "));
            text.push('\n');
        }
        let path = PathBuf::from(format!("in/{number}.txt"));
        fs::write(&path, text)?;
        // The plan notes it, and must be the same in every run of a seed.
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        File::options()
            .write(true)
            .open(&path)?
            .set_modified(modified)?;
    }
    Ok(counts)
}

/// What a job's output says; none when there is no output.
///
/// # Errors
///
/// The file system's, and of lines that are no counts.
pub fn read_output(key: &str) -> io::Result<Option<BTreeMap<String, u64>>> {
    let directory = Path::new("out").join(key);
    if !directory.is_dir() {
        return Ok(None);
    }
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("part-") {
            continue;
        }
        for line in fs::read_to_string(entry.path())?.lines() {
            let pair = line
                .split_once('\t')
                .map(|(word, count)| (word, count.parse::<u64>()));
            let Some((word, Ok(count))) = pair else {
                return Err(io::Error::other(format!("no count: {line:?}")));
            };
            *counts.entry(word.to_owned()).or_default() += count;
        }
    }
    Ok(Some(counts))
}
