//! Tables for people: no lines, columns wide apart, colours for states.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table};

use crate::app::App;
use crate::failure::Failure;

/// Columns and rows.
#[derive(Debug)]
pub struct Sheet {
    table: Table,
}

impl Sheet {
    /// With these column heads.
    pub fn new(app: &App, heads: &[&str]) -> Self {
        let mut table = Table::new();
        table
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if app.paint_out {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(heads.iter().copied());
        Self { table }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.table.add_row(cells);
    }

    /// Prints it all, or the remark for an empty table.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn print(&self, app: &App, when_empty: &str) -> Result<(), Failure> {
        if self.table.is_empty() {
            app.note(when_empty);
            return Ok(());
        }
        let text: String = self
            .table
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()))
            .collect();
        app.data(&text)
    }
}

/// A cell with text.
pub fn text(content: impl ToString) -> Cell {
    Cell::new(content.to_string())
}

/// A cell with a number.
pub fn number(content: impl ToString) -> Cell {
    Cell::new(content.to_string()).set_alignment(CellAlignment::Right)
}

/// A cell with a state's word in its colour.
pub fn state(word: &str) -> Cell {
    let cell = Cell::new(word);
    match word {
        "succeeded" | "live" | "leader" => cell.fg(Color::Green),
        "failed" | "lost" | "unreachable" => cell.fg(Color::Red),
        "running" | "draining" | "candidate" => cell.fg(Color::Yellow),
        "cancelled" => cell.fg(Color::DarkGrey),
        _ => cell,
    }
}
