//! The scheduler, driven by lists of events.

use super::*;

const IDLE: Duration = Duration::from_secs(2);

fn schedule(streams: usize, zones: usize) -> Schedule {
    Schedule::new(Limits {
        streams,
        zones,
        idle: IDLE,
    })
}

fn group() -> GroupKey {
    GroupKey {
        job: JobId::random(),
        phase: 0,
    }
}

fn submit(schedule: &mut Schedule, key: GroupKey, tasks: usize) {
    for _ in 0..tasks {
        schedule.submit(key, false, false, TaskId::random());
    }
}

fn started(effects: &[Effect], key: GroupKey) -> Vec<StreamId> {
    let of_group = |effect: &Effect| match effect {
        Effect::Start { stream, group } if *group == key => Some(*stream),
        _ => None,
    };
    effects.iter().filter_map(of_group).collect()
}

fn runs(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|e| matches!(e, Effect::Run { .. }))
        .count()
}

#[test]
fn a_group_gets_as_many_streams_as_it_has_tasks_and_the_cores_have_room() {
    let now = Instant::now();
    let mut schedule = schedule(3, 8);
    let key = group();
    submit(&mut schedule, key, 2);
    assert_eq!(started(&schedule.balance(now), key).len(), 2);
    assert_eq!(schedule.balance(now), []);
    submit(&mut schedule, key, 5);
    assert_eq!(started(&schedule.balance(now), key).len(), 1);
}

#[test]
fn a_stream_runs_task_after_task_and_goes_when_the_group_is_closed() {
    let now = Instant::now();
    let mut schedule = schedule(1, 1);
    let key = group();
    submit(&mut schedule, key, 3);
    let stream = started(&schedule.balance(now), key)[0];
    for _ in 0..3 {
        schedule.free(stream, now);
        assert_eq!(runs(&schedule.balance(now)), 1);
    }
    schedule.free(stream, now);
    assert_eq!(schedule.balance(now), []);
    assert_eq!(schedule.next_deadline(), Some(now + IDLE));
    schedule.close(key);
    assert_eq!(schedule.balance(now), [Effect::Stop { stream }]);
    schedule.ended(stream);
    assert!(!schedule.has(key));
}

#[test]
fn an_idle_stream_waits_for_more_only_so_long() {
    let now = Instant::now();
    let mut schedule = schedule(1, 1);
    let key = group();
    submit(&mut schedule, key, 1);
    let stream = started(&schedule.balance(now), key)[0];
    schedule.free(stream, now);
    schedule.balance(now);
    schedule.free(stream, now);
    assert_eq!(schedule.balance(now + IDLE / 2), []);
    assert_eq!(schedule.balance(now + IDLE), [Effect::Stop { stream }]);
}

#[test]
fn a_waiting_group_gets_a_zone_beyond_the_cores() {
    let now = Instant::now();
    let mut schedule = schedule(2, 3);
    let (first, second) = (group(), group());
    submit(&mut schedule, first, 100);
    assert_eq!(started(&schedule.balance(now), first).len(), 2);
    submit(&mut schedule, second, 1);
    assert_eq!(started(&schedule.balance(now), second).len(), 1);
}

#[test]
fn groups_take_turns_when_every_zone_is_taken() {
    let now = Instant::now();
    let mut schedule = schedule(1, 1);
    let groups = [group(), group(), group()];
    for key in groups {
        submit(&mut schedule, key, 100);
    }
    let mut order = Vec::new();
    let mut effects = schedule.balance(now);
    for _ in 0..6 {
        let (stream, key) = effects
            .iter()
            .find_map(|effect| match effect {
                Effect::Start { stream, group } => Some((*stream, *group)),
                _ => None,
            })
            .unwrap();
        order.push(key);
        // It runs one task, and then the zone is wanted elsewhere.
        schedule.free(stream, now);
        assert_eq!(runs(&schedule.balance(now)), 1);
        schedule.free(stream, now);
        assert_eq!(schedule.balance(now), [Effect::Stop { stream }]);
        schedule.ended(stream);
        effects = schedule.balance(now);
    }
    assert_eq!(order[..3], groups);
    assert_eq!(order[3..], groups);
}

#[test]
fn open_reducers_leave_zones_to_the_tasks_that_feed_them() {
    let now = Instant::now();
    let mut schedule = schedule(3, 4);
    let reducers = group();
    for _ in 0..8 {
        schedule.submit(reducers, true, false, TaskId::random());
    }
    assert_eq!(started(&schedule.balance(now), reducers).len(), 1);
    let maps = group();
    submit(&mut schedule, maps, 10);
    assert_eq!(started(&schedule.balance(now), maps).len(), 2);
    schedule.close(reducers);
    assert_eq!(started(&schedule.balance(now), reducers).len(), 0);
}

#[test]
fn with_one_zone_reducers_wait_until_their_input_has_ended() {
    let now = Instant::now();
    let mut schedule = schedule(2, 1);
    let key = group();
    schedule.submit(key, true, false, TaskId::random());
    assert_eq!(schedule.balance(now), []);
    schedule.close(key);
    assert_eq!(started(&schedule.balance(now), key).len(), 1);
}

#[test]
fn an_aborted_job_loses_its_tasks_and_gives_its_streams_back() {
    let now = Instant::now();
    let mut schedule = schedule(2, 2);
    let key = group();
    submit(&mut schedule, key, 5);
    let streams = started(&schedule.balance(now), key);
    schedule.free(streams[0], now);
    schedule.balance(now);
    assert_eq!(schedule.abort(key.job).len(), 4);
    schedule.free(streams[0], now);
    schedule.free(streams[1], now);
    assert_eq!(schedule.balance(now).len(), 2);
    for stream in streams {
        schedule.ended(stream);
    }
    assert!(!schedule.has(key));
}
