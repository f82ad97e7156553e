//! `vivat data ...`

mod check;
mod cutting;
mod form;
mod get;
mod put;
mod sources;
mod transfer;

pub use get::{cat, get};
pub use put::put;

use vivat_client::data::{BlockView, DatasetView};
use vivat_proto::v1::error_detail::Kind;

use crate::app::App;
use crate::args::Print;
use crate::args::data::DataCommand;
use crate::commands::confirm::confirm;
use crate::failure::Failure;
use crate::quantity::ByteSize;
use crate::table::{Sheet, number, text};

/// Runs it.
pub async fn data(app: &App, command: DataCommand) -> Result<(), Failure> {
    match command {
        DataCommand::Put(args) => put(app, args).await,
        DataCommand::Get { name, dest } => get(app, &name, &dest).await,
        DataCommand::Cat { name } => cat(app, &name).await,
        DataCommand::Ls => list(app, &app.client()?.list_datasets().await?),
        DataCommand::Rm { name, yes } => remove(app, &name, yes).await,
        DataCommand::Where { name } => {
            let client = app.client()?;
            let (view, _) = client.get_dataset(&name).await?;
            places(app, &client.list_all_blocks(view.id).await?)
        }
        DataCommand::Check { name } => check::check(app, name.as_deref()).await,
    }
}

fn list(app: &App, datasets: &[DatasetView]) -> Result<(), Failure> {
    let wide = match app.print {
        Print::Json | Print::Ndjson => {
            let datasets: Vec<_> = datasets.iter().map(form::dataset).collect();
            return app.json_list(&datasets);
        }
        Print::Name => {
            let names: String = datasets
                .iter()
                .map(|dataset| format!("{}\n", dataset.name))
                .collect();
            return app.data(&names);
        }
        Print::Table => false,
        Print::Wide => true,
    };
    let mut heads = vec!["NAME", "SIZE", "FILES", "BLOCKS", "COPIES", "AGE"];
    if wide {
        heads.extend(["ID", "FORMAT", "SHAPE", "JOB"]);
    }
    let mut sheet = Sheet::new(app, &heads);
    for dataset in datasets {
        sheet.row(row(dataset, wide));
    }
    sheet.print(app, "there are no datasets: `vivat data put` makes one")
}

fn row(dataset: &DatasetView, wide: bool) -> Vec<comfy_table::Cell> {
    let mut cells = vec![
        text(&dataset.name),
        number(ByteSize(dataset.bytes)),
        number(dataset.files),
        number(dataset.blocks),
        copies(dataset),
        number(crate::form::age(dataset.created_at_ms)),
    ];
    if wide {
        let job = dataset.job.map(|job| job.to_string());
        cells.extend([
            text(dataset.id),
            text(dataset.format),
            text(form::shape(dataset.shape)),
            text(job.unwrap_or_else(|| "-".to_owned())),
        ]);
    }
    cells
}

/// Wanted copies, and which blocks lack them.
fn copies(dataset: &DatasetView) -> comfy_table::Cell {
    let wanted = dataset.replicas;
    match (dataset.lost_blocks, dataset.short_blocks) {
        (0, 0) => text(wanted),
        (0, short) => text(format!("{wanted}, {short} short")).fg(comfy_table::Color::Yellow),
        (lost, _) => text(format!("{wanted}, {lost} lost")).fg(comfy_table::Color::Red),
    }
}

fn places(app: &App, blocks: &[BlockView]) -> Result<(), Failure> {
    match app.print {
        Print::Json | Print::Ndjson => {
            let blocks: Vec<_> = blocks.iter().map(form::block).collect();
            return app.json_list(&blocks);
        }
        Print::Name => {
            let names: String = blocks
                .iter()
                .map(|block| format!("{}\n", block.summary.id))
                .collect();
            return app.data(&names);
        }
        Print::Table | Print::Wide => {}
    }
    let mut sheet = Sheet::new(app, &["BLOCK", "BYTES", "CHECKSUM", "WORKERS"]);
    for block in blocks {
        let mut workers = form::workers(block);
        let lost = form::lost_workers(block);
        workers.extend(lost.into_iter().map(|worker| format!("{worker} (lost)")));
        sheet.row([
            text(block.summary.id),
            number(block.summary.bytes),
            text(form::checksum(block.summary.crc32c)),
            text(if workers.is_empty() {
                "none".to_owned()
            } else {
                workers.join(", ")
            }),
        ]);
    }
    sheet.print(app, "it has no blocks: all its files are empty")
}

async fn remove(app: &App, name: &str, yes: bool) -> Result<(), Failure> {
    let client = app.client()?;
    let (view, _) = client.get_dataset(name).await?;
    confirm(
        yes,
        &format!("remove dataset {name} ({})?", ByteSize(view.bytes)),
    )
    .await?;
    match client.remove_dataset(name).await {
        Ok(()) => {}
        // It was there a moment ago: a try whose answer was lost removed it.
        Err(error) if matches!(error.detail(), Some(Kind::UnknownDataset(_))) => {}
        Err(error) => return Err(error.into()),
    }
    match app.print {
        Print::Json | Print::Ndjson => app.json(&serde_json::json!({"name": name})),
        Print::Name => app.data(&format!("{name}\n")),
        Print::Table | Print::Wide => app.data(&format!("{name} removed\n")),
    }
}
