//! `cargo xtask test`: what CI runs.
//!
//! The binary is built first and named in `MANTA_BIN`, so that system tests never run an older one.

use anyhow::{Context, Result, bail};

use crate::command::{self, cargo, succeeds};
use crate::{clients, debian, tree};

/// How tests are built. Dependencies are optimised in it, which is where the time goes.
const PROFILE: &str = "dev";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    quick: bool,
    repeat: u32,
    runner_arguments: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            quick: false,
            repeat: 1,
            runner_arguments: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--repeat" => {
                    let count = rest.next().context("--repeat needs a number")?;
                    options.repeat = count
                        .parse()
                        .with_context(|| format!("\"{count}\" is not a number"))?;
                }
                "--" => options.runner_arguments.extend(rest.by_ref().cloned()),
                other => {
                    bail!("unexpected argument \"{other}\"; arguments of the runner go after --")
                }
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut environment = Vec::new();
    if !options.quick {
        debian::install_for_tests()?;
        environment.push(("MANTA_CLIENTS", clients::install()?.into_os_string()));
        command::run(&mut cargo([
            "build",
            "--package",
            "manta",
            "--bin",
            "manta",
        ]))?;
        let binary = tree::artefacts(PROFILE)?.join("manta");
        environment.push(("MANTA_BIN", binary.into_os_string()));
    }
    let nextest = succeeds(&mut cargo(["nextest", "--version"]));
    for round in 1..=options.repeat {
        if options.repeat > 1 {
            eprintln!("xtask: round {round} of {}", options.repeat);
        }
        let mut command = if nextest {
            cargo(["nextest", "run", "--workspace"])
        } else {
            cargo([
                "test",
                "--workspace",
                "--lib",
                "--bins",
                "--tests",
                "--no-fail-fast",
            ])
        };
        if options.quick {
            command.args(["--exclude", "tests"]);
        }
        command
            .args(&options.runner_arguments)
            .envs(environment.iter().cloned());
        command::run(&mut command)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options> {
        Options::parse(
            &arguments
                .iter()
                .map(|a| (*a).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn arguments_after_the_dashes_go_to_the_runner() {
        let options = parse(&["--repeat", "10", "--", "--no-capture", "put"]).unwrap();
        assert_eq!(options.repeat, 10);
        assert_eq!(options.runner_arguments, ["--no-capture", "put"]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(parse(&["--fast"]).is_err());
        assert!(parse(&["--repeat"]).is_err());
        assert!(parse(&["--repeat", "often"]).is_err());
    }
}
