//! The client commands, from `mls` to `mjob`: whatever a user does with a store.
//!
//! Their options, output and exit codes are those of the ecosystem's own command line tools, because
//! scripts depend on them. Results go to stdout; a failure is one line on stderr and exit code 1.
//!
//! In reading order: `command` is what all of them share, `connection` the options that say which server
//! and which identity, `output` and `listing_line` what is printed, `upload` what is sent, then one file
//! for each command.

mod command;
pub(crate) mod completion;
mod connection;
mod failure;
mod json_text;
mod kept_metadata;
mod large_files;
mod listing_line;
mod local_tree;
mod multipart;
mod output;
mod printable;
mod progress;
mod size;
mod stdin;
mod tree_upload;
mod upload;

mod mchattr;
mod mchmod;
mod mfind;
mod mget;
mod minfo;
mod mjob;
mod mln;
mod mlogin;
mod mls;
mod mmd5;
mod mmkdir;
mod mmpu;
mod mmv;
mod mput;
mod mrm;
mod mrmdir;
mod msign;
mod msync;
mod muntar;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory as _;

/// Declares the commands once: their names, how each is run, and how each is described.
macro_rules! commands {
    ($($name:ident),* $(,)?) => {
        /// Every command [`run`] knows.
        pub(crate) const COMMANDS: &[&str] = &[$(stringify!($name)),*];

        /// Runs a client command with its arguments (without its name), on a runtime of its own.
        pub(crate) fn run(command: &str, args: Vec<OsString>) -> ExitCode {
            match command {
                $(stringify!($name) => {
                    command::start::<$name::Arguments>(stringify!($name), args)
                })*
                other => {
                    eprintln!("there is no command \"{other}\"");
                    ExitCode::FAILURE
                }
            }
        }

        /// The definitions of all commands, for the completions of `manta` itself.
        pub(crate) fn definitions() -> Vec<clap::Command> {
            vec![$(completion::with_option($name::Arguments::command())),*]
        }
    };
}

commands!(
    mls, mput, mget, minfo, mrm, mrmdir, mmkdir, mfind, mjob, mchattr, mchmod, mln, mmv, mmd5,
    mlogin, mmpu, msign, msync, muntar,
);

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

    #[test]
    fn every_definition_is_sound() {
        for definition in definitions() {
            let name = definition.get_name().to_owned();
            assert!(COMMANDS.contains(&name.as_str()), "{name}");
            definition.debug_assert();
        }
    }
}
