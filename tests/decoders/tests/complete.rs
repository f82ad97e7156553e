//! No message of a service is left out of the decoders that are tried.

use std::fs;
use std::path::Path;

/// The types of all requests and answers of a proto that have a field.
fn messages_of(proto: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rpc in proto
        .lines()
        .filter_map(|line| line.trim().strip_prefix("rpc "))
    {
        for part in rpc.split('(').skip(1) {
            let name = part.split(')').next().expect("a first part");
            let name = name.strip_prefix("stream ").unwrap_or(name);
            let begins = proto.split(&format!("message {name} {{")).nth(1);
            let body = begins.and_then(|rest| rest.split('}').next());
            if body.is_some_and(|body| body.contains('=')) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

#[test]
fn every_request_and_answer_with_a_field_is_decoded_by_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let targets = fs::read_to_string(root.join("src/messages.rs")).expect("it is here");
    let mut tried = 0;
    for folder in ["../../proto/vivat/v1", "../../proto/vivat/raft/v1"] {
        for entry in fs::read_dir(root.join(folder)).expect("the protos are here") {
            let path = entry.expect("it can be listed").path();
            let proto = fs::read_to_string(&path).expect("protos are text");
            for name in messages_of(&proto) {
                let is_there = targets.contains(&format!("::{name}>"))
                    || targets.contains(&format!("::{name},"));
                assert!(is_there, "{}: {name} is in no target", path.display());
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "{tried} messages are too few to be all");
}
