//! A store that is not started by root: objects always, jobs as far as the kernel allows, and words for the
//! rest. The tests become another user themselves, so they run as root.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tempfile::TempDir;
use tests::home::run;
use tests::wire::Request;
use tests::{Client, Job, Launch, Store, machine};

/// Nobody's usual number; nothing else of it is used.
const NOBODY: u32 = 65534;

fn as_nobody() -> Vec<OsString> {
    let id = NOBODY.to_string();
    [
        "setpriv",
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "--",
    ]
    .map(OsString::from)
    .into()
}

/// A directory of the other user with a binary that it may run.
struct Place {
    directory: TempDir,
    binary: PathBuf,
}

impl Place {
    fn make() -> Result<Self> {
        if !machine::is_root() {
            bail!("becoming another user needs root: run as root, as CI does");
        }
        let directory = tempfile::Builder::new().prefix("manta-nobody-").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        chown(directory.path(), Some(NOBODY), Some(NOBODY))?;
        let binary = directory.path().join("manta");
        fs::copy(tests::manta()?, &binary).context("copy manta")?;
        Ok(Self { directory, binary })
    }

    fn launch(&self) -> Launch {
        Launch::new()
            .under(as_nobody())
            .binary(&self.binary)
            .data_dir(&self.directory.path().join("data"))
            // Said at the start where the kernel allows less than zones need.
            .expecting(&[
                "jobs are not available",
                "zones cannot run here",
                "jobs run in user namespaces: limits are those of single processes",
            ])
    }

    fn start(&self, launch: Launch) -> Result<Store> {
        launch
            .working_directory(self.directory.path())
            .start_with_home(self.directory.path())
    }
}

/// Whether that user may make user namespaces here.
fn may_make_namespaces() -> bool {
    let mut words = as_nobody();
    words.extend(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "true",
        ]
        .map(OsString::from),
    );
    Command::new(&words[0])
        .args(&words[1..])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Jobs are refused where they would not be apart.
fn jobs_are_refused(store: &Store, client: &mut Client) -> Result<()> {
    let create = Request::new("POST", &store.path("jobs"))
        .header("content-type", "application/json; type=job")
        .body(json!({"phases": [{"exec": "cat"}]}).to_string());
    let refused = client.call(&create)?;
    ensure!(
        refused.status == 503 && refused.code() == "ServiceUnavailable",
        "{}: {}",
        refused.status,
        refused.text()
    );
    Ok(())
}

#[test]
fn objects_are_served_and_jobs_run_or_say_what_is_missing() -> Result<()> {
    let place = Place::make()?;
    let store = place.start(place.launch())?;
    let mut client = store.client()?;
    let input = store.path("stor/x");
    client.put(&input, "mine\n")?.expect(204)?;
    ensure!(
        client.get(&input)?.expect(200)?.body == b"mine\n",
        "objects are served"
    );
    if may_make_namespaces() {
        let (_, done) = Job::run(
            &mut client,
            &store,
            &json!([{"exec": "cat"}]),
            &[input],
            Duration::from_secs(60),
        )?;
        ensure!(
            done.contents(&mut client)? == ["mine\n"],
            "{:?}",
            done.errors
        );
        // With a second user there would be no wall between the two: refused.
        run(Command::new(tests::manta()?)
            .args(["adm", "--data-dir"])
            .arg(store.data_dir())
            .args(["account", "create", "jack"]))?;
    }
    jobs_are_refused(&store, &mut client)?;
    let mut store = store;
    store.stop()
}

#[test]
fn jobs_run_on_an_image_that_the_same_user_has_imported() -> Result<()> {
    let place = Place::make()?;
    let mut store = place.start(place.launch())?;
    let root = crate::images::root(&store, "1.0.0")?;
    let words = as_nobody();
    run(Command::new(&words[0])
        .args(&words[1..])
        .arg(&place.binary)
        .args(["adm", "--data-dir"])
        .arg(store.data_dir())
        .args(["image", "import", "--name", "small", "--version", "1.0.0"])
        .arg(root))?;
    let mut client = store.client()?;
    if may_make_namespaces() {
        let phases = json!([
            {"type": "reduce", "exec": "echo mine > /etc/mine; cat /etc/motd /etc/mine", "image": "1.0.0"},
        ]);
        let patience = Duration::from_secs(60);
        let (_, done) = Job::run(&mut client, &store, &phases, &[], patience)?;
        ensure!(
            done.contents(&mut client)? == ["1.0.0\nmine\n"],
            "{:?}",
            done.errors
        );
    } else {
        jobs_are_refused(&store, &mut client)?;
    }
    store.stop()
}

#[test]
fn plain_processes_run_jobs_while_there_is_one_user() -> Result<()> {
    let place = Place::make()?;
    let launch = place.launch().plain_processes();
    let mut store = place.start(launch)?;
    let mut client = store.client()?;
    let input = store.path("stor/x");
    client.put(&input, "b\na\n")?.expect(204)?;
    let phases = json!([{"exec": "sort"}, {"type": "reduce", "exec": "cat"}]);
    let (_, done) = Job::run(
        &mut client,
        &store,
        &phases,
        &[input],
        Duration::from_secs(60),
    )?;
    ensure!(
        done.contents(&mut client)? == ["a\nb\n"],
        "{:?}",
        done.errors
    );
    run(Command::new(tests::manta()?)
        .args(["adm", "--data-dir"])
        .arg(store.data_dir())
        .args(["account", "create", "jack"]))?;
    let create = Request::new("POST", &store.path("jobs"))
        .header("content-type", "application/json; type=job")
        .body(json!({"phases": [{"exec": "cat"}]}).to_string());
    client
        .call(&create)?
        .expect_error(503, "ServiceUnavailable")?;
    store.stop()
}
