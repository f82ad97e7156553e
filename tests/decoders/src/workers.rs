//! What workers find on their disks and at an output.

use vivat_worker::formats;

use crate::Target;

/// An output's `_manifest.json`.
pub const MANIFEST: Target = Target::new("manifest", manifest, manifests);
/// The small files of a worker's directory, and the list of what it runs.
pub const NOTES: Target = Target::new("worker_notes", notes, note_files);

fn manifest(bytes: &[u8]) {
    if let Some(json) = formats::manifest(bytes) {
        assert_eq!(formats::manifest(&json).as_deref(), Some(&json[..]));
    }
}

fn notes(bytes: &[u8]) {
    if let Some(text) = formats::note(bytes) {
        let again = formats::note_of(&text);
        assert_eq!(formats::note(&again), Some(text));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let written = formats::note_of(text);
        assert_eq!(formats::note(&written).as_deref(), Some(text));
    }
    for attempt in formats::running(bytes) {
        assert_eq!(attempt.to_string().parse(), Ok(attempt));
    }
}

fn manifests() -> Vec<Vec<u8>> {
    let text = r#"{
  "format_version": 1,
  "cluster_id": "000000000000000000000000feedbeef",
  "job_id": "job-7",
  "parts": [
    {"name": "part-00000", "bytes": 4, "records": 1, "crc32c": "0000abcd"},
    {"name": "part-00001", "bytes": 0, "records": 0, "crc32c": "00000000"}
  ]
}
"#;
    vec![text.as_bytes().to_vec()]
}

fn note_files() -> Vec<Vec<u8>> {
    let cell = |text: &str| format!("{text:<79}\n");
    let running = ["vivat-running 1", "job-1.0.0.map-3.1", "-"].map(cell);
    vec![
        formats::note_of("/out/.a\nb\\c.staging"),
        formats::note_of("000000000000000000000000feedbeef"),
        running.concat().into_bytes(),
        b"job-18446744073709551615.65535.4294967295.commit-4294967295.65535".to_vec(),
    ]
}
