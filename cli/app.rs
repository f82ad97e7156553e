//! What every command needs to know of how it was called, and the doors to
//! standard output and standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use vivat_client::{ClientOptions, LeaderClient};

use crate::args::{ColorChoice, Given, GlobalArgs, Print};
use crate::config::ConfigFile;
use crate::failure::Failure;

/// The word for `--cluster` that means none, over what the environment or the
/// config file say.
const EMBEDDED: &str = "embedded";

/// How the command was called.
#[derive(Debug)]
pub struct App {
    /// How data is printed.
    pub print: Print,
    /// Only data and errors.
    pub quiet: bool,
    /// How much is logged.
    pub verbose: u8,
    /// Whether standard output takes colours.
    pub paint_out: bool,
    /// Whether standard error takes colours.
    pub paint_err: bool,
    /// The masters, when a cluster is named.
    pub cluster: Option<Vec<String>>,
    /// The config file.
    pub config: ConfigFile,
}

impl App {
    /// Puts the global flags and the config file together.
    ///
    /// # Errors
    ///
    /// Exit 2 for a context that is not there and for what is not `HOST:PORT`.
    pub fn new(
        global: &GlobalArgs,
        given: &Given<'_>,
        config: ConfigFile,
    ) -> Result<Self, Failure> {
        let cluster = choose_cluster(global, given, &config)?;
        Ok(Self {
            print: global.print,
            quiet: global.quiet,
            verbose: global.verbose,
            paint_out: painted(global.color, &io::stdout()),
            paint_err: painted(global.color, &io::stderr()),
            cluster,
            config,
        })
    }

    /// A client of the cluster.
    ///
    /// # Errors
    ///
    /// Exit 2 when none is named.
    pub fn client(&self) -> Result<LeaderClient, Failure> {
        let Some(cluster) = &self.cluster else {
            return Err(Failure::usage("no cluster is named").hint(
                "give --cluster HOST:PORT, or set VIVAT_CLUSTER; `vivat dev` starts a cluster here",
            ));
        };
        Ok(LeaderClient::new(cluster.clone(), ClientOptions::default()))
    }

    /// A remark for people: on standard error, and not when asked to be quiet
    /// or when a program reads.
    pub fn note(&self, text: &str) {
        if !self.quiet && !self.print.is_json() {
            note(text);
        }
    }

    /// Data: text as it is.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Data: one JSON value; over several lines for `json`, on one for `ndjson`.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = if self.print == Print::Ndjson {
            serde_json::to_string(value)
        } else {
            serde_json::to_string_pretty(value)
        };
        let text = text.map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        self.data(&format!("{text}\n"))
    }

    /// Data: a list, as one JSON array or one object a line.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn json_list(&self, values: &[serde_json::Value]) -> Result<(), Failure> {
        if self.print != Print::Ndjson {
            return self.json(&values);
        }
        values.iter().try_for_each(|value| self.json(value))
    }
}

/// Writes a line to standard error; that nobody reads it is no reason to end.
pub fn note(text: &str) {
    let _unread = writeln!(io::stderr().lock(), "{text}");
}

fn painted(choice: ColorChoice, stream: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if set("NO_COLOR") => false,
        ColorChoice::Auto => {
            let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
            forced || stream.is_terminal()
        }
    }
}

/// The masters to call: what was typed, else the environment, else the file;
/// on each of these levels a list goes before a context.
fn choose_cluster(
    global: &GlobalArgs,
    given: &Given<'_>,
    config: &ConfigFile,
) -> Result<Option<Vec<String>>, Failure> {
    let list = given.rank("cluster").filter(|_| !is_empty(&global.cluster));
    let context = given.rank("context").filter(|_| global.context.is_some());
    let by_context = match (list, context) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(list), Some(context)) => context > list,
    };
    let cluster = if by_context {
        let name = global.context.clone().unwrap_or_default();
        let known = config.contexts.get(&name);
        known.cloned().ok_or_else(|| {
            let names: Vec<&str> = config.contexts.keys().map(String::as_str).collect();
            Failure::usage(format!("the config file has no [context.{name}]")).hint(
                if names.is_empty() {
                    "it has no context at all: `vivat config view`".to_owned()
                } else {
                    format!("it has: {}", names.join(", "))
                },
            )
        })?
    } else if list.is_some() {
        global.cluster.clone()
    } else {
        return Ok(None);
    };
    if cluster.iter().all(|endpoint| endpoint == EMBEDDED) {
        return Ok(None);
    }
    for endpoint in &cluster {
        crate::args::process::endpoint(endpoint.trim())
            .map_err(|problem| Failure::usage(format!("--cluster: {problem}")))?;
    }
    Ok(Some(cluster))
}

fn is_empty(cluster: &[String]) -> bool {
    cluster.iter().all(|endpoint| endpoint.trim().is_empty())
}
