//! Job specifications. Bounds are checked by `JobSpec::validate`, not here:
//! here only what has no domain form is refused.

use vivat_shared::job::{
    HostIdentity, InputFormat, InputPattern, JobSpec, OutputLocation, Policy, SideFile, StepInput,
    StepSpec, Visibility,
};

use crate::error::{WireError, collect, narrow, required};
use crate::v1;

fn location(path: String, display: String, visibility: Visibility) -> v1::Location {
    let host = match visibility {
        Visibility::Everyone => String::new(),
        Visibility::Host(HostIdentity(host)) => host,
    };
    v1::Location {
        path,
        display,
        host,
    }
}

fn visibility(host: String) -> Visibility {
    if host.is_empty() {
        Visibility::Everyone
    } else {
        Visibility::Host(HostIdentity(host))
    }
}

impl From<InputPattern> for v1::Location {
    fn from(input: InputPattern) -> Self {
        location(input.path, input.display, input.visibility)
    }
}

impl From<v1::Location> for InputPattern {
    fn from(input: v1::Location) -> Self {
        Self {
            path: input.path,
            display: input.display,
            visibility: visibility(input.host),
        }
    }
}

impl From<OutputLocation> for v1::job_spec::Output {
    fn from(output: OutputLocation) -> Self {
        match output {
            OutputLocation::Directory {
                path,
                display,
                visibility,
            } => Self::OutputDirectory(location(path, display, visibility)),
            OutputLocation::Dataset { name } => Self::OutputDataset(v1::DatasetOutput { name }),
            OutputLocation::Objects { url } => Self::OutputObjects(url),
        }
    }
}

impl From<v1::job_spec::Output> for OutputLocation {
    fn from(output: v1::job_spec::Output) -> Self {
        match output {
            v1::job_spec::Output::OutputDirectory(place) => Self::Directory {
                path: place.path,
                display: place.display,
                visibility: visibility(place.host),
            },
            v1::job_spec::Output::OutputDataset(dataset) => Self::Dataset { name: dataset.name },
            v1::job_spec::Output::OutputObjects(url) => Self::Objects { url },
        }
    }
}

impl From<Policy> for v1::Policy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Locality => Self::Locality,
            Policy::LeastLoaded => Self::LeastLoaded,
            Policy::RoundRobin => Self::RoundRobin,
            Policy::Random => Self::Random,
            Policy::Score => Self::Score,
        }
    }
}

fn policy(value: i32) -> Result<Policy, WireError> {
    match v1::Policy::try_from(value) {
        Ok(v1::Policy::Locality) => Ok(Policy::Locality),
        Ok(v1::Policy::LeastLoaded) => Ok(Policy::LeastLoaded),
        Ok(v1::Policy::RoundRobin) => Ok(Policy::RoundRobin),
        Ok(v1::Policy::Random) => Ok(Policy::Random),
        Ok(v1::Policy::Score) => Ok(Policy::Score),
        Ok(v1::Policy::Unspecified) | Err(_) => Err(WireError::UnknownValue {
            field: "policy",
            value,
        }),
    }
}

/// A format as its kind and the bytes of a fixed record.
#[must_use]
pub fn format_to_wire(format: InputFormat) -> (v1::Format, u32) {
    match format {
        InputFormat::Text => (v1::Format::Text, 0),
        InputFormat::Csv => (v1::Format::Csv, 0),
        InputFormat::WholeFile => (v1::Format::WholeFile, 0),
        InputFormat::Fixed(bytes) => (v1::Format::Fixed, bytes),
    }
}

/// A format from its kind and the bytes of a fixed record.
///
/// # Errors
///
/// When there is no such format.
pub fn format_from_wire(value: i32, fixed_bytes: u32) -> Result<InputFormat, WireError> {
    match v1::Format::try_from(value) {
        Ok(v1::Format::Text) => Ok(InputFormat::Text),
        Ok(v1::Format::Csv) => Ok(InputFormat::Csv),
        Ok(v1::Format::WholeFile) => Ok(InputFormat::WholeFile),
        Ok(v1::Format::Fixed) if fixed_bytes > 0 => Ok(InputFormat::Fixed(fixed_bytes)),
        Ok(v1::Format::Fixed) => Err(WireError::OutOfBounds {
            field: "fixed_bytes",
            value: 0,
        }),
        Ok(v1::Format::Unspecified) | Err(_) => Err(WireError::UnknownValue {
            field: "format",
            value,
        }),
    }
}

impl From<StepSpec> for v1::StepSpec {
    fn from(step: StepSpec) -> Self {
        Self {
            program: step.program,
            parameters: step.parameters.into_iter().collect(),
            reducers: step.reducers,
            input: match step.input {
                StepInput::Job => v1::StepInput::Job,
                StepInput::Previous => v1::StepInput::Previous,
            }
            .into(),
            rounds_max: step.rounds_max,
            closes: step.closes,
        }
    }
}

/// A step from its place in the job, which says what it reads by default.
fn step_from_wire(position: usize, step: v1::StepSpec) -> Result<StepSpec, WireError> {
    let input = match v1::StepInput::try_from(step.input) {
        Ok(v1::StepInput::Job) => StepInput::Job,
        Ok(v1::StepInput::Previous) => StepInput::Previous,
        Ok(v1::StepInput::Unspecified) if position == 0 => StepInput::Job,
        Ok(v1::StepInput::Unspecified) => StepInput::Previous,
        Err(_) => {
            return Err(WireError::UnknownValue {
                field: "input",
                value: step.input,
            });
        }
    };
    Ok(StepSpec {
        program: step.program,
        parameters: step.parameters.into_iter().collect(),
        reducers: step.reducers,
        input,
        rounds_max: step.rounds_max.max(1),
        closes: step.closes,
    })
}

impl From<SideFile> for v1::SideFile {
    fn from(file: SideFile) -> Self {
        Self {
            name: file.name,
            location: Some(file.location.into()),
        }
    }
}

impl TryFrom<v1::SideFile> for SideFile {
    type Error = WireError;

    fn try_from(file: v1::SideFile) -> Result<Self, WireError> {
        Ok(Self {
            name: file.name,
            location: required(file.location, "location")?.into(),
        })
    }
}

impl From<JobSpec> for v1::JobSpec {
    fn from(spec: JobSpec) -> Self {
        let (kind, fixed_bytes) = format_to_wire(spec.format);
        Self {
            name: spec.name,
            comment: spec.comment,
            inputs: spec.inputs.into_iter().map(Into::into).collect(),
            format: kind.into(),
            fixed_bytes,
            split_bytes: spec.split_bytes,
            steps: spec.steps.into_iter().map(Into::into).collect(),
            output: Some(spec.output.into()),
            overwrite: spec.overwrite,
            priority: u32::from(spec.priority),
            policy: v1::Policy::from(spec.policy).into(),
            attempts_max: u32::from(spec.attempts_max),
            timeout_ms: spec.timeout_ms,
            speculation: Some(spec.speculation),
            skipped_max: spec.skipped_max,
            side_files: spec.side_files.into_iter().map(Into::into).collect(),
            notify: spec.notify.map(Into::into),
            source: spec.source,
            size_hint_bytes: spec.size_hint_bytes,
        }
    }
}

impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = WireError;

    fn try_from(spec: v1::JobSpec) -> Result<Self, WireError> {
        Ok(Self {
            format: format_from_wire(spec.format, spec.fixed_bytes)?,
            name: spec.name,
            comment: spec.comment,
            inputs: spec.inputs.into_iter().map(Into::into).collect(),
            split_bytes: spec.split_bytes,
            steps: (0..)
                .zip(spec.steps)
                .map(|(position, step)| step_from_wire(position, step))
                .collect::<Result<_, _>>()?,
            output: required(spec.output, "output")?.into(),
            overwrite: spec.overwrite,
            priority: narrow(spec.priority, "priority")?,
            policy: policy(spec.policy)?,
            attempts_max: narrow(spec.attempts_max, "attempts_max")?,
            timeout_ms: spec.timeout_ms,
            speculation: spec.speculation.unwrap_or(true),
            skipped_max: spec.skipped_max,
            side_files: collect(spec.side_files)?,
            notify: spec.notify.map(Into::into),
            source: spec.source,
            size_hint_bytes: spec.size_hint_bytes,
        })
    }
}
