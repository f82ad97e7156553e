//! The table of workloads: a line of data each.

use super::check::Check;
use crate::limit;

/// What a workload reads.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// Of `vivat gen`.
    pub kind: &'static str,
    /// The files are called so, with a number.
    pub extension: &'static str,
    /// Files that the size is spread over.
    pub files: u64,
    /// Times the size that was asked for.
    pub factor: u64,
    /// Bytes in all, whatever was asked for.
    pub fixed: Option<u64>,
}

/// A command of the system that does the same; `{in}` and `{out}` stand for files.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// As the table calls it, and its binary.
    pub name: &'static str,
    /// For bash.
    pub line: &'static str,
}

/// A workload.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name here, and in the names of the peers' scripts.
    pub name: &'static str,
    /// Program of the catalogue.
    pub program: &'static str,
    /// Arguments of our command after the inputs.
    pub args: &'static [&'static str],
    /// What it reads.
    pub input: Input,
    /// The hand-written program.
    pub limit: limit::Program,
    /// Of the system.
    pub tools: &'static [Tool],
    /// How outputs are compared.
    pub check: Check,
    /// Ours may take so many times the limit.
    pub goal: f64,
}

/// Those that every workload may have a script for; one that has none is left out.
pub const PEERS: [&str; 4] = ["duckdb", "polars", "pyspark", "dask"];
/// Of them, those that run on more than one machine.
pub const DISTRIBUTED: [&str; 2] = ["pyspark", "dask"];

const WORDS: Input = Input {
    kind: "words",
    extension: "txt",
    files: 1,
    factor: 1,
    fixed: None,
};

/// All of them.
pub const ROWS: [Row; 7] = [
    Row {
        name: "word-count",
        program: "word-count",
        args: &[],
        input: WORDS,
        limit: limit::word_count::run,
        tools: &[Tool {
            name: "sort",
            line: "LC_ALL=C tr -cs 'A-Za-z' '\\n' <{in} | LC_ALL=C sort | LC_ALL=C uniq -c \
                   | mawk '{print $2 \"\\t\" $1}' >{out}",
        }],
        check: Check::Lines,
        goal: 1.5,
    },
    Row {
        name: "grep",
        program: "grep",
        args: &["-p", "pattern=xu[a-z]*qo"],
        input: WORDS,
        limit: limit::grep::run,
        tools: &[
            Tool {
                name: "grep",
                line: "LC_ALL=C grep -HE 'xu[a-z]*qo' {in} >{out}",
            },
            Tool {
                name: "rg",
                line: "rg -H --no-heading --color never 'xu[a-z]*qo' {in} >{out}",
            },
        ],
        check: Check::LinesWithoutFile,
        goal: 3.0,
    },
    Row {
        name: "url-count",
        program: "url-count",
        args: &[],
        input: Input {
            kind: "access-log",
            extension: "log",
            files: 1,
            factor: 1,
            fixed: None,
        },
        limit: limit::url_count::run,
        tools: &[Tool {
            name: "mawk",
            line: "mawk '{count[$7]++} END {for (url in count) print url \"\\t\" count[url]}' \
                   {in} >{out}",
        }],
        check: Check::Lines,
        goal: 3.0,
    },
    Row {
        name: "group-by",
        program: "group-by",
        args: &[
            "--format",
            "csv",
            "-p",
            "key=PLAYER_ID",
            "-p",
            "aggregate=games=count,points=sum(PTS)",
        ],
        input: Input {
            kind: "game-logs",
            extension: "csv",
            files: 1,
            factor: 1,
            fixed: None,
        },
        limit: limit::group_by::run,
        tools: &[],
        check: Check::Lines,
        goal: 3.0,
    },
    Row {
        name: "inverted-index",
        program: "inverted-index",
        args: &[],
        input: Input { files: 16, ..WORDS },
        limit: limit::inverted_index::run,
        tools: &[],
        check: Check::Lines,
        goal: 2.0,
    },
    Row {
        name: "sort",
        program: "sort",
        args: &["--format", "fixed:100", "-p", "key-bytes=10"],
        input: Input {
            kind: "tera",
            extension: "bin",
            files: 1,
            factor: 2,
            fixed: None,
        },
        limit: limit::sort::run,
        tools: &[],
        check: Check::Bytes,
        goal: 3.0,
    },
    Row {
        name: "federated",
        program: "mlp-train",
        args: &["-p", "epochs=75", "-p", "rounds=3"],
        input: Input {
            kind: "letters",
            extension: "txt",
            files: 11,
            factor: 1,
            // As long as the shards of the letter recognition set.
            fixed: Some(11 * 1_500 * 37),
        },
        limit: limit::federated::run,
        tools: &[],
        check: Check::Weights,
        goal: 1.0,
    },
];
