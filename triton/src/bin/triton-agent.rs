//! A process that has zones, to be killed or run as another user by this crate's tests.
//!
//! `triton-agent DIRECTORY zone|user|process hold|SHELL-LINE`: starts a host of two slots in DIRECTORY, with
//! the zygote beside this program. `hold` runs `sleep` in one zone and waits for ever; every line of
//! anything else is run as a command of its own in the same zone, with the input shown anew; their output and
//! the last exit status become ours. Says "ready" first.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use libmanta::triton::{Command, ExitStatus, Isolation, Zone, ZoneSpec, Zones as _};
use triton::{Config, Host, ZygoteProgram};

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(100)
        }
    }
}

async fn run() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, isolation, line] = arguments.as_slice() else {
        return Err("usage: triton-agent DIRECTORY zone|user|process hold|LINE".into());
    };
    let mut config = Config::new(directory);
    config.slots = 2;
    config.memory_bytes = 256 << 20;
    config.disk_bytes = 64 << 20;
    config.allow_unlimited = true;
    config.zygote = ZygoteProgram {
        program: std::env::current_exe()?.with_file_name("triton-zygote"),
        args: Vec::new(),
    };
    config.isolation = Some(match isolation.as_str() {
        "zone" => Isolation::Zone,
        "user" => Isolation::UserNamespace,
        "process" => Isolation::Process,
        other => return Err(format!("unknown isolation {other}").into()),
    });
    let spec = ZoneSpec {
        memory_bytes: config.memory_bytes,
        disk_bytes: config.disk_bytes,
        image: None,
    };
    let host = Host::start(config).await?;
    let mut zone = host.acquire(spec).await?;
    println!("ready");
    std::io::stdout().flush()?;
    if line == "hold" {
        let forever = "setsid sleep 1000000 & sleep 1000000";
        let ended = shell(&mut *zone, forever).await?.0;
        return Err(format!("the zone ended: {ended:?}").into());
    }
    let mut status = ExitStatus::Code(0);
    // One command per line, each with the input shown anew.
    for line in line.lines() {
        let (ended, mut output) = shell(&mut *zone, line).await?;
        status = ended;
        output.rewind()?;
        let mut text = Vec::new();
        output.read_to_end(&mut text)?;
        std::io::stdout().write_all(&text)?;
    }
    drop(zone);
    host.shutdown().await;
    Ok(match status {
        ExitStatus::Code(code) => ExitCode::from(u8::try_from(code)?),
        ExitStatus::Signal(signal) => ExitCode::from(128 + u8::try_from(signal)?),
    })
}

/// Runs `line` with an object as its input at `/manta/user/stor/object`.
async fn shell(zone: &mut dyn Zone, line: &str) -> Result<(ExitStatus, File), Error> {
    let mut object = tempfile_in(&std::env::temp_dir())?;
    object.write_all(b"object\n")?;
    object.rewind()?;
    let stdin = zone
        .show_input("/manta/user/stor/object", Some(object))
        .await?;
    let output = zone.output_file().await?;
    let command = Command {
        argv: ["/bin/bash", "--norc", "-c", line]
            .map(str::to_owned)
            .into(),
        env: vec![
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("MANTA_URL".to_owned(), zone.manta_url()),
            ("PREFIX".to_owned(), zone.path_prefix()),
        ],
        stdin: OwnedFd::from(stdin),
        stdout: output.try_clone()?.into(),
        stderr: output.try_clone()?.into(),
    };
    Ok((zone.run(command).await?.status, output))
}

/// A file with a name, since plain processes are shown objects by name.
fn tempfile_in(directory: &std::path::Path) -> std::io::Result<File> {
    let path = directory.join(format!("triton-agent-object-{}", std::process::id()));
    // Removed by the test, which knows the pid.
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
}
