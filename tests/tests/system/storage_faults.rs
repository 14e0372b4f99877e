//! Disks that fail, and bytes that must go.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tests::home::run;
use tests::{Job, Launch, Store, machine, wait_for};

use crate::on_disk;

/// What the store says when a copy or a node fails, and only then.
const FAILURES: [&str; 4] = [
    "a copy cannot be read",
    "a copy failed",
    "storage node failed",
    "storage node is not available",
];

/// A store over three directories outside its data directory.
fn over_three(directory: &Path) -> (Launch, Vec<PathBuf>) {
    let disks: Vec<PathBuf> = (1..=3)
        .map(|number| directory.join(format!("disk{number}")))
        .collect();
    let launch = disks
        .iter()
        .fold(Launch::new().expecting(&FAILURES), |launch, disk| {
            launch.argument("--storage").argument(disk.as_os_str())
        });
    (launch, disks)
}

fn content(number: usize) -> Vec<u8> {
    (0..20_000)
        .map(|n| ((n * 31 + number * 7) % 251) as u8)
        .collect()
}

fn put_all(store: &Store, prefix: &str, count: usize) -> Result<()> {
    let mut client = store.client()?;
    for number in 0..count {
        let path = store.path(&format!("stor/{prefix}{number}"));
        let put = client.put(&path, content(number))?.expect(204)?;
        ensure!(
            put.header("etag").is_some(),
            "a PUT is answered with an etag"
        );
        let level = client
            .head(&path)?
            .header("durability-level")
            .map(str::to_owned);
        ensure!(level.as_deref() == Some("2"), "two copies: {level:?}");
    }
    Ok(())
}

fn read_all(store: &Store, prefix: &str, count: usize) -> Result<()> {
    let mut client = store.client()?;
    for number in 0..count {
        let response = client.get(&store.path(&format!("stor/{prefix}{number}")))?;
        let response = response
            .expect(200)
            .with_context(|| format!("read {prefix}{number}"))?;
        ensure!(
            response.body == content(number),
            "{prefix}{number} is damaged"
        );
    }
    Ok(())
}

#[test]
fn a_damaged_copy_is_noticed_and_the_other_one_read() -> Result<()> {
    let store = Launch::new().expecting(&FAILURES).start()?;
    put_all(&store, "o", 3)?;
    let mut client = store.client()?;
    let path = |number: usize| store.path(&format!("stor/o{number}"));
    // The copies of the first object, by its entity tag, which is its id.
    let etag = client
        .head(&path(0))?
        .header("etag")
        .context("an etag")?
        .to_owned();
    let copies: Vec<PathBuf> = on_disk::copies(&store)?
        .into_keys()
        .filter(|file| file.ends_with(&etag))
        .collect();
    ensure!(copies.len() == 2, "{copies:?}");

    let before = store.metric("muskie_copies_failed_on_read")?;
    for copy in &copies {
        // One after the other is damaged, in the middle, and put right again.
        fs::set_permissions(copy, fs::Permissions::from_mode(0o644))?;
        let file = fs::File::options().read(true).write(true).open(copy)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, 10_000)?;
        file.write_all_at(&[byte[0] ^ 1], 10_000)?;
        for _ in 0..4 {
            ensure!(
                client.get(&path(0))?.expect(200)?.body == content(0),
                "damage was served"
            );
        }
        file.write_all_at(&byte, 10_000)?;
    }
    let noticed = store.metric("muskie_copies_failed_on_read")? - before;
    ensure!(noticed >= 1.0, "damage is counted");
    // Truncated, and gone.
    fs::File::options()
        .write(true)
        .open(&copies[0])?
        .set_len(5)?;
    read_all(&store, "o", 3)?;
    fs::remove_file(&copies[0])?;
    read_all(&store, "o", 3)?;
    // Both: an error, never wrong bytes.
    fs::File::options()
        .write(true)
        .open(&copies[1])?
        .write_all_at(b"!", 3)?;
    let outcome = client.get(&path(0));
    if let Ok(response) = outcome {
        ensure!(
            response.status >= 500,
            "nothing is left to serve, but: {}",
            response.status
        );
    }
    ensure!(store.log()?.contains("copy"), "the log says so");
    // Other objects are not concerned.
    let mut client = store.client()?;
    ensure!(
        client.get(&path(1))?.expect(200)?.body == content(1),
        "another object"
    );
    let log = store.log()?;
    let mut store = store;
    store.stop()?;
    ensure!(!log.contains("panicked"), "{log}");
    Ok(())
}

#[test]
fn a_storage_directory_that_is_gone_is_done_without() -> Result<()> {
    let place = tempfile::tempdir()?;
    let (launch, disks) = over_three(place.path());
    let mut store = launch.start()?;
    put_all(&store, "before", 12)?;
    store.stop()?;
    let away = place.path().join("away");
    fs::rename(&disks[1], &away)?;
    store.start()?;
    ensure!(
        !disks[1].exists(),
        "a disk that was not mounted is not made anew"
    );
    read_all(&store, "before", 12)?;
    put_all(&store, "without", 12)?;
    store.stop()?;
    ensure!(
        !disks[1].exists(),
        "a disk that was not mounted is not made anew"
    );
    fs::rename(&away, &disks[1])?;
    store.start()?;
    read_all(&store, "before", 12)?;
    read_all(&store, "without", 12)?;
    store.stop()
}

/// A directory on which something is mounted while this lives.
struct Mounted(PathBuf);

impl Mounted {
    /// Nothing can be written.
    fn read_only(directory: &Path) -> Result<Self> {
        run(Command::new("mount")
            .arg("--bind")
            .args([directory, directory]))?;
        let mounted = Self(directory.to_path_buf());
        run(Command::new("mount")
            .args(["-o", "remount,bind,ro"])
            .arg(directory))?;
        Ok(mounted)
    }

    /// A file system of its own, of so many mebibytes.
    fn small(directory: &Path, mebibytes: u32) -> Result<Self> {
        fs::create_dir(directory)?;
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "none"])
            .arg(directory))?;
        Ok(Self(directory.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the store may still have files of it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_storage_directory_that_cannot_be_written_is_done_without() -> Result<()> {
    if !machine::is_root() {
        bail!("mounting needs root: run as root, as CI does");
    }
    let place = tempfile::tempdir()?;
    let (launch, disks) = over_three(place.path());
    let mut store = launch.start()?;
    put_all(&store, "before", 12)?;
    let read_only = Mounted::read_only(&disks[0])?;
    store.stop()?;
    store.start()?;
    read_all(&store, "before", 12)?;
    put_all(&store, "without", 12)?;
    store.stop()?;
    drop(read_only);
    store.start()?;
    put_all(&store, "after", 12)?;
    for prefix in ["before", "without", "after"] {
        read_all(&store, prefix, 12)?;
    }
    store.stop()
}

/// What a task printed does not fit into the store: the task fails, and everything else goes on.
#[test]
fn an_output_that_the_store_has_no_room_for() -> Result<()> {
    let place = tempfile::tempdir()?;
    let disks = ["disk1", "disk2"].map(|name| place.path().join(name));
    let _mounted = [
        Mounted::small(&disks[0], 256)?,
        Mounted::small(&disks[1], 256)?,
    ];
    let mut launch = Launch::new()
        .expecting(&FAILURES)
        .expecting(&["output of a task not stored"]);
    for disk in &disks {
        launch = launch.argument("--storage").argument(disk.as_os_str());
    }
    let store = launch.start()?;
    put_all(&store, "o", 2)?;
    let mut client = store.client()?;
    let inputs = [0, 1].map(|number| store.path(&format!("stor/o{number}")));
    let patience = Duration::from_secs(120);
    let before = on_disk::copies(&store)?;
    let phases = json!([{"exec": "head -c 400M /dev/zero"}]);
    let (_, done) = Job::run(&mut client, &store, &phases, &inputs[..1], patience)?;
    let error = done.only_error("InternalError")?;
    ensure!(
        error["message"] == "internal error" && done.outputs.is_empty(),
        "{done:?}"
    );
    let (_, done) = Job::run(
        &mut client,
        &store,
        &json!([{"exec": "wc -c"}]),
        &inputs,
        patience,
    )?;
    ensure!(
        done.contents(&mut client)? == ["20000\n", "20000\n"],
        "{done:?}"
    );
    wait_for("what was half written to go", patience, || {
        let biggest = on_disk::copies(&store)?.into_values().max();
        let gone =
            on_disk::temporaries(&store)?.is_empty() && biggest <= before.values().max().copied();
        Ok(gone.then_some(()))
    })?;
    read_all(&store, "o", 2)?;
    store.finish()
}

#[test]
fn too_few_directories_are_said_and_nothing_is_half_written() -> Result<()> {
    let place = tempfile::tempdir()?;
    let (launch, disks) = over_three(place.path());
    let mut store = launch.start()?;
    store.stop()?;
    for disk in &disks[1..] {
        fs::rename(disk, disk.with_extension("away"))?;
    }
    store.start()?;
    let mut client = store.client()?;
    let refused = client
        .put(&store.path("stor/x"), "x")?
        .expect_error(503, "InternalError")?;
    ensure!(
        refused.header("retry-after").is_some(),
        "{:?}",
        refused.headers
    );
    ensure!(
        client.head(&store.path("stor/x"))?.status == 404,
        "nothing is visible"
    );
    ensure!(
        on_disk::copies(&store)?.is_empty() && on_disk::temporaries(&store)?.is_empty(),
        "nothing is left"
    );
    client.put(&store.path("stor/empty"), "")?.expect(204)?;
    store.stop()
}

/// Everything that was ever stored and is not any more leaves the disk: deleted, overwritten, refused.
#[test]
fn at_the_end_no_byte_is_left() -> Result<()> {
    let store = Launch::new()
        .setting("housekeeping.delete_grace_ms = 200")
        .setting("housekeeping.collect_interval_ms = 100")
        .start()?;
    let mut client = store.client()?;
    for round in 0..3 {
        for number in 0..20 {
            let path = store.path(&format!("stor/o{number}"));
            client.put(&path, content(number + round))?.expect(204)?;
        }
    }
    // A reader that began before its object was deleted reads it to the end.
    let slow = store.path("stor/o0");
    let mut reader = tests::wire::Connection::open(store.address())?;
    reader.send(&tests::Request::new("GET", &slow).bytes(Some(&store.signer()?)))?;
    for number in 0..20 {
        client
            .delete(&store.path(&format!("stor/o{number}")))?
            .expect(204)?;
    }
    ensure!(
        reader.receive("GET")?.expect(200)?.body == content(2),
        "a reader is not cut off"
    );
    wait_for(
        "the last byte to leave the disk",
        Duration::from_secs(60),
        || {
            Ok(
                (on_disk::copies(&store)?.is_empty() && on_disk::temporaries(&store)?.is_empty())
                    .then_some(()),
            )
        },
    )
    .with_context(|| format!("{:?} are left", on_disk::copies(&store)))?;
    store.finish()
}

/// A copy that no metadata knows, as a crash between the two leaves it, is swept at the next start.
#[test]
fn copies_without_metadata_are_swept() -> Result<()> {
    let mut store = Launch::new()
        .setting("housekeeping.delete_grace_ms = 200")
        .setting("housekeeping.collect_interval_ms = 100")
        .setting("housekeeping.sweep_interval_ms = 500")
        .start()?;
    put_all(&store, "o", 3)?;
    let copies = on_disk::copies(&store)?;
    let known = copies.keys().next().context("a copy")?;
    let orphan = known.with_file_name(uuid_like(known)?);
    store.stop()?;
    fs::copy(known, &orphan).context("make an orphan")?;
    // The sweep at the start takes what is clearly older than the process, by the clock of the file system.
    on_disk::wait_until_old(&store)?;
    store.start()?;
    wait_for("the orphan to be swept", Duration::from_secs(60), || {
        Ok((!orphan.exists()).then_some(()))
    })?;
    ensure!(
        on_disk::copies(&store)?.keys().eq(copies.keys()),
        "only the orphan is swept"
    );
    read_all(&store, "o", 3)?;
    store.finish()
}

/// Another object id with the same first byte, so that it belongs into the same directory.
fn uuid_like(copy: &Path) -> Result<String> {
    let name = copy
        .file_name()
        .and_then(|name| name.to_str())
        .context("a name")?;
    Ok(format!("{}{}", &name[..24], "0123456789ab"))
}
