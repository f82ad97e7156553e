//! Commands as mappers and reducers: what they give, and what becomes of those that do
//! not do as they should. `/bin/sh`, awk and the core utilities are all that is needed.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "made for other tests too")]
mod common;

use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use common::{Inputs, Shape, adversarial};
use vivat_engine::EngineError;
use vivat_programs::exec;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;

/// The process between a test and a command: this binary, running this test alone.
#[test]
fn supervisor_of_commands() {
    // The other tests start it so, each time they run a command.
    if std::env::args().any(|argument| argument == exec::SUPERVISOR_ARGUMENT) {
        let _code = exec::supervise();
    }
}

fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let this = std::env::current_exe().unwrap();
        let words = [
            "--exact",
            "supervisor_of_commands",
            exec::SUPERVISOR_ARGUMENT,
        ];
        let words = words.map(Into::into).into_iter();
        exec::set_supervisor(std::iter::once(this.into()).chain(words).collect());
    });
}

/// Whether all of these can be run; says so when not.
fn have(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = programs
        .iter()
        .find(|name| !std::env::split_paths(&path).any(|directory| directory.join(name).exists()));
    if let Some(missing) = missing {
        eprintln!("skipped: there is no `{missing}` on this machine");
    }
    prepare();
    missing.is_none()
}

const SHAPE: Shape = Shape {
    split_bytes: 1 << 20,
    reducers: 2,
    memory_bytes: 1 << 20,
};

fn words() -> Inputs {
    let mut text = String::new();
    for line in 0..2_000 {
        text.push_str(&format!(
            "the whale {} of the sea {}\n",
            line % 37,
            line % 11
        ));
    }
    Inputs::new(&[text.as_bytes(), b"", b"the end"])
}

const COUNT: &str = r#"["awk", "{ for (i = 1; i <= NF; i++) print $i \"\\t1\" }"]"#;
/// Sums the values of each key.
const SUM: &str = r#"["awk", "-F\\t",
    "NR > 1 && $1 \"\" != w { print w FS n; n = 0 }{ w = $1; n += $2 }END{if (NR) print w FS n}"]"#;

#[test]
fn words_are_counted_as_the_oracle_counts_them_with_and_without_a_combiner() {
    if !have(&["awk"]) {
        return;
    }
    let inputs = words();
    let parameters = [("mapper", COUNT), ("reducer", SUM)];
    inputs.check("exec", &parameters, &[20_000], &[1 << 16]);
    let combined = [("mapper", COUNT), ("reducer", SUM), ("combiner", SUM)];
    let (found, counters) = inputs.run("exec", &combined, SHAPE);
    assert!(found == inputs.expected("exec", &combined, SHAPE.reducers));
    assert!(counters["map.output.records"] < 200, "{counters:?}");
}

#[test]
fn bytes_that_are_no_text_go_through_untouched() {
    if !have(&["cat"]) {
        return;
    }
    let contents = adversarial();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let inputs = Inputs::new(&contents);
    for parameters in [
        vec![("mapper", "cat")],
        vec![("reducer", "cat")],
        vec![("mapper", "cat"), ("reducer", "cat")],
        vec![("mapper", "cat"), ("reducer", "cat"), ("combiner", "cat")],
        vec![
            ("mapper", "cat"),
            ("reducer", "cat"),
            ("sort-values", "true"),
        ],
    ] {
        inputs.check("exec", &parameters, &[4_096], &[1 << 20]);
    }
}

#[test]
fn fields_decide_what_is_a_key_and_where_it_goes() {
    if !have(&["cat"]) {
        return;
    }
    let mut text = String::new();
    for line in 0_u32..500 {
        let (a, b, c) = (line % 7, line * 31 % 13, line * 17 % 101);
        text.push_str(&format!("{a}\t{b}\t{c}\trest\n{a}\t{b}\n{a}\n"));
    }
    let inputs = Inputs::new(&[text.as_bytes()]);
    for (key, partition, sorted) in [
        ("1", "0", "true"),
        ("2", "1", "false"),
        ("2", "1", "true"),
        ("3", "2", "false"),
    ] {
        let parameters = [
            ("reducer", "cat"),
            ("key-fields", key),
            ("partition-fields", partition),
            ("sort-values", sorted),
        ];
        inputs.check("exec", &parameters, &[4_000], &[1 << 20]);
    }
}

#[test]
fn formats_are_read_as_they_are_written() {
    if !have(&["cat", "sh", "wc"]) {
        return;
    }
    let table: &[u8] = b"name,text\r\na,\"one\ntwo\"\n\nb,\"say \"\"x\"\"\"\r\n";
    let csv = Inputs::named(InputFormat::Csv, &[("t.csv", table)]);
    let parameters = [("mapper", "cat"), ("format", "csv")];
    csv.check("exec", &parameters, &[1 << 20], &[1 << 20]);
    let whole = Inputs::named(
        InputFormat::WholeFile,
        &[("books/a.bin", b"x\ny".as_slice()), ("b.bin", b"")],
    );
    let script = r#"printf '%s ' "$mapreduce_map_input_file"; wc -c | tr -d ' '"#;
    let parameters = [
        ("mapper", script),
        ("shell", "true"),
        ("format", "whole-file"),
    ];
    whole.check("exec", &parameters, &[1 << 20], &[1 << 20]);
    let raw = r#"["sh", "-c", "echo $(basename $0) $1 $(wc -c < $0); cat"]"#;
    let script = [("mapper", raw), ("format", "whole-file"), ("raw", "true")];
    let (found, _) = whole.run("exec", &script, SHAPE);
    assert_eq!(
        String::from_utf8(found).unwrap(),
        "a.bin books/a.bin 3\nb.bin b.bin 0\n"
    );
    let fixed = Inputs::named(InputFormat::Fixed(3), &[("f", b"abcd\nf".as_slice())]);
    let parameters = [("mapper", "cat"), ("format", "fixed:3")];
    fixed.check("exec", &parameters, &[1 << 20], &[1 << 20]);
}

/// Runs a mapper by a shell and returns what its failure says.
fn failure(script: &str, more: &[(&str, &str)]) -> (FailureCause, String) {
    let parameters = [&[("mapper", script), ("shell", "true")], more].concat();
    let error = words().try_run("exec", &parameters, SHAPE).unwrap_err();
    let EngineError::Program { source } = &error else {
        panic!("{error:?}");
    };
    (error.cause(), source.detail.clone())
}

#[test]
fn mapper_that_fails_is_told_with_its_code_and_last_words() {
    if !have(&["sh"]) {
        return;
    }
    let (_, detail) = failure("cat > /dev/null; echo no luck >&2; exit 3", &[]);
    assert!(detail.ends_with("exited with code 3: no luck"), "{detail}");
    assert!(detail.contains("mapper `/bin/sh -c cat"), "{detail}");
    let (_, detail) = failure("kill -SEGV $$", &[]);
    assert!(detail.contains("signal 11 (SIGSEGV)"), "{detail}");
    let parameters = [("reducer", "false"), ("mapper", "cat")];
    let error = words().try_run("exec", &parameters, SHAPE).unwrap_err();
    let detail = error.cause().to_string();
    assert!(
        detail.contains("reducer `false` exited with code 1"),
        "{detail}"
    );
}

#[test]
fn command_that_is_not_there_is_a_cause_of_its_own() {
    prepare();
    for command in ["no-such-command-here -x", "/etc/passwd", "./not-there"] {
        let parameters = [("mapper", command)];
        let error = words().try_run("exec", &parameters, SHAPE).unwrap_err();
        let cause = error.cause();
        let FailureCause::CommandNotFound { command: named, .. } = &cause else {
            panic!("{cause:?}");
        };
        assert!(command.starts_with(named.as_str()), "{named}");
        assert!(cause.is_final());
    }
}

#[test]
fn command_that_does_not_read_all_is_done_when_it_ends_well() {
    if !have(&["head", "true", "cat"]) {
        return;
    }
    let inputs = words();
    let parameters = [("mapper", "head -n 2"), ("reducer", "head -n 1")];
    let shape = Shape {
        reducers: 1,
        ..SHAPE
    };
    let (found, _) = inputs.run("exec", &parameters, shape);
    assert_eq!(found, b"the end\t\n");
    let (found, _) = inputs.run("exec", &[("mapper", "true")], SHAPE);
    assert!(found.is_empty());
    let (found, _) = inputs.run("exec", &[("mapper", "cat"), ("reducer", "true")], SHAPE);
    assert!(found.is_empty());
}

#[test]
fn flood_before_the_first_byte_is_read_does_not_block() {
    if !have(&["sh", "yes", "head", "wc"]) {
        return;
    }
    let script = "yes flood | head -n 500000; wc -l | tr -d ' '";
    let parameters = [
        ("mapper", script),
        ("shell", "true"),
        ("reducer", "uniq -c"),
    ];
    let big = "x\n".repeat(400_000);
    let inputs = Inputs::new(&[big.as_bytes()]);
    let shape = Shape {
        split_bytes: 1 << 30,
        reducers: 1,
        memory_bytes: 8 << 20,
    };
    let (found, _) = inputs.run("exec", &parameters, shape);
    let found = String::from_utf8(found).unwrap();
    let counts: Vec<&str> = found.split_ascii_whitespace().collect();
    assert_eq!(counts, ["1", "400000", "500000", "flood"]);
}

#[test]
fn command_that_does_nothing_is_given_up_after_its_time() {
    if !have(&["sh", "sleep"]) {
        return;
    }
    let (_, detail) = failure("exec sleep 1000", &[("timeout", "300ms")]);
    let expected = "has neither read nor printed anything for 300 ms";
    assert!(detail.contains(expected), "{detail}");
    // One that prints now and then has all the time that it needs.
    let script = "cat > /dev/null; for i in 1 2 3 4; do sleep 0.2; echo $i; done";
    let parameters = [("mapper", script), ("shell", "true"), ("timeout", "700ms")];
    let (found, _) = words().run("exec", &parameters, SHAPE);
    assert_eq!(found.len(), 24);
}

/// Waits until a process has gone.
fn gone(pid: &str) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while Path::new("/proc").join(pid).exists() {
        if Instant::now() > end {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

#[test]
fn nothing_is_left_of_what_a_command_started() {
    if !have(&["sh", "sleep", "setsid"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let started = directory.path().join("pids");
    let script = format!(
        "(setsid sh -c 'echo $$ >> {0}; exec sleep 1000' &) ; sleep 1000 & echo $! >> {0}; \
         while [ $(wc -l < {0}) -lt 2 ]; do :; done; echo done",
        started.display()
    );
    let inputs = Inputs::new(&[b"one line"]);
    let parameters = [("mapper", script.as_str()), ("shell", "true")];
    let (found, _) = inputs.run("exec", &parameters, SHAPE);
    assert_eq!(found, b"done\n");
    // And of one that fails because nothing happens.
    let script = format!("{script}; exec sleep 1000");
    let parameters = [
        ("mapper", script.as_str()),
        ("shell", "true"),
        ("timeout", "200ms"),
    ];
    inputs.try_run("exec", &parameters, SHAPE).unwrap_err();
    let pids = std::fs::read_to_string(&started).unwrap();
    assert_eq!(pids.lines().count(), 4, "{pids}");
    for pid in pids.lines() {
        assert!(gone(pid.trim()), "{pid} is still there");
    }
}

#[test]
fn limits_end_a_command_that_passes_them() {
    if !have(&["sh", "awk", "dd"]) {
        return;
    }
    let hoard = r#"exec awk 'BEGIN { s = "x"; while (i++ < 27) s = s s; while (1) i++ }'"#;
    let (_, detail) = failure(hoard, &[("memory", "64MiB")]);
    assert!(detail.contains("`memory` allows 67108864"), "{detail}");
    let (_, detail) = failure("exec sh -c 'while :; do :; done'", &[("cpu-time", "1")]);
    assert!(detail.contains("SIGXCPU"), "{detail}");
    let write = "exec dd if=/dev/zero of=large bs=1M count=8";
    let (_, detail) = failure(write, &[("file-size", "1MiB")]);
    let told = detail.contains("SIGXFSZ") || detail.contains("too large");
    assert!(told, "{detail}");
    let open = "while [ $(ulimit -n) != 5 ]; do :; done; \
        exec 3</dev/null 4</dev/null 5</dev/null; cat";
    failure(open, &[("open-files", "5")]);
}

#[test]
fn counters_are_counted_and_the_environment_is_what_was_declared() {
    if !have(&["sh", "env", "sort"]) {
        return;
    }
    let script = "cat > /dev/null; echo reporter:counter:my group,lines seen,21 >&2; \
        echo reporter:counter:my group,lines seen,21 >&2; env | sort";
    let parameters = [
        ("mapper", script),
        ("shell", "true"),
        ("env.GREETING", "hello = you"),
    ];
    let inputs = Inputs::named(InputFormat::Text, &[("in/a.txt", b"one\n".as_slice())]);
    let (found, counters) = inputs.run("exec", &parameters, SHAPE);
    assert_eq!(counters["my group.lines seen"], 42);
    let found = String::from_utf8(found).unwrap();
    let names: Vec<&str> = found
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .filter(|name| !matches!(*name, "_" | "PWD" | "SHLVL" | "OLDPWD"))
        .collect();
    let expected = [
        "GREETING",
        "HOME",
        "LANG",
        "PATH",
        "TMPDIR",
        "mapreduce_job_id",
        "mapreduce_job_local_dir",
        "mapreduce_job_maps",
        "mapreduce_job_reduces",
        "mapreduce_map_input_file",
        "mapreduce_map_input_length",
        "mapreduce_map_input_start",
        "mapreduce_task_attempt_id",
        "mapreduce_task_id",
        "mapreduce_task_ismap",
        "mapreduce_task_output_dir",
        "mapreduce_task_partition",
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert!(found.contains("GREETING=hello = you\n"), "{found}");
    assert!(
        found.contains("mapreduce_map_input_file=in/a.txt\n"),
        "{found}"
    );
}
