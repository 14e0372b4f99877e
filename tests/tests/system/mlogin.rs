//! Sessions of `mlogin`, its own and that of the npm package, each at a terminal of its own with somebody who
//! types. Source: marlin.md section 12.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::home::{Home, outcome, run};
use tests::{Job, Launch, Store, machine, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);
const PROMPT: &str = "@manta # ";

fn store() -> Result<Store> {
    Launch::new().setting("jobs.zones = 2").start()
}

/// How a session looked.
#[derive(Debug)]
struct Shown {
    shown: String,
    code: i64,
}

/// Runs a command at a terminal, where somebody acts.
fn at_terminal(home: &Home, command: &Command, steps: &Value) -> Result<Shown> {
    let script = home.path().join("mlogin.py");
    std::fs::write(&script, include_str!("mlogin.py"))?;
    let mut person = home.command("python3");
    person.arg(script).arg(steps.to_string());
    person.arg(command.get_program()).args(command.get_args());
    let seen: Value = serde_json::from_str(&run(person.env("TERM", "vt100"))?)?;
    ensure!(seen["missed"] == json!([]), "{seen:#}");
    Ok(Shown {
        shown: seen["shown"].as_str().context("what was shown")?.to_owned(),
        code: seen["code"].as_i64().context("an exit code")?,
    })
}

impl Shown {
    /// Fails unless these stand in it, in this order.
    fn has(&self, parts: &[&str]) -> Result<()> {
        let mut rest = self.shown.as_str();
        for part in parts {
            let (_, after) = rest
                .split_once(part)
                .with_context(|| format!("{part:?} is not in {rest:?} of {self:#?}"))?;
            rest = after;
        }
        Ok(())
    }

    fn job(&self, store: &Store) -> Result<Job> {
        let (_, id) = self
            .shown
            .split_once(" * created interactive job -- ")
            .context("a job")?;
        let id = id.lines().next().context("its id")?;
        Ok(Job::at(store.path(&format!("jobs/{}", id.trim()))))
    }
}

/// Neither the description of a session nor an output lies about, and the job is as it should be.
fn is_clean(store: &Store, job: &Job) -> Result<()> {
    let mut client = store.client()?;
    let done = job.wait(&mut client, PATIENCE)?;
    ensure!(done.errors.is_empty(), "{:?}", done.errors);
    ensure!(done.outputs.is_empty(), "{:?}", done.outputs);
    let left = client.names(&store.path("stor"))?;
    ensure!(
        !left.iter().any(|name| name.starts_with("medusa-config")),
        "{left:?}"
    );
    Ok(())
}

fn object(store: &Store) -> Result<String> {
    let path = store.path("stor/o.txt");
    store.client()?.put(&path, "an object\n")?.expect(204)?;
    Ok(path)
}

/// What a person does in a shell: look around, resize the window, stop something, leave something behind.
fn a_visit(left_behind: &str) -> Value {
    json!([
        {"see": PROMPT, "type": "stty size; cat $MANTA_INPUT_FILE; tty; echo $TERM \"loo\"ked\r"},
        {"see": "looked"},
        // Said by what is to be interrupted: while bash is only about to start it, an interrupt finds bash, or makes
        // it lose its terminal to what it has just forked, and then it reads the end of its input.
        {"see": PROMPT, "type": "sh -c 'echo sle\"eps\"; exec sleep 1000'\r"},
        {"see": "sleeps", "type": "\u{3}"},
        {"see": PROMPT, "resize": [50, 120],
            "type": "until [ \"$(stty size)\" = '50 120' ]; do sleep 0.01; done; echo re\"sized\"\r"},
        {"see": "resized"},
        {"see": PROMPT, "type": format!("nohup sleep {left_behind} > /dev/null 2>&1 &\r")},
        {"see": PROMPT, "type": format!("kill -0 $! && echo be\"hind\"\r")},
        {"see": "behind"},
        {"see": PROMPT, "type": "exit 3\r"},
        {"see": "remote process exited"},
    ])
}

/// The visit, by either command; nothing that it leaves behind, which sleeps for so many seconds, outlives it.
fn visit(
    mlogin: impl FnOnce(&Home) -> Result<Command>,
    code: i64,
    left_behind: &str,
) -> Result<()> {
    let store = store()?;
    let home = store.user()?;
    let object = object(&store)?;
    let shown = at_terminal(&home, mlogin(&home)?.arg(&object), &a_visit(left_behind))?;
    shown.has(SEEN)?;
    ensure!(shown.code == code, "{shown:#?}");
    is_clean(&store, &shown.job(&store)?)?;
    wait_for("what was left behind to be gone", PATIENCE, || {
        Ok((!machine::runs(&["sleep", left_behind])).then_some(()))
    })?;
    store.finish()
}

const SEEN: &[&str] = &[
    " * created interactive job -- ",
    "established\n",
    " * your object is at $MANTA_INPUT_FILE: /manta/",
    "43 132\n",
    "an object\n",
    "/dev/pts/0\n",
    "vt100 looked\n",
    "sleeps\n",
    "^C",
    "resized\n",
    "exit\n",
    " * remote process exited\n",
];

#[test]
fn npm_mlogin_is_a_shell_next_to_an_object() -> Result<()> {
    visit(|home| home.npm("mlogin"), 0, "98765")
}

#[test]
fn npm_mlogin_runs_a_command_without_an_object() -> Result<()> {
    let store = store()?;
    let home = store.user()?;
    let mut mlogin = home.npm("mlogin")?;
    let mlogin = mlogin.args(["-c", "echo reducer $MANTA_REDUCER; tty", "--memory", "512"]);
    let shown = at_terminal(&home, mlogin, &json!([{"see": "remote process exited"}]))?;
    shown.has(&["established\n", "reducer 0\n", "/dev/pts/0\n"])?;
    ensure!(shown.code == 0, "{shown:#?}");
    is_clean(&store, &shown.job(&store)?)?;
    store.finish()
}

#[test]
fn npm_mlogin_shows_why_a_session_does_not_begin() -> Result<()> {
    let store = store()?;
    let home = store.user()?;
    let mut mlogin = home.npm("mlogin")?;
    let shown = at_terminal(&home, mlogin.args(["--init", "exit 9"]), &json!([]))?;
    shown.has(&[
        "waiting for session...",
        " * Error during job run; please check errors.\n",
        " * IN-JOB ERROR: TaskInitError: user command exited with code 9\n",
    ])?;
    let done = shown.job(&store)?.wait(&mut store.client()?, PATIENCE)?;
    done.only_error("TaskInitError")?;
    store.finish()
}

#[test]
fn mlogin_is_a_shell_next_to_an_object() -> Result<()> {
    visit(|home| Ok(home.own("mlogin")), 3, "98764")
}

#[test]
fn mlogin_ends_as_its_command_does_and_says_nothing_else_when_quiet() -> Result<()> {
    let store = store()?;
    let home = store.user()?;
    let asset = object(&store)?;
    for (command, shown, code) in [
        (format!("cat /assets{asset}; exit 7"), "an object\n", 7),
        ("kill -TERM $$".to_owned(), "", 143),
        // A session is nobody's failure, whatever happens in it.
        (
            "{ bash -c 'kill -SEGV $$'; } 2> /dev/null; echo fine".to_owned(),
            "fine\n",
            0,
        ),
        // More than any buffer on the way holds.
        (
            "seq 100000 | tail -n +1 | cksum; seq 100000".to_owned(),
            "",
            0,
        ),
    ] {
        let mut mlogin = home.own("mlogin");
        let mlogin = mlogin.args(["-q", "-s", &asset, "-c", &command]);
        let seen = at_terminal(&home, mlogin, &json!([]))?;
        ensure!(seen.code == code, "{command}: {seen:#?}");
        if command.starts_with("seq") {
            let (sum, numbers) = seen.shown.split_once('\n').context("a line")?;
            let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
            ensure!(numbers == expected, "numbers are missing after {sum}");
        } else {
            ensure!(seen.shown == shown, "{command}: {seen:#?}");
        }
    }
    let mut client = store.client()?;
    for id in client.names(&store.path("jobs"))? {
        is_clean(&store, &Job::at(store.path(&format!("jobs/{id}"))))?;
    }
    store.finish()
}

#[test]
fn mlogin_has_words_for_itself() -> Result<()> {
    let store = store()?;
    let home = store.user()?;
    let steps = json!([
        {"see": PROMPT, "type": "echo one ~. two\r"},
        {"see": PROMPT, "type": "~?"},
        {"see": "Supported escape sequences:"},
        {"see": "(Note that", "type": "~i"},
        {"see": "Job ID: ", "type": "~~x\r"},
        {"see": "~x: command not found"},
        {"see": PROMPT, "type": "\r"},
        {"see": PROMPT, "type": "~."},
        {"see": "session complete"},
    ]);
    let shown = at_terminal(&home, &home.own("mlogin"), &steps)?;
    shown.has(&[
        "one ~. two\n",
        " * session complete\n",
        " * cleaning up resources...\n",
    ])?;
    ensure!(shown.code == 0, "{shown:#?}");
    // It may have ended by itself before it was cancelled.
    shown.job(&store)?.wait(&mut store.client()?, PATIENCE)?;
    let steps = json!([
        {"see": PROMPT, "type": "\r"},
        {"see": PROMPT, "type": "%."},
        {"see": "session complete"},
    ]);
    let mut mlogin = home.own("mlogin");
    at_terminal(&home, mlogin.args(["-e", "%"]), &steps)?;
    store.finish()
}

#[test]
fn mlogin_shows_why_a_session_ends() -> Result<()> {
    let store = store()?;
    let home = store.user()?;
    let mut client = store.client()?;
    // Before it begins.
    let mut mlogin = home.own("mlogin");
    let shown = at_terminal(&home, mlogin.args(["--init", "exit 9"]), &json!([]))?;
    shown.has(&[
        "waiting for session...",
        " * Error during job run; please check errors.\n",
        " * IN-JOB ERROR: TaskInitError: user command exited with code 9\n",
    ])?;
    ensure!(shown.code == 1, "{shown:#?}");
    // Somebody else ends its job.
    let cancel = "mjob cancel $MANTA_JOB_ID\r";
    let steps = json!([{"see": PROMPT, "type": cancel}, {"see": "cleaning up"}]);
    let shown = at_terminal(&home, &home.own("mlogin"), &steps)?;
    shown.has(&[
        " * connection ended unexpectedly (the zone is gone)\n",
        " * The job was cancelled.\n",
    ])?;
    ensure!(shown.code == 1, "{shown:#?}");
    // The terminal is gone: nobody is there to be told, and nothing stays.
    let steps = json!([{"see": PROMPT, "hang_up": true}]);
    let shown = at_terminal(&home, &home.own("mlogin"), &steps)?;
    shown.job(&store)?.wait(&mut client, PATIENCE)?;
    let left = client.names(&store.path("stor"))?;
    ensure!(left.is_empty(), "{left:?}");
    store.finish()
}

#[test]
fn mlogin_needs_an_object_and_a_terminal() -> Result<()> {
    let store = store()?;
    let home = store.user()?;
    for (path, message) in [
        (
            "~~/stor",
            "mlogin: mlogin only works on objects, not directories",
        ),
        ("~~/stor/none", "mlogin: object not found in Manta"),
    ] {
        let mut mlogin = home.own("mlogin");
        let shown = at_terminal(&home, mlogin.arg(path), &json!([]))?;
        ensure!(shown.shown.trim_end() == message, "{shown:#?}");
        ensure!(shown.code == 1, "{shown:#?}");
    }
    let refused = outcome(&mut home.own("mlogin"))?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(said == "mlogin: stdin is not a TTY; aborting.\n", "{said}");
    ensure!(store.client()?.names(&store.path("jobs"))?.is_empty());
    store.finish()
}

/// What runs in a zone may be the zone's end of its own job's session, and of no other.
#[test]
fn a_zone_reaches_no_session_but_its_own() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let other = Job::create(&mut client, &store, &json!([{"exec": "true"}]))?;
    let id = other.id();
    let attach = |id: &str, end: &str| {
        format!(
            "exec 3<> /dev/tcp/localhost/80; printf 'GET /%s/medusa/attach/%s/%s HTTP/1.1\\r\\nHost: x\\r\\n\
             Connection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Key: \
             dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n' $MANTA_USER {id} {end} >&3; head -n 1 <&3"
        )
    };
    let script = [
        attach(id, "slave"),
        attach(id, "master"),
        attach("$MANTA_JOB_ID", "master"),
    ]
    .join("\n");
    let phases = json!([{"type": "reduce", "exec": script}]);
    let (_, done) = Job::run(&mut client, &store, &phases, &[], PATIENCE)?;
    let answers = done.contents(&mut client)?.concat();
    ensure!(
        answers == "HTTP/1.1 400 Bad Request\r\n".repeat(3),
        "{answers:?}"
    );
    store.finish()
}
