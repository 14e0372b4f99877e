//! Jobs while what runs them is killed and started anew: tasks, zones, all zones, the agent, the supervisor of a
//! job, the whole store.
//!
//! Surprise: to kill a command from outside is what its own user may do, too, so that is the one fault of which a
//! job hears, besides the third loss of the same task.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::job::url;
use tests::machine::{Holdings, children};
use tests::seed::{generator, number};
use tests::wire::Response;
use tests::{Client, Job, Launch, Request, Signer, Store, wait_for};

use crate::on_disk;

const PATIENCE: Duration = Duration::from_secs(120);
const INPUTS: usize = 8;
/// Jobs at a time.
const CLIENTS: usize = 6;

/// A kind of job, and what becomes of it when nothing goes wrong.
struct Kind {
    phases: Value,
    /// One output for each input.
    map_only: bool,
    /// Sorted.
    contents: Vec<String>,
}

/// What the clients know of the store.
struct Door {
    address: Mutex<SocketAddr>,
    signer: Signer,
    account: String,
}

impl Door {
    fn set(&self, address: SocketAddr) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    fn client(&self) -> Patient<'_> {
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        Patient {
            door: self,
            client: Client::new(address, Some(self.signer.clone())),
        }
    }

    fn inputs(&self) -> Vec<String> {
        (0..INPUTS)
            .map(|n| format!("/{}/stor/in{n}", self.account))
            .collect()
    }
}

/// A client that asks again while nobody is there or nobody has time.
struct Patient<'a> {
    door: &'a Door,
    client: Client,
}

impl Patient<'_> {
    /// `None` when there was no answer, or one that tells to come back.
    fn try_call(&mut self, request: &Request) -> Option<Response> {
        match self.client.call(request) {
            Ok(response) if response.status != 503 => Some(response),
            Ok(_) => None,
            Err(_) => {
                *self = self.door.client();
                None
            }
        }
    }

    fn call(&mut self, request: &Request) -> Result<Response> {
        let what = format!("an answer to {request:?}");
        wait_for(&what, PATIENCE, || Ok(self.try_call(request)))
    }

    fn lines(&mut self, path: &str) -> Result<Vec<String>> {
        let list = self.call(&Request::new("GET", path))?.expect(200)?;
        Ok(list.text().lines().map(str::to_owned).collect())
    }

    fn create(&mut self, phases: &Value) -> Result<String> {
        let request = Request::new("POST", &format!("/{}/jobs", self.door.account))
            .header("content-type", "application/json; type=job")
            .body(json!({ "name": "faults", "phases": phases }).to_string());
        let created = self.call(&request)?.expect(201)?;
        Ok(created.header("location").context("a location")?.to_owned())
    }

    /// Adds the inputs once, though an answer may get lost.
    fn feed(&mut self, live: &str, inputs: &[String]) -> Result<()> {
        let add = Request::new("POST", &format!("{live}/in"))
            .header("content-type", "text/plain")
            .body(inputs.join("\n"));
        wait_for("the inputs", PATIENCE, || {
            if let Some(added) = self.try_call(&add) {
                added.expect(204)?;
                return Ok(Some(()));
            }
            let listed = self.lines(&format!("{live}/in"))?;
            ensure!(listed.is_empty() || listed == inputs, "{listed:?}");
            Ok((!listed.is_empty()).then_some(()))
        })?;
        let end = Request::new("POST", &format!("{live}/in/end")).claiming(0);
        let ended = self.call(&end)?;
        // The second time it may be over already.
        ensure!(matches!(ended.status, 202 | 409), "{}", ended.text());
        Ok(())
    }

    fn wait(&mut self, live: &str) -> Result<Value> {
        let status = Request::new("GET", &format!("{live}/status?wait=2"));
        let path = live.to_owned();
        wait_for(&format!("the end of {path}"), PATIENCE, || {
            let status = self.call(&status)?.expect(200)?;
            let status: Value = serde_json::from_slice(&status.body)?;
            Ok((status["state"] == "done").then_some(status))
        })
    }
}

/// How a job ended.
#[derive(Debug)]
struct Ended {
    contents: Vec<String>,
    errors: Vec<Value>,
    /// Attempts that were repeated; who looks after a job forgets them when it is started anew.
    retries: u64,
}

fn run(client: &mut Patient<'_>, phases: &Value, inputs: &[String]) -> Result<Ended> {
    let location = client.create(phases)?;
    let live = format!("{location}/live");
    client.feed(&live, inputs)?;
    let status = client.wait(&live)?;
    let names = client.lines(&format!("{live}/out"))?;
    let errors = client.lines(&format!("{live}/err"))?;
    let unique: BTreeSet<&String> = names.iter().collect();
    ensure!(unique.len() == names.len(), "an output twice: {names:?}");
    let counted = |what: &str| status["stats"][what].as_u64();
    ensure!(
        counted("outputs") == Some(names.len() as u64),
        "{status} against {names:?}"
    );
    ensure!(
        counted("errors") == Some(errors.len() as u64),
        "{status} against {errors:?}"
    );
    let mut contents = Vec::new();
    for name in &names {
        let object = client.call(&Request::new("GET", &url(name)))?.expect(200)?;
        contents.push(object.text());
    }
    contents.sort();
    let errors = errors.iter().map(|line| serde_json::from_str(line));
    Ok(Ended {
        contents,
        errors: errors.collect::<Result<_, _>>()?,
        retries: counted("retries").context("a number of retries")?,
    })
}

/// The kinds of jobs, each run once while nothing goes wrong.
fn kinds(door: &Door) -> Result<Vec<Kind>> {
    let map = |exec: &str| json!({"type": "map", "exec": exec});
    let reduce = |exec: &str| json!({"type": "reduce", "exec": exec});
    let two = json!({"type": "reduce", "exec": "sort", "count": 2});
    let all = [
        json!([map("wc")]),
        json!([map("sleep 0.1; tr a-z A-Z | mpipe")]),
        json!([map("cat"), map("sleep 0.05; sort")]),
        json!([map("cat"), reduce("sort")]),
        json!([map("msplit -n 2"), two, reduce("sort")]),
    ];
    let kind = |phases: Value| {
        let ended = run(&mut door.client(), &phases, &door.inputs())?;
        ensure!(ended.errors.is_empty(), "{ended:?}");
        Ok(Kind {
            map_only: phases
                .as_array()
                .into_iter()
                .flatten()
                .all(|p| p["type"] == "map"),
            phases,
            contents: ended.contents,
        })
    };
    all.into_iter().map(kind).collect()
}

/// How often each line is there.
fn lines(contents: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in contents.iter().flat_map(|content| content.lines()) {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// Fails unless it ended as without faults, or says why not. Returns how many of its errors say that a command
/// was killed.
fn judge(kind: &Kind, ended: &Ended) -> Result<usize> {
    let mut killed = 0;
    for error in &ended.errors {
        match (error["code"].as_str(), error["message"].as_str()) {
            (Some("InternalError"), Some("internal error")) => {}
            (Some("UserTaskError"), Some("user command terminated by SIGKILL")) => killed += 1,
            _ => bail!("{error}"),
        }
    }
    if ended.errors.is_empty() {
        ensure!(
            ended.contents == kind.contents,
            "{:?} are expected",
            kind.contents
        );
    } else if kind.map_only {
        ensure!(
            ended.contents.len() + ended.errors.len() == INPUTS,
            "one end for each input"
        );
        let mut left = kind.contents.clone();
        for content in &ended.contents {
            let at = left.iter().position(|expected| expected == content);
            left.remove(at.with_context(|| format!("nobody expects {content:?}"))?);
        }
    } else {
        let expected = lines(&kind.contents);
        for (line, count) in lines(&ended.contents) {
            let most = expected.get(line).copied().unwrap_or_default();
            ensure!(count <= most, "{line:?} {count} times, {most} at most");
        }
    }
    Ok(killed)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Task,
    ZoneInit,
    Zygote,
    Agent,
    Supervisor,
    Store,
}

/// The likely ones are those that cost least.
const FAULTS: [Fault; 12] = [
    Fault::Task,
    Fault::Task,
    Fault::ZoneInit,
    Fault::ZoneInit,
    Fault::ZoneInit,
    Fault::ZoneInit,
    Fault::Supervisor,
    Fault::Supervisor,
    Fault::Supervisor,
    Fault::Zygote,
    Fault::Agent,
    Fault::Store,
];
const MUST_LAND: [Fault; 3] = [Fault::Task, Fault::ZoneInit, Fault::Supervisor];
/// So many for each job, lest a slow machine does nothing but recover.
const FAULTS_PER_JOB: usize = 2;

/// Whether there was one to be killed; it may have ended by itself.
fn kill(pid: Option<&u32>) -> bool {
    pid.and_then(|pid| i32::try_from(*pid).ok())
        .and_then(Pid::from_raw)
        .is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

fn live_jobs(store: &Store) -> Result<Vec<String>> {
    let running = store
        .client()?
        .get(&store.path("jobs?state=running&limit=1000"))?;
    let rows = running.expect(200)?.text();
    let name = |row: &str| {
        let row: Value = serde_json::from_str(row)?;
        Ok(row["name"].as_str().context("a name")?.to_owned())
    };
    rows.lines().map(name).collect()
}

/// Whether there was anything to strike.
fn strike(store: &mut Store, door: &Door, fault: Fault, random: &mut StdRng) -> Result<bool> {
    let zygotes = children(store.pid());
    let inits: Vec<u32> = zygotes
        .iter()
        .flat_map(|zygote| children(*zygote))
        .collect();
    match fault {
        Fault::Task => {
            let tasks: Vec<u32> = inits.iter().flat_map(|init| children(*init)).collect();
            Ok(kill(tasks.choose(random)))
        }
        Fault::ZoneInit => Ok(kill(inits.choose(random))),
        Fault::Zygote => Ok(kill(zygotes.choose(random))),
        Fault::Agent => {
            store.administer("POST", "/agent/restart", &Value::Null)?;
            Ok(true)
        }
        Fault::Supervisor => match live_jobs(store)?.choose(random) {
            Some(job) => restart_supervisor(store, job),
            None => Ok(false),
        },
        Fault::Store => {
            store.kill()?;
            store.start()?;
            door.set(store.address());
            Ok(true)
        }
    }
}

/// What is said of a job that has no supervisor any more.
const OVER: &str = "no such job is under way";

/// Whether the job still had one.
fn restart_supervisor(store: &Store, job: &str) -> Result<bool> {
    let path = format!("/supervisors/{job}/restart");
    match store.administer("POST", &path, &Value::Null) {
        Ok(_) => Ok(true),
        Err(error) if error.to_string().contains(OVER) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Bytes of everything the account has.
fn own_bytes(store: &Store) -> Result<u64> {
    let mut sum = 0;
    for area in ["stor", "jobs"] {
        for row in store.client()?.objects_below(&store.path(area))? {
            sum += row["size"]
                .as_u64()
                .with_context(|| format!("{row} has no size"))?;
        }
    }
    Ok(sum)
}

fn bytes_on_disk(store: &Store) -> Result<u64> {
    Ok(on_disk::copies(store)?.values().sum())
}

/// Two copies of what there is, and nothing else; no zone, mount or group.
fn nothing_is_left(store: &mut Store) -> Result<()> {
    on_disk::wait_until_old(store)?;
    store.stop()?;
    store.start()?;
    wait_for(
        "no bytes but those of objects",
        Duration::from_secs(60),
        || {
            let wanted = 2 * own_bytes(store)?;
            let clean = bytes_on_disk(store)? == wanted && on_disk::temporaries(store)?.is_empty();
            Ok(clean.then_some(()))
        },
    )
    .with_context(|| {
        format!(
            "{:?} on disk, {:?} known",
            bytes_on_disk(store),
            own_bytes(store)
        )
    })?;
    store.stop()?;
    let log = store.log()?;
    let groups = log.split("zones (").skip(1);
    let groups: BTreeSet<&str> = groups.filter_map(|rest| rest.split(')').next()).collect();
    ensure!(!groups.is_empty(), "the log names the zones");
    for group in groups {
        let left = Holdings::of(store.data_dir(), Some(group))?;
        ensure!(left.is_empty(), "left behind: {left:#?}");
    }
    ensure!(!log.contains("panicked"), "nothing panics");
    Ok(())
}

#[test]
fn jobs_end_as_they_should_whatever_dies() -> Result<()> {
    let mut random = generator("faults of jobs");
    let jobs = number("MANTA_TEST_FAULT_JOBS").unwrap_or(40) as usize;
    let mut store = Launch::new()
        .setting("jobs.zones = 4")
        .setting("housekeeping.delete_grace_ms = 100")
        .setting("housekeeping.collect_interval_ms = 100")
        .start()?;
    let mut client = store.client()?;
    let door = Door {
        address: Mutex::new(store.address()),
        signer: store.signer()?,
        account: store.account().to_owned(),
    };
    for (n, name) in door.inputs().iter().enumerate() {
        let lines = |line: usize| format!("line {line} of {n}\n");
        client
            .put(name, (0..=n).map(lines).collect::<String>())?
            .expect(204)?;
    }
    let kinds = kinds(&door)?;

    let (next, told, killed) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let retries = AtomicU64::new(0);
    let work = || -> Result<()> {
        let mut client = door.client();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= jobs {
                return Ok(());
            }
            let kind = &kinds[number % kinds.len()];
            let ended = run(&mut client, &kind.phases, &door.inputs())
                .with_context(|| format!("job {number}"))?;
            let kills = judge(kind, &ended).with_context(|| format!("job {number}: {ended:?}"))?;
            killed.fetch_add(kills, Ordering::Relaxed);
            told.fetch_add(ended.errors.len().min(1), Ordering::Relaxed);
            retries.fetch_add(ended.retries, Ordering::Relaxed);
        }
    };
    // How often there was something to strike.
    let mut landed: BTreeMap<Fault, usize> = BTreeMap::new();
    let mut struck = 0;
    std::thread::scope(|scope| -> Result<()> {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
        let mut fault = Ok(());
        while fault.is_ok()
            && struck < FAULTS_PER_JOB * jobs
            && !clients.iter().all(|client| client.is_finished())
        {
            let at = Instant::now() + Duration::from_millis(random.random_range(50..800));
            fault = wait_for("the next fault", PATIENCE, || {
                Ok((Instant::now() >= at).then_some(()))
            })
            .and_then(|()| {
                // Those that must find something come first, until they have.
                let missing = MUST_LAND.iter().find(|fault| !landed.contains_key(fault));
                let kind = *missing
                    .or_else(|| FAULTS.choose(&mut random))
                    .context("a fault")?;
                struck += 1;
                let hit = strike(&mut store, &door, kind, &mut random)
                    .with_context(|| format!("{kind:?}"))?;
                if hit {
                    *landed.entry(kind).or_default() += 1;
                }
                Ok(())
            });
        }
        for client in clients {
            match client.join() {
                Ok(outcome) => outcome?,
                Err(_) => bail!("a client panicked"),
            }
        }
        fault
    })?;
    let (told, killed, retries) = (told.into_inner(), killed.into_inner(), retries.into_inner());
    eprintln!(
        "{told} of {jobs} jobs with errors, {killed} of a killed command; {retries} attempts repeated; {landed:?}"
    );
    let often = |fault| landed.get(&fault).copied().unwrap_or_default();
    ensure!(
        MUST_LAND.iter().all(|fault| often(*fault) > 0),
        "the faults find something: {landed:?}"
    );
    ensure!(
        killed <= often(Fault::Task),
        "only a command that is killed by itself is told of: {landed:?}"
    );
    ensure!(told * 2 < jobs, "faults are to be mended, not told");
    // Jobs of which nobody knows, since the answer to their creation was lost.
    for job in live_jobs(&store)? {
        let cancel = Request::new("POST", &store.path(&format!("jobs/{job}/live/cancel")));
        store.client()?.call(&cancel.claiming(0))?.expect(202)?;
    }
    wait_for("the last jobs", PATIENCE, || {
        Ok(live_jobs(&store)?.is_empty().then_some(()))
    })?;
    nothing_is_left(&mut store)
}

/// The reference's `stress_cancel.sh`.
#[test]
fn jobs_that_are_cancelled_at_any_moment_end() -> Result<()> {
    let mut random = generator("jobs that are cancelled");
    let store = Launch::new().setting("jobs.zones = 2").start()?;
    let mut client = store.client()?;
    let inputs: Vec<String> = (0..INPUTS)
        .map(|n| store.path(&format!("stor/in{n}")))
        .collect();
    for input in &inputs {
        client.put(input, "content\n")?.expect(204)?;
    }
    let phases = json!([{"exec": "cat"}, {"type": "reduce", "exec": "sort"}]);
    for _ in 0..10 {
        let job = Job::create(&mut client, &store, &phases)?;
        job.add(&mut client, &inputs)?;
        let moment = Instant::now() + Duration::from_millis(random.random_range(0..300));
        wait_for("the moment", PATIENCE, || {
            Ok((Instant::now() >= moment).then_some(()))
        })?;
        job.cancel(&mut client)?;
        let done = job.wait(&mut client, PATIENCE)?;
        ensure!(done.status["cancelled"] == true, "{}", done.status);
        let told = done
            .errors
            .iter()
            .all(|error| error["code"] == "JobCancelledError");
        ensure!(told && done.outputs.is_empty(), "{done:?}");
    }
    // What was cancelled holds no zone.
    let (_, done) = Job::run(&mut client, &store, &phases, &inputs, PATIENCE)?;
    ensure!(done.contents(&mut client)? == ["content\n".repeat(INPUTS)]);
    store.finish()
}

/// The reference's `endtoend.sh`: no input waits for the next one, or for the end of the inputs.
#[test]
fn a_hundred_inputs_one_by_one() -> Result<()> {
    let store = Launch::new().setting("jobs.zones = 2").start()?;
    let mut client = store.client()?;
    let input = store.path("stor/in");
    client.put(&input, "content\n")?.expect(204)?;
    let job = Job::create(&mut client, &store, &json!([{"exec": "cat"}]))?;
    for number in 1..=100 {
        job.add(&mut client, std::slice::from_ref(&input))?;
        wait_for("the output", PATIENCE, || {
            let status = job.status(&mut client)?;
            ensure!(status["stats"]["errors"] == 0, "{status}");
            Ok((status["stats"]["outputs"] == number).then_some(()))
        })?;
    }
    job.end(&mut client)?;
    let done = job.wait(&mut client, PATIENCE)?;
    ensure!(done.contents(&mut client)? == vec!["content\n"; 100]);
    store.finish()
}
