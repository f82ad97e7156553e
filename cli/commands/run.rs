//! `vivat run`: a job from start to end, and its result.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use vivat_client::{LeaderClient, host};
use vivat_shared::dataset::SCHEME;
use vivat_shared::ids::JobId;
use vivat_shared::job::OutputLocation;
use vivat_shared::view::JobView;

use crate::app::App;
use crate::args::Given;
use crate::args::job::RunArgs;
use crate::commands::job::{end_of, rounds_table, summary};
use crate::commands::submit::{bring_and_submit, is_far, submit_draft};
use crate::commands::{data, output};
use crate::embedded::Embedded;
use crate::failure::{Failure, exit};
use crate::follow::{Ended, follow, verdict};
use crate::form;
use crate::paths::{self, Place, PlaceKind};
use crate::progress::Progress;
use crate::quantity::TimeSpan;
use crate::sequential;
use crate::signals::Interrupt;
use crate::spec::{Draft, local_output};
use crate::upload;

/// Tells the end of a job, and whether it is a good one.
pub type Verdict<'a> = dyn Fn(&JobView) -> Result<(), Failure> + 'a;

/// Runs it.
pub async fn run(app: &App, args: RunArgs, given: &Given<'_>) -> Result<(), Failure> {
    let draft = Draft::new(args.what, &args.job, given, &paths::here()?)?;
    if args.sequential {
        return sequential::run(app, &draft);
    }
    run_draft(app, draft, args.job.timeout, &verdict).await
}

/// Runs what was drafted; `ended` tells the end of a job, and whether it is a good
/// one.
///
/// # Errors
///
/// Whatever the cluster refuses, and what `ended` says.
pub async fn run_draft(
    app: &App,
    mut draft: Draft,
    timeout: Option<TimeSpan>,
    ended: &Verdict<'_>,
) -> Result<(), Failure> {
    if app.cluster.is_none() {
        check_embedded(&draft)?;
    }
    let timeout = timeout.map(|TimeSpan(limit)| limit);
    // The signals are ours from here on: what is started now is cleaned up.
    let mut interrupt = Interrupt::new()?;
    if app.cluster.is_some() {
        let client = app.client()?;
        let is_far = tokio::select! {
            is_far = is_far(&client, &draft) => is_far?,
            () = interrupt.wait() => return Err(interrupted("the job")),
        };
        let run = Run {
            app,
            client: &client,
            embedded: false,
            timeout,
            ended,
        };
        if is_far {
            return run.run_far(&mut draft, &mut interrupt).await;
        }
        return run.run(&draft, &mut interrupt).await;
    }
    let embedded = tokio::select! {
        started = Embedded::start() => started?,
        () = interrupt.wait() => return Err(interrupted("the start")),
    };
    let run = Run {
        app,
        client: embedded.client(),
        embedded: true,
        timeout,
        ended,
    };
    let result = run.run(&draft, &mut interrupt).await;
    embedded.stop().await;
    result
}

/// A cluster inside this process has no datasets, and takes those that it makes
/// with it.
fn check_embedded(draft: &Draft) -> Result<(), Failure> {
    let mut places = draft.inputs.iter().chain(&draft.output);
    match places.find(|place| place.kind == PlaceKind::Dataset) {
        Some(place) => Err(Failure::usage(format!(
            "`{}` is a dataset of a cluster, and this command starts one of its own",
            place.display
        ))
        .hint("name the cluster: --cluster HOST:PORT, or VIVAT_CLUSTER")),
        None => Ok(()),
    }
}

/// Whether the last step writes what only programs read, and here is a person.
fn shows_rounds(draft: &Draft) -> bool {
    let last = draft.steps.last();
    let is_model = last.is_some_and(|step| vivat_programs::writes_a_model(&step.program));
    is_model && io::stdout().is_terminal()
}

/// One job on one cluster.
struct Run<'a> {
    app: &'a App,
    client: &'a LeaderClient,
    embedded: bool,
    timeout: Option<Duration>,
    ended: &'a Verdict<'a>,
}

impl Run<'_> {
    async fn run(&self, draft: &Draft, interrupt: &mut Interrupt) -> Result<(), Failure> {
        let scratch = match &draft.output {
            Some(_) => None,
            None => Some(scratch()?),
        };
        let output = match (&draft.output, &scratch) {
            (Some(output), _) => output.clone(),
            (None, Some(scratch)) => local_output(scratch.path().join("result"))?,
            (None, None) => return Err(Failure::failed("there is no place for the output")),
        };
        let result = self.run_into(draft, output, interrupt).await;
        if let (Err(failure), Some(scratch)) = (&result, scratch) {
            // The job may live on and write there: the directory stays.
            let lives = [exit::TIMEOUT, exit::TEMPORARY].contains(&failure.exit);
            if lives && !self.embedded {
                let kept = scratch.keep().join("result");
                self.app
                    .note(&format!("its result will be in {}", kept.display()));
            }
        }
        result
    }

    /// The files of this machine go to the workers first, and the result comes
    /// back. `data put` and `data get` hear Ctrl-C by themselves.
    async fn run_far(&self, draft: &mut Draft, interrupt: &mut Interrupt) -> Result<(), Failure> {
        let (submitted, fetched) =
            bring_and_submit(self.app, self.client, draft, true, true).await?;
        let job = self.follow(submitted.job, interrupt).await?;
        if self.app.print.is_json() {
            self.app.json(&form::job(&job))?;
        }
        (self.ended)(&job)?;
        self.app.note(&summary(&job));
        match (&draft.output, fetched) {
            (_, Some(place)) => {
                upload::fetch(self.app, self.client, &job.output, &place).await?;
                self.app
                    .note(&format!("its result is in {}", place.display));
            }
            (Some(_), None) => self.app.note(&format!("its result is in {}", job.output)),
            (None, None) => {
                let name = job.output.trim_start_matches(SCHEME);
                if shows_rounds(draft) {
                    self.show_rounds(&job)?;
                } else if !self.app.print.is_json() {
                    data::cat(self.app, name).await?;
                }
                self.client.remove_dataset(name).await?;
            }
        }
        Ok(())
    }

    async fn run_into(
        &self,
        draft: &Draft,
        output: Place,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        let host = host::identity();
        let spec = draft.spec(output.output(&host), &host)?;
        let submitted = tokio::select! {
            submitted = submit_draft(self.client, draft, &spec) => submitted?,
            () = interrupt.wait() => return Err(self.interrupted_early()),
        };
        let job = self.follow(submitted.job, interrupt).await?;
        if self.app.print.is_json() {
            self.app.json(&form::job(&job))?;
        }
        (self.ended)(&job)?;
        // The summary goes first: what follows may be long, or end at a closed pipe.
        self.app.note(&summary(&job));
        if draft.output.is_some() {
            self.app.note(&format!("its result is in {}", job.output));
            return Ok(());
        }
        if self.app.print.is_json() {
            return Ok(());
        }
        if shows_rounds(draft) {
            return self.show_rounds(&job);
        }
        // With a known key the job may be an earlier one, with its own output.
        let path = match &spec.output {
            OutputLocation::Directory { path, .. } => path,
            // Only a result that nobody named is printed, and that is a directory.
            OutputLocation::Dataset { .. } | OutputLocation::Objects { .. } => return Ok(()),
        };
        let place = if submitted.created {
            path
        } else {
            &job.output_path
        };
        print_result(PathBuf::from(place), interrupt).await
    }

    /// A model is nothing to look at: how it came to be is.
    fn show_rounds(&self, job: &JobView) -> Result<(), Failure> {
        if !self.app.print.is_json() {
            rounds_table(self.app, job)?;
            self.app
                .note("the model is gone; --output keeps it, and so does > FILE");
        }
        Ok(())
    }

    /// Ctrl-C before there was an answer to the submission.
    fn interrupted_early(&self) -> Failure {
        let failure = interrupted("the submission");
        if self.embedded {
            failure
        } else {
            failure.hint("it may have arrived all the same: `vivat job list`")
        }
    }

    /// The job's end. A job in the foreground does not outlive Ctrl-C.
    async fn follow(&self, job: JobId, interrupt: &mut Interrupt) -> Result<JobView, Failure> {
        let mut progress = Progress::new(self.app);
        let ended = follow(
            self.client,
            job,
            self.timeout,
            &mut progress,
            interrupt,
            |_| Ok(()),
        )
        .await;
        progress.finish();
        match ended? {
            Ended::Final(view) => Ok(*view),
            Ended::Interrupted if self.embedded => Err(interrupted("the job")),
            Ended::Interrupted => {
                self.app.note(&format!("cancelling {job}"));
                tokio::select! {
                    cancelled = self.client.cancel_job(job) => cancelled?,
                    // A second signal means now.
                    () = interrupt.wait() => {
                        let message = format!("interrupted before {job} was cancelled");
                        return Err(Failure::new("interrupted", exit::INTERRUPTED, message)
                            .hint(format!("it may go on: `vivat job cancel {job}`")));
                    }
                }
                Err(interrupted(&job.to_string()))
            }
            Ended::TimedOut if self.embedded => Err(Failure::timeout(format!(
                "{job} has not ended within {}",
                TimeSpan(self.timeout.unwrap_or_default())
            ))
            .hint("it ended with the cluster inside this process; with --cluster it would go on")),
            Ended::TimedOut => end_of(job, self.timeout, Ended::TimedOut),
        }
    }
}

/// Prints on a thread of its own: whoever reads may be slow, and Ctrl-C must
/// end that too.
async fn print_result(place: PathBuf, interrupt: &mut Interrupt) -> Result<(), Failure> {
    let printing = tokio::task::spawn_blocking(move || output::print_parts(&place));
    tokio::select! {
        printed = printing => printed.unwrap_or_else(|_| Err(Failure::failed("printing failed"))),
        () = interrupt.wait() => Err(interrupted("printing")),
    }
}

fn interrupted(what: &str) -> Failure {
    Failure::new(
        "interrupted",
        exit::INTERRUPTED,
        format!("interrupted: {what} was cancelled"),
    )
}

fn scratch() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("vivat-result-")
        .tempdir()
        .map_err(|error| Failure::failed(format!("cannot make a temporary directory: {error}")))
}
