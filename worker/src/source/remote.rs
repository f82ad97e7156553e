//! From URLs to files: listed by the plan, opened by maps.
//!
//! A URL of an object store names an object, or by a glob those that match, or by
//! a `/` at its end all that lie below. Of an output of ours they are the parts
//! that its manifest names; one without its marker is refused. Elsewhere names
//! that begin with `_` are left out unless they were asked for: that is where
//! others keep their markers.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use vivat_engine::{InputError, InputOpener, InputReader};
use vivat_shared::attempt::{InputFile, InputOrigin};
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputPattern;
use vivat_shared::limits::{INPUT_FILES_MAX, PATH_BYTES_MAX};

use super::list::{GLOB_CHARACTERS, GLOB_OPTIONS};
use crate::datasets::PlannedFile;
use crate::remote::{
    Found, Location, RemoteError, RemoteFile, RemoteObject, Scheme, Stores, Waiting, patiently,
    shown, soon,
};
use crate::sink::objects;

/// Opens the files that [`list_remote`] found.
#[derive(Debug)]
pub(crate) struct RemoteOpener<'w> {
    pub(crate) stores: &'w Stores,
    pub(crate) waiting: Waiting,
}

impl InputOpener for RemoteOpener<'_> {
    fn open(&self, file: &InputFile) -> Result<Box<dyn InputReader>, InputError> {
        let InputOrigin::Remote { version } = &file.origin else {
            return Err(InputError::Io(std::io::ErrorKind::Unsupported.into()));
        };
        let location = Location::parse(&file.path).map_err(|reason| {
            let detail = reason.to_owned();
            InputError::from(RemoteError::Refused { detail })
        })?;
        let planned = Found {
            bytes: file.bytes,
            version: version.clone(),
        };
        let object = self.stores.object(&location)?;
        Ok(Box::new(RemoteFile::new(
            object,
            planned,
            self.waiting.clone(),
        )))
    }
}

/// The files of a pattern that is a URL.
pub(crate) fn list_remote(
    stores: &Arc<Stores>,
    pattern: &InputPattern,
    waiting: &Waiting,
) -> Result<Vec<PlannedFile>, FailureCause> {
    let display = shown(&pattern.display);
    let listed = Location::parse(&pattern.path)
        .map_err(|reason| FailureCause::InputUnreadable {
            path: display.clone(),
            detail: reason.to_owned(),
        })
        .and_then(|location| {
            let listing = Listing {
                stores,
                location,
                url: &pattern.path,
                display: &display,
            };
            let listed = waiting.wait(listing.run());
            listed.unwrap_or_else(|error| Err(error.of_input(&display)))
        })?;
    for planned in &listed {
        if planned.file.path.len().max(planned.file.display.len()) > PATH_BYTES_MAX {
            return Err(FailureCause::InvalidInput {
                path: display,
                detail: format!("a URL below it is longer than {PATH_BYTES_MAX} bytes"),
            });
        }
    }
    Ok(listed)
}

/// A pattern taken apart.
struct Listing<'l> {
    stores: &'l Stores,
    location: Location,
    url: &'l str,
    /// As the user wrote it, without what is not to be shown.
    display: &'l str,
}

impl Listing<'_> {
    async fn run(&self) -> Result<Vec<PlannedFile>, FailureCause> {
        let key = &self.location.key;
        let is_glob = self.location.scheme != Scheme::Web && key.contains(GLOB_CHARACTERS);
        if self.location.scheme == Scheme::Web || !(key.is_empty() || key.ends_with('/')) {
            match self.one().await {
                Ok(found) => return Ok(vec![found]),
                Err(RemoteError::NotFound) if is_glob => {}
                Err(RemoteError::NotFound) => return Err(self.not_found().await),
                // A glob need not be a name.
                Err(RemoteError::Refused { .. }) if is_glob => {}
                Err(error) => return Err(error.of_input(self.display)),
            }
        }
        if is_glob {
            self.matches().await
        } else {
            self.below().await
        }
    }

    async fn one(&self) -> Result<PlannedFile, RemoteError> {
        let object = self.stores.object(&self.location)?;
        let (found, ranges) = patiently(|| object.look()).await?;
        Ok(PlannedFile {
            is_whole: !ranges,
            ..PlannedFile::of(InputFile {
                header: Vec::new(),
                path: self.url.to_owned(),
                display: self.display.to_owned(),
                bytes: found.bytes,
                origin: InputOrigin::Remote {
                    version: found.version,
                },
            })
        })
    }

    /// What is said of a name that no object has.
    async fn not_found(&self) -> FailureCause {
        let path = self.display.to_owned();
        if self.location.scheme == Scheme::Web {
            return FailureCause::InputNotFound { path };
        }
        match self.list(&self.location.key, false).await {
            Ok((found, _)) if !found.is_empty() => FailureCause::InputIsDirectory { path },
            Ok(_) | Err(_) => FailureCause::InputNotFound { path },
        }
    }

    async fn matches(&self) -> Result<Vec<PlannedFile>, FailureCause> {
        let key = &self.location.key;
        let first = key.find(GLOB_CHARACTERS).unwrap_or(key.len());
        let directory = &key[..key[..first].rfind('/').map_or(0, |slash| slash + 1)];
        let mut single = key.clone();
        // Two stars mean no more than one: a pattern never leaves its depth.
        while single.contains("**") {
            single = single.replace("**", "*");
        }
        let glob = glob::Pattern::new(&single).map_err(|error| FailureCause::InvalidInput {
            path: self.display.to_owned(),
            detail: format!("not a glob: {}", error.msg),
        })?;
        let is_deep = key[directory.len()..].contains('/');
        let markers = key.rsplit('/').next().unwrap_or_default().starts_with('_');
        let listed = self.list(directory, is_deep).await;
        let (found, all) = listed.map_err(|error| error.of_input(self.display))?;
        let matching = found.into_iter().filter(|object| {
            let name = object.location.filename().unwrap_or_default();
            glob.matches_with(object.location.as_ref(), GLOB_OPTIONS)
                && (markers || !name.starts_with('_'))
        });
        self.parts_only(matching.collect(), &all).await
    }

    async fn below(&self) -> Result<Vec<PlannedFile>, FailureCause> {
        let directory = self.location.key.trim_end_matches('/');
        let listed = self.list(directory, true).await;
        let (found, all) = listed.map_err(|error| error.of_input(self.display))?;
        let depth = Path::from(directory).parts().count();
        let is_data = |object: &ObjectMeta| {
            let mut parts = object.location.parts().skip(depth);
            !parts.any(|part| part.as_ref().starts_with(['_', '.']))
        };
        let matching = found.into_iter().filter(is_data);
        self.parts_only(matching.collect(), &all).await
    }

    /// The objects below a directory, and whatever else is there by its key.
    /// An empty object that stands for a directory is none.
    async fn list(
        &self,
        directory: &str,
        is_deep: bool,
    ) -> Result<(Vec<ObjectMeta>, Keys), RemoteError> {
        let top = Location {
            key: directory.trim_end_matches('/').to_owned(),
            ..self.location.clone()
        };
        let RemoteObject { store, path, .. } = self.stores.object(&top)?;
        let objects = &store.objects;
        let mut found = patiently(|| async {
            if is_deep {
                return everything(objects.as_ref(), &path).await;
            }
            let listed = soon(objects.list_with_delimiter(Some(&path))).await?;
            Ok(listed.objects)
        })
        .await?;
        let keys: Keys = found
            .iter()
            .map(|object| (object.location.to_string(), object.size))
            .collect();
        let is_directory = |object: &ObjectMeta| {
            let start = format!("{}/", object.location);
            let next = keys.range(start.clone()..).next();
            object.size == 0 && next.is_some_and(|(key, _)| key.starts_with(&start))
        };
        found.retain(|object| object.location != path && !is_directory(object));
        Ok((found, keys))
    }

    /// Of outputs of ours the parts that count.
    async fn parts_only(
        &self,
        found: Vec<ObjectMeta>,
        all: &Keys,
    ) -> Result<Vec<PlannedFile>, FailureCause> {
        let mut results: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut planned = Vec::new();
        for object in found {
            let key = object.location.as_ref();
            let name = object.location.filename().unwrap_or_default();
            if objects::is_attempt_name(name) {
                let directory = key[..key.len() - name.len()].to_owned();
                if !results.contains_key(&directory) {
                    let named = self.named(&directory, all).await?;
                    results.insert(directory.clone(), named);
                }
                if !results[&directory].iter().any(|named| named == name) {
                    continue;
                }
            }
            planned.push(self.planned(&object));
            if planned.len() > INPUT_FILES_MAX as usize {
                return Err(FailureCause::PlanTooLarge {
                    detail: format!("more than {INPUT_FILES_MAX} input files"),
                });
            }
        }
        if planned.is_empty() {
            return Err(FailureCause::InputNotFound {
                path: self.display.to_owned(),
            });
        }
        planned.sort_by(|a, b| a.file.path.cmp(&b.file.path));
        Ok(planned)
    }

    /// The names in a directory that its manifest names.
    async fn named(&self, directory: &str, all: &Keys) -> Result<Vec<String>, FailureCause> {
        let [manifest, success] = objects::MARKERS.map(|name| format!("{directory}{name}"));
        let invalid = |detail: &str| FailureCause::InvalidInput {
            path: self.display.to_owned(),
            detail: format!("{directory}: {detail}"),
        };
        if !all.contains_key(&success) {
            return Err(invalid("the result of a job that has not ended"));
        }
        let location = Location {
            key: manifest,
            ..self.location.clone()
        };
        let read = match self.stores.object(&location) {
            Ok(object) => patiently(|| object.read(objects::MANIFEST_BYTES_MAX)).await,
            Err(error) => Err(error),
        };
        let (json, _) = read.map_err(|error| error.of_input(self.display))?;
        objects::named_by(&json).ok_or_else(|| invalid("its manifest is none of ours"))
    }

    fn planned(&self, object: &ObjectMeta) -> PlannedFile {
        let (scheme, _) = self.url.split_once("://").unwrap_or_default();
        let url = format!("{scheme}://{}/{}", self.location.bucket, object.location);
        let found = Found::from(object);
        PlannedFile::of(InputFile {
            header: Vec::new(),
            path: url.clone(),
            display: url,
            bytes: found.bytes,
            origin: InputOrigin::Remote {
                version: found.version,
            },
        })
    }
}

/// Keys with their sizes.
type Keys = BTreeMap<String, u64>;

/// All objects below a prefix.
async fn everything(store: &dyn ObjectStore, path: &Path) -> Result<Vec<ObjectMeta>, RemoteError> {
    let mut listed = store.list(Some(path));
    let mut found = Vec::new();
    // One more than may be: then there are too many, and the rest is not needed.
    while found.len() <= INPUT_FILES_MAX as usize
        && let Some(object) = soon(listed.try_next()).await?
    {
        found.push(object);
    }
    Ok(found)
}
