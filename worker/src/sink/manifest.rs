//! `_manifest.json`: which job wrote an output directory, and what its parts
//! are. Its presence beside `_SUCCESS` makes a directory an output of ours.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vivat_shared::attempt::CommittedPart;
use vivat_shared::ids::{ClusterId, JobId};

pub(super) const MANIFEST: &str = "_manifest.json";
pub(super) const SUCCESS: &str = "_SUCCESS";
const FORMAT_VERSION: u32 = 1;

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format_version: u32,
    cluster_id: String,
    job_id: String,
    parts: Vec<Part>,
    /// Of objects: whose parts were there before, see [`super::objects`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    name: String,
    /// Of objects: the key below the prefix where the part lies, which is of the
    /// attempt that won. A file of a directory has its final name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    bytes: u64,
    records: u64,
    /// Eight hexadecimal digits, over the part's bytes.
    crc32c: String,
}

impl Part {
    /// Below the prefix; none when it is one of a directory, or leads elsewhere.
    pub(super) fn key(&self) -> Option<&str> {
        let key = self.key.as_deref()?;
        (!key.is_empty() && !key.contains('/')).then_some(key)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn crc32c(&self) -> Option<u32> {
        u32::from_str_radix(&self.crc32c, 16).ok()
    }
}

impl Manifest {
    pub(super) fn new(cluster: ClusterId, job: JobId, parts: &[CommittedPart]) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            cluster_id: cluster.to_string(),
            job_id: job.to_string(),
            parts: parts
                .iter()
                .enumerate()
                .map(|(partition, part)| Part {
                    name: super::part_name(partition),
                    key: None,
                    bytes: part.output.bytes,
                    records: part.output.records,
                    crc32c: format!("{:08x}", part.output.crc32c),
                })
                .collect(),
            replaced: None,
        }
    }

    /// The same, of parts that lie under keys, in order.
    pub(super) fn of_objects(mut self, keys: Vec<String>, replaced: Option<String>) -> Self {
        for (part, key) in self.parts.iter_mut().zip(keys) {
            part.key = Some(key);
        }
        Self { replaced, ..self }
    }

    /// Whose it is: cluster and job, as they stand in names.
    pub(super) fn tag(&self) -> String {
        let short = self.cluster_id.get(..8).unwrap_or(&self.cluster_id);
        format!("{short}-{}", self.job_id)
    }

    /// Of what is in it.
    pub(super) fn crc32c(&self) -> u64 {
        let json = self.to_json().unwrap_or_default();
        u64::from(crc32c::crc32c(&json))
    }

    pub(super) fn replaced(&self) -> Option<&str> {
        self.replaced.as_deref()
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn is_of(&self, cluster: ClusterId, job: JobId) -> bool {
        self.cluster_id == cluster.to_string() && self.job_id == job.to_string()
    }

    pub(crate) fn to_json(&self) -> io::Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        json.push(b'\n');
        Ok(json)
    }

    /// The manifest of a directory; none when there is none, or none of ours.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        let json = fs::read(directory.join(MANIFEST)).ok()?;
        Self::decode(&json)
    }

    pub(crate) fn decode(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}

/// Whether the directory itself, not a link to it, holds a whole output.
pub(crate) fn is_whole(directory: &Path) -> bool {
    fs::symlink_metadata(directory).is_ok_and(|found| found.is_dir())
        && directory.join(SUCCESS).is_file()
        && Manifest::read(directory).is_some()
}
