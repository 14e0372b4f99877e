//! Starting, stopping, starting again; accounts that an operator makes.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::home::{outcome, run};
use tests::{Client, Launch, Signer, Store};

#[test]
fn what_was_stored_is_there_after_a_restart() -> Result<()> {
    let mut store = Launch::new().without_key().start()?;
    let (key_id, account) = (store.ready("keyId").to_owned(), store.account().to_owned());
    ensure!(
        store.ready("dataDir")
            == store
                .data_dir()
                .canonicalize()?
                .to_str()
                .context("a path")?,
        "dataDir"
    );
    let object = store.path("stor/kept");
    store.client()?.put(&object, "kept")?.expect(204)?;
    store.stop()?;
    store.start()?;
    ensure!(
        store.ready("keyId") == key_id && store.account() == account,
        "the same account and key"
    );
    ensure!(
        store.client()?.get(&object)?.expect(200)?.body == b"kept",
        "the same content"
    );
    // An open connection that says nothing must not hold a stop back.
    let idle = std::net::TcpStream::connect(store.address())?;
    store.stop()?;
    drop(idle);
    store.finish()
}

#[test]
fn a_data_directory_serves_one_store_at_a_time() -> Result<()> {
    let store = Store::launch()?;
    let second = outcome(&mut store.command(&tests::manta()?))?;
    ensure!(!second.status.success(), "a second store must refuse");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(said.contains("in use"), "{said}");
    ensure!(
        store.anonymous().get("/ping")?.status == 200,
        "the first one is not disturbed"
    );
    store.finish()
}

#[test]
fn what_is_not_ours_is_left_alone() -> Result<()> {
    let mut store = Store::launch()?;
    store.stop()?;
    let format = store.data_dir().join("format");
    let known = std::fs::read(&format)?;
    std::fs::write(&format, "999\n")?;
    ensure!(
        store.refuses_to_start()?.contains("newer"),
        "a newer format is refused"
    );
    std::fs::write(&format, known)?;
    store.start()?;
    store.finish()
}

#[test]
fn a_port_that_is_taken_is_named() -> Result<()> {
    let store = Store::launch()?;
    let other = tempfile::tempdir()?;
    let mut manta = Command::new(tests::manta()?);
    manta
        .args(["up", "--listen", &store.address().to_string(), "--data-dir"])
        .arg(other.path().join("data"));
    let refused = outcome(manta.env("HOME", other.path()))?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && said.contains(&store.address().to_string()),
        "{said}"
    );
    store.finish()
}

#[test]
fn accounts_are_made_and_their_keys_come_and_go() -> Result<()> {
    let mut store = Store::launch()?;
    let manta = tests::manta()?;
    let adm = |words: &[&str]| -> Result<String> {
        run(Command::new(&manta)
            .args(["adm", "--data-dir"])
            .arg(store.data_dir())
            .arg("account")
            .args(words))
    };
    let key = store.scratch().join("jack");
    run(Command::new("ssh-keygen")
        .args([
            "-q", "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "", "-f",
        ])
        .arg(&key))?;
    let public = key.with_extension("pub");
    let public = public.to_str().context("a path")?;
    adm(&["create", "jack"])?;
    adm(&["key", "add", "jack", public])?;
    let listed = adm(&["list"])?;
    for login in ["poseidon", store.account(), "jack"] {
        ensure!(
            listed.lines().any(|line| line.starts_with(login)),
            "{login} is not in {listed}"
        );
    }
    ensure!(adm(&["create", "jack"]).is_err(), "a login is given once");
    ensure!(
        adm(&["create", "9lives"]).is_err(),
        "a login begins with a letter"
    );

    let print = run(Command::new("ssh-keygen").args(["-l", "-E", "md5", "-f", public]))?;
    let print = print
        .split(' ')
        .nth(1)
        .context("a fingerprint")?
        .trim_start_matches("MD5:")
        .to_owned();
    let jack = Signer::open("jack", &print, &key)?;
    let mut client = Client::new(store.address(), Some(jack.clone()));
    client.put("/jack/stor/mine", "private")?.expect(204)?;
    client.put("/jack/public/ours", "public")?.expect(204)?;
    let mut other = store.client()?;
    other
        .get("/jack/stor/mine")?
        .expect_error(403, "AuthorizationFailed")?;
    other
        .put("/jack/stor/theirs", "x")?
        .expect_error(403, "AuthorizationFailed")?;
    other.get("/jack/public/ours")?.expect(200)?;
    client
        .get(&store.path("stor"))?
        .expect_error(403, "AuthorizationFailed")?;

    adm(&["key", "rm", "jack", &print])?;
    client
        .get("/jack/stor/mine")?
        .expect_error(403, "KeyDoesNotExist")?;
    adm(&["key", "add", "jack", public])?;
    client.get("/jack/stor/mine")?.expect(200)?;
    store.stop()?;
    store.start()?;
    let mut client = Client::new(store.address(), Some(jack));
    ensure!(
        client.get("/jack/stor/mine")?.expect(200)?.body == b"private",
        "accounts persist"
    );
    store.finish()
}

#[test]
fn a_command_without_a_store_says_so() -> Result<()> {
    let empty = tempfile::tempdir()?;
    let output = outcome(
        Command::new(tests::manta()?)
            .args(["adm", "--data-dir"])
            .arg(empty.path())
            .args(["account", "list"]),
    )?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && said.contains("no store is running"),
        "{said}"
    );
    Ok(())
}

#[test]
fn the_demo_works_and_leaves_nothing_behind() -> Result<()> {
    let home = tempfile::tempdir()?;
    let scratch = tempfile::tempdir()?;
    let mut manta = Command::new(tests::manta()?);
    manta
        .arg("demo")
        .env("HOME", home.path())
        .env("TMPDIR", scratch.path());
    let printed = run(&mut manta)?;
    ensure!(printed.contains("http://127.0.0.1:"), "{printed}");
    ensure!(
        std::fs::read_dir(scratch.path())?.next().is_none(),
        "the demo left something behind"
    );
    ensure!(
        std::fs::read_dir(home.path())?.next().is_none(),
        "the demo wrote to the home directory"
    );
    let left = tests::machine::Holdings::of(scratch.path(), None)?;
    ensure!(
        left.is_empty(),
        "the demo left something in the kernel: {left:#?}"
    );
    Ok(())
}
