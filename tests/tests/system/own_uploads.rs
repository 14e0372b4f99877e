//! Multipart uploads from the command line: `mmpu` step by step, and `mput` and `msync`, which do all of it by
//! themselves and go on where they were interrupted.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::home::{Home, outcome, run};
use tests::wait::wait_for;
use tests::{Launch, Store};

use crate::said::{fails_with, said};

const MIB: usize = 1 << 20;
const PART: usize = 5 * MIB;

/// Bytes that are different everywhere, so that no piece can be taken for another.
fn content(bytes: usize) -> Vec<u8> {
    let words = bytes.div_ceil(8) as u64;
    let mixed = (1..=words).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    mixed.take(bytes).collect()
}

/// `mput` with small parts.
fn mput(home: &Home, file: &str, path: &str) -> Command {
    let mut command = home.own("mput");
    command.args(["-q", "--multipart-threshold", "5M", "--part-size", "5M"]);
    command.args(["-H", "m-a: b", "-f", file, path]);
    command
}

/// What `mmpu create` is told for the same object.
fn create(home: &Home, bytes: usize, path: &str) -> Command {
    let mut command = home.own("mmpu");
    command.args(["create", "-s", &bytes.to_string(), "-H", "m-a: b"]);
    command.args(["-H", "content-type: application/octet-stream", path]);
    command
}

fn lines(command: &mut Command) -> Result<Vec<String>> {
    Ok(run(command)?.lines().map(str::to_owned).collect())
}

fn uploads(home: &Home) -> Result<Vec<String>> {
    lines(home.own("mmpu").arg("list"))
}

fn state(home: &Home, id: &str) -> Result<Value> {
    let text = run(home.own("mmpu").args(["get", id]))?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// Etags of the parts by their names.
fn etags(store: &Store, directory: &str) -> Result<BTreeMap<String, String>> {
    let rows = store.client()?.get(directory)?.expect(200)?.text();
    let rows = rows.lines().map(|row| {
        let row: Value = serde_json::from_str(row)?;
        let text = |name: &str| {
            row[name]
                .as_str()
                .map(str::to_owned)
                .context("a row of a part")
        };
        Ok((text("name")?, text("etag")?))
    });
    rows.collect()
}

fn stored(home: &Home, path: &str) -> Result<Vec<u8>> {
    Ok(outcome(home.own("mget").args(["-q", path]))?.stdout)
}

#[test]
fn mmpu_does_each_step_and_says_what_npm_says() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let bytes = content(PART + 3);
    fs::write(home.path().join("p0"), &bytes[..PART])?;
    fs::write(home.path().join("p1"), &bytes[PART..])?;
    let mmpu = |arguments: &[&str]| {
        let mut command = home.own("mmpu");
        command.args(arguments);
        command
    };

    let id = run(&mut create(&home, bytes.len(), "~~/stor/x"))?
        .trim_end()
        .to_owned();
    let last = run(&mut mmpu(&["upload", "-f", "p1", &id, "1"]))?;
    let first = run(&mut mmpu(&["upload", "-q", "-f", "p0", &id, "0"]))?;
    let directory = state(&home, &id)?["partsDirectory"]
        .as_str()
        .context("a directory")?
        .to_owned();
    let parts = [format!("{directory}/0"), format!("{directory}/1")];
    ensure!(lines(&mut mmpu(&["parts", &id]))? == parts, "parts");
    ensure!(uploads(&home)? == [directory.clone()], "list");
    let all = [&[directory], parts.as_slice()].concat();
    ensure!(lines(&mut mmpu(&["list", "-p"]))? == all, "list -p");
    for arguments in [
        vec!["get", &id],
        vec!["list"],
        vec!["parts", &id],
        vec!["list", "-p"],
    ] {
        let theirs = run(home.npm("mmpu")?.args(&arguments))?;
        let ours = run(&mut mmpu(&arguments))?;
        ensure!(ours == theirs, "{arguments:?}\n{ours}\n{theirs}");
    }

    let wrong = said(&mut mmpu(&["commit", &id, last.trim_end()]))?;
    ensure!(
        wrong.code == Some(1) && wrong.stderr.starts_with("mmpu commit: error: upload "),
        "{wrong:?}"
    );
    ensure!(
        run(&mut mmpu(&[
            "commit",
            &id,
            first.trim_end(),
            last.trim_end()
        ]))?
        .is_empty(),
        "commit"
    );
    ensure!(stored(&home, "~~/stor/x")? == bytes, "the object");
    ensure!(state(&home, &id)?["result"] == "committed", "state");

    let other = run(mmpu(&["create"]).arg("~~/stor/y"))?
        .trim_end()
        .to_owned();
    ensure!(run(&mut mmpu(&["abort", &other]))?.is_empty(), "abort");
    ensure!(state(&home, &other)?["result"] == "aborted", "aborted");

    let nobodys = "11111111-1111-4111-8111-111111111113";
    for (arguments, message) in [
        (
            vec!["create"],
            "create: error: Object path must be specified",
        ),
        (
            vec!["upload", nobodys],
            "upload: error: An upload ID and part number are required",
        ),
        (
            vec!["upload", nobodys, "01"],
            "upload: error: Part number must be in the range: [0, 9999]",
        ),
        (vec!["abort"], "abort: error: An upload ID is required"),
        (
            vec!["get", nobodys],
            "get: error: multipart upload is not supported for this Manta deployment",
        ),
        (
            vec!["get", "nonsense"],
            "get: error: \"nonsense\" is not an upload ID",
        ),
    ] {
        fails_with(&mut mmpu(&arguments), &format!("mmpu {message}"))?;
    }
    store.finish()
}

#[test]
fn mput_sends_a_large_file_in_parts() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let bytes = content(3 * PART + 17);
    fs::write(home.path().join("f"), &bytes)?;
    run(&mut mput(&home, "f", "~~/stor/large"))?;
    ensure!(stored(&home, "~~/stor/large")? == bytes, "the content");
    let list = uploads(&home)?;
    ensure!(list.len() == 1, "{list:?}");
    ensure!(etags(&store, &list[0])?.len() == 4, "four parts");
    let info = run(home.own("minfo").args(["-j", "~~/stor/large"]))?;
    let info: Value = serde_json::from_str(&info)?;
    ensure!(
        info["m-a"] == "b"
            && info["durability-level"] == "2"
            && info["content-type"] == "application/octet-stream"
            && info["content-length"].as_str() == Some(&bytes.len().to_string()),
        "{info}"
    );

    // Once more is another upload, for that one is committed; a condition keeps the file in one piece.
    run(mput(&home, "f", "~~/stor/large").arg("-m"))?;
    ensure!(uploads(&home)?.len() == 2, "another upload");
    let etag = info["etag"].as_str().context("an etag")?;
    let refused =
        said(mput(&home, "f", "~~/stor/large").args(["-H", &format!("if-match: {etag}")]))?;
    ensure!(
        refused.stderr == "mput: Cannot write because HTTP precondition not met.\n",
        "{refused:?}"
    );
    fails_with(
        &mut mput(&home, "f", "~~/stor/no/such"),
        &format!(
            "mput: DirectoryDoesNotExistError: {} does not exist",
            store.path("stor/no")
        ),
    )?;
    ensure!(uploads(&home)?.len() == 2, "nothing was begun");
    run(mput(&home, "f", "~~/stor/no/such").arg("-p"))?;
    ensure!(
        stored(&home, "~~/stor/no/such")? == bytes,
        "with its directory"
    );
    store.finish()
}

#[test]
fn an_upload_is_taken_up_and_only_the_bytes_of_this_file_stay() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let bytes = content(3 * PART + 17);
    let mut older = bytes.clone();
    older[7] ^= 1;
    fs::write(home.path().join("f"), &bytes)?;
    fs::write(home.path().join("p0"), &older[..PART])?;
    fs::write(home.path().join("p2"), &bytes[2 * PART..3 * PART])?;
    fs::write(home.path().join("short"), &bytes[PART..2 * PART - 1])?;

    // Another size, another header, another path: not what is wanted.
    run(&mut create(&home, bytes.len() + 1, "~~/stor/x"))?;
    run(create(&home, bytes.len(), "~~/stor/x").args(["-H", "m-b: c"]))?;
    run(&mut create(&home, bytes.len(), "~~/stor/y"))?;
    let id = run(&mut create(&home, bytes.len(), "~~/stor/x"))?
        .trim_end()
        .to_owned();
    for (file, number) in [("p0", "0"), ("short", "1"), ("p2", "2"), ("p0", "9")] {
        run(home
            .own("mmpu")
            .args(["upload", "-q", "-f", file, &id, number]))?;
    }
    let directory = state(&home, &id)?["partsDirectory"]
        .as_str()
        .context("a directory")?
        .to_owned();
    let before = etags(&store, &directory)?;

    run(&mut mput(&home, "f", "~~/stor/x"))?;
    ensure!(
        stored(&home, "~~/stor/x")? == bytes,
        "the content is that of the file as it is now"
    );
    ensure!(
        state(&home, &id)?["result"] == "committed",
        "it was this upload that was committed"
    );
    ensure!(uploads(&home)?.len() == 4, "no other was made");
    let after = etags(&store, &directory)?;
    for (number, stays) in [("0", false), ("1", false), ("2", true), ("9", true)] {
        ensure!(
            (before.get(number) == after.get(number)) == stays,
            "part {number}: {before:?} {after:?}"
        );
    }
    ensure!(after.contains_key("3"), "{after:?}");
    store.finish()
}

/// An upload that was cut off: its directory, and the etags of the parts it had by then.
struct Cut {
    directory: String,
    parts: BTreeMap<String, String>,
}

/// Kills a command that uploads one large file, when some parts are there and others are not.
fn kill_midway(store: &Store, home: &Home, command: &mut Command) -> Result<Cut> {
    let before = uploads(home)?;
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = quiet.spawn()?;
    let mut directory = String::new();
    let some = wait_for("parts to arrive", Duration::from_secs(60), || {
        if directory.is_empty() {
            let now = uploads(home)?;
            match now.into_iter().find(|upload| !before.contains(upload)) {
                Some(found) => directory = found,
                None => return Ok(None),
            }
        }
        Ok(Some(etags(store, &directory)?).filter(|parts| parts.len() >= 2))
    });
    running.kill()?;
    let ended = running.wait()?;
    some?;
    ensure!(!ended.success(), "it was killed before its end");
    let parts = etags(store, &directory)?;
    Ok(Cut { directory, parts })
}

impl Cut {
    /// What was there has not been sent again; now it is all of so many parts.
    fn was_taken_up(&self, store: &Store, home: &Home, parts: usize) -> Result<()> {
        ensure!(self.parts.len() < parts, "{} parts", self.parts.len());
        let id = self.directory.rsplit('/').next().context("an id")?;
        ensure!(state(home, id)?["result"] == "committed", "not this one");
        let after = etags(store, &self.directory)?;
        ensure!(after.len() == parts, "{} parts", after.len());
        for (number, etag) in &self.parts {
            ensure!(
                after.get(number) == Some(etag),
                "part {number} was sent again"
            );
        }
        Ok(())
    }
}

#[test]
fn a_killed_mput_goes_on_where_it_stopped() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let bytes = content(30 * PART);
    fs::write(home.path().join("f"), &bytes)?;
    let mut first = mput(&home, "f", "~~/stor/x");
    let cut = kill_midway(&store, &home, first.args(["--parts-at-once", "1"]))?;
    run(&mut mput(&home, "f", "~~/stor/x"))?;
    ensure!(stored(&home, "~~/stor/x")? == bytes, "the content");
    ensure!(uploads(&home)?.len() == 1, "no other upload was made");
    cut.was_taken_up(&store, &home, 30)?;
    store.finish()
}

/// `mput -r` and `msync` of the directory `tree` with small parts.
fn tree_commands(home: &Home) -> [(Command, &'static str); 2] {
    let mut mput = home.own("mput");
    mput.args(["-q", "-r", "-f", "tree", "~~/stor/put"]);
    let mut msync = home.own("msync");
    msync.args(["-q", "tree", "~~/stor/synced"]);
    for command in [&mut mput, &mut msync] {
        command.args(["--multipart-threshold", "5M", "--part-size", "5M"]);
    }
    [(mput, "~~/stor/put"), (msync, "~~/stor/synced")]
}

#[test]
fn a_killed_tree_upload_goes_on_with_its_large_file() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let large = content(30 * PART);
    fs::create_dir_all(home.path().join("tree/d/e"))?;
    fs::write(home.path().join("tree/d/e/large"), &large)?;
    for number in 0..30 {
        fs::write(home.path().join(format!("tree/d/{number}")), "small")?;
    }
    for ((mut first, root), (mut second, _)) in
        tree_commands(&home).into_iter().zip(tree_commands(&home))
    {
        let begun = uploads(&home)?.len();
        let cut = kill_midway(&store, &home, first.args(["--parts-at-once", "1"]))?;
        run(&mut second)?;
        ensure!(
            uploads(&home)?.len() == begun + 1,
            "no other upload was made"
        );
        cut.was_taken_up(&store, &home, 30)?;
        ensure!(
            stored(&home, &format!("{root}/d/e/large"))? == large,
            "{root}"
        );
        let objects = lines(home.own("mfind").args(["-t", "o", root]))?;
        ensure!(objects.len() == 31, "{root}: {} objects", objects.len());
    }
    store.finish()
}

#[test]
fn trees_send_their_large_files_in_parts_and_only_once() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let files = [
        ("a/one", content(PART)),
        ("b/two", content(2 * PART + 1)),
        ("b/less", content(PART - 1)),
    ];
    for (name, bytes) in &files {
        let file = home.path().join("tree").join(name);
        fs::create_dir_all(file.parent().context("a directory")?)?;
        fs::write(file, bytes)?;
    }
    for (count, (mut command, root)) in (1..).zip(tree_commands(&home)) {
        command.args(["-c", "1", "-H", "m-a: b"]);
        run(&mut command)?;
        for (name, bytes) in &files {
            let path = format!("{root}/{name}");
            ensure!(stored(&home, &path)? == *bytes, "{path}");
            let info: Value = serde_json::from_str(&run(home.own("minfo").args(["-j", &path]))?)?;
            ensure!(
                info["m-a"] == "b" && info["durability-level"] == "1",
                "{path}: {info}"
            );
        }
        ensure!(uploads(&home)?.len() == 2 * count, "{root}: two are large");
        // What is there with the same content is left alone.
        let before = lines(home.own("mfind").args(["-j", "-t", "o", root]))?;
        command.arg("-m");
        run(&mut command)?;
        ensure!(
            uploads(&home)?.len() == 2 * count,
            "{root}: nothing is sent"
        );
        let after = lines(home.own("mfind").args(["-j", "-t", "o", root]))?;
        ensure!(after == before, "{root}: {before:?} {after:?}");
    }
    // The variables say it as well, and nothing goes up in parts where that is not wanted.
    let mut whole = home.own("msync");
    whole.args(["-q", "tree", "~~/stor/whole"]);
    run(whole.env("MANTA_MULTIPART_THRESHOLD", "0"))?;
    ensure!(uploads(&home)?.len() == 4, "whole");
    let mut parts = home.own("msync");
    parts.args(["-q", "tree", "~~/stor/parts"]);
    run(parts.env("MANTA_MULTIPART_THRESHOLD", "5M"))?;
    ensure!(uploads(&home)?.len() == 6, "in parts");
    store.finish()
}

/// How long the parts took that the store has received until now.
fn time_of_parts(store: &Store) -> Result<Duration> {
    let mut total = 0;
    for line in store.log()?.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        if record["operation"] == "putpart" {
            total += record["latency"].as_u64().context("a latency")?;
        }
    }
    Ok(Duration::from_millis(total))
}

#[test]
fn the_large_files_of_a_tree_share_the_parts_that_go_up_at_once() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    fs::create_dir(home.path().join("tree"))?;
    let bytes = content(4 * PART);
    for number in 0..5 {
        fs::write(home.path().join(format!("tree/{number}")), &bytes)?;
    }
    for (mut command, root) in tree_commands(&home) {
        let before = time_of_parts(&store)?;
        let start = Instant::now();
        run(command.args(["--parts-at-once", "1"]))?;
        let passed = start.elapsed();
        // One after the other they cannot take longer than all of it.
        let parts = time_of_parts(&store)? - before;
        ensure!(
            Duration::ZERO < parts && parts <= passed,
            "{root}: {parts:?} in {passed:?}"
        );
    }
    store.finish()
}

#[test]
fn without_uploads_a_large_file_is_an_ordinary_put() -> Result<()> {
    let store = Launch::new().setting("multipart.enabled = false").start()?;
    let home = store.user()?;
    let bytes = content(2 * PART);
    fs::write(home.path().join("f"), &bytes)?;
    run(&mut mput(&home, "f", "~~/stor/x"))?;
    ensure!(stored(&home, "~~/stor/x")? == bytes, "the content");
    fs::create_dir(home.path().join("tree"))?;
    fs::rename(home.path().join("f"), home.path().join("tree/f"))?;
    for (mut command, root) in tree_commands(&home) {
        run(&mut command)?;
        ensure!(stored(&home, &format!("{root}/f"))? == bytes, "{root}");
    }
    fails_with(
        home.own("mmpu").args(["create", "~~/stor/y"]),
        "mmpu create: error: multipart upload is not supported for this Manta deployment",
    )?;
    store.finish()
}
