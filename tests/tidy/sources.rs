//! Rules about what a source file may name, and how it looks.

use crate::code::{has_word, strip, uses_of};
use crate::tree::{SourceFile, Tree};

const FILE_LINES_MAX: usize = 600;
const LINE_CHARS_MAX: usize = 100;
const USE_LINES_MAX: usize = 25;

/// A name, the folders that may say it, and why only they.
const BOUNDARIES: [(&str, &[&str], &str); 2] = [
    (
        "openraft",
        &["master/src/raft/", "master/tests/"],
        "an unreleased Raft library stays behind one module",
    ),
    (
        "sled",
        &["master/src/storage/", "master/tests/"],
        "the log's store can be replaced by replacing one module",
    ),
];

/// Where an error may become `tonic::Status`: where messages come and go.
const STATUS_EDGES: [&str; 11] = [
    "proto/",
    "master/src/bootstrap/",
    "master/src/grpc/",
    "master/src/raft/",
    "master/tests/",
    "shared/client/",
    "tests/system/src/client.rs",
    "worker/src/blocks/",
    "worker/src/session/",
    "worker/src/shuffle/",
    "worker/tests/",
];

/// What `apply` must not know, by the names through which it could.
const IMPURE: [&str; 10] = [
    "HashMap",
    "HashSet",
    "SystemTime",
    "Instant",
    "RandomState",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
];

/// Names outside their boundary.
pub fn check_boundaries(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in tree.with_suffix(".rs").filter(|file| !is_own(file)) {
        let code = strip(&file.text);
        for (name, folders, why) in BOUNDARIES {
            if !within(file, folders) && has_word(&code, name) {
                violations.push(format!("{}: names `{name}`: {why}", file.path));
            }
        }
        if !within(file, &STATUS_EDGES) && names_status(&code) {
            violations.push(format!(
                "{}: names `tonic::Status`: an error keeps its type until the edge",
                file.path
            ));
        }
        if file.path.starts_with("master/core/src/") {
            for name in IMPURE.iter().filter(|name| has_word(&code, name)) {
                violations.push(format!(
                    "{}: names `{name}`: every replica must come to the same state",
                    file.path
                ));
            }
        }
    }
    violations
}

/// Files that do not look as the style sheet asks.
pub fn check_style(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in tree.with_suffix(".rs") {
        check_shape(file, &mut violations);
        check_habits(file, &mut violations);
    }
    for file in tree.with_suffix(".proto") {
        check_lengths(file, &mut violations);
    }
    violations
}

/// Relative links of documents to files that are not there.
pub fn check_links(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in tree.with_suffix(".md") {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in link_targets(&file.text) {
            if !tree.root.join(folder).join(target).exists() {
                violations.push(format!("{}: link to `{target}` leads nowhere", file.path));
            }
        }
    }
    violations
}

/// The samples of this test break the rules on purpose.
fn is_own(file: &SourceFile) -> bool {
    file.path.starts_with("tests/tidy/")
}

fn within(file: &SourceFile, folders: &[&str]) -> bool {
    folders.iter().any(|folder| file.path.starts_with(folder))
}

fn names_status(code: &str) -> bool {
    has_word(code, "tonic::Status")
        || uses_of(code, "tonic")
            .iter()
            .any(|statement| has_word(statement, "Status"))
}

fn check_shape(file: &SourceFile, violations: &mut Vec<String>) {
    if !file.text.starts_with("//!") {
        violations.push(format!(
            "{}:1: must begin with `//!` and say what the file is for",
            file.path
        ));
    }
    let uses = file
        .text
        .lines()
        .filter(|line| line.starts_with("use "))
        .count();
    if uses > USE_LINES_MAX {
        violations.push(format!(
            "{}: {uses} `use` lines of at most {USE_LINES_MAX}: it knows too much",
            file.path
        ));
    }
    check_lengths(file, violations);
}

fn check_lengths(file: &SourceFile, violations: &mut Vec<String>) {
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        violations.push(format!(
            "{}: {lines} lines of at most {FILE_LINES_MAX}: split it by what it knows",
            file.path
        ));
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        let length = line.chars().count();
        if length > LINE_CHARS_MAX {
            violations.push(format!(
                "{}:{number}: {length} characters of at most {LINE_CHARS_MAX}",
                file.path
            ));
        }
    }
}

fn check_habits(file: &SourceFile, violations: &mut Vec<String>) {
    let code = strip(&file.text);
    let product = !within(file, &["tests/", "benches/"]) && !file.path.contains("/tests/");
    let build_script = file.path.ends_with("build.rs");
    let habits = [
        (true, "#[ignore", "a test that does not run is not a test"),
        (true, "#[allow(", "use `#[expect(lint, reason = ...)]`"),
        (
            product,
            "macro_rules!",
            "the product has no macros of its own",
        ),
        (
            product && !build_script,
            "println!(",
            "stdout is for data, written by cli's output",
        ),
        (
            product && !build_script,
            "print!(",
            "stdout is for data, written by cli's output",
        ),
        (
            product && !build_script,
            "dbg!(",
            "left over from debugging",
        ),
    ];
    for (number, line) in (1..).zip(code.lines()) {
        for (applies, text, why) in habits {
            let found = line
                .match_indices(text)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            if applies && found {
                violations.push(format!("{}:{number}: `{text}`: {why}", file.path));
            }
        }
    }
}

/// Targets of `[text](target)` that are files: no addresses, no anchors.
fn link_targets(text: &str) -> Vec<&str> {
    text.match_indices("](")
        .filter_map(|(at, _)| {
            let rest = &text[at + 2..];
            let target = &rest[..rest.find(')')?];
            let path = target.split('#').next()?;
            (!path.is_empty() && !path.contains(':')).then_some(path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary(path: &str, text: &str) -> usize {
        check_boundaries(&Tree::of(&[(path, text)])).len()
    }

    fn style(path: &str, text: &str) -> usize {
        check_style(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn a_store_or_a_raft_type_outside_its_module_is_refused() {
        assert_eq!(
            boundary("master/src/leader/mod.rs", "use openraft::Raft;"),
            1
        );
        assert_eq!(boundary("master/src/raft/mod.rs", "use openraft::Raft;"), 0);
        assert_eq!(
            boundary("master/src/raft/mod.rs", "fn f(db: sled::Db) {}"),
            1
        );
        assert_eq!(
            boundary("master/src/leader/mod.rs", "//! Not sled's business."),
            0
        );
    }

    #[test]
    fn a_status_away_from_the_edge_is_refused() {
        assert_eq!(
            boundary("master/src/leader/x.rs", "fn f() -> tonic::Status {}"),
            1
        );
        assert_eq!(
            boundary("worker/src/runner.rs", "use tonic::{Code, Status};"),
            1
        );
        assert_eq!(boundary("worker/src/runner.rs", "use crate::Status;"), 0);
        assert_eq!(boundary("master/src/grpc/x.rs", "use tonic::Status;"), 0);
    }

    #[test]
    fn a_clock_or_a_hash_map_in_the_core_is_refused() {
        assert_eq!(
            boundary("master/core/src/x.rs", "use std::time::Instant;"),
            1
        );
        assert_eq!(
            boundary("master/core/src/x.rs", "let m: HashMap<u8, u8>;"),
            1
        );
        assert_eq!(boundary("master/src/x.rs", "let m: HashMap<u8, u8>;"), 0);
    }

    #[test]
    fn a_file_without_its_purpose_is_refused() {
        assert_eq!(style("cli/x.rs", "use std::fmt;\n"), 1);
        assert_eq!(style("cli/x.rs", "//! Says why.\n"), 0);
    }

    #[test]
    fn long_files_lines_and_import_walls_are_refused() {
        assert_eq!(
            style("cli/x.rs", &format!("//! x\n{}", "\n".repeat(600))),
            1
        );
        assert_eq!(style("cli/x.rs", &format!("//! {}\n", "ä".repeat(97))), 1);
        assert_eq!(style("cli/x.rs", &format!("//! {}\n", "ä".repeat(96))), 0);
        assert_eq!(
            style("cli/x.rs", &format!("//! x\n{}", "use a::b;\n".repeat(26))),
            1
        );
        assert_eq!(style("proto/x.proto", &"x".repeat(101)), 1);
    }

    #[test]
    fn ignored_tests_and_prints_are_refused() {
        assert_eq!(style("worker/src/x.rs", "//! x\n#[ignore]\n"), 1);
        assert_eq!(
            style("worker/src/x.rs", "//! x\nfn f() { println!(\"\") }\n"),
            1
        );
        assert_eq!(
            style("worker/src/x.rs", "//! x\nfn f() { eprintln!(\"\") }\n"),
            0
        );
        assert_eq!(style("tests/x.rs", "//! x\nfn f() { println!(\"\") }\n"), 0);
        assert_eq!(
            style("worker/src/x.rs", "//! x\nmacro_rules! f { () => {} }\n"),
            1
        );
    }

    #[test]
    fn a_link_to_nothing_is_refused() {
        let text = "[a](nothing.md#x) [b](https://example.org) [c](#here)";
        assert_eq!(check_links(&Tree::of(&[("README.md", text)])).len(), 1);
    }
}
