//! The store that is measured: `manta up` on a free port, over a scratch directory and with an empty home.
//!
//! Surprise: however the measurement ends, by an error too, dropping a [`Store`] asks it to stop, waits, and
//! removes all of its files. Should the bench itself be killed, the kernel asks the store to stop.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::connection::{Connection, Request};
use crate::cpu_group::CpuGroup;
use crate::metrics;
use crate::processes;
use crate::signer::Signer;

/// A first start makes an RSA key, which takes seconds on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Until zones are in the state that is waited for.
const ZONES_PATIENCE: Duration = Duration::from_secs(60);
/// SIGTERM drains what is under way.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Where stores come from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) manta: PathBuf,
    /// Scratch directories are made here.
    pub(crate) below: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Store {
    child: Child,
    pid: u32,
    address: SocketAddr,
    account: String,
    signer: Arc<Signer>,
    /// For commands.
    environment: Vec<(&'static str, String)>,
    zones: Vec<PathBuf>,
    // In this order: the group can go when the process has ended, which `drop` sees to, then the files.
    group: Option<CpuGroup>,
    scratch: TempDir,
    stopped: bool,
}

impl Store {
    /// Starts a store with nothing set. `name` tells its control group from that of another store.
    pub(crate) async fn start(origin: &Origin, name: &str) -> Result<Self> {
        Self::start_with(origin, name, "").await
    }

    /// Starts a store with these lines as its configuration.
    pub(crate) async fn start_with(
        origin: &Origin,
        name: &str,
        configuration: &str,
    ) -> Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("manta-bench-")
            .tempdir_in(&origin.below)
            .context("make a scratch directory")?;
        let home = scratch.path().join("home");
        std::fs::create_dir(&home).context("make a home directory")?;
        // Without one only the row that counts processor time cannot run, and it says why.
        let group = rustix::process::geteuid()
            .is_root()
            .then(|| CpuGroup::make(name))
            .transpose()?;
        let log = File::create(scratch.path().join("log")).context("make a log")?;
        let settings = scratch.path().join("settings.toml");
        std::fs::write(&settings, configuration).context("write the configuration")?;
        let mut command = Command::new(&origin.manta);
        command
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(scratch.path().join("data"))
            .arg("--config")
            .arg(settings)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("LANG", "C.UTF-8")
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(group) = &group {
            group.adopt(&mut command)?;
        }
        ask_to_stop_when_we_die(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("start {}", origin.manta.display()))?;
        let mut starting = Starting { child: Some(child) };
        let ready = match timeout(START_PATIENCE, starting.ready()).await {
            Ok(Ok(ready)) => Ready::parse(&ready),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(anyhow::anyhow!("no ready line within {START_PATIENCE:?}")),
        };
        let ready = ready.with_context(|| {
            format!(
                "manta up did not start; its log ends with\n{}",
                log_tail(scratch.path())
            )
        })?;
        let child = starting
            .child
            .take()
            .context("a store that started has a process")?;
        Ok(Self {
            child,
            pid: ready.pid,
            address: ready.address,
            signer: Arc::new(Signer::open(
                &ready.account,
                &ready.key_id,
                &ready.key_file,
            )?),
            environment: vec![
                ("MANTA_URL", format!("http://{}", ready.address)),
                ("MANTA_USER", ready.account.clone()),
                ("MANTA_KEY_ID", ready.key_id.clone()),
                ("MANTA_KEY_FILE", ready.key_file.display().to_string()),
                ("HOME", home.display().to_string()),
                ("LANG", "C.UTF-8".to_owned()),
            ],
            account: ready.account,
            zones: Vec::new(),
            group,
            scratch,
            stopped: false,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// What commands need to find the store and their key.
    pub(crate) fn client_environment(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// For files of a measurement; goes away with the store.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Where the store keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// A path in the tree of the account: `path("stor/x")`.
    pub(crate) fn path(&self, below: &str) -> String {
        format!("/{}/{below}", self.account)
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address).await
    }

    pub(crate) async fn make_directory(&self, path: &str) -> Result<()> {
        let request = Request::new("PUT", path).body(Some("application/json; type=directory"), b"");
        self.connect()
            .await?
            .call(&self.signer, &request)
            .await?
            .expect(204)?;
        Ok(())
    }

    /// What the store says about itself at `/metrics`.
    pub(crate) async fn metrics(&self) -> Result<String> {
        let mut connection = self.connect().await?;
        let answer = connection
            .call(&self.signer, &Request::new("GET", "/metrics"))
            .await?;
        Ok(String::from_utf8_lossy(answer.expect(200)?.body).into_owned())
    }

    /// How many zones are in a state.
    pub(crate) async fn zones(&self, state: &str) -> Result<f64> {
        let series = format!("manta_zones{{state=\"{state}\"}}");
        metrics::series(&self.metrics().await?, &series)
    }

    /// Waits until so many zones are in a state.
    pub(crate) async fn zones_are(&self, state: &str, count: f64) -> Result<()> {
        let started = Instant::now();
        while self.zones(state).await? != count {
            ensure!(
                started.elapsed() < ZONES_PATIENCE,
                "{count} zones are to be {state}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Processor time of the store and of its zones so far. Zones may be in groups of their own; they are
    /// looked for at each call, and one that was not there at the call before is an error, because then
    /// nobody knows what it had used by that time.
    pub(crate) fn cpu_time(&mut self, first: FirstLook) -> Result<Duration> {
        let group = self
            .group
            .as_ref()
            .context("there is no control group to measure with")?;
        let mut found: Vec<PathBuf> = processes::tree(self.pid)
            .into_iter()
            .filter_map(|pid| processes::control_group(pid, group.hierarchy.controller))
            .filter(|path| !path.starts_with(&group.path))
            .filter_map(|path| match path.parent() {
                // The zones of a store are siblings. Never the root: that would be the whole machine.
                Some(parent) if parent != Path::new("/") => Some(parent.to_path_buf()),
                _ => (path != Path::new("/")).then_some(path),
            })
            .collect();
        found.sort();
        found.dedup();
        match first {
            FirstLook::Yes => self.zones = found,
            FirstLook::No => {
                let late = found.iter().find(|path| !self.zones.contains(path));
                ensure!(
                    late.is_none(),
                    "the control group {late:?} was not counted from the start"
                );
            }
        }
        let mut used = group.used()?;
        for zones in &self.zones {
            used += group.hierarchy.used(zones)?;
        }
        Ok(used)
    }

    /// Stops the store as its operator would, and fails unless it ends well.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.terminate()?;
        let status = timeout(STOP_PATIENCE, self.child.wait()).await;
        let status = status
            .context("the store does not stop")?
            .context("wait for the store")?;
        self.stopped = true;
        ensure!(
            status.success(),
            "after SIGTERM the store ended with {status}; its log ends with\n{}",
            log_tail(self.scratch.path())
        );
        Ok(())
    }

    fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process id is positive")?, Signal::TERM)
            .context("stop the store")
    }

    fn end_now(&mut self) -> Result<()> {
        self.terminate()?;
        let started = Instant::now();
        while self
            .child
            .try_wait()
            .context("wait for the store")?
            .is_none()
        {
            if started.elapsed() > STOP_PATIENCE {
                self.child.start_kill().context("kill the store")?;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Whether earlier measurements of processor time are to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstLook {
    Yes,
    No,
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        eprintln!(
            "bench: the log of the store ends with\n{}",
            log_tail(self.scratch.path())
        );
        if let Err(error) = self.end_now() {
            eprintln!("bench: the store may still run: {error:#}");
        }
    }
}

/// A store that has not said yet that it is ready: ended when dropped.
struct Starting {
    child: Option<Child>,
}

impl Starting {
    async fn ready(&mut self) -> Result<String> {
        let child = self.child.as_mut().context("the process was started")?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let mut lines = BufReader::new(stdout).lines();
        match lines.next_line().await.context("read the ready line")? {
            Some(line) => Ok(line),
            None => bail!(
                "it ended with {}",
                child.wait().await.context("wait for it")?
            ),
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if child.start_kill().is_ok() {
            let started = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && started.elapsed() < STOP_PATIENCE {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Ready {
    address: SocketAddr,
    account: String,
    key_id: String,
    key_file: PathBuf,
    pid: u32,
}

impl Ready {
    fn parse(line: &str) -> Result<Self> {
        let line: Value = serde_json::from_str(line)
            .with_context(|| format!("understand the ready line {line:?}"))?;
        let text = |name: &str| {
            let value = line[name].as_str();
            value
                .map(str::to_owned)
                .with_context(|| format!("the ready line has no {name}"))
        };
        let url = text("url")?;
        let address = url
            .strip_prefix("http://")
            .unwrap_or(&url)
            .trim_end_matches('/');
        Ok(Self {
            address: address
                .parse()
                .with_context(|| format!("understand the address {url}"))?,
            account: text("account")?,
            key_id: text("keyId")?,
            key_file: text("keyFile")?.into(),
            pid: line["pid"]
                .as_u64()
                .and_then(|pid| pid.try_into().ok())
                .context("the ready line has no pid")?,
        })
    }
}

fn ask_to_stop_when_we_die(command: &mut Command) {
    let parent = rustix::process::getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // We may have died before the kernel was told.
        match rustix::process::getppid() == Some(parent) {
            true => Ok(()),
            false => Err(std::io::Error::from_raw_os_error(
                rustix::io::Errno::SRCH.raw_os_error(),
            )),
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and neither allocates nor takes a
    // lock.
    unsafe { command.as_std_mut().pre_exec(ask) };
}

fn log_tail(scratch: &Path) -> String {
    let log = std::fs::read(scratch.join("log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    // Requests are logged too, thousands a second; they say nothing about what went wrong.
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| !line.contains("_audit"))
        .collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_understood() {
        let line = r#"{"url":"http://127.0.0.1:4711","account":"jill","keyId":"aa:bb","keyFile":"/d/key",
            "dataDir":"/d","pid":12}"#;
        let ready = Ready::parse(line).unwrap();
        assert_eq!(ready.address, "127.0.0.1:4711".parse().unwrap());
        assert_eq!(
            (ready.account.as_str(), ready.key_id.as_str(), ready.pid),
            ("jill", "aa:bb", 12)
        );
        assert!(Ready::parse(&line.replace("keyId", "key")).is_err());
        assert!(Ready::parse("manta is ready").is_err());
    }

    #[tokio::test]
    async fn a_store_that_does_not_start_leaves_nothing_behind() {
        let below = tempfile::tempdir().unwrap();
        let origin = Origin {
            manta: "/bin/false".into(),
            below: below.path().to_owned(),
        };
        let error = format!("{:#}", Store::start(&origin, "fails").await.unwrap_err());
        assert!(
            error.contains("did not start") && error.contains("exit status: 1"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(below.path()).unwrap().count(), 0);
    }
}
