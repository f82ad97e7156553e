//! mrjob scripts on a cluster give what they give when mrjob runs them itself.
//!
//! The scripts are those of `data/examples/mrjob`. mrjob is installed once, into an
//! environment of its own below `target/`; where that cannot be done the tests say
//! so and pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::harness::{Cluster, Shape, command, describe, output_bytes};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TEXTS: [&str; 1] = ["data/input/*.txt"];

/// A Python that has mrjob; none, said once, where there can be none.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mrjob-0.7.4");
        let python = home.join("bin/python");
        let works = || {
            let mut asking = Command::new(&python);
            let asked = asking.args(["-c", "import mrjob.job, mrjob.bin"]).output();
            asked.is_ok_and(|output| output.status.success())
        };
        if works() {
            return Some(python);
        }
        let made = Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&home)
            .output();
        if made.is_ok_and(|output| output.status.success()) {
            let _judged_by_what_it_made = Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "-q",
                    "mrjob==0.7.4",
                    "setuptools<81",
                ])
                .output();
        }
        works().then_some(python)
    });
    if python.is_none() {
        eprintln!("skipped: mrjob 0.7.4 cannot be installed here for python3");
    }
    python.as_deref()
}

/// A script with what it is given.
struct Script {
    name: &'static str,
    inputs: &'static [&'static str],
    arguments: &'static [&'static str],
    /// For mrjob alone.
    more_arguments: Vec<String>,
}

impl Script {
    fn over(name: &'static str, inputs: &'static [&'static str]) -> Self {
        Self {
            name,
            inputs,
            arguments: &[],
            more_arguments: Vec::new(),
        }
    }

    fn with(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }

    fn path(&self) -> String {
        format!("{ROOT}/data/examples/mrjob/{}.py", self.name)
    }

    /// The files that its inputs mean, absolute.
    fn files(&self) -> Vec<PathBuf> {
        let patterns = self.inputs.iter().map(|input| format!("{ROOT}/{input}"));
        let mut files: Vec<PathBuf> = patterns
            .flat_map(|pattern| glob::glob(&pattern).expect("it is a pattern"))
            .map(|file| file.expect("it can be listed"))
            .collect();
        files.sort();
        files
    }

    /// Run by mrjob itself: in one process, or in several where it runs commands.
    fn by_mrjob(&self, python: &Path, runner: &str) -> Output {
        Command::new(python)
            .arg(self.path())
            .args(["--no-conf", "-r", runner])
            .args(self.arguments)
            .args(&self.more_arguments)
            .args(self.files())
            .current_dir(ROOT)
            .output()
            .expect("there is a Python")
    }

    /// The same on a cluster.
    fn by_us(&self, cluster: &Cluster, python: &Path, flags: &[&str]) -> Output {
        let python = python.to_string_lossy().into_owned();
        let path = self.path();
        let inputs: Vec<String> = self
            .inputs
            .iter()
            .map(|it| format!("{ROOT}/{it}"))
            .collect();
        let mut args = vec!["mrjob", "--python", &python, &path];
        args.extend(inputs.iter().map(String::as_str));
        args.extend(flags);
        args.push("--");
        args.extend(self.arguments);
        cluster.vivat(&args)
    }
}

fn succeeded(name: &str, output: Output) -> Output {
    assert!(output.status.success(), "{name}: {}", describe(&output));
    output
}

fn sorted(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

/// Line for line: mrjob prints its parts in the order in which a directory has them.
fn assert_same(cluster: &Cluster, script: &Script, runner: &str) {
    let Some(python) = python() else { return };
    let theirs = succeeded(script.name, script.by_mrjob(python, runner)).stdout;
    assert!(!theirs.is_empty(), "{}", script.name);
    let several = script.by_us(
        cluster,
        python,
        &["--reducers", "3", "--split-size", "1500"],
    );
    let several = succeeded(script.name, several).stdout;
    assert!(
        sorted(&several) == sorted(&theirs),
        "{}: {} is not {}",
        script.name,
        String::from_utf8_lossy(&several),
        String::from_utf8_lossy(&theirs)
    );
}

/// With one reducer keys come in their order, which mrjob's parts have from one to
/// the next.
#[test]
fn one_reducer_prints_what_the_parts_of_mrjob_have_in_their_order() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start(Shape::default());
    for name in ["word_freq", "shares"] {
        let mut script = Script::over(name, &TEXTS);
        let ours = script.by_us(&cluster, python, &["--reducers", "1"]);
        let ours = succeeded(name, ours).stdout;
        let directory = cluster.path(name);
        let arguments = ["--output-dir", &directory.to_string_lossy()].map(str::to_owned);
        script.more_arguments = arguments.into();
        succeeded(name, script.by_mrjob(python, "inline"));
        assert!(ours == parts(&directory), "{name}");
    }
}

fn parts(directory: &Path) -> Vec<u8> {
    let entries = fs::read_dir(directory).expect("mrjob wrote it");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    let read = |path: PathBuf| fs::read(path).expect("mrjob wrote it");
    paths.into_iter().flat_map(read).collect()
}

#[test]
fn scripts_of_one_step_and_of_several_give_what_mrjob_makes_of_them() {
    if python().is_none() {
        return;
    }
    let cluster = Cluster::start(Shape::default());
    for script in [
        Script::over("word_freq", &TEXTS),
        Script::over("top_words", &TEXTS).with(&["--top", "7"]),
        Script::over("protocols", &["data/examples/mrjob/orders.jsonl"]),
    ] {
        assert_same(&cluster, &script, "inline");
    }
}

#[test]
fn commands_filters_and_whole_files_are_read_as_mrjob_reads_them() {
    if python().is_none() {
        return;
    }
    let cluster = Cluster::start(Shape::default());
    assert_same(&cluster, &Script::over("commands", &TEXTS), "local");
    assert_same(&cluster, &Script::over("filtered", &TEXTS), "local");
}

/// mrjob's own runners give the path itself, ours a copy and its name.
#[test]
fn mapper_of_whole_files_gets_each_file_once() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start(Shape::default());
    let script = Script::over("file_sizes", &TEXTS);
    let theirs = succeeded("file_sizes", script.by_mrjob(python, "inline")).stdout;
    let ours = script.by_us(&cluster, python, &["--reducers", "1"]);
    assert_eq!(succeeded("file_sizes", ours).stdout, theirs);
}

#[test]
fn files_and_folders_go_with_the_script_and_its_arguments_name_them_where_tasks_run() {
    if python().is_none() {
        return;
    }
    let cluster = Cluster::start(Shape::default());
    const MORE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/data/examples/mrjob/lib/more.txt"
    );
    const ARGUMENTS: [&str; 3] = ["--more", MORE, "--min-length=3"];
    for script in [
        Script::over("stop_words", &TEXTS).with(&ARGUMENTS),
        Script::over("unpacked", &TEXTS),
    ] {
        assert_same(&cluster, &script, "inline");
    }
}

#[test]
fn values_are_sorted_and_keys_go_where_the_partitioner_says() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start(Shape::default());
    assert_same(&cluster, &Script::over("shares", &TEXTS), "inline");

    let script = Script::over("by_length", &TEXTS);
    let flags = ["--output", "by-length", "--reducers", "5"];
    let ours = succeeded("by_length", script.by_us(&cluster, python, &flags));
    let said = describe(&ours);
    assert!(!said.contains("not in order"), "{said}");
    let theirs = succeeded("by_length", script.by_mrjob(python, "inline")).stdout;
    let directory = cluster.path("by-length");
    assert!(sorted(&output_bytes(&directory)) == sorted(&theirs));
    for part in 0..4 {
        let part = directory.join(format!("part-{part:05}"));
        let Ok(text) = fs::read_to_string(&part) else {
            // The script's own number of reducers goes before the flag.
            assert!(part.ends_with("part-00003"), "{}", part.display());
            continue;
        };
        assert!(text.lines().is_sorted(), "{text}");
    }
}

#[test]
fn counters_are_shown_as_mrjob_shows_them() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start(Shape::default());
    let script = Script::over("counted", &TEXTS);
    let block = |output: &Output| -> String {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let from = said.find("Counters: ");
        let from = from.unwrap_or_else(|| panic!("no counters: {said}"));
        let lines = said[from..].lines().enumerate();
        let lines = lines.take_while(|(at, line)| *at == 0 || line.starts_with('\t'));
        lines.map(|(_, line)| format!("{line}\n")).collect()
    };
    let theirs = succeeded("counted", script.by_mrjob(python, "inline"));
    let ours = succeeded("counted", script.by_us(&cluster, python, &[]));
    assert_eq!(block(&ours), block(&theirs));
    assert!(sorted(&ours.stdout) == sorted(&theirs.stdout));
}

#[test]
fn reducer_that_stops_reading_early_has_done_its_work() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start(Shape::default());
    // More than any pipe holds.
    let lines: String = (0..200_000)
        .map(|number| format!("{number:07}\n"))
        .collect();
    fs::write(cluster.path("many.txt"), lines).expect("the test writes its input");
    let script = Script::over("first_lines", &[]).path();
    let python = python.to_string_lossy();
    let output = cluster.vivat(&["mrjob", "--python", &python, &script, "many.txt"]);
    let expected: String = (0..3)
        .map(|number| format!("\"{number:07}\"\tnull\n"))
        .collect();
    let printed = succeeded("first_lines", output).stdout;
    assert_eq!(String::from_utf8_lossy(&printed), expected);
}

#[test]
fn exception_in_a_task_is_shown_with_its_traceback_and_what_was_read() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start(Shape::default());
    fs::write(cluster.path("numbers.txt"), "1\n2\nthree\n").expect("the test writes its input");
    let script = Script::over("fails", &[]).path();
    let python = python.to_string_lossy();
    let args = ["mrjob", "--python", &python, &script, "numbers.txt"];
    let output = cluster.vivat(&[&args[..], &["--max-attempts", "1"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    assert!(output.stdout.is_empty(), "{}", describe(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in [
        "robable cause of failure:",
        "Traceback (most recent call last):",
        "yield \"sum\", int(line)",
        "ValueError: invalid literal for int() with base 10: 'three'",
        "while reading input from numbers.txt",
        "Step 1 of 1 failed: ",
    ] {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
    assert!(!said.contains("reporter:"), "{said}");
    fs::write(cluster.path("numbers.txt"), "1\n2\n3\n").expect("the test writes its input");
    let output = succeeded("fails", cluster.vivat(&args));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "\"sum\"\t6\n");
}

#[test]
fn script_that_cannot_be_run_says_why_before_anything_is_submitted() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        fs::write(path, text).expect("the test writes its scripts");
    };
    const JOB: &str = "from mrjob.job import MRJob\nclass Job(MRJob):\n    \
        def mapper(self, _, x):\n        yield x, 1\n";
    const RUN: &str = "if __name__ == '__main__':\n    Job.run()\n";
    const JAR: &str = "    def steps(self):\n        from mrjob.step import JarStep\n        \
        return [JarStep(jar='x.jar')]\n";
    write("good.py", &format!("{JOB}{RUN}"));
    write("jar.py", &format!("{JOB}{JAR}{RUN}"));
    write("silent.py", JOB);
    write("broken.py", "import no_such_module\n");
    write("without/mrjob.py", "raise ImportError('no mrjob here')\n");
    write("without/good.py", &format!("{JOB}{RUN}"));
    write("in.txt", "a\n");
    let python = python.to_string_lossy();
    for (words, exit, says) in [
        (&["nowhere.py", "in.txt"][..], 3, "nowhere.py"),
        (&["good.py"], 2, "no input"),
        (
            &["good.py", "in.txt", "--", "--top", "3"],
            2,
            "unrecognized arguments: --top",
        ),
        (&["jar.py", "in.txt"], 2, "type 'jar'"),
        (&["silent.py", "in.txt"], 2, "starts no job"),
        (
            &["broken.py", "in.txt"],
            2,
            "No module named 'no_such_module'",
        ),
        (&["without/good.py", "in.txt"], 3, "pip install mrjob"),
        (
            &["good.py", "in.txt", "--python", "no-such-python"],
            3,
            "no-such-python",
        ),
        (&["good.py", "nothing.txt"], 3, "nothing.txt"),
        (
            &[
                "good.py",
                "in.txt",
                "--",
                "-D",
                "stream.map.output.field.separator=.",
            ],
            2,
            "separated by tabs",
        ),
    ] {
        let output = command(directory.path())
            .arg("mrjob")
            .args(words)
            .env("VIVAT_PYTHON", &*python)
            .output()
            .expect("our binary runs");
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
    }
}
