//! Three masters in one process.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tracing_subscriber::EnvFilter;
use vivat_master::config::{Listen, MasterConfig};
use vivat_master::process::{Master, MasterHandle};
use vivat_proto::v1;
use vivat_proto::v1::cluster_service_client::ClusterServiceClient;
use vivat_proto::v1::job_service_client::JobServiceClient;
use vivat_shared::attempt::Outcome;
use vivat_shared::ids::{JobId, Seat};
use vivat_shared::job::{
    HostIdentity, InputFormat, InputPattern, JobSpec, OutputLocation, Policy, StepSpec, Visibility,
};

/// Longer than any wait of a test that passes, on a machine that is busy.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);
/// Masters of a cluster.
const MASTERS: u32 = 3;

/// The machine whose paths the tests' jobs name.
pub const HOST: &str = "test-host";

/// Masters that run, by seat.
pub struct Cluster {
    masters: BTreeMap<u32, MasterHandle>,
    dir: TempDir,
}

impl Cluster {
    /// Three masters with default settings; they may not have a leader yet.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same, with settings that differ.
    pub async fn start_with(adjust: impl Fn(&mut MasterConfig)) -> Self {
        // For the one who reads why a test failed.
        let _already = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("info,openraft=warn"))
            .with_test_writer()
            .try_init();
        let dir = tempfile::tempdir().unwrap();
        let listeners: Vec<TcpListener> = (0..MASTERS)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let peers: BTreeMap<Seat, String> = (0..)
            .zip(&listeners)
            .map(|(seat, listener)| (Seat(seat), listener.local_addr().unwrap().to_string()))
            .collect();
        let starting = (0..).zip(listeners).map(|(seat, listener)| {
            let dir = dir.path().join(format!("master-{seat}"));
            let mut config = MasterConfig::new(Seat(seat), dir, peers.clone());
            config.raft = Listen::Bound(listener);
            config.http = Some(Listen::Address("127.0.0.1:0".to_owned()));
            adjust(&mut config);
            async move { (seat, Master::start(config).await.unwrap()) }
        });
        let masters = join_all(starting).await.into_iter().collect();
        Self { masters, dir }
    }

    /// Seat of the master whose services are open.
    pub async fn leader(&self) -> u32 {
        eventually("some master leads and is open", async || {
            let serving =
                |(seat, master): (&u32, &MasterHandle)| master.is_serving().then_some(*seat);
            self.masters.iter().find_map(serving)
        })
        .await
    }

    /// A seat that does not lead now.
    pub async fn follower(&self) -> u32 {
        let leader = self.leader().await;
        let mut others = self.masters.keys().copied().filter(|seat| *seat != leader);
        others.next().expect("a cluster has followers")
    }

    /// A master that runs.
    pub fn master(&self, seat: u32) -> &MasterHandle {
        &self.masters[&seat]
    }

    /// Where a master keeps its disk.
    pub fn dir_of(&self, seat: u32) -> PathBuf {
        self.dir.path().join(format!("master-{seat}"))
    }

    /// A connection to a master's services.
    pub fn channel(&self, seat: u32) -> Channel {
        let address = &self.masters[&seat].addresses().client;
        Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy()
    }

    /// A connection to the leader's services.
    pub async fn leader_channel(&self) -> Channel {
        self.channel(self.leader().await)
    }

    /// Jobs, at the leader.
    pub async fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.leader_channel().await)
    }

    /// Ends a master without a word, as a kill does.
    pub fn kill(&mut self, seat: u32) {
        drop(self.masters.remove(&seat).expect("it runs"));
    }

    /// Ends a master in order.
    pub async fn shutdown(&mut self, seat: u32) {
        self.masters
            .remove(&seat)
            .expect("it runs")
            .shutdown()
            .await;
    }

    /// Submits a job with so many reducers under a key.
    pub async fn submit(&self, key: &str, reducers: u32) -> JobId {
        let request = v1::SubmitJobRequest {
            key: key.to_owned(),
            spec: Some(spec(reducers).into()),
        };
        let response = self.jobs().await.submit_job(request).await.unwrap();
        JobId(response.into_inner().job)
    }

    /// A job's view.
    pub async fn job(&self, job: JobId) -> v1::Job {
        let request = v1::GetJobRequest { job: job.0 };
        let response = self.jobs().await.get_job(request).await.unwrap();
        response.into_inner().job.unwrap()
    }

    /// Workers as the leader lists them.
    pub async fn workers(&self) -> Vec<v1::Worker> {
        let mut client = ClusterServiceClient::new(self.leader_channel().await);
        let response = client.list_workers(v1::ListWorkersRequest {}).await;
        response.unwrap().into_inner().workers
    }
}

/// Looks until the condition holds.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "never came true: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks an HTTP endpoint; status and everything that came.
pub async fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    (status, response)
}

/// A specification that passes every check.
pub fn spec(reducers: u32) -> JobSpec {
    let visibility = Visibility::Host(HostIdentity(HOST.to_owned()));
    JobSpec {
        name: "a job".to_owned(),
        comment: String::new(),
        inputs: vec![InputPattern {
            path: "/data/input.txt".to_owned(),
            display: "input.txt".to_owned(),
            visibility: visibility.clone(),
        }],
        format: InputFormat::Text,
        split_bytes: 1_000,
        steps: vec![StepSpec::once("word-count", reducers)],
        output: OutputLocation::Directory {
            path: "/data/output".to_owned(),
            display: "output".to_owned(),
            visibility,
        },
        overwrite: false,
        priority: 50,
        policy: Policy::Locality,
        attempts_max: 4,
        timeout_ms: None,
        speculation: true,
        skipped_max: 0,
        side_files: Vec::new(),
        notify: None,
        source: String::new(),
        size_hint_bytes: None,
    }
}

/// An outcome that hands an attempt back.
pub const HANDED_BACK: Outcome = Outcome::HandedBack;
