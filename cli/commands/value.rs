//! `vivat value ...`

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::json;
use vivat_client::data::ValueView;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::dataset::check_name;
use vivat_shared::limits::VALUE_BYTES_MAX;

use crate::app::App;
use crate::args::Print;
use crate::args::data::ValueCommand;
use crate::failure::Failure;
use crate::form;
use crate::quantity::ByteSize;
use crate::table::{Sheet, number, text};

/// Runs it.
pub async fn value(app: &App, command: ValueCommand) -> Result<(), Failure> {
    match command {
        ValueCommand::Put {
            name,
            value,
            if_version,
        } => put(app, &name, value, if_version).await,
        ValueCommand::Get { name } => {
            let value = app.client()?.get_value(&name).await?;
            if app.print.is_json() {
                return app.json(&json!({
                    "name": name,
                    "version": value.version,
                    "bytes": value.bytes.len(),
                    "written_at": form::time(value.written_at_ms),
                    "value": String::from_utf8_lossy(&value.bytes),
                    "is_text": std::str::from_utf8(&value.bytes).is_ok(),
                }));
            }
            let mut out = io::stdout().lock();
            out.write_all(&value.bytes)
                .and_then(|()| out.flush())
                .map_err(|error| Failure::output(&error))
        }
        ValueCommand::Rm {
            name,
            if_version,
            yes: _,
        } => remove(app, &name, if_version).await,
        ValueCommand::Ls => list(app, &app.client()?.list_values().await?),
    }
}

async fn put(
    app: &App,
    name: &str,
    typed: OsString,
    if_version: Option<u64>,
) -> Result<(), Failure> {
    check_name("NAME", name)
        .map_err(|error| Failure::usage(format!("{}: {}", error.field, error.problem)))?;
    let client = app.client()?;
    let read = tokio::task::spawn_blocking(move || bytes_of(&typed)).await;
    let bytes = read.map_err(|error| Failure::failed(error.to_string()))??;
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(Failure::usage(format!(
            "a value has at most {}, and this one has more",
            ByteSize(VALUE_BYTES_MAX as u64)
        ))
        .hint(format!(
            "larger things are datasets: `vivat data put {name} FILE`"
        )));
    }
    let version = client
        .put_value(&key(), name, bytes.into(), if_version)
        .await?;
    match app.print {
        Print::Json | Print::Ndjson => app.json(&json!({"name": name, "version": version})),
        Print::Name => app.data(&format!("{name}\n")),
        Print::Table | Print::Wide => app.data(&format!("version {version}\n")),
    }
}

/// What was typed, or what is in the file that it names; one byte more than
/// is allowed is enough to know.
fn bytes_of(typed: &OsString) -> Result<Vec<u8>, Failure> {
    let typed = typed.as_bytes();
    let Some(path) = typed.strip_prefix(b"@") else {
        return Ok(typed.to_vec());
    };
    let most = VALUE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if path == b"-" {
        let read = io::stdin().lock().take(most).read_to_end(&mut bytes);
        read.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
        return Ok(bytes);
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| Failure::file("read", path, &error))?;
    Ok(bytes)
}

async fn remove(app: &App, name: &str, if_version: Option<u64>) -> Result<(), Failure> {
    let client = app.client()?;
    client.get_value(name).await?;
    match client.remove_value(&key(), name, if_version).await {
        Ok(()) => {}
        // It was there a moment ago: a try whose answer was lost removed it.
        Err(error) if matches!(error.detail(), Some(Kind::UnknownValue(_))) => {}
        Err(error) => return Err(error.into()),
    }
    match app.print {
        Print::Json | Print::Ndjson => app.json(&json!({"name": name})),
        Print::Name => app.data(&format!("{name}\n")),
        Print::Table | Print::Wide => app.data(&format!("{name} removed\n")),
    }
}

fn list(app: &App, values: &[ValueView]) -> Result<(), Failure> {
    match app.print {
        Print::Json | Print::Ndjson => {
            let values: Vec<_> = values
                .iter()
                .map(|value| {
                    json!({
                        "name": value.name,
                        "version": value.version,
                        "bytes": value.bytes,
                        "written_at": form::time(value.written_at_ms),
                    })
                })
                .collect();
            return app.json_list(&values);
        }
        Print::Name => {
            let names: String = values
                .iter()
                .map(|value| format!("{}\n", value.name))
                .collect();
            return app.data(&names);
        }
        Print::Table | Print::Wide => {}
    }
    let mut sheet = Sheet::new(app, &["NAME", "VERSION", "SIZE", "AGE"]);
    for value in values {
        sheet.row([
            text(&value.name),
            number(value.version),
            number(ByteSize(value.bytes)),
            number(form::age(value.written_at_ms)),
        ]);
    }
    sheet.print(app, "there are no values: `vivat value put` makes one")
}

/// One for this command: a try whose answer was lost writes no second time.
fn key() -> String {
    format!("value-{:032x}", rand::random::<u128>())
}
