//! The client commands: `mls`, `mput`, `mget`, `minfo`, `mrm`, `mrmdir`, `mmkdir`, `mfind`, `mjob`.
//!
//! Their options, output and exit codes are those of the ecosystem's own command line tools, because
//! scripts depend on them. Results go to stdout; a failure is one line on stderr and exit code 1.
//!
//! In reading order: `command` is what all of them share, `connection` the options that say which server
//! and which identity, `output` and `listing_line` what is printed, then one file for each command.

mod command;
mod connection;
mod failure;
mod json_text;
mod listing_line;
mod output;
mod progress;
mod stdin;

mod mfind;
mod mget;
mod minfo;
mod mjob;
mod mls;
mod mmkdir;
mod mput;
mod mrm;
mod mrmdir;

use std::ffi::OsString;
use std::process::ExitCode;

/// Every command [`run`] knows.
pub(crate) const COMMANDS: &[&str] = &[
    "mls", "mput", "mget", "minfo", "mrm", "mrmdir", "mmkdir", "mfind", "mjob",
];

/// Runs a client command with its arguments (without its name), on a runtime of its own.
pub(crate) fn run(command: &str, args: Vec<OsString>) -> ExitCode {
    match command {
        "mls" => command::start::<mls::Arguments>("mls", args),
        "mput" => command::start::<mput::Arguments>("mput", args),
        "mget" => command::start::<mget::Arguments>("mget", args),
        "minfo" => command::start::<minfo::Arguments>("minfo", args),
        "mrm" => command::start::<mrm::Arguments>("mrm", args),
        "mrmdir" => command::start::<mrmdir::Arguments>("mrmdir", args),
        "mmkdir" => command::start::<mmkdir::Arguments>("mmkdir", args),
        "mfind" => command::start::<mfind::Arguments>("mfind", args),
        "mjob" => command::start::<mjob::Arguments>("mjob", args),
        other => {
            eprintln!("there is no command \"{other}\"");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_list_is_known_and_explains_itself() {
        for command in COMMANDS {
            let code = run(command, vec!["--help".into()]);
            assert_eq!(
                format!("{code:?}"),
                format!("{:?}", ExitCode::SUCCESS),
                "{command}"
            );
        }
    }
}
