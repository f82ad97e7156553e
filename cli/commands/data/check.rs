//! `vivat data check`: whether the directory and the disks agree.

use vivat_client::data::{Audit, DifferenceKind, Workers, audit};

use super::form;
use crate::app::App;
use crate::args::Print;
use crate::failure::{Failure, exit};
use crate::quantity::ByteSize;
use crate::table::{Sheet, text};

/// Runs it.
pub async fn check(app: &App, name: Option<&str>) -> Result<(), Failure> {
    let client = app.client()?;
    let workers = Workers::of(&client).await?;
    let audit = audit(&client, &workers, name).await?;
    print(app, &audit)?;
    verdict(&audit)
}

fn print(app: &App, audit: &Audit) -> Result<(), Failure> {
    if app.print.is_json() {
        return app.json(&form::audit(audit));
    }
    let mut sheet = Sheet::new(app, &["PROBLEM", "DATASET", "BLOCK", "WORKER", "MORE"]);
    for difference in &audit.differences {
        let shown = |value: Option<String>| text(value.unwrap_or_else(|| "-".to_owned()));
        sheet.row([
            text(difference.kind.word()),
            shown(difference.dataset.clone()),
            shown(difference.block.map(|block| block.to_string())),
            shown(difference.worker.map(|worker| worker.to_string())),
            text(&difference.problem),
        ]);
    }
    if app.print != Print::Name && !audit.differences.is_empty() {
        sheet.print(app, "")?;
    }
    app.note(&format!(
        "{} and {} compared, {} ({}) read",
        form::count(audit.datasets, "dataset"),
        form::count(audit.blocks, "block"),
        match audit.copies {
            1 => "1 copy".to_owned(),
            several => format!("{several} copies"),
        },
        ByteSize(audit.bytes)
    ));
    Ok(())
}

fn verdict(audit: &Audit) -> Result<(), Failure> {
    let (unasked, others): (Vec<_>, Vec<_>) = audit
        .differences
        .iter()
        .partition(|difference| difference.kind == DifferenceKind::Unreachable);
    if !others.is_empty() {
        return Err(Failure::new(
            "data-differs",
            exit::FAILED,
            format!(
                "directory and disks differ: {}",
                form::count(others.len() as u64, "difference")
            ),
        )
        .hint("copies are dropped, made and reported by the cluster itself: check again soon"));
    }
    if !unasked.is_empty() {
        return Err(Failure::new(
            "worker-silent",
            exit::TEMPORARY,
            "not all workers could be asked",
        )
        .hint("`vivat node list` shows who is there; check again"));
    }
    Ok(())
}
