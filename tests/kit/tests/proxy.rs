//! Each rule does to connections what it says, and its evidence says what it did.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::timeout;
use vivat_testkit::proxy::{Direction, Proxy, Rule};

/// By then it happened, or it never will.
const DEADLINE: Duration = Duration::from_secs(10);
/// Nothing came for so long: nothing comes.
const SILENCE: Duration = Duration::from_millis(150);

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A target and a proxy before it.
struct Rig {
    target: TcpListener,
    proxy: Proxy,
}

/// Both ends of a connection through the proxy.
struct Pair {
    caller: TcpStream,
    target: TcpStream,
}

impl Rig {
    async fn new() -> Self {
        let target = TcpListener::bind(any_port()).await.unwrap();
        let address = target.local_addr().unwrap();
        let proxy = Proxy::start(any_port(), address).await.unwrap();
        Self { target, proxy }
    }

    async fn call(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }

    async fn pair(&self) -> Pair {
        let caller = self.call().await;
        let (target, _) = timeout(DEADLINE, self.target.accept())
            .await
            .unwrap()
            .unwrap();
        Pair { caller, target }
    }
}

impl Pair {
    /// Whether a word gets through both ways.
    async fn is_alive(&mut self) -> bool {
        let request = Self::transfer(&mut self.caller, &mut self.target, b"ping").await;
        request && Self::transfer(&mut self.target, &mut self.caller, b"pong").await
    }

    async fn transfer(from: &mut TcpStream, to: &mut TcpStream, word: &[u8]) -> bool {
        from.write_all(word).await.unwrap();
        let mut read = vec![0; word.len()];
        let whole = timeout(SILENCE * 4, to.read_exact(&mut read)).await;
        matches!(whole, Ok(Ok(_))) && read == word
    }
}

/// How a stream ends; none if it does not.
async fn end_of(stream: &mut TcpStream) -> Option<Result<usize, ErrorKind>> {
    let mut byte = [0];
    let read = timeout(SILENCE, stream.read(&mut byte)).await.ok()?;
    Some(read.map_err(|error| error.kind()))
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let end = timeout(DEADLINE, stream.read_to_end(&mut rest))
        .await
        .unwrap();
    end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn without_a_rule_every_byte_and_the_end_pass() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    let request: Vec<u8> = (0..1_000_000_u32).map(|it| it.to_le_bytes()[0]).collect();
    let mut arrived = Vec::new();
    let send = async {
        pair.caller.write_all(&request).await.unwrap();
        pair.caller.shutdown().await.unwrap();
    };
    let (_, bytes) = tokio::join!(send, pair.target.read_to_end(&mut arrived));
    assert_eq!(bytes.unwrap(), request.len());
    assert_eq!(arrived, request);
    // The other direction is open still.
    pair.target.write_all(b"answer").await.unwrap();
    drop(pair.target);
    let mut answer = Vec::new();
    pair.caller.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    assert_eq!(rig.proxy.connections(), 1);
}

#[tokio::test]
async fn a_rule_that_met_nothing_has_no_evidence() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    let stall = rig.proxy.set(Direction::ToCaller, Rule::Stall);
    assert!(Pair::transfer(&mut pair.caller, &mut pair.target, b"ping").await);
    let missed = stall.wait(SILENCE).await.unwrap_err();
    assert_eq!(
        missed.to_string(),
        "the fault hit no byte and no connection within 150ms"
    );
    let pass = rig.proxy.set(Direction::ToTarget, Rule::Pass);
    assert!(Pair::transfer(&mut pair.caller, &mut pair.target, b"ping").await);
    assert_eq!((pass.passed_bytes(), pass.happened()), (4, false));
}

#[tokio::test]
async fn delayed_bytes_come_late_and_in_order_but_not_one_by_one() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    let fixed = Duration::from_millis(200);
    let delay = rig.proxy.set(
        Direction::ToTarget,
        Rule::Delay {
            fixed,
            jitter: Duration::from_millis(20),
            seed: 1,
        },
    );
    let started = Instant::now();
    let send = async {
        for number in 0..50_u8 {
            pair.caller.write_all(&[number]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let mut arrived = [0; 50];
    let (_, read) = tokio::join!(send, pair.target.read_exact(&mut arrived));
    read.unwrap();
    let took = started.elapsed();
    assert!(took >= fixed, "{took:?}");
    assert!(took < fixed * 10, "{took:?}: one after the other");
    assert!(arrived.is_sorted());
    assert_eq!((delay.hit_bytes(), delay.hit_connections()), (50, 1));

    let started = Instant::now();
    assert!(Pair::transfer(&mut pair.target, &mut pair.caller, b"pong").await);
    assert!(
        started.elapsed() < fixed,
        "the other direction has no delay"
    );
}

#[tokio::test]
async fn stalled_bytes_and_their_end_wait_until_the_rule_goes() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    let stall = rig.proxy.set(Direction::ToTarget, Rule::Stall);
    pair.caller.write_all(b"request").await.unwrap();
    pair.caller.shutdown().await.unwrap();
    stall.wait(DEADLINE).await.unwrap();
    assert_eq!(end_of(&mut pair.target).await, None);
    assert!(Pair::transfer(&mut pair.target, &mut pair.caller, b"pong").await);
    assert_eq!(stall.hit_bytes(), 7);
    rig.proxy.heal();
    let mut arrived = Vec::new();
    pair.target.read_to_end(&mut arrived).await.unwrap();
    assert_eq!(arrived, b"request");
}

#[tokio::test]
async fn a_stalled_sender_is_stopped_by_full_buffers() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    rig.proxy.set(Direction::ToTarget, Rule::Stall);
    let endless = vec![0; 64 << 20];
    let sent = timeout(Duration::from_secs(1), pair.caller.write_all(&endless)).await;
    assert!(sent.is_err(), "64 MiB fitted into buffers");
}

#[tokio::test]
async fn a_black_hole_takes_bytes_and_answers_no_handshake() {
    let rig = Rig::new().await;
    let mut busy = rig.pair().await;
    let mut idle = rig.pair().await;
    let drop_rule = rig.proxy.set(Direction::ToTarget, Rule::Drop);
    busy.caller.write_all(b"lost").await.unwrap();
    drop_rule.wait(DEADLINE).await.unwrap();
    assert_eq!(end_of(&mut busy.target).await, None);
    // The queue is closed a moment after the rule is set.
    let hangs = async {
        loop {
            let call = TcpStream::connect(rig.proxy.address());
            if timeout(Duration::from_millis(500), call).await.is_err() {
                return;
            }
        }
    };
    timeout(DEADLINE, hangs).await.unwrap();

    rig.proxy.heal();
    assert!(is_reset(&mut busy.caller).await, "it has a hole");
    assert!(is_reset(&mut busy.target).await);
    assert!(idle.is_alive().await, "it lost nothing");
    assert_eq!((drop_rule.hit_bytes(), drop_rule.hit_connections()), (4, 1));
    let mut call = TcpStream::connect(rig.proxy.address()).await.unwrap();
    call.write_all(b"new").await.unwrap();
    // Those that hung may have come through meanwhile: look for the one that speaks.
    let speaks = async {
        loop {
            let (mut target, _) = rig.target.accept().await.unwrap();
            let mut word = [0; 3];
            if target.read_exact(&mut word).await.is_ok() && &word == b"new" {
                return;
            }
        }
    };
    timeout(DEADLINE, speaks).await.unwrap();
}

#[tokio::test]
async fn a_black_hole_for_answers_hides_new_connections_too() {
    let rig = Rig::new().await;
    rig.proxy.set(Direction::ToCaller, Rule::Drop);
    let hangs = async {
        loop {
            let call = TcpStream::connect(rig.proxy.address());
            if timeout(Duration::from_millis(500), call).await.is_err() {
                return;
            }
        }
    };
    timeout(DEADLINE, hangs).await.unwrap();
    rig.proxy.heal();
    let call = timeout(DEADLINE, TcpStream::connect(rig.proxy.address()));
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_half_open_connection_never_hears_again() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    let dead = rig.proxy.set(Direction::ToCaller, Rule::HalfOpen);
    assert!(Pair::transfer(&mut pair.caller, &mut pair.target, b"ping").await);
    pair.target.write_all(b"pong").await.unwrap();
    dead.wait(DEADLINE).await.unwrap();
    rig.proxy.heal();
    assert!(Pair::transfer(&mut pair.caller, &mut pair.target, b"ping").await);
    drop(pair.target);
    assert_eq!(end_of(&mut pair.caller).await, None, "not even the end");
    assert_eq!((dead.hit_bytes(), dead.hit_connections()), (4, 1));
    assert!(rig.pair().await.is_alive().await, "a new one is whole");
}

#[tokio::test]
async fn a_reset_ends_living_connections_and_those_to_come() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    assert!(pair.is_alive().await);
    let (to_target, to_caller) = rig.proxy.set_both(Rule::Reset);
    assert!(is_reset(&mut pair.caller).await);
    assert!(is_reset(&mut pair.target).await);
    let mut another = rig.call().await;
    assert!(is_reset(&mut another).await);
    let seen = timeout(SILENCE, rig.target.accept()).await;
    assert!(seen.is_err(), "the target saw a connection");
    assert_eq!(to_target.hit_connections(), 2);
    assert_eq!(to_caller.hit_connections(), 2);
    rig.proxy.heal();
    assert!(rig.pair().await.is_alive().await);
}

#[tokio::test]
async fn bandwidth_is_what_it_is_limited_to() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    let bytes_per_second = NonZeroU64::new(200_000).unwrap();
    let slow = rig
        .proxy
        .set(Direction::ToTarget, Rule::Bandwidth { bytes_per_second });
    let started = Instant::now();
    let mut arrived = vec![0; 100_000];
    let request = arrived.clone();
    let (sent, read) = tokio::join!(
        pair.caller.write_all(&request),
        pair.target.read_exact(&mut arrived)
    );
    sent.unwrap();
    read.unwrap();
    let took = started.elapsed();
    assert!(took > Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(slow.hit_bytes(), 100_000);
}

#[tokio::test]
async fn a_cut_lets_exactly_so_many_bytes_through() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    assert!(pair.is_alive().await, "these bytes do not count");
    let cut = rig
        .proxy
        .set(Direction::ToTarget, Rule::CutAfter { bytes: 1_000 });
    pair.caller.write_all(&[7; 600]).await.unwrap();
    let mut arrived = [0; 600];
    pair.target.read_exact(&mut arrived).await.unwrap();
    assert!(!cut.happened());
    pair.caller.write_all(&[7; 600]).await.unwrap();
    let mut rest = Vec::new();
    let end = pair.target.read_to_end(&mut rest).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(rest.len() <= 400, "an RST may overtake bytes, not add any");
    assert!(is_reset(&mut pair.caller).await);
    assert_eq!((cut.passed_bytes(), cut.hit_connections()), (1_000, 1));
}

#[tokio::test]
async fn a_lost_response_leaves_the_target_in_peace() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    let lost = rig.proxy.lose_next_response(10);
    assert!(pair.is_alive().await, "four bytes are not the request");
    pair.caller
        .write_all(b"a request of more than ten")
        .await
        .unwrap();
    let mut request = [0; 26];
    pair.target.read_exact(&mut request).await.unwrap();
    // The target takes its time: quiet alone is not an answer.
    assert_eq!(end_of(&mut pair.caller).await, None);
    assert!(!lost.happened());
    pair.target.write_all(b"committed").await.unwrap();
    assert!(is_reset(&mut pair.caller).await);
    lost.wait(DEADLINE).await.unwrap();
    assert_eq!((lost.hit_bytes(), lost.hit_connections()), (9, 1));
    assert_eq!(end_of(&mut pair.target).await, None, "it sees no fault");
    pair.target.write_all(b"more").await.unwrap();

    let mut retry = rig.pair().await;
    retry
        .caller
        .write_all(b"a request of more than ten")
        .await
        .unwrap();
    retry.target.read_exact(&mut request).await.unwrap();
    assert!(retry.is_alive().await, "only one answer is lost");
}

#[tokio::test]
async fn a_response_of_several_parts_is_lost_as_a_whole() {
    let rig = Rig::new().await;
    let mut pair = rig.pair().await;
    let lost = rig.proxy.lose_next_response(1);
    pair.caller.write_all(b"request").await.unwrap();
    let mut request = [0; 7];
    pair.target.read_exact(&mut request).await.unwrap();
    for _ in 0..5 {
        pair.target.write_all(b"part").await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    let end = pair.caller.read_to_end(&mut seen).await;
    assert!(end.is_err() && seen.is_empty());
    assert_eq!(lost.hit_bytes(), 20);
}

#[tokio::test]
async fn a_target_that_does_not_listen_resets_its_callers() {
    let rig = Rig::new().await;
    drop(rig.target);
    let mut caller = TcpStream::connect(rig.proxy.address()).await.unwrap();
    assert!(is_reset(&mut caller).await);
}

#[tokio::test]
async fn a_dropped_proxy_leaves_no_task_and_no_listener() {
    let before = Handle::current().metrics().num_alive_tasks();
    let rig = Rig::new().await;
    let mut pairs = Vec::new();
    for rule in [Rule::Pass, Rule::Stall, Rule::HalfOpen] {
        rig.proxy.set_both(rule);
        pairs.push(rig.pair().await);
    }
    let address = rig.proxy.address();
    assert!(Handle::current().metrics().num_alive_tasks() > before + 2);
    drop(rig);
    let ended = async {
        while Handle::current().metrics().num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, ended).await.unwrap();
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    for pair in &mut pairs {
        assert!(end_of(&mut pair.caller).await.is_some());
    }
}
