//! Web servers of many habits.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use vivat_shared::attempt::counters;
use vivat_shared::cause::FailureCause;

use crate::bench::{Bench, cause, sum, words};

/// What a server does; the usual one knows ranges, `HEAD` and a tag.
#[derive(Default)]
struct Habits {
    no_ranges: bool,
    no_head: bool,
    no_size: bool,
    no_tag: bool,
    /// Another tag from now on.
    changed: AtomicBool,
    /// Answers to cut in the middle.
    cuts: AtomicU32,
    status: Option<&'static str>,
}

struct Server {
    url: String,
    habits: Arc<Habits>,
}

fn serve(content: Vec<u8>, habits: Habits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let habits = Arc::new(habits);
    let (shared, content) = (habits.clone(), Arc::new(content));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (habits, content) = (shared.clone(), content.clone());
            thread::spawn(move || answer(&stream.unwrap(), &habits, &content));
        }
    });
    Server { url, habits }
}

/// One request, then the connection ends. A client that has gone is no matter.
fn answer(mut stream: &TcpStream, habits: &Habits, content: &[u8]) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let mut range = None;
    for line in lines {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("range: bytes=") {
            let (start, end) = bytes.split_once('-')?;
            range = Some((start.parse::<usize>().ok()?, end.parse::<usize>().ok()?));
        }
    }
    let mut head = String::new();
    let mut body = content;
    match (habits.status, range) {
        (Some(status), _) => {
            head.push_str(&format!("HTTP/1.1 {status}\r\n"));
            body = b"secret details";
        }
        _ if habits.no_head && request.starts_with("HEAD") => {
            head.push_str("HTTP/1.1 405 Method Not Allowed\r\n");
            body = b"";
        }
        (None, Some((start, _))) if !habits.no_ranges && start >= content.len() => {
            head.push_str("HTTP/1.1 416 Range Not Satisfiable\r\n");
            body = b"";
        }
        (None, Some((start, end))) if !habits.no_ranges => {
            let end = end.min(content.len() - 1);
            body = &content[start..=end];
            head.push_str("HTTP/1.1 206 Partial Content\r\n");
            let size = content.len();
            head.push_str(&format!("Content-Range: bytes {start}-{end}/{size}\r\n"));
        }
        (None, _) => head.push_str("HTTP/1.1 200 OK\r\n"),
    }
    if !habits.no_tag {
        let changed = habits.changed.load(Ordering::Relaxed);
        head.push_str(&format!(
            "ETag: \"{}\"\r\n",
            if changed { "two" } else { "one" }
        ));
    }
    if !habits.no_size {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    stream
        .write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
        .ok()?;
    if request.starts_with("HEAD") {
        return Some(());
    }
    let less = |cuts: u32| cuts.checked_sub(1);
    let is_cut = body.len() > 1_000
        && habits
            .cuts
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok();
    let sent = if is_cut {
        &body[..body.len() / 2]
    } else {
        body
    };
    stream.write_all(sent).ok()
}

/// Plans and maps a URL; the number of splits, and the bytes that were read.
async fn read(bench: &Bench, job: u64, url: &str) -> (usize, u64) {
    let mut spec = bench.spec(&[url]);
    spec.split_bytes = 100_000;
    let (chunks, _) = bench.plan(job, &spec).await.unwrap();
    let splits = chunks.iter().map(|chunk| chunk.splits.len()).sum();
    let outcomes = bench.map(job, &spec, &chunks).await;
    (splits, sum(&outcomes, counters::MAP_INPUT_BYTES))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_page_is_cut_where_its_server_knows_ranges_and_whole_where_not() {
    let text = words(500_000, 5);
    let bytes = text.len() as u64;
    let bench = Bench::new().await;
    let usual = Habits::default;
    let cases = [
        (usual(), 6),
        (
            Habits {
                no_head: true,
                no_tag: true,
                ..usual()
            },
            6,
        ),
        (
            Habits {
                no_ranges: true,
                ..usual()
            },
            1,
        ),
        (
            Habits {
                no_ranges: true,
                no_head: true,
                no_tag: true,
                ..usual()
            },
            1,
        ),
    ];
    for (job, (habits, expected)) in (1..).zip(cases) {
        let server = serve(text.clone(), habits);
        server.habits.cuts.store(2, Ordering::Relaxed);
        let (splits, read) = read(&bench, job, &format!("{}/a.txt", server.url)).await;
        assert_eq!(read, bytes, "case {job}");
        assert!(
            splits.abs_diff(expected) <= 1,
            "case {job}: {splits} splits"
        );
        assert_eq!(
            server.habits.cuts.load(Ordering::Relaxed),
            0,
            "the faults struck"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_page_has_no_records_and_a_compressed_one_is_one_split() {
    let bench = Bench::new().await;
    let empty = serve(Vec::new(), Habits::default());
    assert_eq!(
        read(&bench, 1, &format!("{}/a.txt", empty.url)).await,
        (1, 0)
    );
    let text = words(400_000, 6);
    let packed = zstd_of(&text);
    let server = serve(packed, Habits::default());
    let url = format!("{}/a.zst?token=x", server.url);
    assert_eq!(read(&bench, 2, &url).await, (1, text.len() as u64));
}

fn zstd_of(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_refuses_is_told_by_its_kind_without_the_query() {
    let bench = Bench::new().await;
    for (job, status) in (1..).zip(["404 Not Found", "403 Forbidden", "401 Unauthorized"]) {
        let habits = Habits {
            status: Some(status),
            ..Habits::default()
        };
        let server = serve(Vec::new(), habits);
        let shown = format!("{}/a.txt", server.url);
        let url = format!("{shown}?X-Amz-Signature=hunter2");
        let found = bench.plan(job, &bench.spec(&[&url])).await.unwrap_err();
        let text = found.to_string();
        assert!(
            !text.contains("hunter2") && !text.contains("secret"),
            "{text}"
        );
        match &found {
            FailureCause::InputNotFound { path } if job == 1 => assert_eq!(*path, shown),
            FailureCause::InputUnreadable { path, .. } if job > 1 => assert_eq!(*path, shown),
            other => panic!("{other:?}"),
        }
    }
    let refused = bench
        .plan(8, &bench.spec(&["http://ada:hunter2@h/x"]))
        .await
        .unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("credentials") && !text.contains("hunter2"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_without_a_size_is_out_of_reach() {
    let bench = Bench::new().await;
    let habits = Habits {
        no_size: true,
        no_ranges: true,
        ..Habits::default()
    };
    let server = serve(b"the cat\n".to_vec(), habits);
    let spec = bench.spec(&[&format!("{}/a.txt", server.url)]);
    let found = bench.plan(1, &spec).await.unwrap_err();
    assert!(
        matches!(&found, FailureCause::InputUnreachable { detail, .. } if detail.contains("size")),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_with_another_tag_than_planned_is_a_changed_input() {
    let bench = Bench::new().await;
    let server = serve(words(300_000, 7), Habits::default());
    let mut spec = bench.spec(&[&format!("{}/a.txt", server.url)]);
    spec.split_bytes = 100_000;
    let (chunks, _) = bench.plan(1, &spec).await.unwrap();
    server.habits.changed.store(true, Ordering::Relaxed);
    for outcome in bench.map(1, &spec, &chunks).await {
        let found = cause(&outcome);
        assert!(
            matches!(found, FailureCause::InputChanged { .. }),
            "{found}"
        );
    }
}
