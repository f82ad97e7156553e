//! What becomes of flags and job files.

use clap::{CommandFactory, FromArgMatches};

use super::*;
use crate::args::{Cli, Command};

fn draft(words: &[&str], configured: &[String]) -> Result<Draft, Failure> {
    let all = ["vivat", "run"].iter().chain(words);
    let matches = Cli::command().try_get_matches_from(all).unwrap();
    let Command::Run(args) = Cli::from_arg_matches(&matches).unwrap().command else {
        panic!("not the command that was typed");
    };
    let matches = matches.subcommand_matches("run").unwrap();
    let given = Given::new(matches, configured);
    Draft::new(args.what, &args.job, &given, Path::new("/home/ada"))
}

fn job_file(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("job.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_string_lossy().into_owned();
    (directory, path)
}

const FILE: &str = "input = \"a.txt\"\nreducers = 6\nsplit-size = \"1KiB\"\n\
    [[step]]\nprogram = \"grep\"\nparams.pattern = \"x\"\n";

#[test]
fn flag_goes_before_job_file_and_job_file_before_config_and_default() {
    let (_directory, path) = job_file(FILE);
    let configured = ["reducers".to_owned()];
    let of_file = draft(&[&path], &configured).unwrap();
    assert_eq!(of_file.steps[0].reducers, 6);
    assert_eq!(of_file.settings.split_bytes, 1_024);
    assert_eq!(of_file.settings.priority, 50);
    let typed = ["--reducers", "2", "-p", "pattern=y", "--input", "b.txt"];
    let typed = draft(&[&[path.as_str()], &typed[..]].concat(), &[]).unwrap();
    assert_eq!(typed.steps[0].reducers, 2);
    assert_eq!(typed.steps[0].parameters["pattern"], "y");
    assert_eq!(typed.inputs.len(), 1);
    assert_eq!(typed.inputs[0].path, "/home/ada/b.txt");
}

#[test]
fn what_is_wrong_is_found_before_anything_is_submitted() {
    for (words, exit) in [
        (&["wordcount", "a.txt"][..], 3),
        (&["word-count", "a.txt", "-p", "shape=round"], 2),
        (&["grep", "a.txt"], 2),
        (&["grep", "a.txt", "-p", "pattern=("], 2),
        (&["word-count"], 2),
        (&["word-count", "a.txt", "--format", "csv"], 2),
        (&["/nowhere/job.toml"], 3),
    ] {
        assert_eq!(draft(words, &[]).unwrap_err().exit, exit, "{words:?}");
    }
}

#[test]
fn sort_into_several_parts_takes_a_sample_first_and_into_one_part_none() {
    let words = [
        "sort",
        "a.bin",
        "--format",
        "fixed:100",
        "-p",
        "key-bytes=10",
    ];
    let several = draft(&words, &[]).unwrap();
    let programs: Vec<&str> = several
        .steps
        .iter()
        .map(|step| step.program.as_str())
        .collect();
    assert_eq!(programs, ["sort-sample", "sort"]);
    let [sample, sort] = &several.steps[..] else {
        panic!("{programs:?}");
    };
    assert!(sample.closes && sample.reducers == 1 && !sort.closes);
    assert_eq!(sample.parameters["parts"], "4");
    assert_eq!(sort.parameters["record-bytes"], "100");
    assert_eq!((sample.input, sort.input), (StepInput::Job, StepInput::Job));
    let wrong = ["sort", "a.txt", "-p", "csv-column=name"];
    assert_eq!(draft(&wrong, &[]).unwrap_err().exit, 2);
    let one = draft(&["sort", "a.txt", "--reducers", "1"], &[]).unwrap();
    assert_eq!(one.steps.len(), 1);
}

#[test]
fn later_step_reads_what_was_written_before_it_unless_the_file_says_otherwise() {
    let (_directory, path) = job_file(
        "input = \"a.txt\"\n[[step]]\nprogram = \"word-count\"\n\
         [[step]]\nprogram = \"sort\"\nreducers = 1\n\
         [[step]]\nprogram = \"sort\"\ninput = \"job\"\nreducers = 1\n",
    );
    let draft = draft(&[&path], &[]).unwrap();
    let inputs: Vec<StepInput> = draft.steps.iter().map(|step| step.input).collect();
    let expected = [StepInput::Job, StepInput::Previous, StepInput::Job];
    assert_eq!(inputs, expected);
    for wrong in ["input = \"previous\"\n", "rounds = 0\n"] {
        let text = format!("input = \"a.txt\"\n[[step]]\nprogram = \"sort\"\n{wrong}");
        let (_directory, path) = job_file(&text);
        let refused = self::draft(&[&path], &[]).and_then(|draft| {
            let output = OutputLocation::Dataset { name: None };
            draft.spec(output, &HostIdentity("x".to_owned())).map(drop)
        });
        assert_eq!(refused.unwrap_err().exit, 2, "{wrong}");
    }
}

#[test]
fn file_urls_alone_need_no_worker_on_this_machine() {
    let words = ["word-count", "file:///a", "--output", "file:///o"];
    assert!(!draft(&words, &[]).unwrap().needs_this_host());
    assert!(
        draft(&["word-count", "file:///a", "b"], &[])
            .unwrap()
            .needs_this_host()
    );
}
