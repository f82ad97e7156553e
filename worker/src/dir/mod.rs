//! The worker's directory: who this worker is, what it was running, and where
//! its files lie.
//!
//! Every name below the directory is made here, from typed ids; nothing that
//! came over the network ever becomes a path by itself. One process at a time
//! owns the directory, by a lock that dies with the process.
//!
//! ```text
//! lock         held for as long as the process lives
//! identity     the uid, minted once (fsync)
//! cluster      the cluster whose jobs' files lie here
//! running      what each slot runs now: see `running`
//! segments/    job-N/ATTEMPT.seg: finished map outputs
//! scratch/     cell-N/: spills of a slot; job-N/ATTEMPT/: fetched segments;
//!              emptied at start
//! store/       the blocks of datasets: see `vivat-store`
//! staging/     job-N: the staging directory that the job's attempts wrote in
//! ```

mod checked;
mod running;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vivat_engine::disk::describe;
use vivat_engine::failpoint::point;
use vivat_ground::Threads;
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{AttemptId, ClusterId, JobId};
use vivat_shared::job::is_url;

pub(crate) use checked::{ReadError, decode as decode_note, encode as encode_note};
pub(crate) use running::{CELL_CONTROL, RunningCells, decode as decode_cells};

/// Why a worker's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// Another process has it.
    #[error("another worker is using {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its files are of another cluster.
    #[error(
        "{} belongs to cluster {known}, and the masters are of cluster {found}",
        path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Whose files lie there.
        known: String,
        /// Whose masters answered.
        found: ClusterId,
    },
    /// A file of ours is not as we wrote it.
    #[error("{} is damaged: move the directory away to start afresh", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl DirError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    fn read(path: &Path) -> impl FnOnce(ReadError) -> Self {
        let path = path.to_owned();
        move |error| match error {
            ReadError::Io(source) => Self::Io {
                what: "read",
                path,
                source,
            },
            ReadError::Damaged => Self::Damaged { path },
        }
    }
}

/// An opened, locked directory.
#[derive(Debug)]
pub(crate) struct WorkerDir {
    root: PathBuf,
    uid: String,
    /// Jobs that have files here; what heartbeats ask about.
    jobs: Mutex<BTreeSet<JobId>>,
    /// Those of them whose directory for segments is made.
    made: Mutex<BTreeSet<JobId>>,
    /// Slots of one job note the same staging directory at the same moment.
    staging: Mutex<()>,
    threads: Threads,
    _lock: File,
}

impl WorkerDir {
    /// Takes the directory, creating what is missing, and empties its scratch.
    pub(crate) fn open(root: &Path) -> Result<Self, DirError> {
        for path in [root.to_owned(), root.join("segments"), root.join("staging")] {
            fs::create_dir_all(&path).map_err(DirError::io("create", &path))?;
        }
        let lock = lock(root)?;
        let scratch = root.join("scratch");
        remove_tree(&scratch).map_err(DirError::io("empty", &scratch))?;
        fs::create_dir(&scratch).map_err(DirError::io("create", &scratch))?;
        let dir = Self {
            root: root.to_owned(),
            uid: identity(&root.join("identity"))?,
            jobs: Mutex::default(),
            made: Mutex::default(),
            staging: Mutex::default(),
            threads: Threads::Own,
            _lock: lock,
        };
        let found = dir.scan_jobs().map_err(DirError::io("list", root))?;
        *dir.lock_jobs() = found;
        Ok(dir)
    }

    /// The same, with its files read and written on these threads.
    #[must_use]
    pub(crate) fn on(self, threads: Threads) -> Self {
        Self { threads, ..self }
    }

    /// Where its files are read and written.
    pub(crate) fn threads(&self) -> Threads {
        self.threads
    }

    /// Random, minted once, the same across restarts.
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// The file of running attempts, with what the former process left in it.
    pub(crate) fn running(&self) -> Result<(RunningCells, Vec<AttemptId>), DirError> {
        let path = self.root.join("running");
        RunningCells::open(&path).map_err(DirError::io("open", &path))
    }

    /// Remembers whose jobs' files these are. Job numbers mean nothing across
    /// clusters, so a directory serves one; to give up what another may still
    /// need is for its owner to decide.
    pub(crate) fn adopt_cluster(&self, cluster: ClusterId) -> Result<(), DirError> {
        let path = self.root.join("cluster");
        let known = checked::read(&path).map_err(DirError::read(&path))?;
        let text = cluster.to_string();
        match known {
            Some(known) if known == text => Ok(()),
            Some(known) => Err(DirError::OtherCluster {
                path: self.root.clone(),
                known,
                found: cluster,
            }),
            None => checked::write(&path, &text).map_err(DirError::io("write", &path)),
        }
    }

    /// What an error while using the directory means for an attempt.
    pub(crate) fn cause(&self, what: &str, error: &io::Error) -> FailureCause {
        let what = format!("{what} in {}", describe(&self.root));
        if is_full(error) {
            FailureCause::DiskFull { what }
        } else {
            FailureCause::Storage {
                detail: format!("{what}: {error}"),
            }
        }
    }

    /// Where the finished output of a map attempt lies, if it is here.
    pub(crate) fn segment_path(&self, map: AttemptId) -> PathBuf {
        self.segments_of(map.job()).join(format!("{map}.seg"))
    }

    /// The same, with its directory made, for one who is going to write it.
    pub(crate) fn new_segment_path(&self, map: AttemptId) -> io::Result<PathBuf> {
        let job = map.job();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.contains(&job) {
            self.lock_jobs().insert(job);
            fs::create_dir_all(self.segments_of(job))?;
            made.insert(job);
        }
        Ok(self.segment_path(map))
    }

    /// Where an attempt's own temporary files lie; made by who writes there.
    pub(crate) fn scratch_path(&self, attempt: AttemptId) -> PathBuf {
        self.root
            .join("scratch")
            .join(attempt.job().to_string())
            .join(attempt.to_string())
    }

    /// A directory for what all attempts of a job read; gone with the job, and
    /// empty after a restart.
    pub(crate) fn job_scratch(&self, job: JobId) -> io::Result<PathBuf> {
        self.lock_jobs().insert(job);
        let path = self.root.join("scratch").join(job.to_string()).join("job");
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A slot's own directory for temporary files. The engine deletes what it
    /// makes there; what one that panicked left goes by [`Self::clear_slot_scratch`].
    pub(crate) fn slot_scratch(&self, cell: usize) -> io::Result<PathBuf> {
        let path = self.slot_scratch_path(cell);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(&path)?,
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(path)
    }

    /// Where that is, made or not.
    pub(crate) fn slot_scratch_path(&self, cell: usize) -> PathBuf {
        self.root.join("scratch").join(format!("cell-{cell}"))
    }

    /// Empties a slot's directory after a panic.
    pub(crate) fn clear_slot_scratch(&self, cell: usize) -> io::Result<()> {
        remove_tree(&self.root.join("scratch").join(format!("cell-{cell}")))
    }

    /// Deletes an attempt's temporary files.
    pub(crate) fn remove_scratch(&self, attempt: AttemptId) -> io::Result<()> {
        remove_tree(&self.scratch_path(attempt))
    }

    /// Deletes a map attempt's output.
    pub(crate) fn remove_segment(&self, map: AttemptId) -> io::Result<()> {
        remove_file(&self.segment_path(map))
    }

    /// Finished map outputs on the disk, of all jobs.
    pub(crate) fn segments(&self) -> io::Result<Vec<AttemptId>> {
        let mut found = Vec::new();
        for job in self.jobs() {
            let files = match fs::read_dir(self.segments_of(job)) {
                // It has a staging directory only, or has just ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                files => files?,
            };
            for file in files {
                let name = file?.file_name();
                let attempt: Option<AttemptId> = name
                    .to_str()
                    .and_then(|name| name.strip_suffix(".seg"))
                    .and_then(|name| name.parse().ok());
                // Temporary names of an engine that died do not parse.
                found.extend(attempt);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Jobs that have files here.
    pub(crate) fn jobs(&self) -> Vec<JobId> {
        self.lock_jobs().iter().copied().collect()
    }

    /// Remembers the staging directory that attempts of a job write in, so
    /// that it can be removed when the job ended without a commit.
    pub(crate) fn remember_staging(&self, job: JobId, staging: &Path) -> io::Result<()> {
        let path = self.staging_memo(job);
        let text = staging
            .to_str()
            .ok_or_else(|| io::Error::other("the staging path is not UTF-8"))?;
        self.lock_jobs().insert(job);
        let _alone = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(checked::read(&path), Ok(Some(known)) if known == text) {
            return Ok(());
        }
        point("memo-write")?;
        checked::write_unsynced(&path, text)
    }

    /// Where attempts of a job wrote: a directory, or a URL.
    pub(crate) fn staging_of(&self, job: JobId) -> Option<String> {
        checked::read(&self.staging_memo(job)).ok().flatten()
    }

    /// Whose jobs' files these are, once that is known.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        let known = checked::read(&self.root.join("cluster")).ok().flatten()?;
        known.parse().ok()
    }

    /// Deletes all files of a job that has ended, its staging directory
    /// included. May be repeated.
    pub(crate) fn remove_job(&self, job: JobId) -> io::Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.remove(&job);
        drop(made);
        remove_tree(&self.segments_of(job))?;
        remove_tree(&self.root.join("scratch").join(job.to_string()))?;
        // Last, because others may be in its way: it is on the user's disk.
        let memo = self.staging_memo(job);
        if let Ok(Some(staging)) = checked::read(&memo)
            && !is_url(&staging)
        {
            remove_tree(Path::new(&staging))?;
        }
        remove_file(&memo)?;
        self.lock_jobs().remove(&job);
        Ok(())
    }

    fn segments_of(&self, job: JobId) -> PathBuf {
        self.root.join("segments").join(job.to_string())
    }

    fn staging_memo(&self, job: JobId) -> PathBuf {
        self.root.join("staging").join(job.to_string())
    }

    fn scan_jobs(&self) -> io::Result<BTreeSet<JobId>> {
        let mut jobs = BTreeSet::new();
        for name in ["segments", "staging"] {
            for entry in fs::read_dir(self.root.join(name))? {
                let name = entry?.file_name();
                jobs.extend(name.to_str().and_then(|name| name.parse::<JobId>().ok()));
            }
        }
        Ok(jobs)
    }

    fn lock_jobs(&self) -> MutexGuard<'_, BTreeSet<JobId>> {
        // The set is whole at every point where a panic could happen.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the error says that space or quota is used up.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn lock(root: &Path) -> Result<File, DirError> {
    let path = root.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(DirError::io("open", &path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DirError::InUse {
            path: root.to_owned(),
        }),
        Err(errno) => Err(DirError::io("lock", &path)(errno.into())),
    }
}

fn identity(path: &Path) -> Result<String, DirError> {
    if let Some(uid) = checked::read(path).map_err(DirError::read(path))? {
        return Ok(uid);
    }
    let uid = format!("{:032x}", rand::random::<u128>());
    checked::write(path, &uid).map_err(DirError::io("write", path))?;
    Ok(uid)
}

/// Deletes a directory with all below it; none there is as good.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Deletes a file; none there is as good.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_open_of_a_directory_is_refused_and_its_uid_outlives_the_first() {
        let temp = tempfile::tempdir().unwrap();
        let first = WorkerDir::open(temp.path()).unwrap();
        let uid = first.uid().to_owned();
        assert_eq!(uid.len(), 32);
        assert!(matches!(
            WorkerDir::open(temp.path()),
            Err(DirError::InUse { .. })
        ));
        drop(first);
        assert_eq!(WorkerDir::open(temp.path()).unwrap().uid(), uid);
    }

    #[test]
    fn damaged_identity_is_refused_rather_than_minted_again() {
        let temp = tempfile::tempdir().unwrap();
        drop(WorkerDir::open(temp.path()).unwrap());
        fs::write(temp.path().join("identity"), "vivat-worker 1\nxyz\n").unwrap();
        assert!(matches!(
            WorkerDir::open(temp.path()),
            Err(DirError::Damaged { .. })
        ));
    }

    #[test]
    fn files_of_an_ended_job_go_with_its_staging_and_no_other_job_s_do() {
        let temp = tempfile::tempdir().unwrap();
        let dir = WorkerDir::open(&temp.path().join("worker")).unwrap();
        let staging = temp.path().join(".out.staging");
        fs::create_dir(&staging).unwrap();
        let one: AttemptId = "job-1.0.0.map-0.1".parse().unwrap();
        let two: AttemptId = "job-2.0.0.map-0.1".parse().unwrap();
        fs::write(dir.new_segment_path(one).unwrap(), "one").unwrap();
        fs::write(dir.new_segment_path(two).unwrap(), "two").unwrap();
        dir.remember_staging(JobId(1), &staging).unwrap();

        dir.remove_job(JobId(1)).unwrap();
        dir.remove_job(JobId(1)).unwrap();
        assert!(!staging.exists());
        assert_eq!(dir.jobs(), [JobId(2)]);
        assert_eq!(dir.segments().unwrap(), [two]);
    }

    #[test]
    fn another_cluster_is_refused_and_the_files_of_the_first_stay() {
        let temp = tempfile::tempdir().unwrap();
        let dir = WorkerDir::open(temp.path()).unwrap();
        dir.adopt_cluster(ClusterId(1)).unwrap();
        let map: AttemptId = "job-1.0.0.map-0.1".parse().unwrap();
        fs::write(dir.new_segment_path(map).unwrap(), "one").unwrap();
        let refused = dir.adopt_cluster(ClusterId(2));
        assert!(matches!(refused, Err(DirError::OtherCluster { .. })));
        dir.adopt_cluster(ClusterId(1)).unwrap();
        assert_eq!(dir.segments().unwrap(), [map]);
    }

    #[test]
    fn what_is_not_ours_among_the_segments_hides_none_of_them() {
        let temp = tempfile::tempdir().unwrap();
        let dir = WorkerDir::open(temp.path()).unwrap();
        let map: AttemptId = "job-1.0.0.map-0.1".parse().unwrap();
        fs::write(dir.new_segment_path(map).unwrap(), "one").unwrap();
        fs::write(temp.path().join("segments").join("notes.txt"), "x").unwrap();
        dir.remember_staging(JobId(2), Path::new("/nowhere"))
            .unwrap();
        assert_eq!(dir.segments().unwrap(), [map]);
    }

    #[test]
    fn staging_that_cannot_be_removed_keeps_no_segment_on_the_disk() {
        let temp = tempfile::tempdir().unwrap();
        let dir = WorkerDir::open(&temp.path().join("worker")).unwrap();
        // A file where a directory is meant: it cannot be removed as one.
        let staging = temp.path().join("staging");
        fs::write(&staging, "x").unwrap();
        let map: AttemptId = "job-1.0.0.map-0.1".parse().unwrap();
        fs::write(dir.new_segment_path(map).unwrap(), "one").unwrap();
        dir.remember_staging(JobId(1), &staging).unwrap();
        assert!(dir.remove_job(JobId(1)).is_err());
        assert!(dir.segments().unwrap().is_empty());
        fs::remove_file(&staging).unwrap();
        dir.remove_job(JobId(1)).unwrap();
        assert!(dir.jobs().is_empty());
    }
}
