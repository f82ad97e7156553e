//! A process that dies, fails or waits at each point between two steps of what it
//! promises, and the one after it, which finds all that was acknowledged (F3, S1,
//! S9, S13; mistakes 2 and 3).
//!
//! Nothing of the disk is lost here: what the process wrote before its SIGKILL is
//! there. So no death may cost a replica, and a disk that is refused is a failure.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vivat_testkit::dice::Dice;
use vivat_testkit::failpoints::Orders;

use super::diary::Told;
use super::state::{Operation, State, operations_included};
use super::subject::Kind;
use super::writer::Order;

/// Of each point.
const KILLS: u64 = 3;
const SIGKILL: i32 = 9;
/// More than a writer gets to do.
const OPERATIONS: u64 = 20_000;
/// Acknowledgements after a stall that show that the store goes on.
const SOME: u64 = 3;
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(3);
/// Every start passes these once, so the first pass is the one.
const AT_START: [&str; 2] = ["open-", "read-"];

/// What the other orders are, each given once at each point.
const OTHERS: [&str; 3] = ["panic", "error", "sleep=15"];

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub kills: u64,
    pub panics_and_errors: u64,
    pub stalls: u64,
    pub acknowledged: u64,
}

/// One disk, and one process after the other on it.
struct Station {
    kind: Kind,
    dice: Dice,
    dir: TempDir,
    orders: Orders,
    writers: u64,
    before: State,
    operations: Vec<Operation>,
    acknowledged: usize,
    totals: Totals,
}

/// Lets processes die at each of the points, whose names are given.
pub fn survive(kind: Kind, points: &[&str], seed: u64) -> Totals {
    let dir = tempfile::tempdir().unwrap();
    let mut station = Station {
        kind,
        dice: Dice::new(seed),
        orders: Orders::at(&dir.path().join("orders")),
        dir,
        writers: 0,
        before: State::default(),
        operations: Vec::new(),
        acknowledged: 0,
        totals: Totals::default(),
    };
    for point in points {
        for _ in 0..KILLS {
            station.kill_at(point);
        }
        for action in OTHERS {
            station.disturb_at(point, action);
        }
    }
    station.look();
    station.totals
}

impl Station {
    fn order(&mut self, operations: u64) -> Order {
        self.writers += 1;
        Order {
            kind: self.kind,
            directory: self.dir.path().join("disk/raft"),
            diary: self.dir.path().join(self.writers.to_string()),
            seed: self.dice.roll(),
            first_write: self.writers * 1_000_000,
            operations,
            failures: 0,
        }
    }

    /// SIGKILL at a pass of the point that the dice choose.
    fn kill_at(&mut self, point: &str) {
        let at_start = AT_START.iter().any(|start| point.starts_with(start));
        let let_through = if at_start { 0 } else { self.dice.up_to(4) };
        let line = format!("{point} kill {let_through}");
        self.orders.give(&[&line]);
        let order = self.order(OPERATIONS);
        let mut writer = order.start_with(Some(&self.orders));
        let mut status = None;
        wait(&line, || {
            status = writer.exit_status();
            status.is_some()
        });
        let signal = status.and_then(|status| status.signal());
        assert_eq!(signal, Some(SIGKILL), "{line}: {:?}", told(&order));
        assert_eq!(self.orders.take_struck(), [line.as_str()]);
        self.judge(&told(&order), &line);
        self.totals.kills += 1;
    }

    /// A panic or an error ends the store; a stall does not.
    fn disturb_at(&mut self, point: &str, action: &str) {
        let line = format!("{point} {action}");
        self.orders.give(&[&line]);
        let order = self.order(OPERATIONS);
        let mut writer = order.start_with(Some(&self.orders));
        if action.starts_with("sleep") {
            wait(&line, || !self.orders.struck().is_empty());
            let before = told(&order).acknowledgements;
            wait(&line, || {
                told(&order).acknowledgements >= before + SOME || writer.has_ended()
            });
            assert!(!writer.has_ended(), "{line}: {:?}", told(&order));
            writer.kill();
            self.totals.stalls += 1;
        } else {
            wait(&line, || writer.has_ended());
            let struck = self.orders.struck().len();
            // A log ends by itself; a file's owner ends when it hears of it.
            let is_once = struck == 1 || self.kind.only_votes();
            assert!(struck > 0 && is_once, "S13: {line} struck {struck} times");
            self.totals.panics_and_errors += 1;
        }
        self.orders.take_struck();
        self.judge(&told(&order), &line);
    }

    /// The last process, which dies of nothing.
    fn look(&mut self) {
        self.orders.withdraw();
        let order = self.order(0);
        let mut writer = order.start();
        wait("a last look", || writer.has_ended());
        let told = told(&order);
        assert!(told.found.is_some(), "{told:?}");
        self.judge(&told, "a last look");
    }

    /// Compares what a process found with what the ones before it did.
    fn judge(&mut self, told: &Told, line: &str) {
        self.totals.acknowledged += told.acknowledgements;
        let was_read = told
            .wrong
            .as_ref()
            .is_none_or(|wrong| wrong.contains("failpoint"));
        assert!(was_read, "{line}: {told:?}");
        let Some(found) = &told.found else {
            // It was stopped on its way to open.
            let ordered = told.refused.as_deref().unwrap_or("failpoint");
            assert!(ordered.contains("failpoint"), "{line}: {told:?}");
            return;
        };
        let included =
            operations_included(&self.before, &self.operations, self.acknowledged, found);
        assert!(
            included.is_some(),
            "{line}: before: {:?}\nthen: {:?}\nof these, {} are acknowledged, \
             and there is {found:?}",
            self.before,
            self.operations,
            self.acknowledged,
        );
        self.before = found.clone();
        self.operations.clone_from(&told.operations);
        self.acknowledged = told.acknowledged;
    }
}

fn told(order: &Order) -> Told {
    Told::read(&order.diary)
}

fn wait(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !happened() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(POLL);
    }
}
