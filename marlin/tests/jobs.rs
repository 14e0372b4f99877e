//! Jobs from end to end, over a real store and recording zones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use libmanta::marlin::{JobError, JobList, JobState, Jobs};
use libmanta::triton::{ZoneError, Zones};
use support::{LOGIN, Restarted, Store, map, reduce};
use testkit::zones::ZoneEvent;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_job_runs_one_task_for_each_input() {
    let store = Store::start().await;
    store.put("~~/stor/a b", "one two").await;
    store.put("~~/stor/dir/c", "three").await;
    store.put("~~/stor/empty", "").await;
    let a = format!("/{LOGIN}/stor/a b");
    let c = format!("/{LOGIN}/stor/dir/c");
    let empty = format!("/{LOGIN}/stor/empty");
    let job = store.run(vec![map("wc -w")], &[&a, &a, &c, &empty]).await;
    job.check();
    assert_eq!(job.errors, Vec::<serde_json::Value>::new());
    assert_eq!(job.status.stats.tasks, 4);
    let mut contents = Vec::new();
    for output in &job.outputs {
        let base = format!("/{LOGIN}/jobs/{}/stor/{LOGIN}/stor/", job.id);
        assert!(output.starts_with(&base), "{output}");
        let name = output
            .strip_prefix(&base)
            .unwrap()
            .rsplit_once(".0.")
            .unwrap()
            .0;
        contents.push((name.to_owned(), store.get(output).await.trim().to_owned()));
    }
    contents.sort();
    let expected = [("a b", "2"), ("a b", "2"), ("dir/c", "1"), ("empty", "0")];
    let expected = expected.map(|(name, words)| (name.to_owned(), words.to_owned()));
    assert_eq!(contents, expected);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phases_follow_each_other_and_leave_nothing_between() {
    let store = Store::start().await;
    for n in 0..5 {
        store.put(&format!("~~/stor/{n}"), format!("{n}\n")).await;
    }
    let names: Vec<String> = (0..5).map(|n| format!("/{LOGIN}/stor/{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let phases = vec![map("cat"), map("cat; echo x"), reduce("sort", 1)];
    let job = store.run(phases, &names).await;
    job.check();
    assert_eq!(job.errors, Vec::<serde_json::Value>::new());
    assert_eq!(job.outputs.len(), 1);
    assert_eq!(
        store.get(&job.outputs[0]).await,
        "0\n1\n2\n3\n4\nx\nx\nx\nx\nx\n"
    );
    let area = format!("/{LOGIN}/jobs/{}/stor", job.id);
    assert!(job.outputs[0].starts_with(&format!("{area}/reduce.2.")));
    assert_eq!(store.objects(&area).await, job.outputs);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_inputs_a_map_does_nothing_and_a_reducer_runs_once() {
    let store = Store::start().await;
    let job = store.run(vec![map("wc")], &[]).await;
    assert_eq!((job.outputs.len(), job.errors.len()), (0, 0));
    let job = store
        .run(vec![reduce("echo $MANTA_REDUCER; cat", 3)], &[])
        .await;
    job.check();
    let mut contents = Vec::new();
    for output in &job.outputs {
        contents.push(store.get(output).await);
    }
    contents.sort();
    assert_eq!(contents, ["0\n", "1\n", "2\n"]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_input_reaches_one_of_the_reducers() {
    let store = Store::start().await;
    let mut names = Vec::new();
    for n in 0..40 {
        store.put(&format!("~~/stor/{n}"), format!("{n}\n")).await;
        names.push(format!("/{LOGIN}/stor/{n}"));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let phases = vec![map("cat"), reduce("cat", 4), reduce("sort -n", 1)];
    let job = store.run(phases, &names).await;
    job.check();
    let expected: String = (0..40).map(|n| format!("{n}\n")).collect();
    assert_eq!(store.get(&job.outputs[0]).await, expected);
    assert_eq!(job.status.stats.tasks, 45);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_fail_alone_in_the_documented_words() {
    let store = Store::start().await;
    store.put("~~/stor/dir/good", "x").await;
    let inputs = [
        "/user/stor/dir/good",
        "/nobody/stor/x",
        "/user/stor/missing",
        "/user/stor/dir",
        "/",
        "/user",
        "/user/",
        "/user/stor",
        "/user/stor/",
        "/user/stor/dir/good/",
    ];
    let job = store.run(vec![map("cat")], &inputs).await;
    job.check();
    assert_eq!(job.outputs.len(), 1);
    let mut errors: Vec<(String, String)> = job
        .errors
        .iter()
        .map(|e| {
            (
                e["input"].as_str().unwrap().to_owned(),
                format!(
                    "{} {}",
                    e["code"].as_str().unwrap(),
                    e["message"].as_str().unwrap()
                ),
            )
        })
        .collect();
    errors.sort();
    let missing = |name: &str| {
        (
            name.to_owned(),
            format!("ResourceNotFoundError no such object: \"{name}\""),
        )
    };
    let malformed = |name: &str| {
        (
            name.to_owned(),
            format!("ResourceNotFoundError malformed object name: \"{name}\""),
        )
    };
    let mut expected = vec![
        missing("/nobody/stor/x"),
        missing("/user/stor/missing"),
        (
            "/user/stor/dir".to_owned(),
            "InvalidArgumentError objects of type \"directory\" are not supported: \
             \"/user/stor/dir\""
                .to_owned(),
        ),
        malformed("/"),
        malformed("/user"),
        missing("/user/"),
        missing("/user/stor"),
        missing("/user/stor/"),
        missing("/user/stor/dir/good/"),
    ];
    expected.sort();
    assert_eq!(errors, expected);
    assert_eq!(job.failures.len(), 9);
    assert_eq!(job.status.stats.tasks, 1);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_command_keeps_its_stderr_and_its_stdout_is_no_output() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let job = store
        .run(
            vec![map("echo out; echo why >&2; exit 3")],
            &["/user/stor/a"],
        )
        .await;
    job.check();
    assert_eq!(
        job.error(),
        ("UserTaskError", "user command exited with code 3")
    );
    let stderr = job.errors[0]["stderr"].as_str().unwrap();
    assert!(stderr.contains("/stor/user/stor/a.0.err."), "{stderr}");
    assert_eq!(store.get(stderr).await, "why\n");
    assert_eq!(store.get(&stderr.replace(".err.", ".")).await, "out\n");
    assert_eq!(job.outputs, Vec::<String>::new());
    assert_eq!(job.failures, ["/user/stor/a"]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mpipe_and_mcat_replace_standard_output() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let named = map("echo foo; echo bar | mpipe -p /user/stor/extra/out1");
    let job = store.run(vec![named], &["/user/stor/a"]).await;
    assert_eq!(job.errors, Vec::<serde_json::Value>::new());
    assert_eq!(job.outputs, ["/user/stor/extra/out1"]);
    assert_eq!(store.get("/user/stor/extra/out1").await, "bar\n");

    let job = store
        .run(vec![map("echo foo; echo bar | mpipe")], &["/user/stor/a"])
        .await;
    let base = format!("/user/jobs/{}/stor/user/stor/a.0.", job.id);
    assert!(job.outputs[0].starts_with(&base), "{:?}", job.outputs);
    assert_eq!(store.get(&job.outputs[0]).await, "bar\n");
    assert_eq!(job.outputs.len(), 1);

    let job = store
        .run(
            vec![map("echo foo; mcat /user/stor/a")],
            &["/user/stor/a"; 3],
        )
        .await;
    assert_eq!(job.outputs, ["/user/stor/a"; 3]);
    assert_eq!(job.status.stats.tasks_done, 3);

    let missing = map("echo bar | mpipe /user/stor/no/such/dir");
    let job = store.run(vec![missing], &["/user/stor/a"]).await;
    assert_eq!(job.error().1, "user command exited with code 1");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_may_be_addressed_to_a_reducer() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let phases = vec![map("echo bar | mpipe -r 2"), reduce("cat", 3)];
    let job = store.run(phases, &["/user/stor/a"]).await;
    job.check();
    let mut contents = Vec::new();
    for output in &job.outputs {
        contents.push(store.get(output).await);
    }
    contents.sort();
    assert_eq!(contents, ["", "", "bar\n"]);

    let phases = vec![map("echo bar | mpipe -r 1"), reduce("cat", 1)];
    let job = store.run(phases, &["/user/stor/a"]).await;
    assert_eq!(
        job.error(),
        (
            "InvalidArgumentError",
            "reducer \"1\" specified, but only 1 reducers exist"
        )
    );
    assert_eq!(job.outputs.len(), 1);
    // The misaddressed object stays.
    let left = store.objects(&format!("/user/jobs/{}/stor", job.id)).await;
    assert_eq!(left.len(), 2, "{left:?}");

    let job = store
        .run(vec![map("echo | mpipe -r 128")], &["/user/stor/a"])
        .await;
    assert_eq!(job.error().1, "user command exited with code 1");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ends_running_tasks_at_once() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let id = store.create(vec![map("sleep 3600")]).await;
    store.add(id, &["/user/stor/a"; 3]).await.unwrap();
    wait_for_runs(&store, 3).await;
    let began = std::time::Instant::now();
    store.marlin.cancel(store.account.id, id).await.unwrap();
    let job = store.finish(id).await;
    assert!(
        began.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(job.status.cancelled && job.status.input_done);
    assert_eq!(job.errors.len(), 3);
    for error in &job.errors {
        assert_eq!(error["code"], "JobCancelledError");
        assert_eq!(error["message"], "job was cancelled");
        assert_eq!(error["p0input"], "/user/stor/a");
    }
    let refused = store.marlin.cancel(store.account.id, id).await.unwrap_err();
    assert_eq!(
        refused,
        JobError::InvalidState {
            id,
            state: "cancelled"
        }
    );
    let zones_back = || store.zones.stats().busy == 0;
    wait_until(zones_back).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_refused_in_the_states_that_say_so() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let id = store.create(vec![map("sleep 3600")]).await;
    store.add(id, &["/user/stor/a"]).await.unwrap();
    store.end(id).await.unwrap();
    store.end(id).await.unwrap();
    let refused = |state| JobError::InvalidState { id, state };
    assert_eq!(store.add(id, &["/x"]).await, Err(refused("inputDone")));
    store.marlin.cancel(store.account.id, id).await.unwrap();
    assert_eq!(store.end(id).await, Err(refused("cancelled")));
    let stranger = libmanta::AccountId::random();
    let error = store.marlin.status(stranger, id).await.unwrap_err();
    assert_eq!(error, JobError::NotFound);
    let id = store.run(vec![map("true")], &[]).await.id;
    let refused = |state| JobError::InvalidState { id, state };
    assert_eq!(store.end(id).await, Err(refused("done")));
    assert_eq!(store.add(id, &["/x"]).await, Err(refused("done")));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_job_is_archived_and_still_answers() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let job = store
        .run(vec![map("cat")], &["/user/stor/a", "/user/stor/none"])
        .await;
    let status = store
        .wait(job.id, |status| status.time_archive_done.is_some())
        .await;
    let dir = format!("/user/jobs/{}", job.id);
    assert_eq!(
        store.get(&format!("{dir}/in.txt")).await,
        "/user/stor/a\n/user/stor/none\n"
    );
    assert_eq!(
        store.get(&format!("{dir}/out.txt")).await,
        format!("{}\n", job.outputs[0])
    );
    assert_eq!(
        store.get(&format!("{dir}/fail.txt")).await,
        "/user/stor/none\n"
    );
    let error: serde_json::Value =
        serde_json::from_str(&store.get(&format!("{dir}/err.txt")).await).unwrap();
    assert_eq!(error["phaseNum"], "0");
    let archived: serde_json::Value =
        serde_json::from_str(&store.get(&format!("{dir}/job.json")).await).unwrap();
    assert_eq!(archived["id"], job.id.to_string());
    assert_eq!(archived["state"], "done");
    assert!(archived["timeArchiveDone"].is_string());
    assert_eq!(archived["stats"], status.to_json()["stats"]);
    let left = store.objects(&dir).await;
    assert!(!left.iter().any(|name| name.contains("/live")), "{left:?}");
    assert_eq!(store.list(job.id, JobList::Outputs).await, job.outputs);
    assert_eq!(store.list(job.id, JobList::Inputs).await.len(), 2);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_runs_again_only_what_was_not_committed() {
    runs_again_only_what_was_not_committed(Restarted::Marlin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_an_agent_that_starts_anew() {
    runs_again_only_what_was_not_committed(Restarted::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_a_supervisor_that_starts_anew() {
    runs_again_only_what_was_not_committed(Restarted::Supervisor).await;
}

async fn runs_again_only_what_was_not_committed(what: Restarted) {
    let mut store = Store::start().await;
    let flag = store.dir.path().join("go");
    for n in 0..6 {
        store.put(&format!("~~/stor/{n}"), format!("{n}\n")).await;
    }
    // The first three end at once, the others when they may.
    let exec = format!(
        "n=$(cat); echo $n; [ $n -lt 3 ] || until [ -e {} ]; do sleep 0.02; done",
        flag.display()
    );
    let id = store.create(vec![map(&exec), reduce("sort", 1)]).await;
    for n in 0..6 {
        store.add(id, &[&format!("/user/stor/{n}")]).await.unwrap();
    }
    store.end(id).await.unwrap();
    store.wait(id, |status| status.stats.tasks_done == 3).await;
    store.restart(what, id).await;
    assert_eq!(store.status(id).await.stats.tasks_done, 3);
    std::fs::write(&flag, "").unwrap();
    let job = store.finish(id).await;
    job.check();
    assert_eq!(job.errors, Vec::<serde_json::Value>::new());
    assert_eq!(store.get(&job.outputs[0]).await, "0\n1\n2\n3\n4\n5\n");
    assert_eq!(job.status.stats.retries, 0, "a restart is no attempt");
    assert_eq!(
        store.objects(&format!("/user/jobs/{id}/stor")).await,
        job.outputs
    );
    let committed_ran = |n: usize| {
        let input = format!("/user/stor/{n}");
        let ran = |event: &ZoneEvent| {
            matches!(event, ZoneEvent::Ran { env, .. }
                if env.iter().any(|(k, v)| k == "MANTA_INPUT_OBJECT" && *v == input))
        };
        store
            .zones
            .events()
            .iter()
            .filter(|event| ran(event))
            .count()
    };
    for n in 0..3 {
        assert_eq!(committed_ran(n), 1, "committed task {n} ran again");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vanished_zone_costs_an_attempt_and_three_cost_the_task() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    store.zones.vanish_next(1);
    let job = store.run(vec![map("cat")], &["/user/stor/a"]).await;
    job.check();
    assert_eq!((job.outputs.len(), job.status.stats.retries), (1, 1));
    store.zones.vanish_next(3);
    let job = store.run(vec![map("cat")], &["/user/stor/a"]).await;
    job.check();
    assert_eq!(job.error(), ("InternalError", "internal error"));
    assert_eq!(job.status.stats.retries, 2);
    store.zones.vanish_next(1);
    let job = store
        .run(vec![reduce("cat", 1)], &["/user/stor/a", "/user/stor/a"])
        .await;
    job.check();
    assert_eq!(store.get(&job.outputs[0]).await, "xx");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_runs_once_in_a_zone_and_its_failure_is_everybodys() {
    let store = Store::with_zones(1).await;
    store.put("~~/stor/a", "x").await;
    let mut phase = map("cat $ZONE_ROOT/count");
    phase.init = Some("echo >> $ZONE_ROOT/count; ! [ -v MANTA_INPUT_OBJECT ]".to_owned());
    let job = store.run(vec![phase], &["/user/stor/a"; 5]).await;
    job.check();
    assert_eq!(job.outputs.len(), 5);
    for output in &job.outputs {
        assert_eq!(store.get(output).await, "\n");
    }
    let mut phase = map("cat");
    phase.init = Some("echo bad >&2; exit 2".to_owned());
    let job = store.run(vec![phase], &["/user/stor/a"; 30]).await;
    job.check();
    assert_eq!(job.errors.len(), 30);
    let with = |text: &str| {
        let has = |e: &&serde_json::Value| e["message"].as_str().unwrap().contains(text);
        job.errors.iter().filter(has).count()
    };
    assert!(job.errors.iter().all(|e| e["code"] == "TaskInitError"));
    assert!(with("user command exited with code 2") >= 1);
    assert!(with("a previous task failed to initialize") >= 1);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assets_are_there_before_the_first_task_or_nothing_runs() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    store
        .put("~~/stor/hello 1", "#!/bin/sh\necho \"asset $1\"\n")
        .await;
    let mut phase = map("\"$ZONE_ROOT/assets/user/stor/hello 1\" 17");
    phase.assets = Some(vec!["/user/stor/hello 1".to_owned()]);
    let job = store.run(vec![phase], &["/user/stor/a"]).await;
    assert_eq!(job.errors, Vec::<serde_json::Value>::new());
    assert_eq!(store.get(&job.outputs[0]).await, "asset 17\n");
    let mut phase = map("cat");
    phase.assets = Some(vec!["/user/stor/none".to_owned()]);
    let job = store.run(vec![phase], &["/user/stor/a"]).await;
    assert_eq!(
        job.error(),
        (
            "TaskInitError",
            "failed to dispatch task: first of 1 error: error retrieving asset \
             \"/user/stor/none\" (status code 404)"
        )
    );
    // What no zone can hold is no fault of the zones.
    let long = format!("/user/stor/{}", "x".repeat(300));
    store.put(&long, "x").await;
    for (asset, why) in [
        (long.as_str(), "error writing asset"),
        ("/user/stor", "it is a directory"),
    ] {
        let mut phase = map("cat");
        phase.assets = Some(vec![asset.to_owned()]);
        let job = store.run(vec![phase], &["/user/stor/a"; 3]).await;
        job.check();
        assert_eq!((job.errors.len(), job.status.stats.retries), (3, 0));
        let codes = job.errors.iter().filter(|e| e["code"] == "TaskInitError");
        assert_eq!(codes.count(), 3, "{:?}", job.errors);
        let told = |e: &&serde_json::Value| e["message"].as_str().unwrap().contains(why);
        assert!(
            job.errors.iter().filter(told).count() >= 1,
            "{:?}",
            job.errors
        );
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn want_of_memory_or_disk_is_told() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    store.zones.refuse_next(ZoneError::NotEnoughMemory);
    let job = store.run(vec![map("cat")], &["/user/stor/a"]).await;
    assert_eq!(
        job.error(),
        (
            "TaskInitError",
            "failed to dispatch task: not enough memory available"
        )
    );
    store.zones.pretend(true, 1 << 40);
    let job = store.run(vec![map("false")], &["/user/stor/a"]).await;
    assert_eq!(
        job.error().1,
        "user command exited with code 1 (WARNING: ran out of memory during execution)"
    );
    store.zones.pretend(false, 1 << 20);
    let job = store.run(vec![map("false")], &["/user/stor/a"]).await;
    assert_eq!(job.error().1, "user task ran out of local disk space");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_may_end_themselves_through_the_control_api() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let post = |what: &str| format!("echo lost; {}; sleep 3600", request("POST", what));
    let job = store
        .run(vec![map(&post("commit"))], &["/user/stor/a"])
        .await;
    job.check();
    assert_eq!((job.outputs.len(), job.errors.len()), (0, 0));
    let job = store.run(vec![map(&post("fail"))], &["/user/stor/a"]).await;
    assert_eq!(job.error(), ("UserTaskError", "no message given"));
    let job = store.run(vec![reduce(&post("fail"), 1)], &[]).await;
    assert_eq!(job.error(), ("UserTaskError", "no message given"));
    assert_eq!(job.errors[0]["what"], "phase 0: reduce");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reducers_that_do_not_read_still_end() {
    let store = Store::start().await;
    let big = "x".repeat(4 << 20);
    store.put("~~/stor/big", big).await;
    let inputs = ["/user/stor/big"; 3];
    let job = store.run(vec![reduce("true", 1)], &inputs).await;
    job.check();
    assert_eq!((job.outputs.len(), job.errors.len()), (1, 0));
    let job = store.run(vec![reduce("wc -c", 1)], &inputs).await;
    assert_eq!(
        store.get(&job.outputs[0]).await.trim(),
        (12 << 20).to_string()
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_is_exactly_the_documented_one() {
    let store = Store::start().await;
    store.put("~~/stor/obj1", "x").await;
    let show = "env | sed \"s|$ZONE_ROOT||\" | grep -v '^ZONE_ROOT\\|^PATH\\|^PWD\\|^SHLVL\\|^_=\\|^MANTA_URL' | sort; pwd";
    let job = store.run(vec![map(show)], &["/user/stor/obj1"]).await;
    let id = job.id;
    let expected = format!(
        "DTRACE_DOF_INIT_DISABLE=1\nHOME=/root\nLANG=C.UTF-8\nMANTA_INPUT_FILE=/manta/user/stor/obj1\n\
         MANTA_INPUT_OBJECT=/user/stor/obj1\nMANTA_JOB_ID={id}\nMANTA_NO_AUTH=true\n\
         MANTA_OUTPUT_BASE=/user/jobs/{id}/stor/user/stor/obj1.0.\nMANTA_USER=user\n\
         mc_input_file=/manta/user/stor/obj1\nmc_input_key=/user/stor/obj1\n/\n"
    );
    assert_eq!(store.get(&job.outputs[0]).await, expected);
    let job = store.run(vec![reduce(show, 1)], &[]).await;
    let id = job.id;
    let expected = format!(
        "DTRACE_DOF_INIT_DISABLE=1\nHOME=/root\nLANG=C.UTF-8\nMANTA_JOB_ID={id}\n\
         MANTA_NO_AUTH=true\nMANTA_OUTPUT_BASE=/user/jobs/{id}/stor/reduce.0.\n\
         MANTA_REDUCER=0\nMANTA_USER=user\n/\n"
    );
    assert_eq!(store.get(&job.outputs[0]).await, expected);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_op_job_costs_few_commits() {
    let store = Store::start().await;
    store.put("~~/stor/a", "x").await;
    let job = store.run(vec![map("true")], &["/user/stor/a"]).await;
    store
        .wait(job.id, |status| status.time_archive_done.is_some())
        .await;
    // Creation, input, end of input, commit, and the two ends of the archive.
    assert!(store.marlin.commits(job.id).await.unwrap() <= 6);
    assert_eq!(job.status.state, JobState::Done);
    store.stop().await;
}

/// A request to the control API by bash alone.
fn request(method: &str, what: &str) -> String {
    format!(
        "host=${{MANTA_URL#http://}}; host=${{host%/}}; \
         exec 9<>/dev/tcp/${{host%:*}}/${{host#*:}}; \
         printf '{method} /my/jobs/task/{what} HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\n\\r\\n' \
         >&9; read -r line <&9"
    )
}

async fn wait_for_runs(store: &Store, runs: usize) {
    let ran = |event: &ZoneEvent| matches!(event, ZoneEvent::Ran { .. });
    wait_until(|| {
        store
            .zones
            .events()
            .iter()
            .filter(|event| ran(event))
            .count()
            >= runs
    })
    .await;
}

async fn wait_until(what: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + support::DEADLINE;
    while !what() {
        assert!(std::time::Instant::now() < deadline, "waited too long");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
