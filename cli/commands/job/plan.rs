//! `vivat job plan`: what a job would be. Nothing is sent, nothing is written.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use vivat_client::data::DatasetView;
use vivat_client::{ClientError, LeaderClient, NodeView, host};
use vivat_shared::cause::FailureCause;
use vivat_shared::dataset::SCHEME;
use vivat_shared::job::{JobSpec, OutputLocation, StepInput};
use vivat_shared::shown::shown;
use vivat_shared::view::WorkerState;
use vivat_worker::{Cutting, Preview, Standing, UrlFile, preview, standing};

use crate::app::App;
use crate::args::job::PlanArgs;
use crate::args::{Given, Print};
use crate::commands::submit::is_far;
use crate::failure::{Failure, exit};
use crate::paths;
use crate::quantity::ByteSize;
use crate::spec::Draft;

/// Prints it.
pub async fn plan(app: &App, args: PlanArgs, given: &Given<'_>) -> Result<(), Failure> {
    let draft = Draft::new(args.what, &args.job, given, &paths::here()?)?;
    let client = match &app.cluster {
        Some(_) => Some(app.client()?),
        None => None,
    };
    let host = host::identity();
    let output = draft.output.clone().map(|place| place.output(&host));
    let spec = draft.spec(
        output.unwrap_or(OutputLocation::Dataset { name: None }),
        &host,
    )?;
    let inputs = inputs(&spec, client.as_ref()).await?;
    let workers = match &client {
        Some(client) => Workers::of(client, &draft).await?,
        None => Workers::default(),
    };
    let fate = match &draft.output {
        Some(_) => fate(&spec, client.as_ref()).await?,
        None => Fate::Unnamed,
    };
    let found = Plan {
        spec,
        inputs,
        workers,
        embedded: client.is_none(),
        fate,
    };
    match app.print {
        Print::Json | Print::Ndjson => app.json(&found.form()),
        Print::Name => app.data(&format!("{}\n", found.spec.name)),
        Print::Table | Print::Wide => app.data(&found.text()),
    }
}

async fn inputs(spec: &JobSpec, client: Option<&LeaderClient>) -> Result<Vec<Preview>, Failure> {
    let multiline = spec
        .steps
        .first()
        .and_then(|it| it.parameters.get("multiline"));
    let cutting = Cutting {
        format: spec.format,
        split_bytes: spec.split_bytes,
        multiline: multiline.is_none_or(|value| value != "false"),
    };
    let mut found = Vec::with_capacity(spec.inputs.len());
    for pattern in &spec.inputs {
        let one = preview(pattern, cutting, client).await;
        found.push(one.map_err(|cause| Failure::from(&cause))?);
    }
    Ok(found)
}

/// The workers of a cluster, as far as this job is concerned.
#[derive(Debug, Default)]
struct Workers {
    nodes: Vec<NodeView>,
    /// The job's plain paths are brought over, so that every worker will do.
    is_far: bool,
    /// It has any.
    needs_this_host: bool,
}

impl Workers {
    async fn of(client: &LeaderClient, draft: &Draft) -> Result<Self, Failure> {
        Ok(Self {
            nodes: client.list_workers().await?,
            is_far: is_far(client, draft).await?,
            needs_this_host: draft.needs_this_host(),
        })
    }

    /// Why a worker would get none of the job's tasks.
    fn unfit(&self, node: &NodeView) -> Option<&'static str> {
        match node.worker.state {
            WorkerState::Lost => Some("lost"),
            WorkerState::Draining => Some("draining"),
            WorkerState::Live => {
                let elsewhere = self.needs_this_host && !self.is_far;
                let is_blind = elsewhere && node.host != host::identity();
                is_blind.then_some("it does not see the paths of this machine")
            }
        }
    }

    fn fit(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| self.unfit(node).is_none())
    }

    fn slots(&self) -> u32 {
        self.fit().map(|node| node.worker.slots).sum()
    }
}

/// What becomes of what stands where the output would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// No output is named.
    Unnamed,
    /// Nothing is there.
    Created,
    /// What is there is replaced: so many files and bytes, where that is known.
    Replaced { files: u64, bytes: u64 },
    /// What is there stays, and the job would fail.
    Refused { by_overwrite: bool },
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Unnamed => "none",
            Self::Created => "created",
            Self::Replaced { .. } => "replaced",
            Self::Refused { .. } => "refused",
        }
    }

    fn text(self) -> String {
        match self {
            Self::Unnamed => "printed by `run`, kept as a dataset by `submit`".to_owned(),
            Self::Created => "nothing is there".to_owned(),
            Self::Replaced { files, bytes } => {
                format!("replaces what is there: {files} files, {}", ByteSize(bytes))
            }
            Self::Refused {
                by_overwrite: false,
            } => "something is there: the job would fail; --overwrite replaces a job's output"
                .to_owned(),
            Self::Refused { by_overwrite: true } => {
                "what is there is no whole output of a job: the job would fail".to_owned()
            }
        }
    }
}

async fn fate(spec: &JobSpec, client: Option<&LeaderClient>) -> Result<Fate, Failure> {
    let there = match (&spec.output, client) {
        (OutputLocation::Directory { path, .. }, _) => match standing(Path::new(path)) {
            Standing::Free => None,
            Standing::Output => Some(size_of(Path::new(path))),
            Standing::Other => {
                let by_overwrite = spec.overwrite;
                return Ok(Fate::Refused { by_overwrite });
            }
        },
        (OutputLocation::Dataset { name: Some(name) }, Some(client)) => dataset(client, name)
            .await?
            .map(|view| (view.files, view.bytes)),
        (OutputLocation::Dataset { .. }, _) => None,
        (OutputLocation::Objects { url }, _) => objects(url).await?,
    };
    Ok(match there {
        None => Fate::Created,
        Some((files, bytes)) if spec.overwrite => Fate::Replaced { files, bytes },
        Some(_) => Fate::Refused {
            by_overwrite: false,
        },
    })
}

async fn dataset(client: &LeaderClient, name: &str) -> Result<Option<DatasetView>, ClientError> {
    let all = client.list_datasets().await?;
    Ok(all
        .into_iter()
        .find(|view| view.name == name && view.sealed))
}

async fn objects(url: &str) -> Result<Option<(u64, u64)>, Failure> {
    let below = format!("{}/", url.trim_end_matches('/'));
    let listed = tokio::task::spawn_blocking(move || UrlFile::list(&below)).await;
    match listed.map_err(|_| Failure::failed("listing the output panicked"))? {
        Ok(files) => {
            let bytes = files.iter().map(UrlFile::bytes).sum();
            Ok(Some((files.len() as u64, bytes)))
        }
        Err(FailureCause::InputNotFound { .. }) => Ok(None),
        Err(cause) => Err(Failure::new(
            "output-unreachable",
            exit::TEMPORARY,
            format!("cannot look at the output: {cause}"),
        )),
    }
}

/// Files in a directory, and their bytes; what cannot be looked at counts nothing.
fn size_of(directory: &Path) -> (u64, u64) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .fold((0, 0), |(files, bytes), it| (files + 1, bytes + it.len()))
}

/// All that is known of a job before it is one.
struct Plan {
    spec: JobSpec,
    /// One for each of its inputs.
    inputs: Vec<Preview>,
    workers: Workers,
    /// `run` would start a cluster of its own.
    embedded: bool,
    fate: Fate,
}

impl Plan {
    fn sum(&self) -> Preview {
        let add = |a: Preview, b: &Preview| Preview {
            files: a.files + b.files,
            bytes: a.bytes.saturating_add(b.bytes),
            splits: a.splits.saturating_add(b.splits),
        };
        self.inputs.iter().fold(Preview::default(), add)
    }

    /// Map tasks of a step, where they are known before the step before it has run.
    fn splits(&self, step: usize) -> Option<u32> {
        match self.spec.steps[step].input {
            StepInput::Job => Some(self.sum().splits),
            StepInput::Previous => None,
        }
    }

    fn parts(&self) -> u32 {
        self.spec.steps.last().map_or(0, |step| step.reducers)
    }

    fn form(&self) -> Value {
        let (spec, sum) = (&self.spec, self.sum());
        let inputs = spec.inputs.iter().zip(&self.inputs).map(|(input, found)| {
            json!({
                "input": input.display,
                "files": found.files,
                "bytes": found.bytes,
                "splits": found.splits,
            })
        });
        let steps = (0..spec.steps.len()).map(|number| {
            let step = &spec.steps[number];
            json!({
                "program": step.program,
                "parameters": step.parameters,
                "splits": self.splits(number),
                "parts": step.reducers,
                "rounds_max": step.rounds_max,
            })
        });
        let workers = self.workers.nodes.iter().map(|node| {
            let unfit = self.workers.unfit(node);
            json!({
                "worker_id": node.worker.worker_id.to_string(),
                "slots": node.worker.slots,
                "fits": unfit.is_none(),
                "reason": unfit,
            })
        });
        let replaced = match self.fate {
            Fate::Replaced { files, bytes } => json!({"files": files, "bytes": bytes}),
            Fate::Unnamed | Fate::Created | Fate::Refused { .. } => Value::Null,
        };
        json!({
            "name": spec.name,
            "comment": spec.comment,
            "source": spec.source,
            "size_hint_bytes": spec.size_hint_bytes,
            "format": spec.format.to_string(),
            "split_bytes": spec.split_bytes,
            "inputs": inputs.collect::<Vec<_>>(),
            "files": sum.files,
            "bytes": sum.bytes,
            "splits": sum.splits,
            "steps": steps.collect::<Vec<_>>(),
            "parts": self.parts(),
            "workers": workers.collect::<Vec<_>>(),
            "slots": self.workers.slots(),
            "embedded": self.embedded,
            "brought_over": self.workers.is_far,
            "output": self.named_output(),
            "output_fate": self.fate.word(),
            "replaced": replaced,
        })
    }

    fn named_output(&self) -> Option<String> {
        match &self.spec.output {
            OutputLocation::Directory { display, .. } => Some(display.clone()),
            OutputLocation::Dataset { name } => name.as_ref().map(|name| format!("{SCHEME}{name}")),
            OutputLocation::Objects { url } => Some(url.clone()),
        }
    }

    fn text(&self) -> String {
        let (spec, sum) = (&self.spec, self.sum());
        let mut lines = vec![("name", shown(&spec.name).into_owned())];
        for (head, text) in [("comment", &spec.comment), ("source", &spec.source)] {
            if !text.is_empty() {
                lines.push((head, shown(text).into_owned()));
            }
        }
        lines.push(("input", self.input_text(sum)));
        if spec.inputs.len() > 1 {
            for (input, found) in spec.inputs.iter().zip(&self.inputs) {
                lines.push(("", format!("{}: {}", shown(&input.display), of(*found))));
            }
        }
        let cut = format!("{}, cut every {}", spec.format, ByteSize(spec.split_bytes));
        lines.push(("format", cut));
        for (number, step) in spec.steps.iter().enumerate() {
            let reads = match self.splits(number) {
                Some(splits) => counted(u64::from(splits), "split"),
                None => format!("what step {number} writes"),
            };
            let mut text = format!("{}: {reads}", step.program);
            let _infallible = write!(text, ", {}", counted(u64::from(step.reducers), "part"));
            if step.rounds_max > 1 {
                let _infallible = write!(text, ", at most {} rounds", step.rounds_max);
            }
            lines.push((if number == 0 { "steps" } else { "" }, text));
        }
        lines.push(("workers", self.workers_text()));
        for node in &self.workers.nodes {
            if let Some(reason) = self.workers.unfit(node) {
                lines.push(("", format!("not {}: {reason}", node.worker.worker_id)));
            }
        }
        let output = self.named_output();
        let output = output.map_or_else(|| "not named".to_owned(), |it| shown(&it).into_owned());
        lines.push(("output", format!("{output}: {}", self.fate.text())));
        let mut text = String::new();
        for (head, value) in lines {
            let _infallible = writeln!(text, "{head:<10}{value}");
        }
        text
    }

    fn input_text(&self, sum: Preview) -> String {
        let mut text = of(sum);
        if let Some(hint) = self.spec.size_hint_bytes {
            let _infallible = write!(text, "; expected {}", ByteSize(hint));
        }
        text
    }

    fn workers_text(&self) -> String {
        if self.embedded {
            return "no cluster is named: `run` starts one, with a worker per core".to_owned();
        }
        let fit = self.workers.fit().count() as u64;
        let slots = counted(u64::from(self.workers.slots()), "slot");
        let mut text = match fit {
            0 => "none fits: the job would wait".to_owned(),
            1 => format!("1 fits, {slots}"),
            _ => format!("{fit} fit, {slots}"),
        };
        if self.workers.is_far {
            text.push_str("; the files of this machine are brought over first");
        }
        text
    }
}

fn of(found: Preview) -> String {
    let (files, splits) = (
        counted(found.files, "file"),
        counted(u64::from(found.splits), "split"),
    );
    format!("{files}, {}, {splits}", ByteSize(found.bytes))
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
