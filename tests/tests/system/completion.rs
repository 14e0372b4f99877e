//! `--help`, `--version` and `--completion` of every command.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tests::home::{run, run_with};

use crate::said::said;

/// In alphabetical order, as DATA_DIR/bin lists them.
const COMMANDS: &[&str] = &[
    "mchattr", "mchmod", "mfind", "mget", "minfo", "mjob", "mln", "mlogin", "mls", "mmd5",
    "mmkdir", "mmpu", "mmv", "mput", "mrm", "mrmdir", "msign", "msync", "muntar",
];

fn manta(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(tests::manta()?);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null());
    Ok(command)
}

#[test]
fn every_command_explains_itself_without_a_store() -> Result<()> {
    for name in COMMANDS {
        let help = said(&mut manta(&[name, "--help"])?)?;
        ensure!(
            help.code == Some(0) && help.stderr.is_empty(),
            "{name}: {help:?}"
        );
        for part in [
            "Usage: ",
            "Examples:\n",
            "--completion",
            "--version",
            "--help",
        ] {
            ensure!(
                help.stdout.contains(part),
                "{name} --help lacks {part}: {}",
                help.stdout
            );
        }
        let version = said(&mut manta(&[name, "--version"])?)?;
        ensure!(
            version.code == Some(0) && version.stdout.starts_with(&format!("{name} ")),
            "{version:?}"
        );
        let short = said(&mut manta(&[name, "-h"])?)?;
        if *name == "mls" {
            // Human sizes; what is missing is only where to list.
            ensure!(
                short.code == Some(1) && short.stderr.contains("url is a required"),
                "{short:?}"
            );
        } else {
            ensure!(
                short.code == Some(0) && short.stdout.contains("Usage: "),
                "{name}: {short:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn every_command_completes_in_every_shell() -> Result<()> {
    for name in COMMANDS {
        let bash = run(&mut manta(&[name, "--completion"])?)?;
        ensure!(
            bash == run(&mut manta(&[name, "--completion=bash"])?)?,
            "{name}: bash is meant"
        );
        ensure!(
            bash.contains("--account") && bash.contains(&format!("_{name}")),
            "{name}: {bash}"
        );
        run_with(Command::new("bash").arg("-n"), bash.as_bytes())
            .with_context(|| format!("parse the completion of {name}"))?;
        let zsh = run(&mut manta(&[name, "--completion", "zsh"])?)?;
        ensure!(
            zsh.starts_with(&format!("#compdef {name}\n")),
            "{name}: {zsh}"
        );
        let fish = run(&mut manta(&[name, "--completion", "fish"])?)?;
        ensure!(
            fish.contains(&format!("complete -c {name} ")),
            "{name}: {fish}"
        );
    }
    let all = run(&mut manta(&["--completion", "bash"])?)?;
    for name in COMMANDS {
        ensure!(all.contains(name), "manta completes {name}");
    }
    let unknown = said(&mut manta(&["mls", "--completion=csh"])?)?;
    ensure!(
        unknown.code == Some(1) && unknown.stderr.contains("not for \"csh\""),
        "{unknown:?}"
    );
    Ok(())
}

/// What bash offers is what the command knows.
#[test]
fn bash_offers_options() -> Result<()> {
    let script = "eval \"$(\"$MANTA\" mls --completion)\"; \
        COMP_WORDS=(mls --re); COMP_CWORD=1; _mls mls --re mls; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let offered = run(Command::new("bash")
        .args(["-c", script])
        .env("MANTA", tests::manta()?))?;
    ensure!(offered == "--reverse\n", "{offered}");
    Ok(())
}
