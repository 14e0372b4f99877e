//! The scheduler, driven by lists of events.

use super::*;

const IDLE: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(300);
const KILL: Duration = Duration::from_secs(15);

fn schedule(streams: usize, zones: usize) -> Schedule {
    Schedule::new(Limits {
        streams,
        zones,
        idle: IDLE,
        hog_grace: GRACE,
        hog_kill: KILL,
    })
}

fn group() -> GroupKey {
    GroupKey {
        job: JobId::random(),
        phase: 0,
    }
}

fn account(weight: u32) -> Owner {
    Owner {
        account: AccountId::random(),
        weight,
    }
}

/// For an account of its own.
fn submit(schedule: &mut Schedule, key: GroupKey, tasks: usize) {
    submit_for(schedule, account(1), key, tasks);
}

fn submit_for(schedule: &mut Schedule, owner: Owner, key: GroupKey, tasks: usize) {
    for _ in 0..tasks {
        schedule.submit(key, owner, false, false, (TaskId::random(), 1));
    }
}

fn all_started(effects: &[Effect]) -> Vec<(StreamId, GroupKey)> {
    let start = |effect: &Effect| match effect {
        Effect::Start { stream, group } => Some((*stream, *group)),
        _ => None,
    };
    effects.iter().filter_map(start).collect()
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
    assert!(!schedule.keys().contains(&key));
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
        schedule.submit(reducers, account(1), true, false, (TaskId::random(), 1));
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
    schedule.submit(key, account(1), true, false, (TaskId::random(), 1));
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
    assert!(!schedule.keys().contains(&key));
}

#[test]
fn many_jobs_of_one_account_do_not_keep_another_account_waiting() {
    let now = Instant::now();
    let mut schedule = schedule(2, 2);
    let (many, one) = (account(1), account(1));
    for _ in 0..50 {
        submit_for(&mut schedule, many, group(), 10);
    }
    let taken = all_started(&schedule.balance(now));
    assert_eq!(taken.len(), 2);
    let late = group();
    submit_for(&mut schedule, one, late, 10);
    for (stream, _) in &taken {
        schedule.free(*stream, now);
    }
    assert_eq!(
        runs(&schedule.balance(now)),
        2,
        "a zone runs something first"
    );
    let (stream, _) = taken[0];
    schedule.free(stream, now);
    assert_eq!(schedule.balance(now), [Effect::Stop { stream }]);
    schedule.ended(stream);
    let started = all_started(&schedule.balance(now));
    assert_eq!(started.len(), 1);
    assert_eq!(started[0].1, late, "before the other 48 jobs");
    // Two accounts, two zones: the late one keeps its own while the many take turns with theirs.
    let (of_late, (of_many, _)) = (started[0].0, taken[1]);
    for _ in 0..5 {
        schedule.free(of_late, now);
        assert_eq!(runs(&schedule.balance(now)), 1);
    }
    schedule.free(of_many, now);
    assert_eq!(schedule.balance(now), [Effect::Stop { stream: of_many }]);
}

/// Accounts that always have something to do, each task a tick long: how many zones they held, added up.
fn work(schedule: &mut Schedule, accounts: &[(Owner, usize)], ticks: u32) -> Vec<usize> {
    let mut now = Instant::now();
    let jobs: Vec<(Owner, GroupKey)> = accounts
        .iter()
        .flat_map(|(owner, jobs)| (0..*jobs).map(|_| (*owner, group())))
        .collect();
    let mut held = vec![0; accounts.len()];
    let mut starting = Vec::new();
    let mut running: Vec<StreamId> = Vec::new();
    for _ in 0..ticks {
        for (owner, key) in &jobs {
            submit_for(schedule, *owner, *key, 8);
        }
        for stream in starting.drain(..).chain(running.drain(..)) {
            schedule.free(stream, now);
        }
        loop {
            let effects = schedule.balance(now);
            for effect in &effects {
                match *effect {
                    Effect::Start { stream, .. } => starting.push(stream),
                    Effect::Run { stream, .. } => running.push(stream),
                    Effect::Stop { stream } | Effect::Kill { stream } => schedule.ended(stream),
                }
            }
            if effects.is_empty() {
                break;
            }
        }
        for group in schedule.view() {
            let of_group = |(_, key): &&(Owner, GroupKey)| *key == group.key;
            let owner = jobs.iter().find(of_group).map(|(owner, _)| *owner);
            let at = accounts.iter().position(|(o, _)| Some(*o) == owner);
            held[at.unwrap()] += group.streams.len();
        }
        now += Duration::from_millis(10);
    }
    held
}

#[test]
fn accounts_get_zones_by_their_weight_however_many_jobs_they_have() {
    let mut even = schedule(8, 8);
    let held = work(&mut even, &[(account(1), 40), (account(1), 2)], 500);
    let ratio = held[0] as f64 / held[1] as f64;
    assert!((0.8..1.25).contains(&ratio), "{held:?}");
    let mut weighted = schedule(8, 8);
    let held = work(&mut weighted, &[(account(1), 9), (account(3), 9)], 500);
    let ratio = held[1] as f64 / held[0] as f64;
    assert!((2.4..3.75).contains(&ratio), "{held:?}");
}

#[test]
fn jobs_of_one_account_share_evenly_whatever_their_number_of_phases() {
    let now = Instant::now();
    let mut schedule = schedule(4, 4);
    let owner = account(1);
    let job = JobId::random();
    let phases: Vec<GroupKey> = (0..3).map(|phase| GroupKey { job, phase }).collect();
    for key in &phases {
        submit_for(&mut schedule, owner, *key, 10);
    }
    assert_eq!(all_started(&schedule.balance(now)).len(), 4);
    let other = group();
    submit_for(&mut schedule, owner, other, 10);
    let mut of_other = 0;
    for (stream, _) in all_busy(&mut schedule, now) {
        schedule.free(stream, now);
        for effect in schedule.balance(now) {
            if let Effect::Stop { stream } = effect {
                schedule.ended(stream);
                of_other += started(&schedule.balance(now), other).len();
            }
        }
    }
    assert!(of_other >= 1);
}

/// Gives every starting stream something to run.
fn all_busy(schedule: &mut Schedule, now: Instant) -> Vec<(StreamId, GroupKey)> {
    let streams: Vec<(StreamId, GroupKey)> = schedule
        .view()
        .into_iter()
        .flat_map(|g| {
            g.streams
                .into_iter()
                .map(move |(stream, _)| (stream, g.key))
        })
        .collect();
    for (stream, _) in &streams {
        schedule.free(*stream, now);
        schedule.balance(now);
    }
    streams
}

#[test]
fn of_an_account_that_sleeps_in_every_zone_tasks_are_killed_one_by_one() {
    let start = Instant::now();
    let mut schedule = schedule(4, 4);
    let (sleeper, waiting) = (account(1), account(1));
    let jobs: Vec<GroupKey> = (0..4).map(|_| group()).collect();
    for key in &jobs {
        submit_for(&mut schedule, sleeper, *key, 1);
    }
    schedule.balance(start);
    let streams = all_busy(&mut schedule, start);
    assert_eq!(streams.len(), 4);
    for _ in 0..3 {
        submit_for(&mut schedule, waiting, group(), 1);
    }
    let late = start + Duration::from_secs(60);
    assert_eq!(schedule.balance(late), [], "all zones are busy");
    assert_eq!(schedule.next_deadline(), Some(late + GRACE));
    assert_eq!(schedule.balance(late + GRACE - Duration::from_secs(1)), []);
    let ripe = late + GRACE;
    let killed = schedule.balance(ripe);
    let [Effect::Kill { stream }] = killed[..] else {
        panic!("{killed:?}");
    };
    assert_eq!(schedule.balance(ripe), [], "the zone is on its way");
    schedule.ended(stream);
    assert_eq!(all_started(&schedule.balance(ripe)).len(), 1);
    // 3 against 1, and two more wait: one more goes, after a pause, and then both have the same.
    assert_eq!(schedule.next_deadline(), Some(ripe + KILL));
    assert_eq!(schedule.balance(ripe + KILL / 2), []);
    let second = schedule.balance(ripe + KILL);
    assert!(matches!(second[..], [Effect::Kill { .. }]), "{second:?}");
    let Effect::Kill { stream } = second[0] else {
        return;
    };
    schedule.ended(stream);
    assert_eq!(all_started(&schedule.balance(ripe + KILL)).len(), 1);
    assert_eq!(schedule.balance(ripe + 100 * KILL), []);
}

#[test]
fn nobody_is_killed_for_an_odd_zone_nor_while_zones_are_free() {
    let start = Instant::now();
    let long = start + 10 * GRACE;
    let mut one_each = schedule(1, 1);
    submit(&mut one_each, group(), 1);
    one_each.balance(start);
    all_busy(&mut one_each, start);
    submit(&mut one_each, group(), 1);
    one_each.balance(start);
    assert_eq!(one_each.balance(long), []);

    let mut roomy = schedule(2, 4);
    submit(&mut roomy, group(), 2);
    roomy.balance(start);
    all_busy(&mut roomy, start);
    submit(&mut roomy, group(), 1);
    assert_eq!(
        all_started(&roomy.balance(start)).len(),
        1,
        "there are zones"
    );
    assert_eq!(roomy.balance(long), []);
    assert_eq!(roomy.next_deadline(), None);
}

#[test]
fn kills_go_round_among_the_tasks_of_a_hog() {
    let start = Instant::now();
    let mut schedule = schedule(4, 4);
    let (sleeper, short) = (account(1), account(1));
    let job = group();
    let mut tasks: Vec<TaskId> = (0..4).map(|_| TaskId::random()).collect();
    for task in &tasks {
        schedule.submit(job, sleeper, false, false, (*task, 1));
    }
    let mut running = Vec::new();
    for (stream, _) in all_started(&schedule.balance(start)) {
        schedule.free(stream, start);
        for effect in schedule.balance(start) {
            if let Effect::Run { stream, task } = effect {
                running.push((stream, task));
            }
        }
    }
    assert_eq!(running.len(), 4);
    let mut now = start;
    // Somebody with one short job after the other: each time a zone is taken, used, and taken back.
    for _ in 0..4 {
        submit_for(&mut schedule, short, group(), 1);
        now += Duration::from_secs(1);
        schedule.balance(now);
        now += GRACE;
        let effects = schedule.balance(now);
        let [Effect::Kill { stream }] = effects[..] else {
            panic!("{effects:?}");
        };
        let at = running.iter().position(|(s, _)| *s == stream).unwrap();
        let (_, killed) = running.remove(at);
        let at = tasks.iter().position(|task| *task == killed);
        tasks.remove(at.expect("it has not been killed before"));
        schedule.ended(stream);
        let (of_short, _) = all_started(&schedule.balance(now))[0];
        schedule.free(of_short, now);
        assert_eq!(runs(&schedule.balance(now)), 1);
        schedule.submit(job, sleeper, false, false, (killed, 2));
        schedule.free(of_short, now);
        assert_eq!(schedule.balance(now), [Effect::Stop { stream: of_short }]);
        schedule.ended(of_short);
        let (again, _) = all_started(&schedule.balance(now))[0];
        schedule.free(again, now);
        assert_eq!(runs(&schedule.balance(now)), 1);
        running.push((again, killed));
    }
    assert_eq!(tasks, []);
}

#[test]
fn nobody_is_killed_for_reducers_that_would_wait() {
    let start = Instant::now();
    let mut schedule = schedule(4, 4);
    let owner = account(1);
    let job = JobId::random();
    let maps = GroupKey { job, phase: 0 };
    submit_for(&mut schedule, owner, maps, 4);
    schedule.balance(start);
    assert_eq!(all_busy(&mut schedule, start).len(), 4);
    let reducers = GroupKey { job, phase: 1 };
    schedule.submit(reducers, owner, true, false, (TaskId::random(), 1));
    schedule.balance(start);
    assert_eq!(schedule.balance(start + 10 * GRACE), []);
    schedule.close(reducers);
    let late = start + 20 * GRACE;
    schedule.balance(late);
    let killed = schedule.balance(late + GRACE);
    assert!(matches!(killed[..], [Effect::Kill { .. }]), "{killed:?}");
}

#[test]
fn zones_beyond_the_cores_are_not_taken_and_given_back_for_every_task() {
    let now = Instant::now();
    let mut schedule = schedule(4, 8);
    let (long, short) = (account(1), account(1));
    submit_for(&mut schedule, long, group(), 4);
    schedule.balance(now);
    assert_eq!(all_busy(&mut schedule, now).len(), 4);
    let key = group();
    submit_for(&mut schedule, short, key, 200);
    let mut streams: Vec<StreamId> = Vec::new();
    let (mut started, mut ran) = (0, 0);
    while ran < 200 {
        let effects = schedule.balance(now);
        for effect in &effects {
            match *effect {
                Effect::Start { stream, .. } => {
                    started += 1;
                    streams.push(stream);
                }
                Effect::Run { .. } => ran += 1,
                Effect::Stop { stream } | Effect::Kill { stream } => {
                    streams.retain(|other| *other != stream);
                    schedule.ended(stream);
                }
            }
        }
        if effects.is_empty() {
            streams
                .iter()
                .for_each(|stream| schedule.free(*stream, now));
        }
    }
    assert!(started < 20, "{started} zones for {ran} tasks");
}
