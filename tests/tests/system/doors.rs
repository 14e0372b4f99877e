//! The ways into a store, and what is let in: TLS with real clients, the listener for what anybody may
//! overhear, throttles changed while the store runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::home::{outcome, run, run_with};
use tests::{Launch, Proxy, Store, wait_for};

use crate::said::said;

const CERTIFICATE: &str = include_str!("../../../muskie/tests/http/tls/first.pem");
const KEY: &str = include_str!("../../../muskie/tests/http/tls/first.key.pem");
const OTHER_CERTIFICATE: &str = include_str!("../../../muskie/tests/http/tls/second.pem");
const OTHER_KEY: &str = include_str!("../../../muskie/tests/http/tls/second.key.pem");

/// A certificate for `localhost` and 127.0.0.1 of an authority that nobody believes unless told to.
const AUTHORITY: &str = include_str!("../../../manta-client/tests/fixtures/tls/ca.pem");
const OF_AUTHORITY: &str = include_str!("../../../manta-client/tests/fixtures/tls/server.pem");
const KEY_OF_AUTHORITY: &str = include_str!("../../../manta-client/tests/fixtures/tls/server.key");

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

/// A store behind such a certificate, the file of its authority, and what keeps both.
fn with_authority() -> Result<(Store, PathBuf, Files)> {
    let files = Files::write(OF_AUTHORITY, KEY_OF_AUTHORITY)?;
    let authority = files.0.path().join("ca.pem");
    fs::write(&authority, AUTHORITY)?;
    Ok((files.launch().start()?, authority, files))
}

#[test]
fn our_commands_believe_an_authority_they_are_told_of() -> Result<()> {
    let (store, authority, _files) = with_authority()?;
    let home = store.user()?;
    let trusting = |name: &str| {
        let mut command = home.own(name);
        command.env("SSL_CERT_FILE", &authority);
        command
    };
    // Of several parts, so that connections are made anew and bodies wait to be asked for.
    let bytes: Vec<u8> = (0..11_u32 << 18).flat_map(u32::to_le_bytes).collect();
    fs::create_dir(home.path().join("tree"))?;
    fs::write(home.path().join("tree/large"), &bytes)?;
    fs::write(home.path().join("tree/small"), "small")?;
    let mut mput = trusting("mput");
    mput.args(["--multipart-threshold", "5M", "--part-size", "5M"]);
    run(mput.args(["-q", "-r", "-f", "tree", "~~/stor/tree"]))?;
    let mut mget = trusting("mget");
    let back = outcome(mget.args(["-q", "~~/stor/tree/large"]))?;
    ensure!(back.status.success() && back.stdout == bytes, "the content");
    run(trusting("msync").args(["-q", "-r", "-m", "~~/stor/tree", "back"]))?;
    run(home.command("diff").args(["-r", "tree", "back"]))?;
    let mut mjob = trusting("mjob");
    mjob.args(["create", "-q", "-o", "-m", "cat"]);
    let counted = run_with(&mut mjob, store.path("stor/tree/small").as_bytes())?;
    ensure!(counted == "small", "{counted}");
    run(trusting("mrm").args(["-r", "~~/stor/tree"]))?;
    // By the other name in the certificate too.
    let port = store.address().port();
    let mut named = trusting("mls");
    named.env("MANTA_URL", format!("https://localhost:{port}"));
    ensure!(run(named.arg("~~"))?.contains("stor/"), "localhost");

    // Whoever is not told does not believe it, and sends nothing.
    let url = store.url().trim_start_matches("https://").to_owned();
    let nothing = store.scratch().join("nothing.pem");
    fs::write(&nothing, "")?;
    let other = store.scratch().join("other.pem");
    fs::write(&other, OTHER_CERTIFICATE)?;
    let missing = store.scratch().join("missing.pem");
    let unknown =
        format!("mls: ConnectionError: cannot connect to {url}: invalid peer certificate");
    for (file, line) in [
        (None, unknown.clone()),
        (Some(&other), unknown),
        (
            Some(&nothing),
            format!("mls: Error: cannot prepare for TLS: {}", nothing.display()),
        ),
        (
            Some(&missing),
            format!("mls: Error: cannot prepare for TLS: {}", missing.display()),
        ),
    ] {
        let mut mls = home.own("mls");
        if let Some(file) = file {
            mls.env("SSL_CERT_FILE", file);
        }
        let refused = said(&mut mls)?;
        ensure!(
            refused.code == Some(1)
                && refused.stdout.is_empty()
                && refused.stderr.starts_with(&line)
                && refused.stderr.lines().count() == 1,
            "{file:?}: {refused:?}\nnot {line}"
        );
    }
    ensure!(
        run(home.own("mls").args(["-i", "~~"]))?.contains("stor/"),
        "-i"
    );

    // The other clients, each in its way.
    let mut npm = home.npm("mls")?;
    npm.env("NODE_EXTRA_CA_CERTS", &authority);
    ensure!(run(npm.arg("~~"))?.contains("stor/"), "npm");
    let distrustful = said(home.mantash()?.args(["mkdir", "by-mantash"]))?;
    let unsafely = said(home.mantash()?.args(["-i", "mkdir", "by-mantash"]))?;
    let listed = run(trusting("mls").arg("~~/stor"))?;
    // On a newer Python the HTTP library of that client has no TLS at all, and it says so.
    let older = "import sys; print(sys.version_info < (3, 12))";
    if run(home.python()?.args(["-c", older]))? == "True\n" {
        ensure!(
            distrustful.code == Some(1) && distrustful.stderr.contains("CERTIFICATE_VERIFY_FAILED"),
            "{distrustful:?}"
        );
        ensure!(unsafely.code == Some(0), "{unsafely:?}");
        ensure!(listed == "by-mantash/\n", "{listed}");
    } else {
        let words = "unexpected keyword argument 'key_file'";
        ensure!(
            distrustful.stderr.contains(words) && unsafely.stderr.contains(words),
            "{distrustful:?} {unsafely:?}"
        );
        ensure!(listed.is_empty(), "{listed}");
    }
    store.finish()
}

#[test]
fn clients_go_through_a_proxy_where_the_environment_names_one() -> Result<()> {
    let (store, authority, _files) = with_authority()?;
    let home = store.user()?;
    let proxy = Proxy::start()?;
    let address = store.address();
    let authority = authority.to_str().context("a path")?;
    let own = |name: &str, variables: &[(&str, &str)]| {
        let mut command = home.own(name);
        command.env("SSL_CERT_FILE", authority);
        command.envs(variables.iter().copied());
        command
    };
    let through = proxy.url();
    let tunnel = format!("CONNECT {address} HTTP/1.1");
    let asked = || -> BTreeSet<String> { proxy.take_asked().into_iter().collect() };

    // In TLS the proxy sees where to, and nothing of what.
    for name in ["https_proxy", "HTTPS_PROXY"] {
        run_with(
            own("mput", &[(name, &through)]).args(["-q", "~~/public/x"]),
            b"hello",
        )?;
        ensure!(asked() == BTreeSet::from([tunnel.clone()]), "{name}");
        let back = run(own("mget", &[(name, &through)]).args(["-q", "~~/public/x"]))?;
        ensure!(back == "hello" && asked().len() == 1, "{back}");
    }
    let mut npm = home.npm("mls")?;
    npm.env("NODE_EXTRA_CA_CERTS", authority);
    ensure!(
        run(npm.env("https_proxy", &through).arg("~~"))?.contains("stor/"),
        "npm"
    );
    ensure!(
        asked() == BTreeSet::from([tunnel]),
        "npm has asked for a tunnel"
    );
    // What is exempt goes straight, as does what the variable is not for.
    let hosts = [("https_proxy", through.as_str()), ("no_proxy", "127.0.0.1")];
    for variables in [&hosts[..], &[("http_proxy", &through)]] {
        run(own("mls", variables).arg("~~"))?;
        ensure!(asked().is_empty(), "{variables:?}");
    }

    // Without TLS it is given the whole URL; the store that listens there gives what is public.
    let plain = store.ready("insecureUrl");
    let mut mget = own("mget", &[("http_proxy", &through), ("MANTA_URL", plain)]);
    mget.env("MANTA_NO_AUTH", "true");
    let path = store.path("public/x");
    ensure!(run(mget.args(["-q", &path]))? == "hello", "public");
    let line = format!("GET {plain}{path} HTTP/1.1");
    ensure!(asked() == BTreeSet::from([line]), "the whole URL");

    // A proxy that is not there is the end of it: nothing goes around it.
    let away = own("mls", &[("https_proxy", "http://127.0.0.1:1")])
        .arg("~~")
        .output()?;
    let words = String::from_utf8_lossy(&away.stderr).into_owned();
    ensure!(
        away.status.code() == Some(1) && words.contains("Connection refused"),
        "{words}"
    );
    let strange = said(own("mls", &[("https_proxy", "socks5://127.0.0.1:1")]).arg("~~"))?;
    ensure!(
        strange.code == Some(1) && strange.stderr.contains("is not a proxy that can be used"),
        "{strange:?}"
    );
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
