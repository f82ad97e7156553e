//! Files of this machine for workers that are elsewhere: brought over as datasets
//! that live as long as the job, and results that are fetched.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;

use vivat_client::LeaderClient;
use vivat_shared::dataset::{BLOCK_BYTES_DEFAULT, REPLICAS_DEFAULT, SCHEME};
use vivat_shared::job::InputFormat;

use crate::app::App;
use crate::args::data::PutArgs;
use crate::commands::data;
use crate::failure::Failure;
use crate::paths::{Place, PlaceKind};
use crate::quantity::ByteSize;
use crate::spec::Draft;

/// What makes a path a pattern.
const GLOB_CHARACTERS: [char; 3] = ['*', '?', '['];

/// Side files are read whole, wherever they were cut.
const SIDE_FILE_FORMAT: InputFormat = InputFormat::Fixed(1);

/// Datasets that were brought over for one job.
#[derive(Debug, Default)]
pub struct Uploads {
    names: Vec<String>,
}

impl Uploads {
    /// Brings every input and side file that is a file of this machine to the workers,
    /// and names it by its dataset from then on.
    ///
    /// # Errors
    ///
    /// As `data put`. What was brought until then is removed.
    pub async fn bring(
        app: &App,
        client: &LeaderClient,
        draft: &mut Draft,
    ) -> Result<Self, Failure> {
        let mut uploads = Self::default();
        // The same key names the same datasets, and so makes the same job.
        let key = match &draft.key {
            Some(key) => sum(key),
            None => rand::random(),
        };
        let format = draft.format;
        let inputs = draft.inputs.iter_mut().map(|place| (place, format));
        let side_files = draft.side_files.iter_mut();
        let side_files = side_files.map(|(_, place)| (place, SIDE_FILE_FORMAT));
        let places = inputs.chain(side_files);
        for (place, format) in places.filter(|(place, _)| !place.everyone) {
            let name = format!("upload-{key:016x}-{}", uploads.names.len());
            let brought = upload(app, &name, place, format).await;
            if let Err(failure) = brought {
                uploads.leave(app, client).await;
                return Err(failure);
            }
            place.path = format!("{SCHEME}{name}");
            place.kind = PlaceKind::Dataset;
            place.everyone = true;
            uploads.names.push(name);
        }
        Ok(uploads)
    }

    /// The job has them now, or there is none: they go when it ends. What cannot
    /// be told now is said, and stays.
    pub async fn leave(&self, app: &App, client: &LeaderClient) {
        for name in &self.names {
            if let Err(error) = client.remove_dataset_when_unread(name).await {
                app.note(&format!(
                    "`{name}` stays, `vivat data rm` removes it: {error}"
                ));
            }
        }
    }
}

fn sum(key: &str) -> u64 {
    let (forth, back) = (key.as_bytes(), key.bytes().rev().collect::<Vec<_>>());
    u64::from(crc32c::crc32c(forth)) << 32 | u64::from(crc32c::crc32c(&back))
}

async fn upload(
    app: &App,
    name: &str,
    place: &mut Place,
    format: InputFormat,
) -> Result<(), Failure> {
    let path = Path::new(&place.path);
    if path.is_dir() {
        return Err(
            Failure::usage(format!("input is a directory: {}", place.display))
                .hint("name its files: a quoted glob will do"),
        );
    }
    // Programs print names as they were typed: what a pattern's files have in common
    // is in front of their names.
    if fs::symlink_metadata(path).is_err() {
        let typed = place.display.as_str();
        let glob = typed.find(GLOB_CHARACTERS).unwrap_or(typed.len());
        let folder = typed[..glob].rfind('/').map_or(0, |slash| slash + 1);
        place.display.truncate(folder);
    }
    let args = PutArgs {
        name: name.to_owned(),
        sources: vec![OsString::from(&place.path)],
        format: Some(format),
        replicas: REPLICAS_DEFAULT,
        block_size: ByteSize(BLOCK_BYTES_DEFAULT),
    };
    data::put(app, args).await
}

/// Fetches a job's result to a directory of this machine, with its marker last,
/// and removes it from the cluster.
///
/// # Errors
///
/// As `data get`; the result stays in the cluster then.
pub async fn fetch(
    app: &App,
    client: &LeaderClient,
    result: &str,
    place: &Place,
) -> Result<(), Failure> {
    let name = result.trim_start_matches(SCHEME);
    let directory = Path::new(&place.path);
    data::get(app, name, directory).await?;
    let marker = directory.join("_SUCCESS");
    File::create(&marker)
        .and_then(|marker| marker.sync_all())
        .map_err(|error| Failure::file("write", &marker, &error))?;
    client.remove_dataset(name).await?;
    Ok(())
}
