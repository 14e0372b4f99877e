//! Jobs in bad company: odd names, few zones, failing records, restarts at awkward moments, and the local
//! Manta of a zone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libmanta::mahi::{ActingUser, Identity, Principal};
use libmanta::marlin::{JobError, JobList, JobState, Jobs};
use libmanta::moray::{
    BatchError, Buckets, MorayError, Namespace, Record, RecordKey, Update, Write,
};
use libmanta::triton::Zones;
use libmanta::{Account, AccountId, Condition, Login, ObjectKey, Timestamp};
use mahi::Member;
use support::{Store, map, reduce, until};
use testkit::zones::ZoneEvent;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_names_are_taken_literally_and_normalised() {
    let store = Store::start().await;
    for name in ["my obj1", "M%41RK", "obj1"] {
        store.put(&format!("~~/stor/{name}"), name).await;
    }
    let phases = vec![
        map("mcat \"$MANTA_INPUT_OBJECT\""),
        map("cat && echo"),
        reduce("sort | mpipe \"${MANTA_OUTPUT_BASE} with spaces\"", 1),
    ];
    let inputs = ["/user/stor/my obj1", "/user/stor/M%41RK"];
    let job = store.run(phases, &inputs).await;
    assert_eq!(job.errors, Vec::<serde_json::Value>::new());
    assert!(
        job.outputs[0].ends_with("/stor/reduce.2. with spaces"),
        "{:?}",
        job.outputs
    );
    assert_eq!(store.get(&job.outputs[0]).await, "M%41RK\nmy obj1\n");
    // What was only referred to is not ours to delete.
    assert!(store.exists("/user/stor/my obj1").await);

    let phases = vec![reduce("mcat /user//stor/obj1", 1), map("wc -w")];
    let job = store.run(phases, &["/user/stor///obj1"]).await;
    let base = format!("/user/jobs/{}/stor/user/stor/obj1.1.", job.id);
    assert!(job.outputs[0].starts_with(&base), "{:?}", job.outputs);
    assert_eq!(store.get(&job.outputs[0]).await.trim(), "1");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_zone_is_enough_for_any_number_of_reducers_and_jobs() {
    let store = Store::with_zones(1).await;
    store.put("~~/stor/a", "x\n").await;
    let phases = || vec![map("cat"), reduce("cat", 4), map("cat"), reduce("cat", 1)];
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = store.create(phases()).await;
        store.add(id, &["/user/stor/a"; 10]).await.unwrap();
        ids.push(id);
    }
    for id in &ids {
        store.end(*id).await.unwrap();
    }
    for id in ids {
        let job = store.finish(id).await;
        job.check();
        assert_eq!(store.get(&job.outputs[0]).await, "x\n".repeat(10));
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_one_task_does_not_wait_for_a_job_of_many() {
    let store = Store::with_zones(1).await;
    store.put("~~/stor/a", "x").await;
    let long = store.create(vec![map("sleep 0.05")]).await;
    store.add(long, &["/user/stor/a"; 200]).await.unwrap();
    store.wait(long, |status| status.stats.tasks_done > 0).await;
    let short = store.run(vec![map("cat")], &["/user/stor/a"]).await;
    short.check();
    let status = store.status(long).await;
    assert!(
        status.stats.tasks_done < 100,
        "the long job went first: {status:?}"
    );
    store.marlin.cancel(store.account.id, long).await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intermediate_objects_stay_when_the_operator_wants_them() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let options = serde_json::json!({ "keepIntermediate": true });
    let id = store
        .create_with(vec![map("cat"), map("cat")], Some(options))
        .await;
    store.add(id, &["/user/stor/a"]).await.unwrap();
    store.end(id).await.unwrap();
    store.finish(id).await.check();
    assert_eq!(
        store.objects(&format!("/user/jobs/{id}/stor")).await.len(),
        2
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intermediate_object_that_its_task_removed_is_no_error() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let remove = format!(
        "cat; {}",
        local_manta("DELETE", "$MANTA_INPUT_OBJECT", "", "/dev/null")
    );
    let job = store
        .run(vec![map("cat"), map(&remove)], &["/user/stor/a"])
        .await;
    job.check();
    assert_eq!((job.errors.len(), job.outputs.len()), (0, 1));
    assert_eq!(store.get(&job.outputs[0]).await, "x");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_manta_acts_as_the_job_and_survives_rude_clients() {
    let store = Store::start().await;
    store.put("~~/stor/obj1", "content").await;
    store.put("~~/stor/big", "y".repeat(1 << 20)).await;
    let get = local_manta(
        "GET",
        "$MANTA_INPUT_OBJECT",
        "Authorization: Token forged",
        "/dev/stdout",
    );
    let job = store.run(vec![map(&get)], &["/user/stor/obj1"]).await;
    let answer = store.get(&job.outputs[0]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\ncontent"), "{answer}");
    let nothing = local_manta("GET", "/user/stor/none?limit=3", "", "/dev/stdout");
    let job = store.run(vec![map(&nothing)], &["/user/stor/obj1"]).await;
    let answer = store.get(&job.outputs[0]).await;
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.contains("ResourceNotFound"),
        "{answer}"
    );
    // Fifty downloads that are given up after a line, then one that is not.
    let rude = format!(
        "for i in {{1..50}}; do {}; done; {}",
        local_manta("GET", "/user/stor/big", "", "/dev/null").replace("cat <&9", "read -r _ <&9"),
        local_manta("GET", "/user/stor/obj1", "", "/dev/stdout"),
    );
    let job = store.run(vec![map(&rude)], &["/user/stor/obj1"]).await;
    assert_eq!(job.errors, Vec::<serde_json::Value>::new());
    assert!(store.get(&job.outputs[0]).await.ends_with("content"));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn background_requests_of_an_ended_task_emit_nothing() {
    let store = Store::with_zones(1).await;
    store.put("~~/stor/a", "x").await;
    let phase = map("(sleep 0.1; mcat /user/stor/late) & cat");
    let job = store
        .run(vec![phase, map("cat; sleep 0.3")], &["/user/stor/a"])
        .await;
    job.check();
    assert_eq!((job.errors.len(), job.outputs.len()), (0, 1));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_that_nobody_uses_is_closed() {
    let store = Store::start().await;
    let id = store.create(vec![reduce("wc -c", 1)]).await;
    let began = Instant::now();
    let job = store.finish(id).await;
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "closed after {:?}",
        began.elapsed()
    );
    assert!(job.status.input_done);
    assert_eq!(job.outputs.len(), 1);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_while_records_cannot_be_written() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let id = store.create(vec![map("cat")]).await;
    store.failing.store(true, Ordering::SeqCst);
    let adding = async {
        let added = store.add(id, &["/user/stor/a"]).await;
        (added, store.failing.load(Ordering::SeqCst))
    };
    let healing = async {
        until(async || match store.marlin.stats().log_retries.get() {
            3.. => Ok(()),
            tried => Err(("the log is tried again", tried)),
        })
        .await;
        assert_eq!(store.list(id, JobList::Inputs).await, Vec::<String>::new());
        store.failing.store(false, Ordering::SeqCst);
    };
    let ((added, failing), ()) = tokio::join!(adding, healing);
    assert_eq!(added, Ok(()));
    assert!(!failing, "acknowledged while nothing could be written");
    store.end(id).await.unwrap();
    let job = store.finish(id).await;
    job.check();
    assert_eq!(job.outputs.len(), 1);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_neither_hangs_nor_is_forgotten_while_records_cannot_be_written() {
    let mut store = Store::start().await;
    store
        .restart_with(|config, _| config.answer_within = Duration::from_millis(100))
        .await;
    store.put("~~/stor/a", "x").await;
    let id = store.create(vec![map("sleep 3600")]).await;
    store.add(id, &["/user/stor/a"]).await.unwrap();
    store.wait(id, |status| status.stats.tasks > 0).await;
    store.failing.store(true, Ordering::SeqCst);
    // The write of the inputs fails, and the cancellation comes behind it.
    let (added, cancelled) = tokio::join!(
        biased;
        store.add(id, &["/user/stor/a"]),
        store.marlin.cancel(store.account.id, id),
    );
    for answer in [added, cancelled] {
        let unavailable = matches!(answer, Err(JobError::Unavailable { .. }));
        assert!(unavailable, "{answer:?}");
    }
    assert!(!store.status(id).await.cancelled);
    store.failing.store(false, Ordering::SeqCst);
    let job = store.finish(id).await;
    assert!(job.status.cancelled);
    assert_eq!(job.error().0, "JobCancelledError");
    store.stop().await;
}

/// Records that can never be written when they hold outputs.
#[derive(Debug)]
struct Choosy(Arc<dyn Buckets>);

#[async_trait::async_trait]
impl Buckets for Choosy {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, MorayError> {
        self.0.get(key).await
    }

    async fn batch(&self, writes: Vec<Write>) -> Result<(), BatchError> {
        let outputs = |write: &Write| {
            let value = write.value.as_deref().unwrap_or_default();
            String::from_utf8_lossy(value).contains("\"outputs\":[")
        };
        if writes.iter().any(outputs) {
            return Err(BatchError::Routes);
        }
        self.0.batch(writes).await
    }

    async fn scan(
        &self,
        bucket: &str,
        route: &str,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        self.0.scan(bucket, route, from, limit).await
    }

    async fn scan_all(
        &self,
        bucket: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        self.0.scan_all(bucket, after, limit).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_can_never_be_recorded_fails_its_task_alone() {
    let mut store = Store::start().await;
    store
        .restart_with(|_, deps| deps.buckets = Arc::new(Choosy(Arc::clone(&deps.buckets))))
        .await;
    store.put("~~/stor/a", "x").await;
    let job = store.run(vec![map("cat")], &["/user/stor/a"; 3]).await;
    job.check();
    assert_eq!((job.outputs.len(), job.errors.len()), (0, 3));
    for error in &job.errors {
        assert_eq!(error["code"], "InternalError");
        assert_eq!(error["input"], "/user/stor/a");
    }
    // The log has no gap.
    store.restart_marlin().await;
    assert_eq!(store.list(job.id, JobList::Errors).await.len(), 3);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_done_is_archived_after_a_restart() {
    let mut store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(store.run(vec![map("cat")], &["/user/stor/a"]).await);
        store.restart_marlin().await;
    }
    for job in jobs {
        let status = store
            .wait(job.id, |status| status.time_archive_done.is_some())
            .await;
        assert_eq!(status.stats, job.status.stats);
        assert_eq!(status.time_done, job.status.time_done);
        let out = store.get(&format!("/user/jobs/{}/out.txt", job.id)).await;
        assert_eq!(out, format!("{}\n", job.outputs[0]));
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_at_any_moment_lose_no_job_and_no_input() {
    use support::Restarted::{Agent, Marlin, Supervisor};
    let mut restarts = [Marlin, Agent, Supervisor].into_iter().cycle();
    let mut store = Store::start().await;
    let mut expected: Vec<String> = Vec::new();
    for n in 0..30 {
        store.put(&format!("~~/stor/{n}"), format!("{n}\n")).await;
        expected.push(format!("{n}\n"));
    }
    let id = store
        .create(vec![
            map("cat; sleep 0.01"),
            reduce("cat", 2),
            reduce("cat", 1),
        ])
        .await;
    for n in 0..30 {
        store.add(id, &[&format!("/user/stor/{n}")]).await.unwrap();
        if n % 4 == 3 {
            store.restart(restarts.next().unwrap(), id).await;
        }
    }
    store.end(id).await.unwrap();
    for done in [0, 3, 10, 20, 30] {
        store
            .wait(id, |status| status.stats.tasks_done >= done)
            .await;
        store.restart(restarts.next().unwrap(), id).await;
    }
    let job = store.finish(id).await;
    job.check();
    assert_eq!(job.errors, Vec::<serde_json::Value>::new());
    let content = store.get(&job.outputs[0]).await;
    let mut lines: Vec<String> = content.lines().map(|line| format!("{line}\n")).collect();
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
    // Attempts that were cut off stored under the names that the later ones used.
    assert_eq!(
        store.objects(&format!("/user/jobs/{id}/stor")).await,
        job.outputs
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reducer_that_never_begins_does_not_keep_its_job() {
    let store = Store::start().await;
    store.put("~~/stor/a", "quick\n").await;
    store.put("~~/stor/b", "slow\n").await;
    let flag = store.dir.path().join("go");
    let exec = format!(
        "cat | tee /dev/stderr | grep -q quick || until [ -e {} ]; do sleep 0.02; done",
        flag.display()
    );
    let mut reducer = reduce("cat", 1);
    reducer.assets = Some(vec!["/user/stor/missing".to_owned()]);
    let id = store.create(vec![map(&exec), reducer]).await;
    store
        .add(id, &["/user/stor/a", "/user/stor/b"])
        .await
        .unwrap();
    store.end(id).await.unwrap();
    store.wait(id, |status| status.stats.errors == 1).await;
    std::fs::write(&flag, "").unwrap();
    let job = store.finish(id).await;
    job.check();
    assert_eq!(job.error().0, "TaskInitError");
    let area = format!("/user/jobs/{id}/stor");
    assert_eq!(store.objects(&area).await, [""; 0]);
    store.stop().await;
}

/// Its tasks can say nothing any more; what became of them is told all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_archived_though_its_token_has_expired() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let principal = support::principal(&store.account);
    let past = Some(Timestamp::from_millis(1));
    let token = store.identity.mint_token(&principal, past);
    let id = store.create_with_token(principal, token, vec![map("cat")], None);
    let id = id.await.unwrap();
    store.add(id, &["/user/stor/a"]).await.unwrap();
    store.end(id).await.unwrap();
    store
        .wait(id, |status| status.time_archive_done.is_some())
        .await;
    let failed = store.get(&format!("/user/jobs/{id}/fail.txt")).await;
    assert_eq!(failed, "/user/stor/a\n");
    store.stop().await;
}

/// An owner who may not write any more does without, or the job would be in memory for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_may_not_be_archived_ends_when_its_records_would_go() {
    let mut store = Store::start().await;
    store
        .restart_with(|config, _| config.linger = Duration::from_secs(1))
        .await;
    let gone = Account::new(AccountId::random(), Login::parse("gone").unwrap());
    let principal = support::principal(&gone);
    let id = store.create_as(principal, vec![map("cat")], None);
    let id = id.await.unwrap();
    store.end(id).await.unwrap();
    store
        .wait(id, |status| status.state == JobState::Done)
        .await;
    until(async || {
        let snapshot = store.marlin.snapshot().await;
        match snapshot["jobs"] == serde_json::json!([]) {
            true => Ok(()),
            false => Err(snapshot),
        }
    })
    .await;
    store.stop().await;
}

/// Restarting the agent forgets every task, so it is for all jobs that it can be done for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_records_cannot_be_read_keeps_no_other_from_going_on() {
    let store = Store::with_zones(8).await;
    store.put("~~/stor/a", "x").await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        let id = store.create(vec![map("cat; sleep 0.2")]).await;
        store.add(id, &["/user/stor/a"]).await.unwrap();
        jobs.push(id);
    }
    for unreadable in jobs.clone() {
        *store.unreadable.lock().unwrap() = Some(unreadable);
        store.marlin.restart_agent().await.unwrap_err();
        *store.unreadable.lock().unwrap() = None;
        assert!(store.marlin.restart_supervisor(unreadable).await.unwrap());
    }
    let last = jobs[0];
    *store.unreadable.lock().unwrap() = Some(last);
    store.marlin.restart_agent().await.unwrap_err();
    for id in &jobs[1..] {
        store.end(*id).await.unwrap();
        assert_eq!(store.finish(*id).await.outputs.len(), 1);
    }
    *store.unreadable.lock().unwrap() = None;
    assert!(store.marlin.restart_supervisor(last).await.unwrap());
    store.end(last).await.unwrap();
    assert_eq!(store.finish(last).await.outputs.len(), 1);
    store.stop().await;
}

/// Everybody at once, while inputs come: no job ever has two owners, and none has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_that_meet_do_no_harm() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x\n").await;
    let id = store.create(vec![map("cat")]).await;
    let feed = async {
        let mut added = 0;
        while added < 20 {
            match store.add(id, &["/user/stor/a"]).await {
                Ok(()) => added += 1,
                // What could not be answered was either written by now or never is.
                Err(JobError::Unavailable { .. }) => {
                    added = store.list(id, JobList::Inputs).await.len();
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    let restart = async || {
        for _ in 0..5 {
            store.marlin.restart_supervisor(id).await.unwrap();
        }
    };
    let agent = async {
        for _ in 0..3 {
            store.marlin.restart_agent().await.unwrap();
        }
    };
    tokio::join!(feed, restart(), restart(), agent);
    let gone = libmanta::JobId::random();
    assert!(!store.marlin.restart_supervisor(gone).await.unwrap());
    // One who is left before it is done is done all the same.
    let left = store.marlin.restart_supervisor(id);
    drop(tokio::time::timeout(Duration::from_micros(1), left).await);
    while let Err(error) = store.end(id).await {
        assert!(matches!(error, JobError::Unavailable { .. }), "{error}");
    }
    let job = store.finish(id).await;
    job.check();
    assert_eq!((job.errors.len(), job.outputs.len()), (0, 20));
    assert_eq!(store.list(id, JobList::Inputs).await.len(), 20);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_users_of_one_phase_leave_is_not_what_another_job_finds() {
    let store = Store::with_zones(1).await;
    store.put("~~/stor/a", "x").await;
    let phase = || map("ls $ZONE_ROOT | grep -c mine; touch $ZONE_ROOT/mine");
    let first = store.run(vec![phase()], &["/user/stor/a"; 2]).await;
    let second = store.run(vec![phase()], &["/user/stor/a"]).await;
    // Within a group the zone is the same, between jobs it is new.
    let mut counts = Vec::new();
    for output in &first.outputs {
        counts.push(store.get(output).await);
    }
    counts.sort();
    assert_eq!(counts, ["0\n", "1\n"]);
    assert_eq!(store.get(&second.outputs[0]).await, "0\n");
    let acquired = |event: &ZoneEvent| matches!(event, ZoneEvent::Acquired { .. });
    assert_eq!(
        store
            .zones
            .events()
            .iter()
            .filter(|event| acquired(event))
            .count(),
        2
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_shows_the_jobs_that_run() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let id = store.create(vec![map("cat")]).await;
    let filter = |name: &str| libmanta::marlin::JobFilter {
        name: Some(name.to_owned()),
        state: Some(JobState::Running),
        limit: 10,
    };
    let live = store
        .marlin
        .live(store.account.id, &filter("test"))
        .await
        .unwrap();
    assert_eq!(live.iter().map(|job| job.id).collect::<Vec<_>>(), [id]);
    assert!(
        store
            .marlin
            .live(store.account.id, &filter("other"))
            .await
            .unwrap()
            .is_empty()
    );
    let snapshot = store.marlin.snapshot().await;
    assert_eq!(snapshot["jobs"][0]["id"], id.to_string());
    assert_eq!(snapshot["zones"]["capacity"], 4);
    store.end(id).await.unwrap();
    store.finish(id).await;
    let live = store
        .marlin
        .live(store.account.id, &filter("test"))
        .await
        .unwrap();
    assert!(live.is_empty());
    assert_eq!(
        store.add(id, &["/x"]).await,
        Err(JobError::InvalidState { id, state: "done" })
    );
    until(async || match store.zones.stats().busy {
        0 => Ok(()),
        busy => Err(("a zone is kept", busy)),
    })
    .await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_input_file_is_the_input_and_its_only_neighbour_is_gone() {
    let store = Store::with_zones(1).await;
    store.put("~~/stor/one", "1").await;
    store.put("~~/stor/two", "2").await;
    let phase = map("cmp - \"$MANTA_INPUT_FILE\" && find $ZONE_ROOT/manta -type f | wc -l");
    let job = store
        .run(vec![phase], &["/user/stor/one", "/user/stor/two"])
        .await;
    job.check();
    assert_eq!(job.errors, Vec::<serde_json::Value>::new());
    for output in &job.outputs {
        assert_eq!(store.get(output).await, "1\n");
    }
    let long = "x".repeat(300);
    store.put(&format!("~~/stor/{long}"), "long").await;
    let name = format!("/user/stor/{long}");
    let job = store
        .run(vec![map("cat \"$MANTA_INPUT_FILE\"; false")], &[&name])
        .await;
    assert_eq!(
        job.error().1,
        "user command exited with code 1 (WARNING: input file was mapped at an unusual location \
         because the object name was too long)"
    );
    assert_eq!(job.errors[0]["input"], name);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_jobs_cannot_run_their_state_can_still_be_read() {
    let mut store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let done = store.run(vec![map("cat")], &["/user/stor/a"]).await;
    let open = store.create(vec![map("cat")]).await;
    store.add(open, &["/user/stor/a"]).await.unwrap();
    store
        .restart_with(|_, deps| deps.zones = Err("no namespaces here".to_owned()))
        .await;
    let unavailable = |reason: &str| JobError::Unavailable {
        reason: reason.to_owned(),
    };
    let refused = store.try_create(vec![map("cat")], None).await;
    assert_eq!(refused, Err(unavailable("no namespaces here")));
    assert_eq!(
        store.end(open).await,
        Err(unavailable("no namespaces here"))
    );
    assert_eq!(store.status(done.id).await.stats, done.status.stats);
    assert_eq!(store.status(open).await.state, JobState::Running);
    assert_eq!(store.list(open, JobList::Inputs).await, ["/user/stor/a"]);
    let snapshot = store.marlin.snapshot().await;
    assert_eq!(snapshot["zones"]["unavailable"], "no namespaces here");

    store
        .restart_with(|_, deps| {
            deps.may_run = std::sync::Arc::new(|_| Err("only one account may".to_owned()));
        })
        .await;
    let refused = store.try_create(vec![map("cat")], None).await;
    assert_eq!(refused, Err(unavailable("only one account may")));
    // What was created before goes on.
    store.end(open).await.unwrap();
    assert_eq!(store.finish(open).await.outputs.len(), 1);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_archived_jobs_go_in_the_end_and_their_objects_stay() {
    let mut store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let job = store.run(vec![map("cat")], &["/user/stor/a"]).await;
    store
        .wait(job.id, |status| status.time_archive_done.is_some())
        .await;
    store.restart_marlin().await;
    assert_eq!(store.status(job.id).await.stats, job.status.stats);
    // The clock is in milliseconds, and "before now" must come after the archive.
    let archived = std::time::SystemTime::now() + Duration::from_millis(2);
    while std::time::SystemTime::now() < archived {
        tokio::task::yield_now().await;
    }
    store
        .restart_with(|config, _| config.linger = Duration::ZERO)
        .await;
    let gone = until(
        async || match store.marlin.status(store.account.id, job.id).await {
            Ok(kept) => Err(kept),
            Err(error) => Ok(error),
        },
    );
    assert_eq!(gone.await, JobError::NotFound);
    assert!(
        store
            .exists(&format!("/user/jobs/{}/job.json", job.id))
            .await
    );
    assert_eq!(store.get(&job.outputs[0]).await, "x");
    store.stop().await;
}

/// A request to the local Manta by bash alone; the answer goes to `to`.
fn local_manta(method: &str, path: &str, header: &str, to: &str) -> String {
    let header = if header.is_empty() {
        String::new()
    } else {
        format!("{header}\\r\\n")
    };
    format!(
        "host=${{MANTA_URL#http://}}; host=${{host%/}}; \
         exec 9<>/dev/tcp/${{host%:*}}/${{host#*:}}; \
         printf '{method} %s HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n{header}\\r\\n' \
         \"{path}\" >&9; cat <&9 >{to}; exec 9>&-"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_reads_what_the_roles_of_its_maker_let_it_read() {
    let store = Store::start().await;
    let identity = &store.identity;
    let rules = [
        "CAN getobject AND putobject",
        "CAN putdirectory",
        "CAN getobject /user/stor/inside-* WHEN fromjob = true",
    ];
    let user = identity.create_user("user", "jo").await.unwrap();
    let rules = rules.map(String::from);
    identity.create_policy("user", "p", &rules).await.unwrap();
    let policies = ["p".to_owned()];
    identity.create_role("user", "r", &policies).await.unwrap();
    let member = Member::User("jo");
    identity
        .add_member("user", "r", member, false)
        .await
        .unwrap();
    let account = identity.account("user").await.unwrap().unwrap();
    let role = account.roles["r"];
    for name in ["tagged", "plain", "inside-1"] {
        store.put(&format!("~~/stor/{name}"), name).await;
    }
    let tag = Update {
        key: ObjectKey::new(account.id, ["stor", "tagged"]).unwrap(),
        mtime: Timestamp::from_millis(1),
        headers: vec![],
        roles: vec![role],
        content_type: None,
        content_disposition: None,
        condition: Condition::default(),
    };
    store.router.update(tag).await.unwrap();

    let principal = |roles: &[uuid::Uuid]| Principal {
        from_job: true,
        user: Some(ActingUser {
            id: user.id,
            login: user.login.clone(),
        }),
        roles: roles.to_vec(),
        ..Principal::of(&account)
    };
    let inputs = ["tagged", "plain", "inside-1"].map(|name| format!("/user/stor/{name}"));
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let id = store.create_as(principal(&[role]), vec![map("cat")], None);
    let id = id.await.unwrap();
    store.add(id, &inputs).await.unwrap();
    store.end(id).await.unwrap();
    let job = store.finish(id).await;
    assert_eq!(job.outputs.len(), 2, "{:?}", job.errors);
    assert_eq!(job.errors.len(), 1);
    assert_eq!(job.errors[0]["code"], "AuthorizationError");
    let message = "permission denied: \"/user/stor/plain\"";
    assert_eq!(job.errors[0]["message"], message);
    // Its archive is written although it may not delete anything.
    store
        .wait(id, |status| status.time_archive_done.is_some())
        .await;

    // Without the role nothing is read, whatever the account may do.
    let id = store.create_as(principal(&[]), vec![map("cat")], None);
    let id = id.await.unwrap();
    store.add(id, &inputs).await.unwrap();
    store.end(id).await.unwrap();
    let job = store.finish(id).await;
    assert_eq!((job.outputs.len(), job.errors.len()), (0, 3));
    // And nothing can be archived below a directory that is not open to it: the store says so and goes on.
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_job_ends_with_its_state_or_its_time_or_the_service() {
    let mut store = Store::start().await;
    store.put("~~/stor/a", "x\n").await;
    let marlin = Arc::clone(&store.marlin);
    let owner = store.account.id;
    let wait = |id, at_most| marlin.wait(owner, id, at_most);
    let long = Duration::from_secs(3600);

    // Tasks that end are no news; the end of the input and that of the job are.
    let id = store.create(vec![map("cat")]).await;
    let (open, ()) = tokio::join!(wait(id, long), async {
        store.add(id, &["/user/stor/a"; 3]).await.unwrap();
        store.wait(id, |status| status.stats.tasks_done == 3).await;
        store.end(id).await.unwrap();
    });
    assert!(open.unwrap().input_done);
    let done = loop {
        let status = wait(id, long).await.unwrap();
        if status.state == JobState::Done {
            break status;
        }
    };
    assert_eq!((done.stats.outputs, done.stats.tasks_done), (3, 3));
    // At once, also when only records are left.
    store.finish(id).await.check();
    assert_eq!(wait(id, long).await.unwrap().state, JobState::Done);
    let foreign = marlin.wait(libmanta::AccountId::random(), id, long).await;
    assert_eq!(foreign, Err(JobError::NotFound));

    let open = store.create(vec![map("cat")]).await;
    let begun = Instant::now();
    let passed = wait(open, Duration::from_millis(50)).await.unwrap();
    assert!(!passed.input_done && begun.elapsed() >= Duration::from_millis(50));
    let (cut, ()) = tokio::join!(wait(open, long), marlin.shutdown());
    assert_eq!(cut.unwrap().state, JobState::Running);
    store.restart_marlin().await;
    store.stop().await;
}
