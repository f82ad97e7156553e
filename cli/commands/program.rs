//! `vivat program list|show`

use serde_json::{Value, json};
use vivat_programs::{ProgramEntry, catalogue};

use crate::app::App;
use crate::args::{Print, ProgramCommand};
use crate::failure::Failure;
use crate::spec;
use crate::table::{Sheet, text};

/// Runs it.
pub fn program(app: &App, command: ProgramCommand) -> Result<(), Failure> {
    match command {
        ProgramCommand::List => list(app),
        ProgramCommand::Show { name } => show(app, spec::program(&name)?),
    }
}

fn list(app: &App) -> Result<(), Failure> {
    match app.print {
        Print::Json | Print::Ndjson => {
            let programs: Vec<_> = catalogue().iter().map(form).collect();
            app.json_list(&programs)
        }
        Print::Name => {
            let names: String = catalogue()
                .iter()
                .map(|entry| format!("{}\n", entry.name))
                .collect();
            app.data(&names)
        }
        Print::Table | Print::Wide => {
            let mut sheet = Sheet::new(app, &["PROGRAM", "FORMATS", "WHAT IT DOES"]);
            for entry in catalogue() {
                sheet.row([
                    text(entry.name),
                    text(formats(entry).join(", ")),
                    text(entry.summary),
                ]);
            }
            sheet.print(app, "no programs")
        }
    }
}

fn show(app: &App, entry: &ProgramEntry) -> Result<(), Failure> {
    match app.print {
        Print::Json | Print::Ndjson => return app.json(&form(entry)),
        Print::Name => return app.data(&format!("{}\n", entry.name)),
        Print::Table | Print::Wide => {}
    }
    app.data(&format!(
        "{}: {}\n\nformats  {}\nexample  {}\n\n",
        entry.name,
        entry.summary,
        formats(entry).join(", "),
        entry.example
    ))?;
    let mut sheet = Sheet::new(app, &["PARAMETER", "DEFAULT", "TAKES", "MEANING"]);
    for parameter in entry.parameters {
        sheet.row([
            text(parameter.name),
            text(parameter.default.unwrap_or("(must be given)")),
            text(parameter.kind.describe()),
            text(parameter.help),
        ]);
    }
    sheet.print(app, "it takes no parameters")
}

fn formats(entry: &ProgramEntry) -> Vec<String> {
    entry.formats.iter().map(ToString::to_string).collect()
}

fn form(entry: &ProgramEntry) -> Value {
    let parameters: Vec<Value> = entry
        .parameters
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name,
                "type": parameter.kind.word(),
                "takes": parameter.kind.describe(),
                "default": parameter.default,
                "help": parameter.help,
            })
        })
        .collect();
    json!({
        "name": entry.name,
        "summary": entry.summary,
        "formats": formats(entry),
        "parameters": parameters,
        "example": entry.example,
    })
}
