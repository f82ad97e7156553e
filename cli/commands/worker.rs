//! `vivat worker`: runs attempts, until a signal.

use std::net::SocketAddr;
use std::time::Duration;

use vivat_worker::{DirError, Listen, Worker, WorkerConfig};

use crate::app::App;
use crate::args::process::WorkerArgs;
use crate::failure::{Failure, chain, exit};
use crate::parent;
use crate::signals::Interrupt;

/// How long a worker that is asked to end waits for what runs: longer attempts
/// run again elsewhere.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Runs it.
pub async fn worker(app: &App, args: WorkerArgs) -> Result<(), Failure> {
    parent::bind(args.parent)?;
    let mut interrupt = Interrupt::new()?;
    let config = config(app, args).await?;
    let mut worker = Worker::start(config).map_err(|error| {
        let message = chain(&error);
        if error.is_dir_in_use() {
            Failure::conflict(message).hint("choose another --dir, or end the worker that has it")
        } else if error.is_port_taken() {
            Failure::conflict(format!("{message}: the port is taken"))
                .hint("choose another --listen; port 0 takes a free one")
        } else if matches!(error, vivat_worker::StartError::Setting { .. }) {
            Failure::usage(message)
        } else {
            Failure::failed(message)
        }
    })?;
    tracing::info!(address = worker.address(), "worker started");
    tokio::select! {
        broke = worker.join() => return Err(ended(broke)),
        () = interrupt.wait() => {}
    }
    tracing::info!("ending");
    tokio::select! {
        () = worker.shutdown() => {}
        // A second signal means now.
        () = interrupt.wait() => {}
    }
    Ok(())
}

/// What a worker that ended by itself means for the operator.
fn ended(broke: Option<DirError>) -> Failure {
    match broke {
        Some(error @ DirError::OtherCluster { .. }) => Failure::conflict(chain(&error)).hint(
            "check --cluster; for a worker of that cluster too, choose another --dir; \
             when the first cluster is gone for good, delete the directory",
        ),
        Some(error) => Failure::new("fatal", exit::FATAL, chain(&error))
            .hint("mend the directory; start it again"),
        None => Failure::new("fatal", exit::FATAL, "the worker ended by itself")
            .hint("see the log above; start it again"),
    }
}

async fn config(app: &App, args: WorkerArgs) -> Result<WorkerConfig, Failure> {
    let Some(cluster) = app.cluster.clone() else {
        return Err(Failure::usage("a worker needs --cluster")
            .hint("name its masters: --cluster HOST:PORT[,HOST:PORT...]"));
    };
    let labels = args.label_map();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = args
        .slots
        .unwrap_or_else(|| u32::try_from(cores).unwrap_or(1));
    let slot_bytes = args.memory.0 / u64::from(slots);
    let listen = resolve(&args.listen).await?;
    let mut config = WorkerConfig::new(args.dir, cluster);
    config.slots = slots;
    config.slot_memory_bytes = usize::try_from(slot_bytes).unwrap_or(usize::MAX);
    config.segment_compression = args.segment_compression;
    config.disk_bytes = args.disk.map(|disk| disk.0);
    config.listen = Listen::Address(listen);
    config.advertise_host = args.advertise;
    if config.advertise_host.is_none() && listen.ip().is_unspecified() {
        tracing::warn!("--listen names no address and there is no --advertise: 127.0.0.1 is told");
        config.advertise_host = Some("127.0.0.1".to_owned());
    }
    config.labels = labels;
    config.fail_after = args.fail_after;
    config.load_probability = args.load_probability;
    config.shutdown_grace = SHUTDOWN_GRACE;
    Ok(config)
}

async fn resolve(listen: &str) -> Result<SocketAddr, Failure> {
    crate::args::process::endpoint(listen)
        .map_err(|problem| Failure::usage(format!("--listen: {problem}")))?;
    let found = tokio::net::lookup_host(listen).await;
    found
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| Failure::usage(format!("--listen: `{listen}` has no address here")))
}
