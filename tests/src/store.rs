//! A store: the real binary, started on a free port over a directory of its own.
//!
//! Surprise: a store that a test does not [`finish`](Store::finish) is killed and its log shown, since
//! that is what happens when a test fails.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Client, Home, Signer, binary, logs, machine, wait_for};

/// To make an RSA key for each store would take minutes of a whole run.
const KEY: &str = include_str!("../../httpsig/tests/fixtures/keys/rsa2048.pkcs8.pem");
const PUBLIC_KEY: &str = include_str!("../../httpsig/tests/fixtures/keys/rsa2048.pub");

/// A first start without a key makes one, which takes seconds on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// SIGTERM drains what is under way.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// How to start a store.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    settings: Vec<String>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    under: Vec<OsString>,
    data_dir: Option<PathBuf>,
    binary: Option<PathBuf>,
    working_directory: Option<PathBuf>,
    expected_warnings: Vec<&'static str>,
    without_key: bool,
}

impl Launch {
    /// As a user would start it, but with few zones, since most tests run no jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default().setting("jobs.zones = 1")
    }

    /// A line of the configuration file, `section.name = value`. The last one for a name wins.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        self.settings.retain(|other| name(other) != name(line));
        self.settings.push(line.to_owned());
        self
    }

    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Puts another program and its arguments in front: a tracer, `setpriv`.
    #[must_use]
    pub fn under<S: Into<OsString>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.under = command.into_iter().map(Into::into).collect();
        self
    }

    /// Uses a data directory that is there already, instead of one of its own.
    #[must_use]
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_path_buf());
        self
    }

    /// Runs a copy of the binary: the data directory links to it when both are on one file system.
    #[must_use]
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_path_buf());
        self
    }

    /// Runs jobs without zones, which the store says loudly.
    #[must_use]
    pub fn plain_processes(self) -> Self {
        self.argument("--isolation")
            .argument("process")
            .expecting(&["jobs run as plain processes: nothing separates them from this machine"])
    }

    /// Where the store finds itself, when it cannot enter the test's own directory.
    #[must_use]
    pub fn working_directory(mut self, path: &Path) -> Self {
        self.working_directory = Some(path.to_path_buf());
        self
    }

    /// Messages that this test provokes at level `warn` or `error`.
    #[must_use]
    pub fn expecting(mut self, messages: &[&'static str]) -> Self {
        self.expected_warnings.extend(messages);
        self
    }

    /// The user has no key, so that the store makes one.
    #[must_use]
    pub fn without_key(mut self) -> Self {
        self.without_key = true;
        self
    }

    pub fn start(self) -> Result<Store> {
        let scratch = tempfile::Builder::new().prefix("manta-test-").tempdir()?;
        let home = scratch.path().join("home");
        fs::create_dir(&home).context("create a home directory")?;
        if !self.without_key {
            write_key(&home)?;
        }
        self.start_in(scratch, home)
    }

    /// Starts with a home directory that the test has filled.
    pub fn start_with_home(self, home: &Path) -> Result<Store> {
        let scratch = tempfile::Builder::new().prefix("manta-test-").tempdir()?;
        self.start_in(scratch, home.to_path_buf())
    }

    fn start_in(self, scratch: TempDir, home: PathBuf) -> Result<Store> {
        // The store may be started as another user, who has to read its settings.
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
        let data_dir = self
            .data_dir
            .clone()
            .unwrap_or_else(|| scratch.path().join("data"));
        let mut store = Store {
            log: scratch.path().join("log"),
            config: scratch.path().join("config.toml"),
            launch: self,
            home,
            data_dir,
            scratch,
            running: None,
        };
        store.start()?;
        Ok(store)
    }
}

/// A user's key, where `manta up` finds it.
fn write_key(home: &Path) -> Result<()> {
    let ssh = home.join(".ssh");
    fs::create_dir(&ssh).context("create .ssh")?;
    let key = ssh.join("id_rsa");
    fs::write(&key, KEY).context("write the key")?;
    fs::set_permissions(&key, Permissions::from_mode(0o600))?;
    fs::write(key.with_extension("pub"), PUBLIC_KEY).context("write the public key")
}

/// A store and everything it needs. Its directories go away with it.
#[derive(Debug)]
pub struct Store {
    launch: Launch,
    home: PathBuf,
    data_dir: PathBuf,
    log: PathBuf,
    config: PathBuf,
    scratch: TempDir,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    ready: Value,
    address: SocketAddr,
}

impl Store {
    /// A store as [`Launch::new`] describes it.
    pub fn launch() -> Result<Self> {
        Launch::new().start()
    }

    /// Starts again over the same data, after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "the store is running already");
        self.write_settings()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .context("open the log")?;
        let mut child = self
            .command(&binary::manta()?)
            .stderr(log)
            .spawn()
            .context("start manta")?;
        match read_ready(&mut child) {
            Ok(ready) => {
                let address = address_of(&ready)?;
                self.running = Some(Running {
                    child,
                    ready,
                    address,
                });
                Ok(())
            }
            Err(error) => {
                let _ = child.kill();
                let status = child.wait().context("wait for manta")?;
                Err(error.context(format!(
                    "manta up ended with {status}; its log ends with\n{}",
                    self.log_tail()
                )))
            }
        }
    }

    /// Starts, expecting that it refuses to; returns what it said.
    pub fn refuses_to_start(&mut self) -> Result<String> {
        ensure!(self.running.is_none(), "the store is running already");
        self.write_settings()?;
        let mut command = self.command(&self.binary()?);
        let said = self.scratch.path().join("refusal");
        let stderr = File::create(&said).context("make a file for what it says")?;
        let mut child = command.stderr(stderr).spawn().context("start manta")?;
        let ended = wait_for("manta up to refuse", START_PATIENCE, || {
            Ok(child.try_wait()?)
        });
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let status = ended?;
        ensure!(
            !status.success(),
            "manta up must refuse, but ended with {status}"
        );
        let said = fs::read(&said).context("read what it said")?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// A second `manta up` over the same data directory, as [`start`](Self::start) would run it.
    pub fn command(&self, manta: &Path) -> Command {
        let mut words = self.launch.under.clone();
        words.push(manta.into());
        words.extend(["up", "--json", "--listen", "127.0.0.1:0", "--data-dir"].map(OsString::from));
        words.push(self.data_dir.clone().into());
        words.extend(["--config".into(), self.config.clone().into()]);
        words.extend(self.launch.arguments.iter().cloned());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_remove("SSH_AUTH_SOCK")
            .env("HOME", &self.home)
            .env("RUST_BACKTRACE", "1")
            .envs(self.launch.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .current_dir(
                self.launch
                    .working_directory
                    .as_deref()
                    .unwrap_or(self.scratch.path()),
            );
        command
    }

    fn binary(&self) -> Result<PathBuf> {
        self.launch.binary.clone().map_or_else(binary::manta, Ok)
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the store is not running")
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running().address
    }

    /// A field of the ready line.
    #[must_use]
    pub fn ready(&self, field: &str) -> &str {
        self.running().ready[field]
            .as_str()
            .unwrap_or_else(|| panic!("the ready line has no {field}"))
    }

    #[must_use]
    pub fn url(&self) -> &str {
        self.ready("url")
    }

    #[must_use]
    pub fn account(&self) -> &str {
        self.ready("account")
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        let pid = self.running().ready["pid"]
            .as_u64()
            .and_then(|pid| pid.try_into().ok());
        pid.expect("the ready line has no pid")
    }

    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A place for the test's own files; goes away with the store.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Directories that hold copies: those given by `--storage`, else those below the data directory.
    pub fn storage_directories(&self) -> Result<Vec<PathBuf>> {
        let given: Vec<PathBuf> = self
            .launch
            .arguments
            .windows(2)
            .filter(|pair| pair[0] == "--storage")
            .map(|pair| PathBuf::from(&pair[1]))
            .collect();
        if !given.is_empty() {
            return Ok(given);
        }
        let known = fs::read(self.data_dir.join("storage.json")).context("read storage.json")?;
        let known: Value = serde_json::from_slice(&known).context("understand storage.json")?;
        Ok(known
            .as_object()
            .into_iter()
            .flat_map(|o| o.keys().map(|name| self.data_dir.join(name)))
            .collect())
    }

    /// Signs with the key that `manta up` made.
    pub fn signer(&self) -> Result<Signer> {
        Signer::open(
            self.account(),
            self.ready("keyId"),
            Path::new(self.ready("keyFile")),
        )
    }

    /// A client of the account that `manta up` made.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(self.address(), Some(self.signer()?)))
    }

    /// A client without a key.
    #[must_use]
    pub fn anonymous(&self) -> Client {
        Client::new(self.address(), None)
    }

    /// A path in the account's tree: `path("stor/x")`.
    #[must_use]
    pub fn path(&self, below: &str) -> String {
        format!("/{}/{below}", self.account())
    }

    /// A user's home directory from which every client finds this store.
    pub fn user(&self) -> Result<Home> {
        Home::of(self)
    }

    /// The value of a metric without labels, or the sum over its labels; 0 when it is not there.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = self.anonymous().get("/metrics")?.expect(200)?.text();
        let values = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let series = series.split('{').next()?;
                (series == name || series.strip_suffix("_total") == Some(name))
                    .then(|| value.parse::<f64>().ok())?
            });
        Ok(values.sum())
    }

    /// Changes a line of the configuration file for the next start.
    pub fn configure(&mut self, line: &str) {
        self.launch = self.launch.clone().setting(line);
    }

    /// Changes a line of the configuration file and tells the store to read it.
    pub fn reconfigure(&mut self, line: &str) -> Result<()> {
        self.configure(line);
        self.write_settings()?;
        signal(self.pid(), Signal::HUP)
    }

    fn write_settings(&self) -> Result<()> {
        fs::write(&self.config, self.launch.settings.join("\n")).context("write the settings")
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        let tree = machine::process_tree(self.pid());
        signal(self.pid(), Signal::KILL)?;
        let mut running = self.running.take().context("the store is not running")?;
        running.child.wait().context("wait for the killed store")?;
        none_left(&tree)
    }

    /// SIGTERM; fails unless the store then drains, exits with 0 and leaves no process behind.
    pub fn stop(&mut self) -> Result<()> {
        let tree = machine::process_tree(self.pid());
        signal(self.pid(), Signal::TERM)?;
        let status = self.wait_for_exit()?;
        ensure!(
            status.success(),
            "after SIGTERM the store ended with {status}"
        );
        none_left(&tree)
    }

    fn wait_for_exit(&mut self) -> Result<ExitStatus> {
        let running = self.running.as_mut().context("the store is not running")?;
        let status = wait_for("the store to end", STOP_PATIENCE, || {
            Ok(running.child.try_wait()?)
        })?;
        self.running = None;
        Ok(status)
    }

    /// The end of every test: stops the store, and fails when it warned of something unexpected.
    pub fn finish(mut self) -> Result<()> {
        if self.running.is_some() {
            self.stop()?;
        }
        let stray = logs::stray(&self.log, &self.launch.expected_warnings)?;
        ensure!(
            stray.is_empty(),
            "the store warned unexpectedly:\n{}",
            stray.join("\n")
        );
        Ok(())
    }

    /// The log so far.
    pub fn log(&self) -> Result<String> {
        let bytes = fs::read(&self.log).context("read the log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// For a report of a failure; the whole log is kept beside the test's own directory, which goes away.
    fn log_tail(&self) -> String {
        let kept = std::env::temp_dir().join(format!("manta-failed-{}.log", std::process::id()));
        let place = match fs::copy(&self.log, &kept) {
            Ok(_) => format!("all of it is in {}", kept.display()),
            Err(error) => format!("and it cannot be kept: {error}"),
        };
        format!(
            "{}
({place})",
            logs::digest(&self.log)
        )
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            eprintln!("the log of the store ends with\n{}", self.log_tail());
            if let Some(pid) = running.ready["pid"].as_u64() {
                let _ = signal(pid as u32, Signal::KILL);
            }
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("a process id is positive")?;
    kill_process(pid, signal).with_context(|| format!("send {signal:?} to the store"))
}

fn none_left(tree: &[u32]) -> Result<()> {
    wait_for(
        "the processes of the store to end",
        Duration::from_secs(10),
        || {
            let left = tree
                .iter()
                .any(|pid| Path::new(&format!("/proc/{pid}")).exists());
            Ok((!left).then_some(()))
        },
    )
}

/// The first line of standard output. The rest of it is dropped, so that the store never blocks on it.
fn read_ready(child: &mut Child) -> Result<Value> {
    let stdout = child.stdout.take().context("take the output of manta")?;
    let (sender, receiver) = mpsc::channel();
    // Ends with the output, that is, with the store.
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        let read = reader.read_line(&mut line).map(|_| line);
        let _ = sender.send(read);
        let _ = reader.read_to_end(&mut Vec::new());
    });
    let line = match receiver.recv_timeout(START_PATIENCE) {
        Ok(line) => line.context("read the ready line")?,
        Err(_) => bail!("there was no ready line for {START_PATIENCE:?}"),
    };
    ensure!(!line.is_empty(), "manta up ended before it was ready");
    serde_json::from_str(&line).with_context(|| format!("understand the ready line {line:?}"))
}

fn address_of(ready: &Value) -> Result<SocketAddr> {
    let url = ready["url"].as_str().context("the ready line has a url")?;
    let address = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
        .context("the url begins with http:// or https://")?;
    address
        .trim_end_matches('/')
        .parse()
        .with_context(|| format!("understand the url {url}"))
}
