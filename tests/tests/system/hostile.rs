//! Commands that harm: each ends with its documented error while another account's job beside it goes on, and
//! the zone it ran in serves the next task. Source: zones.md section 10.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::job::{Finished, url};
use tests::{Client, Job, Launch, Store, machine, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);
const HOSTILE: &str = "hostile";

/// Two accounts of one store, each with an object `stor/x`. The hostile one has no rights beyond its own.
struct Neighbours {
    store: Store,
    hostile: Client,
    victim: Client,
}

impl Neighbours {
    fn start(launch: Launch) -> Result<Self> {
        let store = launch.start()?;
        let mut hostile = store.add_account(HOSTILE)?;
        let mut victim = store.client()?;
        hostile.put(&Self::bait(), "mine\n")?.expect(204)?;
        victim
            .put(&store.path("stor/x"), "innocent\n")?
            .expect(204)?;
        Ok(Self {
            store,
            hostile,
            victim,
        })
    }

    fn bait() -> String {
        format!("/{HOSTILE}/stor/x")
    }

    /// Starts a job of the hostile account.
    fn attack(&mut self, phases: &Value, inputs: &[String]) -> Result<Job> {
        let job = Job::create_of(&mut self.hostile, HOSTILE, phases)?;
        if !inputs.is_empty() {
            job.add(&mut self.hostile, inputs)?;
        }
        job.end(&mut self.hostile)?;
        Ok(job)
    }

    /// Starts a job of the other one, on its own object.
    fn work(&mut self, exec: &str, inputs: usize) -> Result<Job> {
        let job = Job::create(&mut self.victim, &self.store, &json!([{ "exec": exec }]))?;
        job.add(&mut self.victim, &vec![self.store.path("stor/x"); inputs])?;
        job.end(&mut self.victim)?;
        Ok(job)
    }

    fn said_to_victim(&mut self, job: &Job) -> Result<Vec<String>> {
        let done = job.wait(&mut self.victim, PATIENCE)?;
        done.contents(&mut self.victim)
    }

    /// Fails unless the zones still work. More tasks at once than zones, so that each zone has its turn.
    fn all_is_well(&mut self) -> Result<()> {
        let job = self.work("cat", 6)?;
        ensure!(
            self.said_to_victim(&job)? == vec!["innocent\n"; 6],
            "the zones still work"
        );
        Ok(())
    }
}

/// Runs a harmful phase next to a harmless job of another account; afterwards both zones must still work.
/// Returns what became of the harmful one.
fn beside_others(phase: &Value, cancel: bool) -> Result<(Neighbours, Finished)> {
    let mut both = Neighbours::start(Launch::new().setting("jobs.zones = 2"))?;
    let harmful = both.attack(&json!([phase]), &[Neighbours::bait()])?;
    let harmless = both.work("for i in 1 2 3 4 5; do sleep 0.1; done; cat", 3)?;
    let contents = both
        .said_to_victim(&harmless)
        .context("the job beside it")?;
    ensure!(
        contents == vec!["innocent\n"; 3],
        "the job beside it is unharmed"
    );
    if cancel {
        harmful.cancel(&mut both.hostile)?;
    }
    let harm = harmful
        .wait(&mut both.hostile, PATIENCE)
        .context("the harmful job")?;
    both.all_is_well()?;
    Ok((both, harm))
}

fn message(harm: &Finished, code: &str) -> Result<String> {
    Ok(harm.only_error(code)?["message"]
        .as_str()
        .context("an error has a message")?
        .to_owned())
}

fn stderr_of(client: &mut Client, harm: &Finished) -> Result<String> {
    let name = harm.errors[0]["stderr"].as_str();
    let stderr = url(name.context("stderr is kept")?);
    Ok(client.get(&stderr)?.expect(200)?.text())
}

/// What fails is the command's own next process: without a limit it would make all of them, and succeed.
#[test]
fn a_fork_bomb() -> Result<()> {
    let exec = "bomb() { bomb | bomb & }; bomb & exec perl -e 'for (1..2000) { my $child = fork; \
         defined $child or print STDERR $! and exit 9; $child or sleep 100000 }'";
    let said = refused_a_process(exec, 9)?;
    ensure!(said.contains(NO_PROCESS), "{said}");
    Ok(())
}

const NO_PROCESS: &str = "Resource temporarily unavailable";

/// Runs a command that ends with `code` when it may not start one more process; returns what it says.
fn refused_a_process(exec: &str, code: u8) -> Result<String> {
    let (mut both, harm) = beside_others(&json!({"exec": exec}), false)?;
    ensure!(
        message(&harm, "UserTaskError")? == format!("user command exited with code {code}"),
        "{:?}",
        harm.errors
    );
    let said = stderr_of(&mut both.hostile, &harm)?;
    both.store.finish()?;
    Ok(said)
}

#[test]
fn a_fork_bomb_that_never_ends() -> Result<()> {
    let exec = "while :; do (while :; do sleep 1000 & done) & done";
    let (both, harm) = beside_others(&json!({"exec": exec}), true)?;
    let code = harm.errors[0]["code"].as_str().unwrap_or_default();
    ensure!(
        matches!(code, "JobCancelledError" | "UserTaskError"),
        "{:?}",
        harm.errors
    );
    both.store.finish()
}

#[test]
fn a_command_that_fills_its_disk() -> Result<()> {
    let exec = "head -c 5G /dev/zero > /var/tmp/fill";
    let (both, harm) = beside_others(&json!({"exec": exec, "disk": 2}), false)?;
    ensure!(
        message(&harm, "UserTaskError")? == "user task ran out of local disk space",
        "{:?}",
        harm.errors
    );
    both.store.finish()
}

/// What a command prints lies on the disk of its zone.
#[test]
fn a_command_that_fills_its_disk_with_what_it_prints() -> Result<()> {
    let exec = "fallocate -l 1800M /var/tmp/fill && head -c 1G /dev/zero";
    let (both, harm) = beside_others(&json!({"exec": exec, "disk": 2}), false)?;
    ensure!(
        message(&harm, "UserTaskError")? == "user task ran out of local disk space",
        "{:?}",
        harm.errors
    );
    ensure!(harm.outputs.is_empty(), "{:?}", harm.outputs);
    both.store.finish()
}

#[test]
fn a_command_with_ten_thousand_children() -> Result<()> {
    let exec = "perl -e 'for (1..10000) { my $child = fork; \
         defined $child or print STDERR $! and exit 7; $child or sleep 100000 }'";
    let said = refused_a_process(exec, 7)?;
    ensure!(said == NO_PROCESS, "{said}");
    Ok(())
}

#[test]
fn a_command_that_eats_its_memory() -> Result<()> {
    let exec = "x=$(head -c 1G /dev/zero | tr '\\0' x); echo ${#x}";
    let (both, harm) = beside_others(&json!({"exec": exec, "memory": 128}), false)?;
    let message = message(&harm, "UserTaskError")?;
    ensure!(message.contains("ran out of memory"), "{message}");
    both.store.finish()
}

#[test]
fn a_command_that_never_ends() -> Result<()> {
    let exec = "trap '' TERM INT HUP; setsid sleep 100000 & while :; do sleep 1000; done";
    let (both, harm) = beside_others(&json!({"exec": exec}), true)?;
    ensure!(
        message(&harm, "JobCancelledError")? == "job was cancelled",
        "{:?}",
        harm.errors
    );
    both.store.finish()
}

#[test]
fn a_command_that_dumps_core() -> Result<()> {
    let (both, harm) = beside_others(
        &json!({"exec": "ulimit -c unlimited; sh -c 'kill -SEGV $$'; exit 0"}),
        false,
    )?;
    ensure!(
        message(&harm, "UserTaskError")? == "user command or child process dumped core",
        "{:?}",
        harm.errors
    );
    both.store.finish()
}

#[test]
fn a_command_that_is_killed() -> Result<()> {
    let (both, harm) = beside_others(&json!({"exec": "kill -KILL $$"}), false)?;
    ensure!(
        message(&harm, "UserTaskError")? == "user command terminated by SIGKILL",
        "{:?}",
        harm.errors
    );
    both.store.finish()
}

#[test]
fn a_command_that_closes_its_output() -> Result<()> {
    let (mut both, done) = beside_others(&json!({"exec": "exec >&- 2>&-; true"}), false)?;
    ensure!(
        done.contents(&mut both.hostile)? == [""],
        "an output that nothing was written to"
    );
    both.store.finish()
}

#[test]
fn a_command_that_says_too_much() -> Result<()> {
    let (mut both, harm) =
        beside_others(&json!({"exec": "head -c 1G /dev/zero >&2; exit 4"}), false)?;
    ensure!(
        message(&harm, "UserTaskError")? == "user command exited with code 4",
        "{:?}",
        harm.errors
    );
    let stderr = harm.errors[0]["stderr"]
        .as_str()
        .context("stderr is kept")?;
    let size = both
        .hostile
        .head(&url(stderr))?
        .header("content-length")
        .map(str::to_owned);
    ensure!(size.as_deref() == Some("1073741824"), "all of it: {size:?}");
    both.store.finish()
}

#[test]
fn a_job_that_sleeps_in_every_zone_gives_one_up() -> Result<()> {
    let launch = Launch::new()
        .setting("jobs.zones = 2")
        .setting("jobs.hog_grace_ms = 300")
        .setting("jobs.hog_kill_ms = 100");
    let mut both = Neighbours::start(launch)?;
    let sleeper = both.attack(
        &json!([{"exec": "sleep 100000"}]),
        &[Neighbours::bait(), Neighbours::bait()],
    )?;
    wait_for("both zones to be taken", Duration::from_secs(30), || {
        let started = both.store.metric("marlin_tasks_started_total")?;
        Ok((started >= 2.0).then_some(()))
    })?;
    let job = both.work("cat", 1)?;
    ensure!(both.said_to_victim(&job)? == ["innocent\n"]);
    let status = sleeper.status(&mut both.hostile)?;
    ensure!(status["state"] == "running", "{status}");
    wait_for("another attempt", Duration::from_secs(30), || {
        let status = sleeper.status(&mut both.hostile)?;
        Ok((status["stats"]["retries"] == 1 && status["stats"]["errors"] == 0).then_some(()))
    })?;
    ensure!(both.store.metric("marlin_tasks_killed_total")? == 1.0);
    sleeper.cancel(&mut both.hostile)?;
    sleeper.wait(&mut both.hostile, PATIENCE)?;
    both.store.finish()
}

#[test]
fn what_a_command_leaves_running_ends_with_it() -> Result<()> {
    let exec = "(setsid sleep 100000 &) ; nohup sleep 100000 & echo started";
    let (mut both, done) = beside_others(&json!({"exec": exec}), false)?;
    ensure!(
        done.contents(&mut both.hostile)? == ["started\n"],
        "{:?}",
        done.outputs
    );
    let pid = both.store.pid();
    wait_for("the sleepers to end", Duration::from_secs(10), || {
        let left = machine::process_tree(pid).into_iter().any(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|words| words.starts_with(b"sleep"))
        });
        Ok((!left).then_some(()))
    })?;
    both.store.finish()
}

/// Puts something into every place a zone has to write to, also such as a shell or a command of the next tenant
/// would run, listens on a port, and holds a request to its local Manta open. `/manta`, `/dev`, `/proc` and the
/// directory of our own commands cannot be written to.
const LEAVE: &str = r#"
for place in / /tmp /var/tmp /root /home /assets /dev/shm /etc /usr/bin /usr/lib /var/lib/dpkg; do
    echo EVIL-4711 > $place/leftover || exit 11
done
echo 'echo EVIL-4711' | tee /root/.bashrc /root/.profile /etc/profile > /dev/null || exit 12
printf '#!/bin/sh\necho EVIL-4711\n' > /usr/bin/sort || exit 13
perl -e 'defined shmget(4711, 4096, 01666) && defined msgget(4711, 01666)
    && defined semget(4711, 1, 01666) or exit 1' || exit 14
(
    exec 3<> /dev/tcp/localhost/80
    printf 'POST /my/jobs/task/fail HTTP/1.1\r\n' >&3
    exec setsid perl -MIO::Socket::INET -e '
        my $port = IO::Socket::INET->new(LocalPort => 4711, Listen => 1) or die $@;
        sleep shift' $((864009 + 1))
) &
until grep -q ':1267 ' /proc/net/tcp; do sleep 0.01; done
"#;

/// Says which zone it is in and what its input is, then counts what [`LEAVE`] leaves: files, files in mounts of
/// their own, files by their content, processes, connections, ports (two are the local Manta's), objects of
/// System V.
const LOOK: &str = r#"
hostname; sort
find / -xdev -name leftover 2> /dev/null | wc -l
ls /usr/bin/leftover /usr/lib/leftover /var/lib/dpkg/leftover /dev/shm/leftover 2> /dev/null | wc -l
grep -rlsI EVIL-4711 /root /etc /tmp /var /home /assets | wc -l
grep -lsa '86401[0]' /proc/[0-9]*/cmdline | wc -l
awk '$4 == "01"' /proc/net/tcp /proc/net/tcp6 | wc -l
awk '$4 == "0A"' /proc/net/tcp /proc/net/tcp6 | wc -l
perl -e 'print grep({ defined } shmget(4711, 4096, 0), msgget(4711, 0), semget(4711, 1, 0)) + 0'
"#;

#[test]
fn what_one_account_leaves_another_does_not_find() -> Result<()> {
    // One, so that it serves them both.
    let mut both = Neighbours::start(Launch::new().setting("jobs.zones = 1"))?;
    let planter = both.attack(
        &json!([{"exec": format!("{LEAVE}{LOOK}")}]),
        &[Neighbours::bait()],
    )?;
    let done = planter.wait(&mut both.hostile, PATIENCE)?;
    let planted = done.contents(&mut both.hostile)?.concat();
    let (zone, planted) = planted.split_once('\n').context("the zone's name")?;
    ensure!(
        planted == "EVIL-4711\n7\n4\n10\n1\n2\n3\n3",
        "who leaves it sees all of it: {planted}"
    );
    let heir = both.work(LOOK, 1)?;
    let found = both.said_to_victim(&heir)?.concat();
    ensure!(
        found == format!("{zone}\ninnocent\n0\n0\n0\n0\n0\n2\n0"),
        "{found}, after {zone}"
    );
    both.store.finish()
}

/// Says what works of all that an account must not do to another, `V`, and its job, `ID`. The same with its own
/// tree and its own job, `OWN`, shows that each could work. What it says goes out last: a command of ours that
/// sends output takes the place of what is printed.
const TAKE: &str = r#"
exec > /tmp/said
try() {
    for attempt in "mget $1/stor/x" "mls $1/stor" "mls $1/jobs" "mfind $1/stor" \
        "mget $1/jobs/$2/live/status" "mput -f /etc/passwd $1/stor/x" "mput -f /etc/passwd $1/stor/evil" \
        "mput -f /etc/passwd $1/public/evil" "mmkdir $1/stor/evil-directory" \
        "mln $1/stor/x /hostile/stor/evil-link" "mmv /hostile/stor/y $1/stor/evil-y" "mrm $1/stor/x" \
        "mjob cancel $2"
    do
        $attempt < /dev/null > /dev/null 2>&1 && echo "worked: $attempt"
    done
}
try /hostile $OWN
echo and
try $V $ID
echo mine | mpipe $V/stor/evil-pipe > /dev/null 2>&1 && echo "worked: mpipe"
ask() {
    exec 3<> /dev/tcp/localhost/80
    printf '%s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n%b\r\n' "$1" "$2" >&3
    head -n 1 <&3 | cut -d ' ' -f 2
}
for header in '' 'authorization: Token forged\r\n' 'x-auth-token: forged\r\n' 'x-forwarded-for: 127.0.0.1\r\n'; do
    for request in "POST $V/jobs/$ID/live/cancel" "GET $V/jobs/$ID/live/status" "GET $V/stor/x" \
        "PUT $V/stor/evil" "DELETE $V/stor/x" "GET /hostile/stor/evil"
    do
        echo "$(ask "$request" "$header")"
    done
done | paste -sd ' '
mpipe < /tmp/said
"#;
const TAKE_ATTEMPTS: usize = 13;

#[test]
fn what_is_anothers_cannot_be_had_from_a_zone() -> Result<()> {
    let mut both = Neighbours::start(Launch::new())?;
    let theirs = both.store.path("stor/x");
    let names = |both: &mut Neighbours| -> Result<Vec<String>> {
        let stor = both.victim.names(&both.store.path("stor"))?;
        let public = both.victim.names(&both.store.path("public"))?;
        Ok([stor, public].concat())
    };
    let before = names(&mut both)?;
    let open = Job::create(&mut both.victim, &both.store, &json!([{"exec": "cat"}]))?;
    let own = Job::create_of(&mut both.hostile, HOSTILE, &json!([{"exec": "cat"}]))?;
    both.hostile
        .put(&format!("/{HOSTILE}/stor/y"), "mine\n")?
        .expect(204)?;

    let exec = format!(
        "V=/{} ID={} OWN={}\n{TAKE}",
        both.store.account(),
        open.id(),
        own.id()
    );
    let taker = both.attack(&json!([{"type": "reduce", "exec": exec}]), &[])?;
    let done = taker.wait(&mut both.hostile, PATIENCE)?;
    let said = done.contents(&mut both.hostile)?.concat();
    let (control, rest) = said.split_once("and\n").context("both parts")?;
    ensure!(
        control.matches("worked: ").count() == TAKE_ATTEMPTS,
        "with what is its own it may do all of it: {control}"
    );
    // Nothing has worked; the last of each row is its own.
    let statuses = ["403 403 403 403 403 200"; 4].join(" ");
    ensure!(rest == format!("{statuses}\n"), "{rest}");

    both.hostile
        .put(&Neighbours::bait(), "mine\n")?
        .expect(204)?;
    let denied = (
        "AuthorizationError",
        format!("permission denied: \"{theirs}\""),
    );
    let read = format!("cat /assets{theirs}");
    for (phases, input, (code, message)) in [
        (json!([{"exec": "cat"}]), &theirs, &denied),
        (
            json!([{"exec": format!("mcat {theirs}")}, {"exec": "cat"}]),
            &Neighbours::bait(),
            &denied,
        ),
        (
            json!([{"exec": read, "assets": [theirs]}]),
            &Neighbours::bait(),
            &(
                "TaskInitError",
                format!(
                    "failed to dispatch task: first of 1 error: \
                     error retrieving asset \"{theirs}\" (status code 403)"
                ),
            ),
        ),
    ] {
        let reader = both.attack(&phases, std::slice::from_ref(input))?;
        let done = reader.wait(&mut both.hostile, PATIENCE)?;
        let error = done.only_error(code)?;
        ensure!(error["message"] == message.as_str(), "{error}");
        ensure!(done.outputs.is_empty(), "{:?}", done.outputs);
    }

    let kept = both.victim.get(&theirs)?.expect(200)?.text();
    ensure!(kept == "innocent\n", "{kept}");
    let after = names(&mut both)?;
    ensure!(after == before, "{after:?} after {before:?}");
    let status = open.status(&mut both.victim)?;
    ensure!(
        status["state"] == "running" && status["cancelled"] == false,
        "{status}"
    );
    open.cancel(&mut both.victim)?;
    open.wait(&mut both.victim, PATIENCE)?;
    both.store.finish()
}

/// More connections than are served at once, or wait in the kernel. Half of them say a little now and then.
const PESTER: &str = r#"ulimit -n 10100 && exec perl -MSocket -MFcntl -e '
    my $there = sockaddr_in(80, inet_aton("127.0.0.1"));
    my @all = map {
        socket(my $socket, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
        fcntl($socket, F_SETFL, O_NONBLOCK) or die "fcntl: $!";
        connect($socket, $there);
        $socket
    } 1 .. 10_000;
    $SIG{PIPE} = "IGNORE";
    my %begun;
    for (;;) {
        for my $socket (@all[0 .. 4_999]) {
            my $drop = $begun{$socket} ? "x" : "GET /hostile/stor/x HTTP/1.1\r\nx-drops: ";
            $begun{$socket} ||= defined send($socket, $drop, 0);
        }
        select(undef, undef, undef, 0.2);
    }
'"#;

#[test]
fn a_command_that_pesters_its_local_manta() -> Result<()> {
    const CONNECTIONS: usize = 10_000;
    const GROWTH_BYTES_MAX: u64 = 64 << 20;
    let mut both = Neighbours::start(Launch::new().setting("jobs.zones = 2"))?;
    let pid = both.store.pid();
    let resident = machine::resident_bytes(pid);
    let open = open_files(pid);
    let pest = both.attack(&json!([{ "exec": PESTER }]), &[Neighbours::bait()])?;
    wait_for("its connections", PATIENCE, || {
        let tree = machine::process_tree(pid);
        let has_all = tree.into_iter().any(|pid| open_files(pid) >= CONNECTIONS);
        // They are not all refused: some have reached the store.
        Ok((has_all && open_files(pid) >= open + 32).then_some(()))
    })?;

    let input = both.store.path("stor/x");
    let job = both.work(&format!("mget -q {input}; cat"), 3)?;
    let contents = both.said_to_victim(&job)?;
    ensure!(contents == ["innocent\ninnocent\n"; 3], "{contents:?}");
    both.store.anonymous().get("/ping")?.expect(200)?;
    let now = open_files(pid);
    ensure!(now < open + 500, "{now} open files, after {open}");
    let peak = machine::peak_resident_bytes(pid);
    ensure!(
        peak < resident + GROWTH_BYTES_MAX,
        "{peak} bytes, after {resident}"
    );
    let status = pest.status(&mut both.hostile)?;
    ensure!(status["state"] == "running", "still pestering: {status}");

    pest.cancel(&mut both.hostile)?;
    let done = pest.wait(&mut both.hostile, PATIENCE)?;
    done.only_error("JobCancelledError")?;
    both.all_is_well()?;
    both.store.finish()
}

/// How many files a process has open; 0 when it is gone.
fn open_files(pid: u32) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"));
    entries.into_iter().flatten().count()
}

#[test]
fn a_command_that_sends_headers_without_measure() -> Result<()> {
    let exec = r#"
        ask() { (
            trap '' PIPE
            exec 3<> /dev/tcp/localhost/80
            { printf 'HEAD /hostile/stor/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n'; "$@"; printf '\r\n'; } >&3
            head -n 1 <&3 | cut -d ' ' -f 2
        ) 2> /dev/null; }
        many() { seq -f 'x-%g: x' $1 | sed 's/$/\r/'; }
        long() { printf 'x-long: '; head -c $1 /dev/zero | tr '\0' x; printf '\r\n'; }
        echo $(ask many 3) $(ask long 1000) $(ask many 300)
        case "$(ask long 1048576)" in '' | 4??) echo refused; esac
        mget -q ~~/stor/x; cat
    "#;
    let (mut both, done) = beside_others(&json!({"exec": exec}), false)?;
    let said = done.contents(&mut both.hostile)?;
    ensure!(said == ["200 200 431\nrefused\nmine\nmine\n"], "{said:?}");
    both.store.finish()
}
