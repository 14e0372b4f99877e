//! A user's home directory, from which our own commands and the real clients find the store.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{Store, binary};

/// A home directory with the account's key in `.ssh`, and the variables every client reads.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
    commands: PathBuf,
}

impl Home {
    /// The user whom `manta up` gave the account, with the key that it named.
    pub fn of(store: &Store) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("manta-home-").tempdir()?;
        let ssh = directory.path().join(".ssh");
        fs::create_dir(&ssh).context("create .ssh")?;
        fs::set_permissions(&ssh, Permissions::from_mode(0o700))?;
        let key = ssh.join("id_rsa");
        fs::copy(store.ready("keyFile"), &key).context("copy the key")?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        let public = Command::new("ssh-keygen")
            .arg("-y")
            .arg("-f")
            .arg(&key)
            .output();
        let public = public.context("start ssh-keygen")?;
        ensure!(
            public.status.success(),
            "ssh-keygen must read the key that manta up named"
        );
        fs::write(ssh.join("id_rsa.pub"), public.stdout).context("write the public key")?;
        let variables = vec![
            ("MANTA_URL", store.url().to_owned()),
            ("MANTA_USER", store.account().to_owned()),
            ("MANTA_KEY_ID", store.ready("keyId").to_owned()),
        ];
        Ok(Self {
            directory,
            variables,
            commands: store.data_dir().join("bin"),
        })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Any program, with this home and nothing else of the developer's environment but PATH.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("LANG", "C.UTF-8")
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// One of our own commands, from `DATA_DIR/bin`.
    pub fn own(&self, name: &str) -> Command {
        self.command(self.commands.join(name))
    }

    /// One of the commands of the npm package.
    pub fn npm(&self, name: &str) -> Result<Command> {
        let script = binary::clients()?
            .join("npm/node_modules/manta/bin")
            .join(name);
        ensure!(script.is_file(), "the npm client has no {name}");
        let mut command = self.command("node");
        command.arg(script);
        Ok(command)
    }

    /// A script that may `require('manta')`, the library of the npm package.
    pub fn node(&self, script: &str) -> Result<Command> {
        let modules = binary::clients()?.join("npm/node_modules");
        let mut command = self.command("node");
        command.args(["-e", script]).env("NODE_PATH", modules);
        Ok(command)
    }

    /// What compares a store with the document of its API.
    pub fn schemathesis(&self) -> Result<Command> {
        Ok(self.command(binary::clients()?.join("schemathesis/bin/schemathesis")))
    }

    /// The shell of the PyPI package.
    pub fn mantash(&self) -> Result<Command> {
        let mut command = self.python()?;
        command.arg(binary::clients()?.join("pypi/bin/mantash"));
        // It is older than what newer Pythons warn of.
        command.env("PYTHONWARNINGS", "ignore");
        Ok(command)
    }

    /// Python with the PyPI package.
    pub fn python(&self) -> Result<Command> {
        Ok(self.command(binary::clients()?.join("pypi/bin/python")))
    }
}

/// What a command printed; fails unless it succeeded.
pub fn run(command: &mut Command) -> Result<String> {
    run_with(command, b"")
}

/// The same with something on its standard input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Result<String> {
    let output = outcome_with(command, input)?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).context("read what it printed")
}

/// What a command did, success or not.
pub fn outcome(command: &mut Command) -> Result<Output> {
    outcome_with(command, b"")
}

/// The same with something on its standard input.
pub fn outcome_with(command: &mut Command, input: &[u8]) -> Result<Output> {
    let shown = format!("{command:?}");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {shown}"))?;
    let mut stdin = child.stdin.take().context("take its input")?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read its input is free to do so.
            let _ = stdin.write_all(input);
        });
        child
            .wait_with_output()
            .with_context(|| format!("wait for {shown}"))
    })
}
