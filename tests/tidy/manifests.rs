//! Rules about who depends on whom.
//!
//! A missing dependency in a manifest keeps a crate pure better than any review.

use toml::Table;

use crate::tree::{SourceFile, Tree};

/// What `vivat-core` may use: words, an encoding, checksums. Nothing that can
/// do I/O, sleep, log or roll dice.
const CORE_MAY_USE: [&str; 6] = [
    "vivat-shared",
    "serde",
    "postcard",
    "xxhash-rust",
    "thiserror",
    "crc32c",
];

/// What a crate without a network does not use.
const NETWORK: &[&str] = &[
    "tokio*",
    "tonic*",
    "prost*",
    "hyper*",
    "vivat-proto",
    "vivat-client",
];

/// A crate, what it must not depend on (a name or the beginning of one, then
/// `*`), and why.
const MUST_NOT_USE: [(&str, &[&str], &str); 8] = [
    (
        "shared",
        &["vivat-*", "tokio*", "tonic*", "prost*", "openraft", "sled"],
        "words know nothing that does something",
    ),
    (
        "shared/mapreduce",
        &[
            "tokio*",
            "tonic*",
            "prost*",
            "vivat-proto",
            "vivat-client",
            "vivat-core",
        ],
        "the author of a program sees no network",
    ),
    (
        "worker/engine",
        NETWORK,
        "the engine is synchronous and knows no network",
    ),
    ("worker/programs", NETWORK, "programs are plain functions"),
    ("worker/store", NETWORK, "the store is files and checksums"),
    (
        "master",
        &[
            "vivat-worker",
            "vivat-engine",
            "vivat-programs",
            "vivat-mapreduce",
        ],
        "masters never open user data or run user code",
    ),
    (
        "worker",
        &["vivat-master", "vivat-core", "openraft", "sled"],
        "a worker knows the masters by the wire only",
    ),
    (
        "shared/client",
        &[
            "vivat-master",
            "vivat-core",
            "vivat-worker",
            "openraft",
            "sled",
        ],
        "a client knows the masters by the wire only",
    ),
];

/// Dependencies with one owner.
const OWNED: [(&str, &str); 4] = [
    ("openraft", "master"),
    ("sled", "master"),
    ("protox", "proto"),
    ("clap", ""),
];

/// Violations of the rules above.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in manifests(tree) {
        let folder = folder_of(file);
        let names = dependencies(file);
        if folder == "master/core" {
            for name in names
                .iter()
                .filter(|name| !CORE_MAY_USE.contains(&name.as_str()))
            {
                violations.push(format!(
                    "{}: `{name}`: only {CORE_MAY_USE:?}, so that it cannot do I/O",
                    file.path
                ));
            }
        }
        for (_, forbidden, why) in MUST_NOT_USE.iter().filter(|rule| rule.0 == folder) {
            for name in names.iter().filter(|name| matches_any(name, forbidden)) {
                violations.push(format!("{}: `{name}`: {why}", file.path));
            }
        }
        for (name, owner) in OWNED {
            if folder != owner && names.iter().any(|found| found == name) {
                violations.push(format!("{}: `{name}` belongs to `{owner}/`", file.path));
            }
        }
    }
    violations
}

/// Members that do not say `[lints] workspace = true`.
pub fn check_lints(tree: &Tree) -> Vec<String> {
    manifests(tree)
        // Examples are to be copied to where our workspace is not.
        .filter(|file| !file.path.starts_with("data/examples/"))
        .filter(|file| {
            let workspace = parse(file)
                .get("lints")
                .and_then(|lints| lints.get("workspace"))
                .and_then(toml::Value::as_bool);
            workspace != Some(true)
        })
        .map(|file| format!("{}: says no `[lints] workspace = true`", file.path))
        .collect()
}

fn manifests(tree: &Tree) -> impl Iterator<Item = &SourceFile> {
    tree.with_suffix("Cargo.toml")
}

fn folder_of(file: &SourceFile) -> &str {
    file.path
        .strip_suffix("Cargo.toml")
        .unwrap_or(&file.path)
        .trim_end_matches('/')
}

fn parse(file: &SourceFile) -> Table {
    file.text
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", file.path))
}

/// Normal and build dependencies, for every platform. Those of tests are free:
/// a test of the core may roll dice.
fn dependencies(file: &SourceFile) -> Vec<String> {
    let manifest = parse(file);
    let mut names = tables_of(&manifest);
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        for target in targets.values().filter_map(toml::Value::as_table) {
            names.extend(tables_of(target));
        }
    }
    names
}

fn tables_of(table: &Table) -> Vec<String> {
    ["dependencies", "build-dependencies"]
        .iter()
        .filter_map(|section| table.get(*section).and_then(toml::Value::as_table))
        .flat_map(|section| section.keys().cloned())
        .collect()
}

fn matches_any(name: &str, patterns: &[&str]) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)]))
    }

    #[test]
    fn a_core_that_could_sleep_is_refused() {
        for name in ["tokio", "rand", "tracing", "vivat-proto"] {
            let text = format!("[dependencies]\n{name} = \"1\"\n");
            assert_eq!(
                violations("master/core/Cargo.toml", &text).len(),
                1,
                "{name}"
            );
        }
        let fine = "[dependencies]\nserde.workspace = true\n[dev-dependencies]\nproptest = \"1\"\n";
        assert!(violations("master/core/Cargo.toml", fine).is_empty());
    }

    #[test]
    fn an_engine_that_knows_the_network_is_refused() {
        let text = "[target.'cfg(unix)'.dependencies]\ntonic-prost = \"1\"\n";
        assert_eq!(violations("worker/engine/Cargo.toml", text).len(), 1);
    }

    #[test]
    fn master_and_worker_that_meet_are_refused() {
        let text = "[dependencies]\nvivat-worker.workspace = true\n";
        assert_eq!(violations("master/Cargo.toml", text).len(), 1);
        let text = "[build-dependencies]\nvivat-core.workspace = true\n";
        assert_eq!(violations("worker/Cargo.toml", text).len(), 1);
    }

    #[test]
    fn a_second_owner_is_refused() {
        assert_eq!(
            violations("cli/x/Cargo.toml", "[dependencies]\nsled = \"1\"\n").len(),
            1
        );
    }

    #[test]
    fn a_member_without_our_lints_is_refused() {
        let tree = Tree::of(&[("proto/Cargo.toml", "[package]\nname = \"x\"\n")]);
        assert_eq!(check_lints(&tree).len(), 1);
    }
}
