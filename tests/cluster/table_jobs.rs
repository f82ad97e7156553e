//! Jobs over CSV that lies in datasets and at URLs: cut into many splits it gives what
//! the file itself gives, whoever dies, and a bad record is told with its line.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::datasets::{refused, three_workers, vivat};
use crate::harness::{Cluster, JobView, Shape, describe};

/// Rows with quotes, and line ends in fields if wanted.
fn table(rows: u32, line_end: &str) -> String {
    let mut text = format!("\u{feff}team,\"the{line_end}remark\",points,minutes\r\n");
    for row in 0..rows {
        let (points, minutes) = (row * 7919 % 41, row * 104_729 % 480);
        let remark = format!("\"\"no\"\"{line_end},{line_end}{row} more");
        let team = ["AB", "\"C, D\"", "EF"][row as usize % 3];
        writeln!(text, "{team},\"{remark}\",{points},{minutes}").expect("it fits");
    }
    text
}

const GROUPS: [&str; 4] = [
    "-p",
    "key=team",
    "-p",
    "aggregate=count, sum(points), mean(minutes), stddev(points), max(team)",
];
const NUMBERED: [&str; 2] = ["-p", "ordinal=team"];
const FIT: [&str; 6] = [
    "-p",
    "target=points",
    "-p",
    "features=minutes",
    "-p",
    "categories=team",
];

fn sequential(cluster: &Cluster, program: &str, file: &str, flags: &[&str]) -> Vec<u8> {
    let line = ["run", "--sequential", program, file, "--format", "csv"];
    vivat(cluster, &[&line[..], flags].concat())
}

/// Runs a job of a dataset or URL; what it gave, and its maps.
fn run(cluster: &Cluster, program: &str, input: &str, flags: &[&str]) -> (Vec<u8>, JobView) {
    let line = ["submit", program, input, "--format", "csv"];
    let printed = vivat(cluster, &[&line[..], flags].concat());
    let id = String::from_utf8(printed).expect("ids are text");
    let view = cluster.await_success(id.trim_end());
    (vivat(cluster, &["job", "output", id.trim_end()]), view)
}

fn put(cluster: &Cluster, name: &str, file: &str, format: &str, block: &str) {
    let line = ["data", "put", name, file, "--format", format];
    vivat(cluster, &[&line[..], &["--block-size", block]].concat());
}

#[test]
fn csv_of_a_dataset_is_cut_into_splits_and_gives_what_the_file_gives() {
    let cluster = Cluster::start(three_workers());
    fs::write(cluster.path("lines.csv"), table(600, "\n")).expect("the test's directory");
    fs::write(cluster.path("plain.csv"), table(600, " ")).expect("the test's directory");
    let groups = [&GROUPS[..], &NUMBERED].concat();
    let lines = sequential(&cluster, "group-by", "lines.csv", &groups);
    let plain = sequential(&cluster, "group-by", "plain.csv", &groups);
    // Blocks that end with records of CSV, and some that end with any line.
    put(&cluster, "as-csv", "lines.csv", "csv", "1000");
    put(&cluster, "as-text", "lines.csv", "text", "1000");
    put(&cluster, "plain", "plain.csv", "text", "1000");
    for (input, split, expected) in [
        ("vivat://as-csv", "64MiB", &lines),
        ("vivat://as-csv", "100", &lines),
        ("vivat://as-text", "700", &lines),
        ("vivat://plain", "700", &plain),
    ] {
        let split = ["--split-size", split];
        let (found, view) = run(&cluster, "group-by", input, &[&groups[..], &split].concat());
        assert!(view.map("total") > 12, "{input}: {}", view.0);
        assert!(
            found == *expected,
            "{input}: {}",
            String::from_utf8_lossy(&found)
        );
    }
    // Splits that are smaller than the header, and than records.
    let tiny = ["--split-size", "16", "-p", "multiline=false"];
    let (found, view) = run(
        &cluster,
        "group-by",
        "vivat://plain",
        &[&groups[..], &tiny].concat(),
    );
    assert!(view.map("total") > 1_000, "{}", view.0);
    assert!(found == plain, "{}", String::from_utf8_lossy(&found));
}

#[test]
fn bad_record_of_a_dataset_is_told_with_its_line_and_others_can_be_had() {
    let cluster = Cluster::start(three_workers());
    let mut text = table(400, "\n");
    text.push_str("AB,\"one\n\",many,7\nEF,,3,4\n");
    fs::write(cluster.path("bad.csv"), &text).expect("the test's directory");
    let line = text.lines().count() - 2;
    put(&cluster, "bad", "bad.csv", "csv", "1000");
    let fit = ["run", "linear-regression", "vivat://bad", "--format", "csv"];
    let said = refused(&cluster, 1, &[&fit[..], &FIT].concat());
    let expected = format!("line {line}: column `points`: `many` is not a number");
    assert!(
        said.contains("vivat://bad") && said.contains(&expected),
        "{said}"
    );
    let good = text.replace("AB,\"one\n\",many,7\n", "");
    fs::write(cluster.path("good.csv"), good).expect("the test's directory");
    let expected = sequential(&cluster, "linear-regression", "good.csv", &FIT);
    let skip = ["--skip-bad-records", "1"];
    let flags = [&FIT[..], &skip].concat();
    let (found, view) = run(&cluster, "linear-regression", "vivat://bad", &flags);
    assert!(found == expected, "{}", String::from_utf8_lossy(&found));
    assert_eq!(view.0["counters"]["map.records.skipped"], 1, "{}", view.0);
    // What the fit is worth is told with its round.
    let metrics = view.0["rounds"].as_array().expect("rounds").last();
    let metrics = &metrics.expect("a round")["metrics"];
    assert!(
        metrics["r2"].is_number() && metrics["rmse"].is_number(),
        "{metrics}"
    );
}

#[test]
fn regression_outlives_a_worker_and_the_leader_to_the_last_bit() {
    let mut cluster = Cluster::start(three_workers());
    fs::write(cluster.path("rows.csv"), table(40_000, "\n")).expect("the test's directory");
    let expected = sequential(&cluster, "linear-regression", "rows.csv", &FIT);
    put(&cluster, "rows", "rows.csv", "csv", "8KiB");
    let line = [
        "submit",
        "linear-regression",
        "vivat://rows",
        "--format",
        "csv",
    ];
    let printed = vivat(&cluster, &[&line[..], &FIT].concat());
    let id = String::from_utf8(printed)
        .expect("ids are text")
        .trim_end()
        .to_owned();
    cluster.await_job(&id, "maps under way", JobView::is_amid_maps);
    cluster.kill_worker(1);
    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);
    cluster.await_success(&id);
    let found = vivat(&cluster, &["job", "output", &id]);
    assert!(found == expected, "{}", String::from_utf8_lossy(&found));
    cluster.assert_serves_another_job();
}

#[test]
fn csv_at_a_url_is_one_split_unless_no_field_holds_a_line_end() {
    let cluster = Cluster::start(Shape {
        masters: 1,
        ..Shape::default()
    });
    for (line_end, flag, maps) in [
        ("\n", "multiline=true", 1..2),
        (" ", "multiline=false", 10..99),
    ] {
        let text = table(300, line_end);
        fs::write(cluster.path("rows.csv"), &text).expect("the test's directory");
        let expected = sequential(&cluster, "group-by", "rows.csv", &GROUPS_OF_TEXT);
        let url = serve(text.into_bytes());
        let flags = ["--split-size", "500", "-p", flag];
        let flags = [&GROUPS_OF_TEXT[..], &flags].concat();
        let (found, view) = run(&cluster, "group-by", &url, &flags);
        let total = usize::try_from(view.map("total")).expect("it is small");
        assert!(maps.contains(&total), "{flag}: {}", view.0);
        assert!(
            found == expected,
            "{flag}: {}",
            String::from_utf8_lossy(&found)
        );
    }
}

const GROUPS_OF_TEXT: [&str; 4] = [
    "-p",
    "key=team",
    "-p",
    "aggregate=count, sum(points), mean(minutes), distinct-count(points)",
];

/// A web server that knows ranges.
fn serve(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let address = listener.local_addr().expect("it listens");
    let content = Arc::new(content);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let content = content.clone();
            thread::spawn(move || answer(&stream.ok()?, &content));
        }
    });
    format!("http://{address}/rows.csv")
}

/// One request, then the connection ends. A client that has gone is no matter.
fn answer(mut stream: &TcpStream, content: &[u8]) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let mut range = 0..content.len();
    let mut status = "200 OK".to_owned();
    for line in lines {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("range: bytes=") {
            let (start, end) = bytes.split_once('-')?;
            let last = end.parse::<usize>().ok()?.min(content.len() - 1);
            range = start.parse().ok()?..last + 1;
            let size = content.len();
            let told = format!("Content-Range: bytes {}-{last}/{size}", range.start);
            status = format!("206 Partial Content\r\n{told}");
        }
    }
    let length = range.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: \"one\"\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    match request.starts_with("HEAD") {
        true => Some(()),
        false => stream.write_all(&content[range]).ok(),
    }
}

#[test]
fn a_category_that_the_model_has_never_seen_is_told_or_has_no_prediction() {
    let cluster = Cluster::start(Shape {
        masters: 1,
        ..Shape::default()
    });
    let seen = "team,minutes,points\nA,1,2\nB,2,5\nA,3,6\nB,5,11\n";
    fs::write(cluster.path("seen.csv"), seen).expect("the test's directory");
    let unseen = "points,minutes,team\n1,10,A\n2,,A\n3,10,\"C\nD\"\n4,10, B \n";
    fs::write(cluster.path("unseen.csv"), unseen).expect("the test's directory");
    let fit = [
        "run",
        "linear-regression",
        "seen.csv",
        "--format",
        "csv",
        "--output",
        "model",
    ];
    vivat(&cluster, &[&fit[..], &FIT].concat());
    let predict = [
        "run",
        "linear-predict",
        "unseen.csv",
        "--format",
        "csv",
        "--reducers",
        "2",
    ];
    let flags = [
        "--split-size",
        "8",
        "-p",
        "model=model",
        "-p",
        "keep=points",
    ];
    let predict = [&predict[..], &flags].concat();
    let said = refused(&cluster, 1, &predict);
    let expected = "unseen.csv: line 4: column `team`: `C\nD` is none of the texts";
    assert!(said.replace("\\n", "\n").contains(expected), "{said}");
    let lenient = [&predict[..], &["-p", "unseen=missing"]].concat();
    let printed = vivat(&cluster, &lenient);
    let printed = String::from_utf8_lossy(&printed);
    assert_eq!(printed, "points,prediction\n1,20\n2,\n3,\n4,21\n");
}

#[test]
fn files_that_are_empty_or_have_a_header_alone_are_told_apart() {
    let cluster = Cluster::start(Shape {
        masters: 1,
        ..Shape::default()
    });
    fs::write(cluster.path("empty.csv"), "").expect("the test's directory");
    fs::write(cluster.path("header.csv"), "team,points,minutes").expect("the test's directory");
    let group = ["run", "group-by", "--format", "csv", "-p", "key=team"];
    let said = refused(&cluster, 1, &[&group[..], &["empty.csv"]].concat());
    assert!(
        said.contains("empty.csv") && said.contains("there is no header"),
        "{said}"
    );
    let output = cluster.vivat(&[&group[..], &["header.csv"]].concat());
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(output.stdout, b"team,count\n");
    let fit = ["run", "linear-regression", "--format", "csv", "header.csv"];
    let said = refused(&cluster, 1, &[&fit[..], &FIT].concat());
    assert!(said.contains("there are no rows to learn from"), "{said}");
}
