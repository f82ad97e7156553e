//! The parameters of `exec`, read once for a step.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::parameters::{ParameterError, Parameters};

use super::wire::Limits;

/// Of a command, in messages.
const SHOWN_CHARS_MAX: usize = 120;
/// The directories that are searched for a command where the worker has no `PATH`.
pub(super) const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";
/// Before the name of a variable.
pub(super) const ENVIRONMENT: &str = "env.";

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Mapper,
    Combiner,
    Reducer,
}

impl Role {
    /// The parameter with its command.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mapper => "mapper",
            Self::Combiner => "combiner",
            Self::Reducer => "reducer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The parameters, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    mapper: Vec<String>,
    combiner: Vec<String>,
    reducer: Vec<String>,
    /// Leading fields of a line that are its key, at least 1.
    pub key_fields: usize,
    /// Leading fields of the key that decide the partition; none: all.
    pub partition_fields: Option<usize>,
    pub sort_values: bool,
    /// The mapper is given the path of a file instead of its bytes.
    pub raw: bool,
    /// Variables by name.
    pub environment: BTreeMap<String, String>,
    pub timeout: Duration,
    pub limits: Limits,
}

impl Settings {
    pub fn of(parameters: &Parameters) -> Result<Self, ParameterError> {
        let command = |role: Role| {
            let words = command(parameters.text(role.word()), parameters.is_true("shell"));
            words.map_err(|problem| parameters.error(role.word(), problem))
        };
        let quantity =
            |name: &str, read: fn(&str) -> Result<u64, String>| match parameters.text(name) {
                "" => Ok(None),
                text => read(text)
                    .map(Some)
                    .map_err(|problem| parameters.error(name, problem)),
            };
        let fields = |name: &str| usize::try_from(parameters.integer(name)).unwrap_or(0);
        let settings = Self {
            mapper: command(Role::Mapper)?,
            combiner: command(Role::Combiner)?,
            reducer: command(Role::Reducer)?,
            key_fields: fields("key-fields").max(1),
            partition_fields: Some(fields("partition-fields")).filter(|count| *count > 0),
            sort_values: parameters.is_true("sort-values"),
            raw: parameters.is_true("raw"),
            environment: environment(parameters)?,
            timeout: Duration::from_millis(quantity("timeout", millis)?.unwrap_or(u64::MAX)),
            limits: Limits {
                memory_bytes: quantity("memory", bytes)?,
                cpu_seconds: quantity("cpu-time", millis)?.map(|ms| ms.div_ceil(1_000).max(1)),
                open_files: match parameters.integer("open-files") {
                    0 => None,
                    files => u64::try_from(files).ok(),
                },
                file_bytes: quantity("file-size", bytes)?,
            },
        };
        if !settings.has(Role::Mapper) && !settings.has(Role::Reducer) {
            let detail = "there is neither a mapper nor a reducer: -p mapper=COMMAND".to_owned();
            return Err(parameters.error(Role::Mapper.word(), detail));
        }
        if settings.raw && !settings.has(Role::Mapper) {
            let detail = "it is for a mapper, and there is none".to_owned();
            return Err(parameters.error("raw", detail));
        }
        Ok(settings)
    }

    /// Whether there is such a command.
    pub fn has(&self, role: Role) -> bool {
        !self.words(role).is_empty()
    }

    /// Program and arguments; empty when there is no such command.
    pub fn words(&self, role: Role) -> &[String] {
        match role {
            Role::Mapper => &self.mapper,
            Role::Combiner => &self.combiner,
            Role::Reducer => &self.reducer,
        }
    }

    /// The program alone.
    pub fn program(&self, role: Role) -> &str {
        self.words(role).first().map_or("", String::as_str)
    }

    /// The command, for messages.
    pub fn shown(&self, role: Role) -> String {
        let text = self.words(role).join(" ");
        let text = text.replace(char::is_control, " ");
        match text.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    }

    /// A signal's name, and what it says about limits.
    pub fn signal(&self, signal: i32) -> String {
        let limits = &self.limits;
        match signal {
            4 => "signal 4 (SIGILL)".to_owned(),
            6 => "signal 6 (SIGABRT)".to_owned(),
            7 => "signal 7 (SIGBUS)".to_owned(),
            8 => "signal 8 (SIGFPE)".to_owned(),
            9 if limits.cpu_seconds.is_some() => {
                "signal 9 (SIGKILL), perhaps because of its `cpu-time`".to_owned()
            }
            9 => "signal 9 (SIGKILL)".to_owned(),
            11 => "signal 11 (SIGSEGV)".to_owned(),
            13 => "signal 13 (SIGPIPE)".to_owned(),
            15 => "signal 15 (SIGTERM)".to_owned(),
            24 => match limits.cpu_seconds {
                Some(seconds) => format!("signal 24 (SIGXCPU): `cpu-time` allows {seconds} s"),
                None => "signal 24 (SIGXCPU)".to_owned(),
            },
            25 => match limits.file_bytes {
                Some(bytes) => format!("signal 25 (SIGXFSZ): `file-size` allows {bytes} bytes"),
                None => "signal 25 (SIGXFSZ)".to_owned(),
            },
            other => format!("signal {other}"),
        }
    }
}

/// Program and arguments of a command as it was written.
fn command(text: &str, shell: bool) -> Result<Vec<String>, String> {
    let words = if text.trim().is_empty() {
        return Ok(Vec::new());
    } else if shell {
        ["/bin/sh", "-c", text].map(str::to_owned).to_vec()
    } else if text.trim_start().starts_with('[') {
        serde_json::from_str::<Vec<String>>(text)
            .map_err(|error| format!("it is no JSON list of texts: {error}"))?
    } else {
        shlex::split(text).ok_or("a quote in it is never closed")?
    };
    match words.first() {
        None => Err("its list is empty".to_owned()),
        Some(program) if program.is_empty() => Err("its program has no name".to_owned()),
        Some(_) if words.iter().any(|word| word.contains('\0')) => {
            Err("there is a byte 0 in it".to_owned())
        }
        Some(_) => Ok(words),
    }
}

fn environment(parameters: &Parameters) -> Result<BTreeMap<String, String>, ParameterError> {
    let given = parameters.to_map().into_iter();
    let mut variables = BTreeMap::new();
    for (parameter, value) in given {
        let Some(name) = parameter.strip_prefix(ENVIRONMENT) else {
            continue;
        };
        if name.contains(['=', '\0']) || value.contains('\0') {
            let detail = "no variable can be called or hold that".to_owned();
            return Err(parameters.error(&parameter, detail));
        }
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

const SIZES: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// A number of bytes.
fn bytes(text: &str) -> Result<u64, String> {
    scaled(text, &SIZES)
        .ok_or_else(|| "it takes a number of bytes, like 65536, 512MiB or 2GiB".to_owned())
}

/// A time in milliseconds; a number alone is seconds.
fn millis(text: &str) -> Result<u64, String> {
    let alone = text.trim().parse::<u64>().ok();
    let millis = match alone {
        Some(seconds) => seconds.checked_mul(1_000),
        None => scaled(text, &TIMES),
    };
    millis.ok_or_else(|| "it takes a time, like 500ms, 30s, 10m or 2h".to_owned())
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit = unit.trim();
    let named = |(name, _): &&(&str, u64)| {
        unit.eq_ignore_ascii_case(name) || (unit.is_empty() && *name == "B")
    };
    let (_, factor) = units.iter().find(named)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A time, for people.
pub(super) fn span(time: Duration) -> String {
    match time.as_millis() {
        ms if !ms.is_multiple_of(1_000) => format!("{ms} ms"),
        ms if !ms.is_multiple_of(60_000) => format!("{} s", ms / 1_000),
        ms => format!("{} min", ms / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_as_a_shell_quotes_them_or_a_json_list() {
        let words = |text: &str| command(text, false).unwrap();
        assert_eq!(
            words("tr -cs '[:alpha:]' '\\n'"),
            ["tr", "-cs", "[:alpha:]", "\\n"]
        );
        assert_eq!(words(r#"["a b", "c\td"]"#), ["a b", "c\td"]);
        assert!(words("  ").is_empty());
        let shell = command("a | b", true).unwrap();
        assert_eq!(shell, ["/bin/sh", "-c", "a | b"]);
        for (text, problem) in [
            ("[1]", "JSON"),
            ("[]", "empty"),
            ("['a']", "JSON"),
            ("awk '{", "never closed"),
            ("''", "no name"),
            ("[\"a\\u0000\"]", "byte 0"),
        ] {
            let error = command(text, false).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(bytes("65536"), Ok(65_536));
        assert_eq!(bytes("512 mib"), Ok(512 << 20));
        assert_eq!(millis("90"), Ok(90_000));
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("10m"), Ok(600_000));
        for text in ["", "x", "-1", "1.5GiB", "99999999999TiB", "10 parsec"] {
            assert!(bytes(text).is_err(), "{text}");
            assert!(millis(text).is_err(), "{text}");
        }
        assert_eq!(span(Duration::from_secs(600)), "10 min");
        assert_eq!(span(Duration::from_secs(90)), "90 s");
        assert_eq!(span(Duration::from_millis(1_500)), "1500 ms");
    }
}
