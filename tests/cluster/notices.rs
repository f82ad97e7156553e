//! `--notify`: somebody is told of a job's end, at least once and always under the
//! same id.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Cluster, Job, Shape};

/// A busy machine elects, grants and tells within this.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// A listener that takes every event; it ends with the test's process.
struct Listener {
    url: String,
    events: Receiver<Value>,
}

impl Listener {
    /// Refuses so many events first.
    fn start(refused: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let (sender, events) = channel();
        thread::spawn(move || {
            for (count, stream) in listener.incoming().flatten().enumerate() {
                take(stream, count < refused, &sender);
            }
        });
        Self {
            url: format!("http://{address}/hook"),
            events,
        }
    }

    fn next(&self) -> Value {
        let event = self.events.recv_timeout(TOLD_WITHIN);
        event.unwrap_or_else(|error| panic!("nobody told: {error}"))
    }
}

/// Reads one POST and answers it.
fn take(stream: TcpStream, refuse: bool, events: &Sender<Value>) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => {}
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let status = if refuse { "503 Busy" } else { "204 Fine" };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _gone = reader.into_inner().write_all(answer.as_bytes());
    if let Ok(event) = serde_json::from_slice(&body) {
        let _over = events.send(event);
    }
}

fn job() -> Job {
    Job {
        input: "words.txt".to_owned(),
        output: "out".to_owned(),
        split_bytes: 16 * 1024,
        reducers: 2,
        key: None,
    }
}

#[test]
fn an_end_is_told_with_the_leader_killed_and_always_under_one_id() {
    let listener = Listener::start(1);
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 256 * 1024, 3);
    let id = cluster.submit_with(&job(), &["--notify", &listener.url, "--name", "told"]);
    cluster.await_success(&id);
    // The first telling is refused, and a leader comes that knows of it by the log.
    let refused = listener.next();
    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);
    let told = listener.next();
    assert_eq!(told["event_id"], refused["event_id"], "{told} {refused}");
    assert_eq!(told["job_id"], id.as_str(), "{told}");
    assert_eq!(told["name"], "told", "{told}");
    assert_eq!(told["state"], "succeeded", "{told}");
    assert!(told["at"].as_u64().is_some_and(|at| at > 0), "{told}");
    let view = cluster.poll(
        "the telling in the log",
        || cluster.show(&id),
        |view| view.0["notify"]["state"] == "delivered",
    );
    assert!(view.0["notify"]["tries"].as_u64() >= Some(2), "{}", view.0);
    cluster.assert_serves_another_job();
}

#[test]
fn a_command_is_told_on_its_standard_input_and_in_its_environment() {
    let cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 64 * 1024, 3);
    let told = cluster.path("told");
    let line = format!(
        r#"/bin/sh -c 'echo "$VIVAT_JOB_STATE" > {0}.new && cat >> {0}.new && mv {0}.new {0}'"#,
        told.display()
    );
    let id = cluster.submit_with(&job(), &["--notify", &line]);
    cluster.await_success(&id);
    let text = cluster.poll(
        "the command's file",
        || fs::read_to_string(&told).ok(),
        |_| true,
    );
    let (state, event) = text.split_once('\n').expect("two lines");
    assert_eq!(state, "succeeded");
    let event: Value = serde_json::from_str(event).expect("it is JSON");
    assert_eq!(event["job_id"], id.as_str(), "{event}");
}
