//! An object store for tests: moto, a server in Python that speaks S3.
//!
//! It is installed once below `target/`, for all tests of the workspace, and
//! started by each test that wants one. Without Python or its registry there is
//! none, and the test prints that it is skipped.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PACKAGE: &str = "moto[server]==5.2.5";
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A server that ends with its value.
pub struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    /// Starts one on a free port of loopback; none, with a line that says so, where
    /// it cannot be installed.
    ///
    /// # Panics
    ///
    /// When it is installed and does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(server) = installed() else {
            eprintln!("SKIPPED: no moto server (python3 and PyPI are needed)");
            return None;
        };
        let port = free_port();
        let child = Command::new(server)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("moto: {error}"));
        let mut moto = Self { child, port };
        moto.await_port();
        Some(moto)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a process needs in its environment to use the store at that port with
    /// this secret; there may be a proxy.
    #[must_use]
    pub fn environment(port: u16, secret: &str) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{port}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "ada".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
        ]
    }

    fn await_port(&mut self) {
        let deadline = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().ok().flatten();
            assert!(ended.is_none(), "moto ended: {ended:?}");
            assert!(Instant::now() < deadline, "moto does not listen");
            // Between two looks, not instead of a look.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Makes a bucket in the store at a port.
///
/// # Panics
///
/// When the store refuses it.
pub fn create_bucket(port: u16, bucket: &str) {
    let status = request(port, "PUT", bucket)
        .unwrap_or_else(|error| panic!("the store does not answer: {error}"));
    assert!(status == 200, "{bucket}: {status}");
}

/// One request without a body: its status.
fn request(port: u16, method: &str, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "{method} /{path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = String::from_utf8_lossy(&answer);
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))
}

/// A port of loopback that is free now.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let address = address.unwrap_or_else(|error| panic!("no free port: {error}"));
    address.port()
}

fn installed() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let target = exe.ancestors().find(|path| path.ends_with("target"))?;
    let venv = target.join("moto");
    let server = venv.join("bin/moto_server");
    // Several tests may want it at once.
    let lock = std::fs::File::create(target.join("moto.lock")).ok()?;
    lock.lock().ok()?;
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
        && run(Command::new(venv.join("bin/pip")).args(["install", "-q", PACKAGE]))
}
