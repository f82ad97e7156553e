//! Files that a job brings along: fetched once for each worker and job.
//!
//! A file that this machine sees is read in place. What lies in a dataset or at a
//! URL is copied to the job's scratch, and is gone with the job.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vivat_client::data::BlockView;
use vivat_engine::{InputError, InputOpener, InputReader};
use vivat_mapreduce::SideFiles;
use vivat_shared::attempt::InputFile;
use vivat_shared::cause::FailureCause;
use vivat_shared::dataset::LocatedBlock;
use vivat_shared::ids::{DatasetId, JobId};
use vivat_shared::job::{SideFile, is_url};
use vivat_shared::limits::STREAM_CHUNK_BYTES;

use super::{Fault, Runner, elsewhere};
use crate::datasets::{DatasetOpener, Served};
use crate::held::Grant;
use crate::source::{RemoteOpener, list_remote};

type Place = Arc<Mutex<Option<Arc<SideFiles>>>>;

/// The side files of running jobs. Whoever comes first fetches them.
#[derive(Debug, Default)]
pub(super) struct SideFilesOfJobs {
    jobs: Mutex<HashMap<JobId, Place>>,
}

impl SideFilesOfJobs {
    fn place(&self, job: JobId) -> Place {
        self.lock().entry(job).or_default().clone()
    }

    pub(super) fn forget(&self, jobs: &[JobId]) {
        self.lock().retain(|job, _| !jobs.contains(job));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Place>> {
        // Whole at every moment.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SIDE_FILE: &str = "a side file";

impl Runner {
    /// The local copies of all side files of an attempt's job.
    pub(super) fn side_files(&self, grant: &Arc<Grant>) -> Result<Arc<SideFiles>, Fault> {
        if grant.spec.side_files.is_empty() {
            return Ok(Arc::default());
        }
        let place = self.side_files.place(grant.attempt.job());
        let mut fetched = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &*fetched {
            return Ok(files.clone());
        }
        let all = grant.spec.side_files.iter().enumerate();
        let paths = all.map(|(number, file)| {
            let path = self.side_file(grant, number, file)?;
            Ok((file.name.clone(), path))
        });
        let files: Arc<SideFiles> = Arc::new(paths.collect::<Result<_, Fault>>()?);
        *fetched = Some(files.clone());
        Ok(files)
    }

    fn side_file(
        &self,
        grant: &Arc<Grant>,
        number: usize,
        file: &SideFile,
    ) -> Result<PathBuf, Fault> {
        let location = &file.location;
        let display = location.display.as_str();
        if location.dataset().is_none() && !is_url(&location.path) {
            let path = PathBuf::from(&location.path);
            return match fs::metadata(&path).and_then(|_| File::open(&path)) {
                Ok(_) => Ok(path),
                Err(error) => Err(of_file(display, &error).into()),
            };
        }
        let scratch = self.dir.job_scratch(grant.attempt.job());
        let scratch = scratch.map_err(self.storage(SIDE_FILE))?;
        let path = scratch.join(format!("side-{number}"));
        let dataset = grant.side_datasets.get(number).copied().flatten();
        let (mut reader, bytes) = match dataset {
            Some(dataset) => self.side_dataset(grant, dataset, display)?,
            None => self.side_url(grant, file)?,
        };
        let new = path.with_extension("new");
        let mut copy = File::create(&new).map_err(self.storage(SIDE_FILE))?;
        let mut piece = vec![0; STREAM_CHUNK_BYTES];
        let mut at = 0;
        while at < bytes {
            let read = reader.read_at(&mut piece, at);
            let read = read.map_err(|error| of_reader(display, error))?;
            if read == 0 {
                return Err(changed(
                    display,
                    format!("it ends at {at} of {bytes} bytes"),
                ));
            }
            at += read as u64;
            copy.write_all(&piece[..read])
                .map_err(self.storage(SIDE_FILE))?;
        }
        // It may be a command.
        fs::set_permissions(&new, Permissions::from_mode(0o755))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(self.storage(SIDE_FILE))?;
        Ok(path)
    }

    fn side_dataset(
        &self,
        grant: &Arc<Grant>,
        dataset: DatasetId,
        display: &str,
    ) -> Result<(Box<dyn InputReader>, u64), Fault> {
        let looking = async {
            let files = crate::datasets::files(&self.leader, dataset, display).await?;
            let blocks = self.leader.list_all_blocks(dataset).await;
            let blocks = blocks.map_err(|error| FailureCause::InputUnreachable {
                path: display.to_owned(),
                detail: error.to_string(),
            })?;
            Ok::<_, FailureCause>((files, blocks))
        };
        let looked = self.blocks.wait(looking, &grant.stopped);
        let (files, blocks) = looked.ok_or(Fault::Stopped)??;
        let planned = only(files, display)?;
        let located = |block: BlockView| LocatedBlock {
            summary: block.summary,
            holders: block.holders,
        };
        let located: Vec<LocatedBlock> = blocks.into_iter().map(located).collect();
        let opener = DatasetOpener {
            blocks: &self.blocks,
            located: &located,
            start: 0,
            stopped: &grant.stopped,
            served: Arc::new(Served::default()),
        };
        let reader = opener.open(&planned);
        let reader = reader.map_err(|error| of_reader(display, error))?;
        Ok((reader, planned.bytes))
    }

    fn side_url(
        &self,
        grant: &Arc<Grant>,
        file: &SideFile,
    ) -> Result<(Box<dyn InputReader>, u64), Fault> {
        let display = file.location.display.as_str();
        let listed = list_remote(&self.stores, &file.location, &self.waiting(grant));
        let listed = listed.map_err(|cause| elsewhere::unless_stopped(grant, cause))?;
        let planned = only(listed, display)?;
        let opener = RemoteOpener {
            stores: &self.stores,
            waiting: self.waiting(grant),
        };
        let reader = opener.open(&planned);
        let mut reader = reader.map_err(|error| of_reader(display, error))?;
        reader.expect(0..planned.bytes);
        Ok((reader, planned.bytes))
    }
}

fn only(files: Vec<crate::datasets::PlannedFile>, display: &str) -> Result<InputFile, Fault> {
    let found = files.len();
    let mut files = files.into_iter();
    match (files.next(), found) {
        (Some(planned), 1) => Ok(planned.file),
        (_, found) => Err(FailureCause::InvalidInput {
            path: display.to_owned(),
            detail: format!("a side file is one file, and here are {found}"),
        }
        .into()),
    }
}

fn of_file(display: &str, error: &io::Error) -> FailureCause {
    let path = Path::new(display).display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => FailureCause::InputNotFound { path },
        // A foreign enum that grows: everything else is named by its words.
        _ => FailureCause::InputUnreadable {
            path,
            detail: error.to_string(),
        },
    }
}

fn of_reader(display: &str, error: InputError) -> Fault {
    match error {
        InputError::Stopped => Fault::Stopped,
        InputError::Io(error) => of_file(display, &error).into(),
        InputError::Unreachable { detail } => FailureCause::InputUnreachable {
            path: display.to_owned(),
            detail,
        }
        .into(),
        InputError::Problem(problem) => changed(display, problem.to_string()),
    }
}

fn changed(display: &str, detail: String) -> Fault {
    FailureCause::InputChanged {
        path: display.to_owned(),
        detail,
    }
    .into()
}
