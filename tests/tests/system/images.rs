//! Images: imported by the operator, asked for by jobs, in use, removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::small_system::small_system;
use tests::home::{outcome, outcome_with, run, run_with};
use tests::{Job, Launch, Request, Store, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Of a store.
pub(crate) fn adm(store: &Store, words: &[&str]) -> Result<Command> {
    let mut command = Command::new(tests::manta()?);
    command.args(["adm", "--data-dir"]).arg(store.data_dir());
    command.arg("image").args(words);
    Ok(command)
}

fn refused(command: &mut Command) -> Result<String> {
    let output = outcome(command)?;
    ensure!(!output.status.success(), "{command:?} worked");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A root file system of this machine's programs, whose `/etc/motd` is `motd`.
pub(crate) fn root(store: &Store, motd: &str) -> Result<PathBuf> {
    let root = store.scratch().join(format!("root-{motd}"));
    let programs = ["cat", "env", "grep", "sleep", "sort"];
    small_system(&root, &programs, &format!("{motd}\n")).context("make a small system")?;
    Ok(root)
}

pub(crate) fn import(store: &Store, version: &str) -> Result<()> {
    let root = root(store, version)?;
    let root = root.to_str().context("a path")?;
    let name = format!("i{}", version.replace('.', "-"));
    run(&mut adm(
        store,
        &["import", "--name", &name, "--version", version, root],
    )?)?;
    Ok(())
}

fn map(image: Option<&str>, exec: &str) -> Value {
    let mut phase = json!({"type": "map", "exec": exec});
    if let Some(image) = image {
        phase["image"] = image.into();
    }
    json!([phase])
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Three images side by side, with the tools and the store in each; the newest that is allowed is taken.
#[test]
fn jobs_run_on_the_image_they_ask_for() -> Result<()> {
    let store = Launch::new().setting("jobs.zones = 3").start()?;
    for version in ["1.0.0", "1.2.0", "2.0.0"] {
        import(&store, version)?;
    }
    let mut client = store.client()?;
    let input = store.path("stor/in");
    client.put(&input, "hello\n")?.expect(204)?;
    let exec = "set -o pipefail; { cat /etc/motd; mls ~~/stor; cat; grep hello \"$MANTA_INPUT_FILE\"; } | mpipe";
    let host = "The programs of this machine, as image 16.1.0.";
    let mut jobs = Vec::new();
    for (image, motd) in [
        (Some("1.x"), "1.2.0"),
        (Some("1.0.0"), "1.0.0"),
        (Some(">=1.2 <3"), "2.0.0"),
        (Some(">0.0.0"), host),
        (None, host),
    ] {
        let job = Job::create(&mut client, &store, &map(image, exec))?;
        job.add(&mut client, std::slice::from_ref(&input))?;
        job.end(&mut client)?;
        jobs.push((job, image, motd));
    }
    for (job, image, motd) in jobs {
        let done = job.wait(&mut client, PATIENCE)?;
        ensure!(done.errors.is_empty(), "{image:?}: {done:?}");
        let text = client.get(&done.outputs[0])?.expect(200)?.text();
        ensure!(
            text == format!("{motd}\nin\nhello\nhello\n"),
            "{image:?}: {text}"
        );
    }
    // What is not there is refused at once.
    for (image, why) in [
        ("3.x", "unsupported version"),
        ("x.y", "invalid semver range"),
    ] {
        let body = json!({"phases": map(Some(image), "true")}).to_string();
        let request = Request::new("POST", &store.path("jobs"))
            .header("content-type", "application/json; type=job")
            .body(body);
        let refused = client.call(&request)?.expect(400)?.text();
        ensure!(
            refused.contains("InvalidJob") && refused.contains(why),
            "{refused}"
        );
    }
    store.finish()
}

/// An image stays as long as somebody is on it, and a moment longer; who comes too late hears so.
#[test]
fn an_image_in_use_is_not_removed() -> Result<()> {
    let store = Launch::new()
        .setting("jobs.zones = 2")
        .setting("jobs.image_idle_ms = 200")
        .start()?;
    import(&store, "1.0.0")?;
    let mut client = store.client()?;
    let input = store.path("stor/in");
    client.put(&input, "x")?.expect(204)?;
    let inputs = std::slice::from_ref(&input);
    // Says that it runs, then waits for us.
    let exec = "echo x | mput -q ~~/stor/runs; until mget -q ~~/stor/go >/dev/null 2>&1; do sleep 0.1; done; \
                cat /etc/motd";
    let job = Job::create(&mut client, &store, &map(Some("1.0.0"), exec))?;
    let late = Job::create(&mut client, &store, &map(Some("1.0.0"), "cat"))?;
    job.add(&mut client, inputs)?;
    job.end(&mut client)?;
    wait_for("the task to run", PATIENCE, || {
        let answer = client.get(&store.path("stor/runs"))?;
        Ok((answer.status == 200).then_some(()))
    })?;
    let error = refused(&mut adm(&store, &["remove", "i1-0-0", "1.0.0"])?)?;
    ensure!(error.contains("image i1-0-0 1.0.0 is in use"), "{error}");
    client.put(&store.path("stor/go"), "x")?.expect(204)?;
    let done = job.wait(&mut client, PATIENCE)?;
    ensure!(done.errors.is_empty(), "{done:?}");
    ensure!(client.get(&done.outputs[0])?.expect(200)?.text() == "1.0.0\n");
    wait_for("the image to be given back", PATIENCE, || {
        let removed = outcome(&mut adm(&store, &["remove", "i1-0-0", "1.0.0"])?)?;
        let error = String::from_utf8_lossy(&removed.stderr);
        ensure!(
            removed.status.success() || error.contains("is in use"),
            "{error}"
        );
        Ok(removed.status.success().then_some(()))
    })?;
    ensure!(names(&store.data_dir().join("images"))? == ["lock"]);
    // Allowed when it was created, and gone since.
    late.add(&mut client, inputs)?;
    late.end(&mut client)?;
    let done = late.wait(&mut client, PATIENCE)?;
    let error = done.only_error("InvalidArgumentError")?;
    let message = "failed to dispatch task: requested image is not available";
    ensure!(
        error["message"] == message && error["input"] == input,
        "{error}"
    );
    store.finish()
}

/// Variables of an image are there, but none of ours is replaced.
#[test]
fn an_image_brings_its_environment() -> Result<()> {
    let store = Store::launch()?;
    let root = root(&store, "1.0.0")?;
    fs::create_dir(root.join("elsewhere"))?;
    fs::rename(root.join("bin/sort"), root.join("elsewhere/sort"))?;
    let path = root.to_str().context("a path")?;
    let words = [
        "import",
        "--name",
        "one",
        "--version",
        "1.0.0",
        "--env",
        "PATH=/elsewhere:/bin",
        "--env",
        "GREETING=hello",
        "--env",
        "MANTA_USER=poseidon",
        "--env",
        "MANTA_NO_SUCH=x",
        "--env",
        "HOME=/",
        path,
    ];
    run(&mut adm(&store, &words)?)?;
    let mut client = store.client()?;
    let exec = "env | sort | grep -E '^(GREETING|HOME|PATH|MANTA_USER|MANTA_NO_SUCH)='";
    let phases = json!([{"type": "reduce", "exec": exec, "image": "1.0.0"}]);
    let (_, done) = Job::run(&mut client, &store, &phases, &[], PATIENCE)?;
    ensure!(done.errors.is_empty(), "{done:?}");
    let text = client.get(&done.outputs[0])?.expect(200)?.text();
    let account = store.account();
    let expected = format!(
        "GREETING=hello\nHOME=/root\nMANTA_USER={account}\nPATH=/opt/marlin/bin:/elsewhere:/bin\n"
    );
    ensure!(text == expected, "{text}");
    store.finish()
}

/// From a file, from a pipe, packed; what is refused leaves nothing.
#[test]
fn images_are_imported_listed_and_removed() -> Result<()> {
    let store = Store::launch()?;
    let root = root(&store, "1.0.0")?;
    let archive = store.scratch().join("small.tar.gz");
    let tar = |arguments: &[&str]| -> Result<String> {
        run(Command::new("tar").arg("-C").arg(&root).args(arguments))
    };
    let file = archive.to_str().context("a path")?;
    tar(&["-czf", file, "."])?;
    ensure!(run(&mut adm(&store, &["list"])?)?.is_empty());
    run(&mut adm(
        &store,
        &["import", "--name", "small", "--version", "1.0.0", file],
    )?)?;
    let packed = fs::read(&archive)?;
    let piped = ["import", "--name", "piped", "--version", "2.0.0", "-"];
    run_with(&mut adm(&store, &piped)?, &packed)?;
    let listed = run(&mut adm(&store, &["list"])?)?;
    let lines: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    ensure!(
        lines.len() == 2 && lines.iter().all(|line| line.len() == 6),
        "{listed}"
    );
    ensure!(
        lines[0][..2] == ["small", "1.0.0"] && lines[0][5] == file,
        "{listed}"
    );
    ensure!(
        lines[1][..2] == ["piped", "2.0.0"] && lines[1][5] == "-",
        "{listed}"
    );
    ensure!(
        lines[0][4] == lines[1][4] && lines[0][4].starts_with("sha256:"),
        "{listed}"
    );

    let before = names(&store.data_dir().join("images"))?;
    let import = |words: &[&str]| {
        let words = [&["import"], words].concat();
        refused(&mut adm(&store, &words)?)
    };
    for (words, why) in [
        (
            ["--name", "small", "--version", "1.0.0", file],
            "image small 1.0.0 is there already",
        ),
        (
            ["--name", "other", "--version", "1.0.0", file],
            "the version is that of image small 1.0.0",
        ),
        (
            ["--name", "a/b", "--version", "3.0.0", file],
            "is no name for an image",
        ),
        (
            ["--name", "a", "--version", "3.0", file],
            "is no version of an image",
        ),
        (
            ["--name", "a", "--version", "3.0.0", "/missing"],
            "No such file or directory",
        ),
        (
            ["--name", "a", "--version", "3.0.0", "/dev/null"],
            "neither a directory nor a file",
        ),
        (
            ["--name", "a", "--version", "3.0.0", "/etc/passwd"],
            "read the archive",
        ),
    ] {
        let error = import(&words)?;
        ensure!(error.contains(why), "{error}");
    }
    let error = import(&[
        "--name",
        "a",
        "--version",
        "3.0.0",
        "--entries-max",
        "3",
        file,
    ])?;
    ensure!(error.contains("more than 3 files"), "{error}");
    // As tar packs what is named from the root.
    let absolute = store.scratch().join("absolute.tar");
    let absolute = absolute.to_str().context("a path")?;
    tar(&[
        "-P",
        "-cf",
        absolute,
        root.join("etc/motd").to_str().context("a path")?,
    ])?;
    let error = import(&["--name", "a", "--version", "3.0.0", absolute])?;
    ensure!(error.contains("its name begins at the root"), "{error}");
    // Cut off in the middle, as by a connection that was lost.
    let cut = ["import", "--name", "a", "--version", "3.0.0", "-"];
    let output = outcome_with(&mut adm(&store, &cut)?, &packed[..packed.len() / 2])?;
    ensure!(!output.status.success(), "{output:?}");
    ensure!(names(&store.data_dir().join("images"))? == before);

    run(&mut adm(&store, &["remove", "small", "1.0.0"])?)?;
    let error = refused(&mut adm(&store, &["remove", "small", "1.0.0"])?)?;
    ensure!(error.contains("there is no image small 1.0.0"), "{error}");
    ensure!(run(&mut adm(&store, &["list"])?)?.lines().count() == 1);

    let mut elsewhere = Command::new(tests::manta()?);
    elsewhere.args(["adm", "--data-dir"]).arg(store.scratch());
    let error = refused(elsewhere.args(["image", "list"]))?;
    ensure!(
        error.contains("is not the data directory of a manta store"),
        "{error}"
    );
    store.finish()
}
