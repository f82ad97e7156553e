//! `vivat cluster status|members|check|transfer-leader`

use serde_json::json;
use vivat_client::{ClusterView, MasterView};

use super::cluster_check;
use crate::app::App;
use crate::args::Print;
use crate::args::cluster::ClusterCommand;
use crate::failure::Failure;
use crate::form;
use crate::table::{Sheet, number, state, text};

/// Runs it.
pub async fn cluster(app: &App, command: ClusterCommand) -> Result<(), Failure> {
    let client = app.client()?;
    match command {
        ClusterCommand::Status => {
            let view = client.cluster_status().await.map_err(no_master)?;
            status(app, &view)
        }
        ClusterCommand::Members => {
            let view = client.cluster_status().await.map_err(no_master)?;
            members(app, &view)
        }
        ClusterCommand::Check => {
            let view = client.cluster_status().await.map_err(no_master)?;
            cluster_check::check(app, &view)
        }
        ClusterCommand::TransferLeader { to } => {
            let seat = client.transfer_leader(to).await?;
            match app.print {
                Print::Json | Print::Ndjson => app.json(&json!({"leader_id": seat.0})),
                Print::Table | Print::Wide => app.data(&format!("seat {} leads now\n", seat.0)),
                Print::Name => app.data(&format!("{}\n", seat.0)),
            }
        }
    }
}

/// Status asks any master, so no answer means that none is there.
fn no_master(error: vivat_client::ClientError) -> Failure {
    let mut failure = Failure::from(error);
    if failure.code == "no-leader" {
        failure.code = "no-master";
        failure.message = failure
            .message
            .replacen("no leader answered", "no master answered", 1);
        failure.hint = "check --cluster and that the masters run".to_owned();
    }
    failure
}

fn status(app: &App, view: &ClusterView) -> Result<(), Failure> {
    match app.print {
        Print::Json | Print::Ndjson => return app.json(&form::cluster(view)),
        Print::Name => return app.data(&format!("{}\n", view.cluster_id)),
        Print::Table | Print::Wide => {}
    }
    let leader = view
        .leader_seat
        .map_or_else(|| "none".to_owned(), |seat| format!("seat {}", seat.0));
    app.data(&format!(
        "cluster  {}\nleader   {leader}, term {}\nworkers  {} live, {} lost, {} draining\n\
         jobs     {} queued, {} running, {} finished\n\n",
        view.cluster_id,
        view.term,
        view.workers_live,
        view.workers_lost,
        view.workers_draining,
        view.jobs_queued,
        view.jobs_running,
        view.jobs_finished,
    ))?;
    members(app, view)
}

fn members(app: &App, view: &ClusterView) -> Result<(), Failure> {
    let wide = match app.print {
        Print::Json | Print::Ndjson => {
            let masters: Vec<_> = view.masters.iter().map(form::master).collect();
            return app.json_list(&masters);
        }
        Print::Name => {
            let names: String = view
                .masters
                .iter()
                .map(|master| format!("{}\n", master.seat.0))
                .collect();
            return app.data(&names);
        }
        Print::Table => false,
        Print::Wide => true,
    };
    let mut heads = vec!["SEAT", "ROLE", "ADDRESS", "LOG", "APPLIED"];
    if wide {
        heads.extend(["NODE", "PID", "RAFT", "HTTP", "PURGED", "HASH AT", "HASH"]);
    }
    let mut sheet = Sheet::new(app, &heads);
    for master in &view.masters {
        sheet.row(row(master, wide));
    }
    sheet.print(app, "no masters")
}

fn row(master: &MasterView, wide: bool) -> Vec<comfy_table::Cell> {
    let mut cells = vec![
        number(master.seat.0),
        state(&master.role),
        text(&master.client_address),
        number(master.last_log_index),
        number(master.applied_index),
    ];
    if wide {
        cells.extend([
            number(master.node_id.0),
            number(master.pid),
            text(&master.raft_address),
            text(&master.http_address),
            number(master.purged_index),
            number(master.hash_index),
            text(&master.state_hash),
        ]);
    }
    cells
}
