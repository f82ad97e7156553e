//! Commands as mappers and reducers on clusters: they give what the built-in program
//! gives, whoever dies meanwhile, and what they say can be read afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::harness::{Cluster, JobView, Shape, command, describe, output_bytes, parse, vivat};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const COUNT: &str = r#"mapper=["awk", "{ for (i = 1; i <= NF; i++) print $i \"\\t1\" }"]"#;
/// Sums the values of each key.
const SUM: &str = r#"["awk", "-F\\t",
    "NR > 1 && $1 \"\" != w { print w FS n; n = 0 }{ w = $1; n += $2 }END{if (NR) print w FS n}"]"#;

fn stdout(output: Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", describe(&output));
    output.stdout
}

fn checkout(args: &[&str]) -> Vec<u8> {
    vivat_in(Path::new(ROOT), args)
}

fn vivat_in(dir: &Path, args: &[&str]) -> Vec<u8> {
    stdout(command(dir).args(args).output().expect("it runs"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn words_counted_by_commands_are_those_of_word_count() {
    let by_commands = checkout(&["run", "data/jobs/exec-word-count.toml"]);
    let built_in = [
        "run",
        "word-count",
        "data/input/*.txt",
        "-p",
        "words=whitespace",
    ];
    assert!(!by_commands.is_empty());
    assert!(by_commands == checkout(&built_in));
}

#[test]
fn side_file_is_the_command_and_counters_are_those_of_the_job() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("in.txt"), "one\ntwo\n").expect("it is ours");
    let script = "#!/bin/sh\nwhile read line; do echo \"$line!$(cat words)\"; done\n\
        echo reporter:counter:letters,seen,6 >&2\necho reporter:status:done >&2\n";
    fs::write(dir.path().join("script"), script).expect("it is ours");
    fs::write(dir.path().join("w.txt"), "?").expect("it is ours");
    let job = "input = 'in.txt'\n[side-files]\nmark = 'script'\nwords = 'w.txt'\n\
        [[step]]\nprogram = 'exec'\n[step.params]\nmapper = 'mark'\n";
    fs::write(dir.path().join("job.toml"), job).expect("it is ours");
    let may_run = Permissions::from_mode(0o755);
    fs::set_permissions(dir.path().join("script"), may_run).expect("it is ours");
    let output = vivat(dir.path(), None, &["run", "job.toml"]);
    assert_eq!(text(&output), "one!?\ntwo!?\n", "{}", describe(&output));
    let output = vivat(
        dir.path(),
        None,
        &["run", "job.toml", "--output", "out", "-o", "json"],
    );
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(parse(&output)["counters"]["letters.seen"], 6);
}

/// A job of commands over the words of the cluster; returns its id.
fn submit(cluster: &Cluster, mapper: &str, output: &str) -> String {
    let reducer = format!("reducer={SUM}");
    let args = [
        "submit",
        "exec",
        "words.txt",
        "--output",
        output,
        "--split-size",
        "32KiB",
        "-p",
        mapper,
        "-p",
        &reducer,
    ];
    let submitted = cluster.vivat(&args);
    assert!(submitted.status.success(), "{}", describe(&submitted));
    text(&submitted).trim().to_owned()
}

#[test]
fn leader_killed_while_commands_run_changes_no_byte_and_loses_no_log() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 2 * 1024 * 1024, 7);
    let mapper = r#"mapper=["sh", "-c", "echo said by $mapreduce_task_id >&2;
        exec awk '{ for (i = 1; i <= NF; i++) print $i \"\\t1\" }'"]"#;
    let mapper = &mapper.replace('\n', " ");
    let id = submit(&cluster, mapper, "out");
    cluster.await_job(&id, "some maps done, some not", JobView::is_amid_maps);
    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);
    let view = cluster.await_success(&id);
    assert!(view.finished_at() > kill.at, "{}", view.0);
    for field in ["reruns_of_completed", "lost", "failed"] {
        assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
    }
    let reducer = format!("reducer={SUM}");
    let sequential = cluster.vivat(&[
        "run",
        "--sequential",
        "exec",
        "words.txt",
        "-p",
        COUNT,
        "-p",
        &reducer,
    ]);
    assert!(output_bytes(&cluster.path("out")) == stdout(sequential));

    // What they said outlives the worker that they ran on.
    let entries = parse(&cluster.vivat(&["job", "logs", &id, "-o", "json"]));
    let entries = entries.as_array().expect("a list").clone();
    assert!(entries.len() >= 10, "{entries:?}");
    let gone = entries[0]["worker_id"].clone();
    let index = (0..2).find(|index| {
        let nodes = parse(&cluster.vivat(&["node", "list", "-o", "json"]));
        let pid = u64::from(cluster.worker(*index).id());
        let nodes = nodes.as_array().expect("a list");
        nodes
            .iter()
            .any(|node| node["worker_id"] == gone && node["pid"] == pid)
    });
    cluster.kill_worker(index.expect("one of the two ran it"));
    let task = entries[0]["task"].as_str().expect("a task");
    let shown = cluster.vivat(&["job", "logs", &id, "--task", task]);
    assert!(
        text(&shown).contains(&format!("said by {task}\n")),
        "{}",
        describe(&shown)
    );
    let none = cluster.vivat(&["job", "logs", &id, "--task", "map-99999"]);
    assert_eq!(none.status.code(), Some(3), "{}", describe(&none));
}
