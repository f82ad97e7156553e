//! Datasets and values by the command line: what is put comes back, and what
//! cannot be is refused for its reason.

use std::fs;

use serde_json::Value;

use crate::datasets::{
    Piped, await_agreement, await_that, block_files, copies, differences, places, refused,
    three_workers, vivat,
};
use crate::harness::{Cluster, Shape, describe, parse, words};

fn assert_same_tree(cluster: &Cluster, put: &str, got: &str) {
    let output = std::process::Command::new("diff")
        .args(["-r", put, got])
        .current_dir(cluster.dir())
        .output()
        .expect("diff runs");
    assert!(output.status.success(), "{}", describe(&output));
}

#[test]
fn every_shape_of_dataset_comes_back_as_it_went() {
    let cluster = Cluster::start(three_workers());
    let text = words::generate(3 * 1024 * 1024, 1);
    fs::create_dir_all(cluster.path("in/a b/größe")).unwrap();
    fs::create_dir_all(cluster.path("in/empty directory")).unwrap();
    fs::write(cluster.path("in/words.txt"), &text).unwrap();
    fs::write(cluster.path("in/a b/größe/no end"), "no line end").unwrap();
    fs::write(cluster.path("in/a b/empty"), "").unwrap();
    fs::write(cluster.path("in/zz"), "last\n").unwrap();

    // A file is a file, of however many blocks.
    vivat(
        &cluster,
        &[
            "data",
            "put",
            "file",
            "in/words.txt",
            "--block-size",
            "100KiB",
        ],
    );
    vivat(&cluster, &["data", "get", "file", "file.out"]);
    assert!(fs::read_to_string(cluster.path("file.out")).unwrap() == text);
    assert!(places(&cluster, "file").len() > 20);
    assert!(copies(&cluster, "file").iter().all(|&copies| copies == 2));
    let printed = vivat(&cluster, &["data", "cat", "file"]);
    assert!(printed == text.as_bytes());

    // A directory is a directory, but for what is no file; so is a glob.
    vivat(&cluster, &["data", "put", "tree", "in", "--replicas", "3"]);
    vivat(&cluster, &["data", "get", "tree", "tree.out"]);
    fs::remove_dir(cluster.path("in/empty directory")).unwrap();
    assert_same_tree(&cluster, "in", "tree.out");
    assert_eq!(copies(&cluster, "tree"), [3]);
    vivat(&cluster, &["data", "put", "glob", "in/*"]);
    vivat(&cluster, &["data", "get", "glob", "glob.out"]);
    let names = fs::read_dir(cluster.path("glob.out")).unwrap();
    assert_eq!(names.count(), 2, "words.txt and zz");

    // What comes by a pipe is a file.
    let mut put = Piped::start(&cluster, &["data", "put", "piped", "-"]);
    put.write(text.as_bytes());
    let output = put.end();
    assert!(output.status.success(), "{}", describe(&output));
    vivat(&cluster, &["data", "get", "piped", "piped.out"]);
    assert!(fs::read_to_string(cluster.path("piped.out")).unwrap() == text);

    let listed = cluster.vivat(&["data", "ls", "-o", "name"]).stdout;
    assert_eq!(listed, b"file\nglob\npiped\ntree\n");
    await_agreement(&cluster);
}

#[test]
fn records_are_never_cut_whatever_their_format() {
    let cluster = Cluster::start(Shape::default());
    let mut csv = String::from("\u{feff}name,\"the\nremark\"\n");
    for row in 0..500 {
        csv.push_str(&format!(
            "row {row},\"says \"\"no\"\"\nand\n\n{row} more\"\n"
        ));
    }
    fs::write(cluster.path("games.csv"), &csv).unwrap();
    vivat(
        &cluster,
        &["data", "put", "games", "games.csv", "--block-size", "1000"],
    );
    assert!(vivat(&cluster, &["data", "cat", "games"]) == csv.as_bytes());
    assert!(places(&cluster, "games").len() > 15);

    // One record is longer than a block, and others are not.
    let long = format!("short\n{}\nshort\n", "x".repeat(50_000));
    fs::write(cluster.path("long.txt"), &long).unwrap();
    vivat(
        &cluster,
        &["data", "put", "long", "long.txt", "--block-size", "1KiB"],
    );
    assert!(vivat(&cluster, &["data", "cat", "long"]) == long.as_bytes());
    let sizes: Vec<u64> = places(&cluster, "long")
        .iter()
        .map(|block| block["bytes"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [6, 50_001, 6]);

    let fixed = ["data", "put", "fixed", "long.txt", "--block-size", "900"];
    let said = refused(
        &cluster,
        1,
        &[&fixed[..], &["--format", "fixed:30"]].concat(),
    );
    assert!(
        said.contains("long.txt") && said.contains("fixed records"),
        "{said}"
    );
    vivat(&cluster, &[&fixed[..], &["--format", "fixed:3"]].concat());
    let whole = ["data", "put", "whole", "long.txt", "--block-size", "100"];
    vivat(
        &cluster,
        &[&whole[..], &["--format", "whole-file"]].concat(),
    );
    assert_eq!(places(&cluster, "whole").len(), 1);
    await_agreement(&cluster);
}

#[test]
fn empty_files_and_a_hundred_thousand_small_ones_come_back() {
    let cluster = Cluster::start(Shape::default());
    fs::write(cluster.path("empty"), "").unwrap();
    vivat(&cluster, &["data", "put", "empty", "empty"]);
    assert_eq!(places(&cluster, "empty").len(), 0);
    vivat(&cluster, &["data", "get", "empty", "empty.out"]);
    assert_eq!(fs::read(cluster.path("empty.out")).unwrap(), b"");

    // In memory where that can be: a disk takes far longer for so many.
    let many = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let many = many.unwrap();
    let mut all = String::new();
    for file in 0..100_000 {
        let directory = many.path().join(format!("{:03}", file / 1_000));
        if file % 1_000 == 0 {
            fs::create_dir_all(&directory).unwrap();
        }
        let text = "line\n".repeat(file % 4) + &file.to_string();
        fs::write(directory.join(format!("{file:06}")), &text).unwrap();
        all.push_str(&text);
    }
    let directory = many.path().to_str().unwrap();
    vivat(&cluster, &["data", "put", "many", directory]);
    // They share blocks; their list does not stand in the masters' log.
    assert!(places(&cluster, "many").len() <= 3);
    assert!(vivat(&cluster, &["data", "cat", "many"]) == all.as_bytes());
    await_agreement(&cluster);
}

#[test]
fn what_cannot_be_is_refused_by_its_exit_code() {
    let cluster = Cluster::start(Shape::default());
    fs::write(cluster.path("x.txt"), "x\n").unwrap();
    fs::create_dir(cluster.path("nothing")).unwrap();
    vivat(&cluster, &["data", "put", "x", "x.txt"]);
    for name in ["../x", "/x", "a/b", "..", ""] {
        refused(&cluster, 2, &["data", "put", name, "x.txt"]);
        refused(&cluster, 2, &["value", "put", name, "1"]);
    }
    assert!(refused(&cluster, 4, &["data", "put", "x", "x.txt"]).contains("data rm"));
    refused(&cluster, 3, &["data", "put", "y", "no such file"]);
    refused(&cluster, 3, &["data", "put", "y", "*.pdf"]);
    refused(&cluster, 3, &["data", "put", "y", "nothing"]);
    refused(&cluster, 2, &["data", "put", "y", "x.txt", "x.txt"]);
    refused(
        &cluster,
        2,
        &["data", "put", "y", "x.txt", "--format", "fixed:0"],
    );
    refused(
        &cluster,
        2,
        &["data", "put", "y", "x.txt", "--replicas", "0"],
    );
    for command in ["get", "cat", "where", "rm", "check"] {
        let mut args = vec!["data", command, "nothing"];
        match command {
            "get" => args.push("nothing.out"),
            "rm" => args.push("--yes"),
            _ => {}
        }
        refused(&cluster, 3, &args);
    }
    refused(&cluster, 4, &["data", "get", "x", "x.txt"]);
    assert_eq!(fs::read(cluster.path("x.txt")).unwrap(), b"x\n");
    refused(&cluster, 2, &["data", "rm", "x"]);
    vivat(&cluster, &["data", "rm", "x", "--yes"]);
    refused(&cluster, 3, &["data", "cat", "x"]);
    // Its bytes go too, and its name is free.
    await_that("no block is left", || {
        block_files(&cluster, 0).is_empty() && block_files(&cluster, 1).is_empty()
    });
    vivat(&cluster, &["data", "put", "x", "x.txt"]);
    await_agreement(&cluster);
}

#[test]
fn put_that_is_given_up_leaves_nothing() {
    let cluster = Cluster::start(Shape::default());
    let text = words::generate(4 * 1024 * 1024, 3);
    let mut put = Piped::start(
        &cluster,
        &["data", "put", "half", "-", "--block-size", "64KiB"],
    );
    put.write(text.as_bytes());
    await_that("blocks on a disk", || block_files(&cluster, 0).len() > 10);
    let held = differences(&cluster);
    assert!(
        held.is_empty(),
        "what is being written is no difference: {held:?}"
    );
    put.interrupt();
    let output = put.end();
    assert_eq!(output.status.code(), Some(7), "{}", describe(&output));
    refused(&cluster, 3, &["data", "cat", "half"]);
    assert_eq!(vivat(&cluster, &["data", "ls", "-o", "name"]), b"");
    await_that("no block is left", || {
        block_files(&cluster, 0).is_empty() && block_files(&cluster, 1).is_empty()
    });
    fs::write(cluster.path("x.txt"), "x\n").unwrap();
    vivat(&cluster, &["data", "put", "half", "x.txt"]);
    await_agreement(&cluster);
}

#[test]
fn values_are_written_by_version_or_whatever_there_is() {
    let cluster = Cluster::start(Shape::default());
    let version = |args: &[&str]| {
        let output = cluster.vivat(&[&["value", "put"][..], args, &["-o", "json"]].concat());
        assert!(output.status.success(), "{}", describe(&output));
        parse(&output)["version"].as_u64().unwrap().to_string()
    };
    let first = version(&["rate", "0.05", "--if-version", "0"]);
    refused(
        &cluster,
        4,
        &["value", "put", "rate", "1", "--if-version", "0"],
    );
    let second = version(&["rate", "0.06", "--if-version", &first]);
    refused(
        &cluster,
        4,
        &["value", "put", "rate", "1", "--if-version", &first],
    );
    assert_eq!(vivat(&cluster, &["value", "get", "rate"]), b"0.06");

    let bytes: Vec<u8> = (0..=255).cycle().take(48 * 1024).collect();
    fs::write(cluster.path("most"), &bytes).unwrap();
    version(&["most", "@most"]);
    assert!(vivat(&cluster, &["value", "get", "most"]) == bytes);
    fs::write(cluster.path("more"), [&bytes[..], b"x"].concat()).unwrap();
    let said = refused(&cluster, 2, &["value", "put", "more", "@more"]);
    assert!(said.contains("data put"), "{said}");

    let listed: Value = parse(&cluster.vivat(&["value", "ls", "-o", "json"]));
    assert_eq!(listed[0]["name"], "most");
    assert_eq!(listed[1]["version"].to_string(), second);
    refused(
        &cluster,
        4,
        &["value", "rm", "rate", "--if-version", &first],
    );
    vivat(&cluster, &["value", "rm", "rate", "--if-version", &second]);
    refused(&cluster, 3, &["value", "get", "rate"]);
    refused(&cluster, 3, &["value", "rm", "rate"]);
}
