//! moto: installed once below `target/`, started for each test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStore, ObjectStoreExt};

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
        create_bucket(store);
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
    let Some(server) = installed() else {
        eprintln!("SKIPPED: {name}: no moto server (python3 and PyPI are needed)");
        return;
    };
    let (store, proxy) = (free_port(), free_port());
    let mut moto = Ended(
        Command::new(server)
            .args(["-H", "127.0.0.1", "-p", &store.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    await_port(store, &mut moto.0);
    let status = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(STORE_PORT, store.to_string())
        .env(PROXY_PORT, proxy.to_string())
        .env("AWS_ENDPOINT", format!("http://127.0.0.1:{proxy}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "ada")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
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

/// Ends the process with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn installed() -> Option<PathBuf> {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().find(|path| path.ends_with("target"))?;
    let venv = target.join("moto");
    let server = venv.join("bin/moto_server");
    // Several tests may want it at once.
    let lock = std::fs::File::create(target.join("moto.lock")).unwrap();
    lock.lock().unwrap();
    if !server.exists() && !install(&venv) {
        return None;
    }
    server.exists().then_some(server)
}

fn install(venv: &Path) -> bool {
    let run = |command: &mut Command| {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(venv))
        && run(Command::new(venv.join("bin/pip")).args(["install", "-q", "moto[server]==5.2.5"]))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn await_port(port: u16, process: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(process.try_wait().unwrap().is_none(), "moto ended");
        assert!(Instant::now() < deadline, "moto does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn create_bucket(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
