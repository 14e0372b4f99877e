//! The ways into a store, and what is let in: TLS with real clients, the listener for what anybody may
//! overhear, throttles changed while the store runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::home::{outcome, run, run_with};
use tests::{Launch, Store, wait_for};

const CERTIFICATE: &str = include_str!("../../../muskie/tests/http/tls/first.pem");
const KEY: &str = include_str!("../../../muskie/tests/http/tls/first.key.pem");
const OTHER_CERTIFICATE: &str = include_str!("../../../muskie/tests/http/tls/second.pem");
const OTHER_KEY: &str = include_str!("../../../muskie/tests/http/tls/second.key.pem");

struct Files(tempfile::TempDir);

impl Files {
    fn write(certificate: &str, key: &str) -> Result<Self> {
        let files = Self(tempfile::tempdir()?);
        files.replace(certificate, key)?;
        Ok(files)
    }

    fn replace(&self, certificate: &str, key: &str) -> Result<()> {
        fs::write(self.certificate(), certificate)?;
        fs::write(self.key(), key)?;
        Ok(())
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn launch(&self) -> Launch {
        Launch::new()
            .argument("--tls-cert")
            .argument(self.certificate())
            .argument("--tls-key")
            .argument(self.key())
            .argument("--listen-insecure")
            .argument("127.0.0.1:0")
    }
}

fn curl(arguments: &[&str], authority: Option<&Path>) -> Result<String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60"]);
    if let Some(authority) = authority {
        command.arg("--cacert").arg(authority);
    }
    run(command.args(arguments))
}

#[test]
fn real_clients_work_through_tls() -> Result<()> {
    let files = Files::write(CERTIFICATE, KEY)?;
    let store = files.launch().start()?;
    let url = store.url();
    ensure!(url.starts_with("https://"), "{url}");
    let home = store.user()?;
    let insecure = ("MANTA_TLS_INSECURE", "1");

    let text = "a line of some length\n".repeat(100_000);
    let mut mput = home.npm("mput")?;
    mput.env(insecure.0, insecure.1);
    run_with(mput.args(["-q", "~~/public/big"]), text.as_bytes())?;
    let mut mget = home.npm("mget")?;
    mget.env(insecure.0, insecure.1);
    ensure!(
        run(mget.args(["-q", "~~/public/big"]))? == text,
        "npm through TLS"
    );
    // A client that asks for a certificate it can trust does not trust this one.
    let distrustful = outcome(home.npm("mls")?.arg("~~/public"))?;
    ensure!(!distrustful.status.success(), "anybody could be in between");

    let mut own = home.own("mput");
    own.env(insecure.0, insecure.1);
    run_with(own.args(["-q", "~~/public/own"]), b"hello")?;
    let mut own = home.own("mget");
    own.env(insecure.0, insecure.1);
    ensure!(
        run(own.args(["-q", "~~/public/own"]))? == "hello",
        "our own through TLS"
    );

    let object = format!("{url}{}", store.path("public/own"));
    let trusted = files.certificate();
    ensure!(
        curl(&[&object], Some(&trusted))? == "hello",
        "curl through TLS"
    );
    let ping = curl(
        &[
            "-o",
            "/dev/null",
            "-w",
            "%{http_version} %{http_code}",
            &format!("{url}/ping"),
        ],
        Some(&trusted),
    )?;
    ensure!(ping == "1.1 200", "{ping}");

    // Where anybody may listen there is what is public, and nothing else.
    let plain = store.ready("insecureUrl");
    ensure!(
        curl(&[&format!("{plain}{}", store.path("public/own"))], None)? == "hello",
        "public"
    );
    let private = curl(&[&format!("{plain}{}", store.path("stor"))], None)?;
    ensure!(private.contains("SecureTransportRequired"), "{private}");

    // Another certificate, and the store goes on.
    files.replace(OTHER_CERTIFICATE, OTHER_KEY)?;
    let new = store.scratch().join("new.pem");
    fs::write(&new, OTHER_CERTIFICATE)?;
    wait_for("the new certificate", Duration::from_secs(30), || {
        Ok(curl(&[&object], Some(&new))
            .ok()
            .filter(|body| body == "hello"))
    })?;
    store.finish()
}

#[test]
fn jobs_run_in_a_store_behind_tls() -> Result<()> {
    let files = Files::write(CERTIFICATE, KEY)?;
    let store = files.launch().start()?;
    let home = store.user()?;
    let mut mjob = home.npm("mjob")?;
    mjob.env("MANTA_TLS_INSECURE", "1");
    let printed = run(mjob.args(["create", "--close", "-o", "-r", "echo hello"]))?;
    ensure!(printed.contains("hello"), "{printed}");
    store.finish()
}

fn throttle(store: &Store, words: &[&str]) -> Result<String> {
    run(Command::new(store.data_dir().join("bin/manta"))
        .args(["adm", "--data-dir"])
        .arg(store.data_dir())
        .arg("throttle")
        .args(words))
}

/// How many of thirty requests are served.
fn served(store: &Store) -> Result<usize> {
    let mut client = store.client()?;
    let mut served = 0;
    for _ in 0..30 {
        match client.get(&store.path("stor"))?.status {
            200 => served += 1,
            503 => {}
            other => anyhow::bail!("status {other}"),
        }
    }
    Ok(served)
}

#[test]
fn operators_change_throttles_while_the_store_runs() -> Result<()> {
    let mut store = Launch::new()
        .expecting(&["the settings stay as they are"])
        .start()?;
    ensure!(served(&store)? == 30, "nothing is limited");
    let shown = throttle(&store, &["show"])?;
    ensure!(shown.contains("each.requests_per_s=0\n"), "{shown}");
    let shown = throttle(&store, &["set", "each.requests_per_s=1", "concurrency=20"])?;
    ensure!(shown.contains("each.requests_per_s=1\n"), "{shown}");
    ensure!(served(&store)? < 30, "one in a second");
    let own = format!("accounts.{}.requests_per_s=100000", store.account());
    throttle(&store, &["set", &own])?;
    ensure!(served(&store)? == 30, "an account with rates of its own");
    for wrong in ["each.requests_per_s=-1", "each.bytes=1", "nothing"] {
        ensure!(throttle(&store, &["set", wrong]).is_err(), "{wrong}");
    }

    // The file counts again when the store is told to read it.
    store.reconfigure("throttle.all.requests_per_s = 2")?;
    wait_for("the settings of the file", Duration::from_secs(30), || {
        let shown = throttle(&store, &["show"])?;
        let all =
            shown.contains("all.requests_per_s=2\n") && shown.contains("each.requests_per_s=0\n");
        Ok(all.then_some(()))
    })?;
    ensure!(served(&store)? < 30, "two in a second");
    store.reconfigure("throttle.all.requests_per_s = \"many\"")?;
    wait_for("a complaint", Duration::from_secs(30), || {
        Ok(store
            .log()?
            .contains("the settings stay as they are")
            .then_some(()))
    })?;
    let shown = throttle(&store, &["show"])?;
    ensure!(shown.contains("all.requests_per_s=2\n"), "{shown}");
    store.finish()
}

#[test]
fn the_second_surface_says_so() -> Result<()> {
    let store = Launch::new()
        .argument("--surface")
        .argument("manta2")
        .start()?;
    let mut client = store.client()?;
    let root = client.get(&format!("/{}", store.account()))?.expect(200)?;
    let server = root.header("server").context("a server header")?.to_owned();
    ensure!(server == "Manta/2", "{server}");
    ensure!(!root.text().contains("\"jobs\""), "{}", root.text());
    store.finish()
}
