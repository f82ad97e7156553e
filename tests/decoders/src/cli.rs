//! What users write: job files and config files.

use crate::Target;

/// A `vivat run job.toml`.
pub const JOB_FILE: Target = Target::new("job_file", job_file, job_files);
/// A `config.toml`. The memory of a command line's grammar comes on top.
pub const CONFIG_FILE: Target = Target {
    base_bytes: 32 * 1024 * 1024,
    per_byte: 16 * 1024,
    ..Target::new("config_file", config_file, config_files)
};

fn job_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        judge(vivat::formats::job(text));
    }
}

fn config_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        judge(vivat::formats::config(text));
    }
}

/// A refusal says something.
fn judge(judged: Result<(), String>) {
    if let Err(message) = judged {
        assert!(!message.is_empty());
    }
}

fn job_files() -> Vec<Vec<u8>> {
    [
        "[[step]]\nprogram = \"word-count\"\n",
        r#"
name = "player-averages"
comment = "season averages by player"
input = ["data/input/game-logs.csv", "b"]
format = "csv"
output = "out/player-averages"
reducers = 4
split-size = "32MiB"
priority = 50
policy = "locality"
max-attempts = 4
overwrite = true
key = "averages-1"
job-timeout = 90.5

[[step]]
program = "group-by"
reducers = 2
[step.params]
key = ["PLAYER_NAME", "TEAM"]
limit = 3
"#,
        "input = \"a.txt\"\nsplit_size = 1000\nstep = [{program = \"grep\", params = {p = 1.5}}]\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn config_files() -> Vec<Vec<u8>> {
    [
        "",
        "current-context = \"home\"\n[context.home]\ncluster = \"a:1, b:2\"\n",
        "[context.home]\ncluster = [\"a:1\", \"b:2\"]\n[run]\nreducers = 7\noverwrite = true\n",
        "[master]\nid = 2\ndir = \"/m\"\npeers = [\"2=h:1\", \"3=h:2\"]\n",
        "[gen.words]\nseed = 0x10\n[worker]\nslots = 2\nslot_memory = \"64MiB\"\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
