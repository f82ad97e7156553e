//! `vivat node list`

use vivat_client::NodeView;

use crate::app::App;
use crate::args::Print;
use crate::args::cluster::NodeCommand;
use crate::failure::Failure;
use crate::form;
use crate::table::{Sheet, number, state, text};

/// Runs it.
pub async fn node(app: &App, command: NodeCommand) -> Result<(), Failure> {
    let client = app.client()?;
    match command {
        NodeCommand::List => list(app, &client.list_workers().await?),
    }
}

fn list(app: &App, nodes: &[NodeView]) -> Result<(), Failure> {
    let wide = match app.print {
        Print::Json | Print::Ndjson => {
            let nodes: Vec<_> = nodes.iter().map(form::node).collect();
            return app.json_list(&nodes);
        }
        Print::Name => {
            let names: String = nodes
                .iter()
                .map(|node| format!("{}\n", node.worker.worker_id))
                .collect();
            return app.data(&names);
        }
        Print::Table => false,
        Print::Wide => true,
    };
    let mut heads = vec!["WORKER", "STATE", "BUSY", "HEARD", "ADDRESS"];
    if wide {
        heads.extend(["EPOCH", "PID", "SCORE", "LABELS", "REASON"]);
    }
    let mut sheet = Sheet::new(app, &heads);
    for node in nodes {
        sheet.row(row(node, wide));
    }
    sheet.print(app, "no workers are registered")
}

fn row(node: &NodeView, wide: bool) -> Vec<comfy_table::Cell> {
    let worker = &node.worker;
    let heard = worker
        .last_heartbeat_ms
        .map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms ago"));
    let mut cells = vec![
        text(worker.worker_id),
        state(worker.state.word()),
        text(format!("{}/{}", worker.busy, worker.slots)),
        text(heard),
        text(&worker.address),
    ];
    if wide {
        let labels: Vec<String> = worker
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        cells.extend([
            number(worker.epoch.0),
            number(worker.pid),
            number(worker.score),
            text(labels.join(",")),
            text(&worker.reason),
        ]);
    }
    cells
}
