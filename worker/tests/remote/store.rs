//! An object store for each test, behind a proxy that breaks connections.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStore, ObjectStoreExt};
use vivat_testkit::moto::{Moto, create_bucket, free_port};

use crate::proxy::{self, Faults};

/// Says to the process that runs a test's body where the store is.
const STORE_PORT: &str = "VIVAT_TEST_STORE_PORT";
const PROXY_PORT: &str = "VIVAT_TEST_PROXY_PORT";
pub const BUCKET: &str = "vivat-test";
/// A secret that no message may hold.
pub const SECRET: &str = "hunter2hunter2";

/// The store, as a test's body sees it.
pub struct Store {
    pub client: AmazonS3,
    pub faults: Arc<Faults>,
}

/// Runs a test's body with a store: in a process whose environment names it.
pub fn with_store<F: Future<Output = ()>>(name: &str, body: impl FnOnce(Store) -> F) {
    let port = |name| std::env::var(name).ok()?.parse::<u16>().ok();
    if let (Some(store), Some(proxy)) = (port(STORE_PORT), port(PROXY_PORT)) {
        let faults = proxy::start(proxy, store);
        create_bucket(store, BUCKET);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let builder = AmazonS3Builder::from_env().with_bucket_name(BUCKET);
        // The test's own calls go around the proxy.
        let endpoint = format!("http://127.0.0.1:{store}");
        let _first = rustls::crypto::ring::default_provider().install_default();
        let client = builder.with_endpoint(endpoint).build().unwrap();
        return runtime.block_on(body(Store { client, faults }));
    }
    let Some(moto) = Moto::start() else {
        return;
    };
    let proxy = free_port();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(STORE_PORT, moto.port().to_string())
        .env(PROXY_PORT, proxy.to_string())
        .envs(Moto::environment(proxy, SECRET))
        .status()
        .unwrap();
    assert!(
        status.success(),
        "{name} failed in its own process, see above"
    );
}

impl Store {
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        let path = key.into();
        self.client.put(&path, bytes.into().into()).await.unwrap();
    }

    /// All keys below a prefix, without it.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let path = prefix.into();
        let found = self.client.list(Some(&path));
        let found: Vec<_> = found.try_collect().await.unwrap();
        let below = |key: String| key[prefix.len() + 1..].to_owned();
        let mut keys: Vec<_> = found
            .into_iter()
            .map(|object| below(object.location.to_string()))
            .collect();
        keys.sort();
        keys
    }
}
