//! `vivat master`: one replica of the control plane, until a signal or a fatal
//! end.

use std::time::Duration;

use vivat_master::config::{Listen, MasterConfig};
use vivat_master::process::{Master, StartError};
use vivat_master::raft::{RaftLimits, Timing};
use vivat_shared::ids::Seat;

use crate::app::App;
use crate::args::process::{MasterArgs, endpoint};
use crate::failure::{Failure, chain, exit};
use crate::parent;
use crate::signals::Interrupt;

/// The word for "serve none" after `--http`.
const NONE: &str = "none";

/// Runs it.
pub async fn master(_app: &App, args: MasterArgs) -> Result<(), Failure> {
    parent::bind(args.parent)?;
    let mut interrupt = Interrupt::new()?;
    let started = tokio::select! {
        started = Master::start(config(args)?) => started,
        () = interrupt.wait() => return Ok(()),
    };
    let mut master = started.map_err(refused)?;
    tokio::select! {
        fatal = master.fatal() => {
            return Err(Failure::new("fatal", exit::FATAL, chain(&fatal)).hint(
                "start it again: what was acknowledged is on its disk",
            ));
        }
        () = interrupt.wait() => {}
    }
    tracing::info!("ending");
    tokio::select! {
        () = master.shutdown() => {}
        // A second signal means now.
        () = interrupt.wait() => {}
    }
    Ok(())
}

fn config(args: MasterArgs) -> Result<MasterConfig, Failure> {
    let checked = |flag: &str, text: &str| {
        endpoint(text).map_err(|problem| Failure::usage(format!("--{flag}: {problem}")))
    };
    let raft = &args.raft_settings;
    let timing = Timing {
        heartbeat_ms: raft.heartbeat_ms,
        election_min_ms: raft.election_min_ms,
        election_max_ms: raft.election_max_ms,
        ..Timing::default()
    };
    let raft_limits = RaftLimits {
        in_flight_max: raft.in_flight,
        snapshot_interval_entries: raft.snapshot_entries,
        log_margin_entries: raft.log_margin_entries,
        log_margin_bytes: raft.log_margin_bytes.0,
    };
    let peers = args
        .peers
        .iter()
        .map(|peer| (Seat(peer.seat), peer.address.clone()))
        .collect();
    let mut config = MasterConfig::new(Seat(args.id), args.dir, peers);
    config.listen = Listen::Address(checked("listen", &args.listen)?);
    config.raft = Listen::Address(checked("raft", &args.raft)?);
    config.http = match args.http.as_str() {
        NONE => None,
        address => Some(Listen::Address(checked("http", address)?)),
    };
    config.advertise = args.advertise;
    config.timing = timing;
    config.raft_limits = raft_limits;
    // A proposal must outlive one election, however slow those are.
    let two_elections_ms = config.timing.election_max_ms.saturating_mul(2);
    config.timing.propose_deadline_ms = config.timing.propose_deadline_ms.max(two_elections_ms);
    config.lease = config.lease.max(Duration::from_millis(two_elections_ms));
    Ok(config)
}

fn refused(error: StartError) -> Failure {
    let message = chain(&error);
    match error {
        StartError::Config(_) => Failure::usage(message),
        StartError::PortInUse { .. } => {
            Failure::conflict(message).hint("choose another port, or end what listens there")
        }
        StartError::DirInUse { .. } => {
            Failure::conflict(message).hint("choose another --dir, or end the master that has it")
        }
        StartError::DiskLost(_) => Failure::new("disk-lost", exit::FAILED, message),
        StartError::Listen { .. } | StartError::Raft(_) => Failure::failed(message),
    }
}
