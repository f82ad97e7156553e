//! Clients of stores, made once for each bucket.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::ClientConfigKey;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};

use super::error::RemoteError;
use super::location::{Location, Scheme};
use super::object::RemoteObject;

/// Clients kept. A job over many URLs of the web has one each; they are made
/// again when their turn comes.
const CLIENTS_MAX: usize = 64;
/// Of a whole request: what stalls is noticed by its reader, and what only takes
/// long may.
const REQUEST_TIMEOUT: &str = "1day";
const CONNECT_TIMEOUT: &str = "5s";

/// A client of one bucket.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// For large objects; the web has none.
    pub(crate) multipart: Option<Arc<dyn MultipartStore>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Nothing of the client itself: it knows credentials.
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    fn of<S: ObjectStore + MultipartStore>(store: S) -> Self {
        let store = Arc::new(store);
        Self {
            objects: store.clone(),
            multipart: Some(store),
        }
    }
}

/// The clients of a worker.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    made: Mutex<HashMap<(Scheme, String), Store>>,
}

impl Stores {
    /// The client of a location's bucket.
    pub(crate) fn store(&self, location: &Location) -> Result<Store, RemoteError> {
        let name = (location.scheme, location.bucket.clone());
        // Making one reads the environment and certificates, and asks nobody.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = made.get(&name) {
            return Ok(store.clone());
        }
        let store = make(location)?;
        if made.len() >= CLIENTS_MAX {
            made.clear();
        }
        made.insert(name, store.clone());
        Ok(store)
    }

    /// One object.
    pub(crate) fn object(&self, location: &Location) -> Result<RemoteObject, RemoteError> {
        let path = Path::parse(&location.key).map_err(|error| {
            RemoteError::from(object_store::Error::InvalidPath { source: error })
        })?;
        Ok(RemoteObject {
            store: self.store(location)?,
            path,
            scheme: location.scheme,
        })
    }
}

fn make(location: &Location) -> Result<Store, RemoteError> {
    // Whoever is first in the process wins; it is the same one everywhere.
    let _taken = rustls::crypto::ring::default_provider().install_default();
    let bucket = &location.bucket;
    Ok(match location.scheme {
        Scheme::S3 => {
            let builder = AmazonS3Builder::from_env();
            check_endpoint(&builder)?;
            let builder = client_settings()
                .fold(builder, |builder, (key, value)| {
                    builder.with_config(AmazonS3ConfigKey::Client(key), value)
                })
                .with_retry(no_retries());
            Store::of(builder.with_bucket_name(bucket).build()?)
        }
        Scheme::Google => {
            let builder = client_settings()
                .fold(
                    GoogleCloudStorageBuilder::from_env(),
                    |builder, (key, value)| {
                        builder.with_config(GoogleConfigKey::Client(key), value)
                    },
                )
                .with_retry(no_retries());
            Store::of(builder.with_bucket_name(bucket).build()?)
        }
        Scheme::Azure => {
            let builder = client_settings()
                .fold(
                    MicrosoftAzureBuilder::from_env(),
                    |builder, (key, value)| builder.with_config(AzureConfigKey::Client(key), value),
                )
                .with_retry(no_retries());
            Store::of(builder.with_container_name(bucket).build()?)
        }
        Scheme::Web => {
            let builder = client_settings()
                .fold(HttpBuilder::new(), |builder, (key, value)| {
                    builder.with_config(key, value)
                })
                // What the user wrote is what is meant.
                .with_config(ClientConfigKey::AllowHttp, "true")
                .with_retry(no_retries());
            Store {
                objects: Arc::new(builder.with_url(bucket).build()?),
                multipart: None,
            }
        }
    })
}

fn client_settings() -> impl Iterator<Item = (ClientConfigKey, &'static str)> {
    [
        (ClientConfigKey::Timeout, REQUEST_TIMEOUT),
        (ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT),
    ]
    .into_iter()
}

fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// The most usual mistake with a store of one's own, told at once.
fn check_endpoint(builder: &AmazonS3Builder) -> Result<(), RemoteError> {
    let value = |key: AmazonS3ConfigKey| builder.get_config_value(&key).unwrap_or_default();
    let allowed = AmazonS3ConfigKey::from_str("aws_allow_http").map(value);
    let endpoint = value(AmazonS3ConfigKey::Endpoint);
    if endpoint.starts_with("http://") && allowed.is_ok_and(|allowed| allowed != "true") {
        return Err(RemoteError::Refused {
            detail: "the worker's AWS_ENDPOINT is http://, which needs AWS_ALLOW_HTTP=true"
                .to_owned(),
        });
    }
    Ok(())
}
