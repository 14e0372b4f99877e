//! What an attempt is charged with, whatever the meters do.

use std::sync::Mutex;

use libmanta::triton::Reading;
use libmanta::{SystemClock, TaskId, Timestamp};
use tokio::sync::watch;

use super::*;
use crate::agent::{Feed, What};
use crate::context::JobContext;
use crate::run::Queued;

/// Tells what the test says.
#[derive(Debug, Default)]
struct Told(Mutex<Reading>);

impl Meter for Told {
    fn read(&self) -> Reading {
        *self.0.lock().unwrap()
    }
}

fn task() -> TaskSpec {
    TaskSpec {
        id: TaskId::random(),
        job: JobContext::of_nobody(),
        phase: 0,
        attempt: 1,
        what: What::Reduce {
            index: 0,
            feed: watch::channel(Feed::default()).1,
            open: false,
        },
        queued: Queued {
            at: Timestamp::from_millis(0),
            since: Instant::now(),
        },
        run: None,
    }
}

fn odometer(meter: &Arc<Told>) -> Odometer {
    Odometer {
        meter: Arc::clone(meter) as Arc<dyn Meter>,
        traffic: Arc::default(),
        spec: ZoneSpec {
            memory_bytes: 1 << 30,
            disk_bytes: 8 << 30,
            image: None,
        },
        last: Used::default(),
    }
}

fn plus(a: Used, b: Used) -> Used {
    a.combine(b, |a, b| a + b, |a, b| a + b)
}

#[test]
fn differences_add_up_to_the_whole_also_when_a_meter_runs_backwards() {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut random: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
    let meter = Arc::new(Told::default());
    let mut odometer = odometer(&meter);
    let auditor = Auditor::new(
        &"node".into(),
        Arc::new(SystemClock),
        Duration::from_secs(300),
    );
    let task = task();
    for _ in 0..20 {
        let before = odometer.last;
        let mut metered = Metered::start(&auditor, &mut odometer, &task);
        let mut sum = Used::default();
        for _ in 0..10 {
            let any = rand::Rng::random_range(&mut random, 0..1000);
            *meter.0.lock().unwrap() = Reading {
                cpu_user: Duration::from_millis(any),
                cpu_system: Duration::from_nanos(any * any),
                oom_kills: any % 3,
                read_bytes: 1000 - any,
                written_bytes: any,
                ..Reading::default()
            };
            let taken = metered.take();
            sum = plus(sum, taken.delta);
            assert_eq!(metered.told, sum);
            assert!(
                taken.now.at_least(before) == taken.now,
                "never less than before"
            );
        }
        let _ = metered.end();
    }
}

#[test]
fn an_attempt_pays_for_itself_alone_however_it_ends() {
    let meter = Arc::new(Told::default());
    let set = |millis: u64, bytes: u64| {
        *meter.0.lock().unwrap() = Reading {
            cpu_user: Duration::from_millis(millis),
            written_bytes: bytes,
            ..Reading::default()
        };
    };
    let mut odometer = odometer(&meter);
    let auditor = Auditor::new(
        &"node".into(),
        Arc::new(SystemClock),
        Duration::from_secs(300),
    );
    let task = task();
    let metered = Metered::start(&auditor, &mut odometer, &task);
    set(70, 5);
    let first = metered.end();
    assert_eq!((first.cpu_ms, first.written_bytes), (70, 5));
    let dropped = Metered::start(&auditor, &mut odometer, &task);
    set(100, 6);
    drop(dropped);
    let metered = Metered::start(&auditor, &mut odometer, &task);
    set(101, 16);
    let third = metered.end();
    assert_eq!((third.cpu_ms, third.written_bytes), (1, 10));
}

#[test]
fn memory_is_paid_for_by_size_and_time() {
    assert_eq!(byte_seconds(1 << 30, Duration::from_millis(1500)), 3 << 29);
    assert_eq!(byte_seconds(u64::MAX, Duration::from_secs(9)), u64::MAX);
    let used = Used {
        time: Duration::new(3, 7),
        byte_seconds: 9,
        ..Used::default()
    };
    let spec = ZoneSpec {
        memory_bytes: 512 << 20,
        disk_bytes: 8 << 30,
        image: None,
    };
    let expected = json!({
        "time": [3, 7],
        "cpu": {"user": 0, "system": 0},
        "memory": {"used": 0, "peak": 0, "limit": 536_870_912, "byteSeconds": 9, "oomKills": 0},
        "vfs": {"nread": 0, "nwritten": 0},
        "vnic0": {"rbytes64": 0, "obytes64": 0},
        "config_disk": 8,
    });
    assert_eq!(metrics(used, Levels::default(), &spec), expected);
}
