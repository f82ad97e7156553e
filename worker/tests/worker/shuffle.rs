//! Reduces whose holders of segments misbehave.

use std::path::Path;

use vivat_proto::v1;
use vivat_proto::v1::segment_service_client::SegmentServiceClient;
use vivat_shared::attempt::{Assignment, Broadcast, Outcome, Work};
use vivat_shared::job::JobSpec;
use vivat_worker::WorkerHandle;

use crate::common::{expected, id, map_of, start, word_count};
use crate::holder::{Fault, FaultyHolder};
use crate::leader::FakeLeader;

/// Maps that a worker has done, and another worker that is to reduce.
struct Bench {
    leader: FakeLeader,
    temp: tempfile::TempDir,
    spec: JobSpec,
    mapper: WorkerHandle,
    reducer: WorkerHandle,
}

const MAPS: u32 = 3;
const REDUCE: &str = "job-1.0.0.reduce-0.1";

impl Bench {
    async fn new() -> Self {
        Self::of_reducers(1).await
    }

    async fn of_reducers(reducers: u32) -> Self {
        let leader = FakeLeader::start().await;
        let temp = tempfile::tempdir().unwrap();
        let spec = word_count(temp.path(), "*.txt", reducers);
        let mapper = start(&leader, &temp.path().join("mapper"));
        leader
            .until("one", |state| state.registrations.len() == 1)
            .await;
        let reducer = start(&leader, &temp.path().join("reducer"));
        leader
            .until("two", |state| state.registrations.len() == 2)
            .await;
        for index in 0..MAPS {
            let path = temp.path().join(format!("{index}.txt"));
            let mut bytes = Vec::new();
            vivat_programs::generate::words(20_000, u64::from(index), &mut bytes).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let map = format!("job-1.0.0.map-{index}.1");
            leader.grant(&spec, [map_of(&map, &path)]);
            leader.outcome(id(&map)).await;
        }
        Self {
            leader,
            temp,
            spec,
            mapper,
            reducer,
        }
    }

    /// Says that worker 9 at that address has all segments.
    fn locate_at(&self, address: &str) {
        self.leader.change(|state| {
            state.addresses = vec![v1::WorkerAddress {
                worker: 9,
                epoch: 9,
                address: address.to_owned(),
            }];
            state.locations = (0..MAPS).map(|map| location(map, 9)).collect();
        });
    }

    fn start_reduce(&self) {
        let attempt = id(REDUCE);
        let work = Work::Reduce {
            maps: MAPS,
            output: None,
            broadcast: Broadcast::None,
        };
        self.leader
            .grant_to(2, &self.spec, [Assignment { attempt, work }]);
    }

    async fn assert_reduced(&self) {
        let outcome = self.leader.outcome(id(REDUCE)).await;
        let Outcome::Reduced { output, .. } = outcome else {
            panic!("{outcome:?}");
        };
        let paths: Vec<_> = (0..MAPS)
            .map(|i| self.temp.path().join(format!("{i}.txt")))
            .collect();
        let files: Vec<(&Path, &str)> = paths.iter().map(|path| (path.as_path(), "")).collect();
        let expected = expected(&self.spec, &files);
        assert_eq!(output.crc32c, crc32c::crc32c(&expected));
        assert_eq!(output.bytes, expected.len() as u64);
    }

    async fn end(self) {
        self.mapper.shutdown().await;
        self.reducer.shutdown().await;
    }
}

fn location(map: u32, holder: u32) -> v1::SegmentLocation {
    v1::SegmentLocation {
        map,
        attempt: 1,
        holder,
        epoch: u64::from(holder),
        size: 100,
    }
}

#[tokio::test]
async fn all_reduces_of_a_worker_fetch_from_another_one_over_one_stream() {
    const REDUCERS: u32 = 24;
    let bench = Bench::of_reducers(REDUCERS).await;
    let holder = FaultyHolder::start(bench.mapper.address(), [Fault::None]).await;
    bench.locate_at(&holder.address);
    let reduce = |partition| id(&format!("job-1.0.0.reduce-{partition}.1"));
    let assignments = (0..REDUCERS).map(|partition| Assignment {
        attempt: reduce(partition),
        work: Work::Reduce {
            maps: MAPS,
            output: None,
            broadcast: Broadcast::None,
        },
    });
    bench.leader.grant_to(2, &bench.spec, assignments);
    for partition in 0..REDUCERS {
        let outcome = bench.leader.outcome(reduce(partition)).await;
        assert!(matches!(outcome, Outcome::Reduced { .. }), "{outcome:?}");
    }
    let segments: usize = holder.requests().iter().map(|order| order.maps.len()).sum();
    assert_eq!(segments, (MAPS * REDUCERS) as usize);
    assert_eq!(holder.streams(), 1);
    bench.end().await;
}

#[tokio::test]
async fn broken_stream_is_taken_up_at_the_byte_where_it_broke() {
    let bench = Bench::new().await;
    let cuts = [Fault::CutAfter(2_500), Fault::CutAfter(4_000), Fault::None];
    let holder = FaultyHolder::start(bench.mapper.address(), cuts).await;
    bench.locate_at(&holder.address);
    bench.start_reduce();
    bench.assert_reduced().await;
    let requests = holder.requests();
    let asked: Vec<_> = requests.iter().map(|r| (r.maps.len(), r.offset)).collect();
    assert_eq!(asked, [(3, 0), (3, 3_000), (3, 7_000)]);
    bench
        .leader
        .look(|state| assert!(state.fetch_failures.is_empty()));
    bench.end().await;
}

#[tokio::test]
async fn damaged_segment_is_fetched_again() {
    let bench = Bench::new().await;
    let holder = FaultyHolder::start(bench.mapper.address(), [Fault::Flip(100), Fault::None]).await;
    bench.locate_at(&holder.address);
    bench.start_reduce();
    bench.assert_reduced().await;
    assert_eq!(holder.requests().len(), 2);
    assert_eq!(holder.requests()[1].maps.len(), 1);
    bench
        .leader
        .look(|state| assert!(state.fetch_failures.is_empty()));
    bench.end().await;
}

#[tokio::test]
async fn segment_that_stays_damaged_is_reported_as_gone() {
    let bench = Bench::new().await;
    let holder = FaultyHolder::start(bench.mapper.address(), [Fault::Flip(100)]).await;
    bench.locate_at(&holder.address);
    bench.start_reduce();
    let leader = &bench.leader;
    leader
        .until("reported", |state| !state.fetch_failures.is_empty())
        .await;
    leader.look(|state| {
        let failure = &state.fetch_failures[0];
        assert!(failure.gone);
        assert_eq!(failure.map.unwrap().index, 0);
        assert_eq!(failure.holder.unwrap().worker, 9);
    });
    bench.end().await;
}

#[tokio::test]
async fn lost_segment_is_fetched_from_where_the_map_ran_again() {
    let bench = Bench::new().await;
    let holder = FaultyHolder::start(bench.mapper.address(), [Fault::Gone]).await;
    bench.locate_at(&holder.address);
    bench.start_reduce();
    let leader = &bench.leader;
    leader
        .until("reported", |state| !state.fetch_failures.is_empty())
        .await;
    leader.look(|state| assert!(state.fetch_failures.iter().all(|failure| failure.gone)));
    // The maps are done again, by the worker that reduces: it reads its own.
    for map in 0..MAPS {
        let again = format!("job-1.0.0.map-{map}.2");
        let path = bench.temp.path().join(format!("{map}.txt"));
        leader.grant_to(2, &bench.spec, [map_of(&again, &path)]);
        leader.outcome(id(&again)).await;
    }
    let asked = holder.requests().len();
    leader.change(|state| {
        let lost = |map| v1::LostSegment { map, attempt: 1 };
        state.lost = (0..MAPS).map(lost).collect();
        state.locations = (0..MAPS)
            .map(|map| v1::SegmentLocation {
                attempt: 2,
                epoch: 2,
                ..location(map, 2)
            })
            .collect();
    });
    bench.assert_reduced().await;
    assert!(holder.requests().len() <= asked + 1);
    bench.end().await;
}

#[tokio::test]
async fn holder_that_does_not_answer_is_reported_after_three_tries_and_may_come_back() {
    let bench = Bench::new().await;
    let holder = FaultyHolder::start(bench.mapper.address(), [Fault::Unavailable]).await;
    bench.locate_at(&holder.address);
    bench.start_reduce();
    let leader = &bench.leader;
    leader
        .until("reported", |state| !state.fetch_failures.is_empty())
        .await;
    leader.look(|state| assert!(!state.fetch_failures[0].gone));
    assert!(holder.requests().len() >= 3);
    holder.heal();
    bench.assert_reduced().await;
    bench.end().await;
}

#[tokio::test]
async fn reduce_that_meets_a_damaged_segment_of_its_own_worker_gives_its_slot_up() {
    let bench = Bench::new().await;
    let leader = &bench.leader;
    // Worker 2 has done map 0 itself, and its disk changes a byte of it.
    let own = "job-1.0.0.map-0.2";
    let path = bench.temp.path().join("0.txt");
    leader.grant_to(2, &bench.spec, [map_of(own, &path)]);
    leader.outcome(id(own)).await;
    let segment = bench
        .temp
        .path()
        .join(format!("reducer/segments/job-1/{own}.seg"));
    let whole = std::fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    damaged[60] ^= 1;
    std::fs::write(&segment, damaged).unwrap();
    bench.locate_at(bench.mapper.address());
    leader.change(|state| {
        state.locations[0] = v1::SegmentLocation {
            attempt: 2,
            epoch: 2,
            ..location(0, 2)
        };
    });
    bench.start_reduce();
    // Read twice, reported, and free for the map that runs again meanwhile.
    leader
        .until("reported", |state| !state.fetch_failures.is_empty())
        .await;
    leader.look(|state| assert!(state.fetch_failures[0].gone));
    let again = "job-1.0.0.map-0.3";
    leader.grant_to(2, &bench.spec, [map_of(again, &path)]);
    assert!(matches!(
        leader.outcome(id(again)).await,
        Outcome::Mapped { .. }
    ));
    leader.change(|state| {
        state.lost = vec![v1::LostSegment { map: 0, attempt: 2 }];
        state.locations[0] = v1::SegmentLocation {
            attempt: 3,
            epoch: 2,
            ..location(0, 2)
        };
    });
    bench.assert_reduced().await;
    bench.end().await;
}

#[tokio::test]
async fn probe_tells_a_whole_segment_from_a_damaged_and_a_missing_one() {
    let bench = Bench::new().await;
    let path = |map: &str| {
        bench
            .temp
            .path()
            .join(format!("mapper/segments/job-1/{map}.seg"))
    };
    let maps = [
        "job-1.0.0.map-0.1",
        "job-1.0.0.map-1.1",
        "job-1.0.0.map-2.1",
    ];
    let mut bytes = std::fs::read(path(maps[1])).unwrap();
    bytes[60] ^= 1;
    std::fs::write(path(maps[1]), bytes).unwrap();
    std::fs::remove_file(path(maps[2])).unwrap();
    let origin = format!("http://{}", bench.mapper.address());
    let mut client = SegmentServiceClient::connect(origin).await.unwrap();
    let mut healthy = Vec::new();
    for map in maps {
        let request = v1::ProbeSegmentsRequest {
            holder: Some(v1::WorkerEpoch {
                worker: 1,
                epoch: 1,
            }),
            map: Some(id(map).into()),
        };
        healthy.push(
            client
                .probe_segments(request)
                .await
                .unwrap()
                .into_inner()
                .healthy,
        );
    }
    assert_eq!(healthy, [true, false, false]);
    drop(client);
    bench.end().await;
}
