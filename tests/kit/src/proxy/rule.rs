//! What is done to the bytes of a direction, and where it is written down.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::evidence::{Evidence, Tally};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the caller: requests.
    ToTarget,
    /// Back: answers.
    ToCaller,
}

/// What happens to the bytes of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// They pass.
    Pass,
    /// They pass late, in order, without a limit to their number.
    Delay {
        /// Each by at least this.
        fixed: Duration,
        /// And by up to this more, which one is rolled for each read.
        jitter: Duration,
        /// Of the dice; each connection has its own.
        seed: u64,
    },
    /// They are taken and held, up to a buffer's worth as a network would; the
    /// end of the connection too. They pass when the rule is replaced.
    Stall,
    /// They vanish, and so do connections to come, in whichever direction the
    /// rule is: the kernel answers no SYN. (One that comes in the first tenth of
    /// a second may still be accepted, and is silent.) A connection that lost
    /// bytes is reset when the rule is replaced: TCP would repeat them, a proxy
    /// cannot. One that was idle lives on.
    Drop,
    /// They vanish, and the end of the connection with them, for as long as the
    /// connection lives: also after the rule is replaced. The other direction
    /// lives. New connections are accepted, and are as dead in this direction.
    HalfOpen,
    /// Both sides of every connection get an RST, also of those to come; the
    /// target sees nothing of these.
    Reset,
    /// They pass no faster.
    Bandwidth {
        /// Of each connection.
        bytes_per_second: NonZeroU64,
    },
    /// So many of each connection pass from now on; then both sides get an RST.
    CutAfter {
        /// That pass.
        bytes: u64,
    },
}

/// A rule, or the fault that lasts for one answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Rule(Rule),
    LoseResponse { request_bytes_min: u64 },
}

/// A deed in force, and what it did.
#[derive(Debug)]
pub(super) struct Installed {
    pub deed: Deed,
    /// Tells one from the next, also if they are equal.
    pub number: u64,
    pub tally: Arc<Tally>,
    /// Set once, by the connection that loses its response.
    claimed: AtomicBool,
}

impl Installed {
    /// True for the first who asks.
    pub fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Relaxed)
    }

    /// Whether this is that rule.
    pub fn is(&self, rule: Rule) -> bool {
        match self.deed {
            Deed::Rule(ours) => ours == rule,
            Deed::LoseResponse { .. } => false,
        }
    }
}

/// How a connection learns of rules.
pub(super) type Rules = watch::Receiver<Arc<Installed>>;

/// The rules in force.
#[derive(Debug)]
pub(super) struct Board {
    to_target: watch::Sender<Arc<Installed>>,
    to_caller: watch::Sender<Arc<Installed>>,
    number: AtomicU64,
}

impl Board {
    pub fn new() -> Self {
        let pass = || watch::Sender::new(Arc::new(install(Deed::Rule(Rule::Pass), 0)));
        Self {
            to_target: pass(),
            to_caller: pass(),
            number: AtomicU64::new(0),
        }
    }

    fn sender(&self, direction: Direction) -> &watch::Sender<Arc<Installed>> {
        match direction {
            Direction::ToTarget => &self.to_target,
            Direction::ToCaller => &self.to_caller,
        }
    }

    pub fn rules(&self, direction: Direction) -> Rules {
        self.sender(direction).subscribe()
    }

    pub fn set(&self, direction: Direction, deed: Deed) -> Evidence {
        let installed = Arc::new(install(deed, self.next_number()));
        let evidence = Evidence::new(installed.tally.clone());
        self.sender(direction).send_replace(installed);
        evidence
    }

    /// Passes again, unless the rule was replaced already.
    pub fn end(&self, direction: Direction, number: u64) {
        let pass = Arc::new(install(Deed::Rule(Rule::Pass), self.next_number()));
        self.sender(direction).send_if_modified(|current| {
            let is_ours = current.number == number;
            if is_ours {
                *current = pass;
            }
            is_ours
        });
    }

    fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn install(deed: Deed, number: u64) -> Installed {
    Installed {
        deed,
        number,
        tally: Arc::default(),
        claimed: AtomicBool::new(false),
    }
}
