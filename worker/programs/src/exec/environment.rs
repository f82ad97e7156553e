//! The environment of a command: a few variables of the worker's, what Hadoop says of
//! a task, and what the job declares.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;

use vivat_mapreduce::{Attempt, MapContext, ReduceContext};

use super::settings::{PATH_DEFAULT, Settings};
use super::workdir::WorkDir;

/// Variables by name; values are bytes.
pub(super) type Environment = BTreeMap<String, Vec<u8>>;

/// Of a map task: the mapper and the combiner have it.
pub(super) fn of_map(
    settings: &Settings,
    context: &MapContext<'_>,
    directory: &WorkDir,
) -> Environment {
    let mut all = common(context.attempt, directory, (true, context.split));
    let numbers = [
        ("mapreduce_map_input_start", context.split_offset),
        ("mapreduce_map_input_length", context.split_bytes),
        ("mapreduce_job_maps", u64::from(context.splits)),
        ("mapreduce_job_reduces", u64::from(context.partitions)),
    ];
    set(&mut all, "mapreduce_map_input_file", context.display);
    for (name, number) in numbers {
        set(&mut all, name, &number.to_string());
    }
    declared(settings, all)
}

/// Of a reduce task.
pub(super) fn of_reduce(
    settings: &Settings,
    context: &ReduceContext<'_>,
    directory: &WorkDir,
) -> Environment {
    let mut all = common(context.attempt, directory, (false, context.partition));
    let partitions = context.partitions.to_string();
    set(&mut all, "mapreduce_job_reduces", &partitions);
    declared(settings, all)
}

fn common(attempt: Attempt<'_>, directory: &WorkDir, (is_map, index): (bool, u32)) -> Environment {
    let mut all = Environment::new();
    for (name, default) in [("PATH", PATH_DEFAULT), ("LANG", "C.UTF-8")] {
        let value = std::env::var_os(name).map(OsStringExt::into_vec);
        let value = value.filter(|value| !value.is_empty());
        all.insert(name.to_owned(), value.unwrap_or_else(|| default.into()));
    }
    for name in [
        "HOME",
        "TMPDIR",
        "mapreduce_job_local_dir",
        "mapreduce_task_output_dir",
    ] {
        all.insert(name.to_owned(), directory.bytes());
    }
    let kind = if is_map { "map" } else { "reduce" };
    let (job, task, attempt) = match attempt.host.attempt() {
        Some(attempt) => (
            attempt.job().to_string(),
            attempt.task.to_string(),
            attempt.to_string(),
        ),
        None => {
            let task = format!("local.{kind}-{index}");
            ("local".to_owned(), task.clone(), format!("{task}.1"))
        }
    };
    for (name, value) in [
        ("mapreduce_job_id", job.as_str()),
        ("mapreduce_task_id", &task),
        ("mapreduce_task_attempt_id", &attempt),
        ("mapreduce_task_partition", &index.to_string()),
        (
            "mapreduce_task_ismap",
            if is_map { "true" } else { "false" },
        ),
    ] {
        set(&mut all, name, value);
    }
    all
}

fn declared(settings: &Settings, mut all: Environment) -> Environment {
    for (name, value) in &settings.environment {
        set(&mut all, name, value);
    }
    all
}

fn set(all: &mut Environment, name: &str, value: &str) {
    all.insert(name.to_owned(), value.as_bytes().to_vec());
}
