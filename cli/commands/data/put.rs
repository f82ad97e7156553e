//! `vivat data put`

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vivat_client::LeaderClient;
use vivat_client::data::{
    BlockBytes, BlockSender, DatasetView, Opened, Sealed, SendProgress, Workers, encode_files,
    files_fit_the_log,
};
use vivat_shared::dataset::{DatasetSpec, check_name};
use vivat_shared::limits::INPUT_FILES_MAX;

use super::cutting::{Cut, Cutting, Watch};
use super::form;
use super::sources::{self, Sources};
use super::transfer::{Standing, Transfer};
use crate::app::{App, note};
use crate::args::Print;
use crate::args::data::PutArgs;
use crate::failure::{Failure, exit};
use crate::quantity::{ByteSize, TimeSpan};
use crate::signals::Interrupt;

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);
/// For giving the dataset up: without it, the leader does so after a while.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs it.
pub async fn put(app: &App, args: PutArgs) -> Result<(), Failure> {
    check_name("NAME", &args.name)
        .map_err(|error| Failure::usage(format!("{}: {}", error.field, error.problem)))?;
    let client = app.client()?;
    let typed = args.sources.clone();
    let found = tokio::task::spawn_blocking(move || sources::find(&typed)).await;
    let sources = found.map_err(|error| Failure::failed(error.to_string()))??;
    if sources.files.len() > INPUT_FILES_MAX as usize {
        return Err(Failure::usage(format!(
            "{} files: a dataset has at most {INPUT_FILES_MAX}",
            sources.files.len()
        ))
        .hint("put them together first, as an archive or one after the other"));
    }
    let spec = DatasetSpec {
        name: args.name.clone(),
        format: sources.format(args.format)?,
        shape: sources.shape,
        replicas: args.replicas,
    };
    for remark in &sources.remarks {
        app.note(remark);
    }
    let mut interrupt = Interrupt::new()?;
    let began = Instant::now();
    let (workers, opened) = tokio::select! {
        opened = open(&client, &spec) => opened?,
        // If it was opened all the same, the leader gives it up after a while.
        () = interrupt.wait() => return Err(given_up(&spec.name)),
    };
    let putting = Putting {
        client: &client,
        workers,
        opened,
        spec,
        block_bytes: args.block_size.0,
    };
    let mut transfer = Transfer::new(app, &args.name);
    let outcome = putting.run(sources, &mut interrupt, &mut transfer).await;
    transfer.finish();
    let short_blocks = match outcome {
        Ok(short_blocks) => short_blocks,
        // The answer to its sealing was lost, or came as it was given up.
        Err(_) if putting.abandon().await => 0,
        Err(failure) => return Err(failure),
    };
    let (view, _) = client.get_dataset(&args.name).await?;
    report(app, &view, short_blocks, began.elapsed())
}

async fn open(client: &LeaderClient, spec: &DatasetSpec) -> Result<(Workers, Opened), Failure> {
    let workers = Workers::of(client).await?;
    // One key for this command: a try whose answer was lost opens no second one.
    let key = format!("put-{:032x}", rand::random::<u128>());
    Ok((workers, client.open_dataset(&key, spec).await?))
}

fn given_up(name: &str) -> Failure {
    Failure::new(
        "cancelled",
        exit::CANCELLED,
        format!("the put of `{name}` was given up: nothing of it stays"),
    )
}

struct Putting<'a> {
    client: &'a LeaderClient,
    workers: Workers,
    opened: Opened,
    spec: DatasetSpec,
    block_bytes: u64,
}

impl Putting<'_> {
    /// Brings the bytes over and makes the dataset visible; how many of its
    /// blocks lack copies.
    async fn run(
        &self,
        sources: Sources,
        interrupt: &mut Interrupt,
        transfer: &mut Transfer,
    ) -> Result<u32, Failure> {
        let replicas = self.spec.replicas;
        let sender = BlockSender::start(
            self.client,
            &self.workers,
            self.opened,
            replicas,
            self.block_bytes,
        );
        let progress = sender.progress();
        let watch = Arc::new(Watch::default());
        let total = sources.bytes();
        let bringing = self.bring(sources, sender, Arc::clone(&watch));
        tokio::pin!(bringing);
        let leadership = self.client.leadership();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                outcome = &mut bringing => return outcome,
                () = interrupt.wait() => {
                    watch.given_up.store(true, Ordering::Relaxed);
                    return Err(given_up(&self.spec.name));
                }
                _ = ticks.tick() => {
                    let gap = leadership.borrow().gone_for();
                    transfer.tick(standing(&progress, &watch, total), gap);
                }
            }
        }
    }

    async fn bring(
        &self,
        sources: Sources,
        sender: BlockSender,
        watch: Arc<Watch>,
    ) -> Result<u32, Failure> {
        let cutting = Cutting::new(self.spec.format, self.block_bytes, sender, watch);
        let cut = tokio::task::spawn_blocking(move || cutting.run(&sources.files)).await;
        let mut cut = cut.map_err(|error| Failure::failed(error.to_string()))??;
        let listed = files_fit_the_log(&cut.files);
        let list_blocks = if listed {
            0
        } else {
            self.send_list(&mut cut).await?
        };
        let sent = cut.sender.finish().await?;
        let sealed = Sealed {
            blocks: sent.blocks,
            list_blocks,
            file_count: cut.files.len() as u64,
            files: if listed { cut.files } else { Vec::new() },
            bytes: cut.bytes,
        };
        let sealing = self.client.seal_dataset(self.opened.dataset, &sealed).await;
        Ok(sealing?)
    }

    /// Sends the list of files behind them; how many blocks it takes.
    async fn send_list(&self, cut: &mut Cut) -> Result<u32, Failure> {
        let mut list: bytes::Bytes = encode_files(&cut.files).into();
        let most = usize::try_from(self.block_bytes.max(LIST_BYTES_MIN)).unwrap_or(usize::MAX);
        let mut blocks = 0;
        while !list.is_empty() {
            let part = list.split_to(list.len().min(most));
            cut.sender.send(BlockBytes::new(vec![part])).await?;
            blocks += 1;
        }
        Ok(blocks)
    }

    /// Gives the dataset up, unless it is sealed: whether it is. That it does not
    /// come to that is no failure of its own: the leader gives up what nobody
    /// writes.
    async fn abandon(&self) -> bool {
        let dataset = self.opened.dataset;
        let abandoning = async {
            // Refused when it is sealed; the next answer says so.
            let _refused = self.client.abandon_dataset(dataset).await;
            self.client.get_dataset_by_id(dataset).await
        };
        match tokio::time::timeout(ABANDON_TIMEOUT, abandoning).await {
            Ok(Ok((view, _))) => view.sealed,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

/// Blocks of a list are no smaller, however small those of the files are.
const LIST_BYTES_MIN: u64 = 1024 * 1024;

/// What was read and not sent yet does not count: it may still be lost.
fn standing(progress: &SendProgress, watch: &Watch, total: Option<u64>) -> Standing {
    let read = watch.read.load(Ordering::Relaxed);
    Standing {
        bytes: progress.bytes().min(read),
        total,
        blocks: progress.blocks(),
    }
}

fn report(app: &App, view: &DatasetView, short_blocks: u32, took: Duration) -> Result<(), Failure> {
    if short_blocks > 0 && !app.quiet {
        note(&format!(
            "warning: {short_blocks} of {} blocks have fewer than {} copies; the cluster makes \
             the rest when it has the workers for it",
            view.blocks, view.replicas
        ));
    }
    match app.print {
        Print::Json | Print::Ndjson => app.json(&form::dataset(view)),
        Print::Name => app.data(&format!("{}\n", view.name)),
        Print::Table | Print::Wide => {
            app.note(&format!(
                "{}: {} in {} and {}, put in {}",
                view.name,
                ByteSize(view.bytes),
                form::count(view.files, "file"),
                form::count(u64::from(view.blocks), "block"),
                TimeSpan(took)
            ));
            Ok(())
        }
    }
}
