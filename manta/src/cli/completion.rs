//! `--completion`: a script that lets a shell complete the options of a command.
//!
//! It is looked for before anything else is understood, so that it needs none of the arguments that the
//! command itself cannot do without.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};
use clap_complete::{Shell, generate};

const OPTION: &str = "--completion";
const SHELLS: [(&str, Shell); 3] = [
    ("bash", Shell::Bash),
    ("zsh", Shell::Zsh),
    ("fish", Shell::Fish),
];

/// Adds the option to a command, for its help and for the completions themselves.
pub(crate) fn with_option(command: Command) -> Command {
    command.arg(
        Arg::new("completion")
            .long("completion")
            .value_name("SHELL")
            .num_args(0..=1)
            .action(ArgAction::Set)
            .value_parser(PossibleValuesParser::new(SHELLS.map(|(name, _)| name)))
            .help("Print the completion script for bash (the default), zsh or fish"),
    )
}

/// The shell, if the arguments ask for a completion script.
pub(crate) fn asked(args: &[OsString]) -> Option<Result<Shell, String>> {
    let options = args.iter().take_while(|arg| *arg != "--");
    let (at, option) = options
        .map(|arg| arg.to_string_lossy())
        .enumerate()
        .find(|(_, arg)| arg == OPTION || arg.starts_with("--completion="))?;
    let shell = |name: &str| SHELLS.iter().find(|(known, _)| *known == name);
    if let Some((_, name)) = option.split_once('=') {
        let unknown =
            || format!("there are completions for bash, zsh and fish, not for \"{name}\"");
        return Some(shell(name).map(|(_, shell)| *shell).ok_or_else(unknown));
    }
    let next = args.get(at + 1).map(|next| next.to_string_lossy());
    let named = next.and_then(|next| shell(&next).map(|(_, shell)| *shell));
    Some(Ok(named.unwrap_or(Shell::Bash)))
}

/// Prints the script for a command under its own name.
pub(crate) fn print(command: Command, asked: Result<Shell, String>) -> ExitCode {
    let name = command.get_name().to_owned();
    let shell = match asked {
        Ok(shell) => shell,
        Err(message) => {
            eprintln!("{name}: {message}");
            return ExitCode::FAILURE;
        }
    };
    let mut script = Vec::new();
    generate(shell, &mut with_option(command), &name, &mut script);
    match io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(words: &[&str]) -> Option<Result<Shell, String>> {
        asked(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_shell_is_the_word_behind_or_bash() {
        assert_eq!(shell(&["--completion"]), Some(Ok(Shell::Bash)));
        assert_eq!(shell(&["--completion", "zsh"]), Some(Ok(Shell::Zsh)));
        assert_eq!(shell(&["-l", "--completion=fish"]), Some(Ok(Shell::Fish)));
        assert_eq!(shell(&["--completion", "/a/stor"]), Some(Ok(Shell::Bash)));
        assert_eq!(shell(&["--", "--completion"]), None);
        assert_eq!(shell(&["-l"]), None);
        assert!(shell(&["--completion=csh"]).is_some_and(|asked| asked.is_err()));
    }
}
