//! What every command shares: arguments in, exit code out.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use super::completion;
use super::failure::Failure;

/// A command after its arguments were understood.
pub(super) trait Command: Parser {
    async fn run(self) -> Result<(), Failure>;
}

/// Parses the arguments and runs the command.
pub(super) fn start<C: Command>(name: &'static str, args: Vec<OsString>) -> ExitCode {
    if let Some(shell) = completion::asked(&args) {
        return completion::print(C::command().name(name), shell);
    }
    let with_name = std::iter::once(OsString::from(name)).chain(args);
    let definition = completion::with_option(C::command());
    let parsed = definition
        .try_get_matches_from(with_name)
        .and_then(|matches| C::from_arg_matches(&matches));
    let command = match parsed {
        Ok(command) => command,
        Err(error) => {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // Where the text cannot be written there is nobody to tell.
            let _ = error.print();
            return if asked {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
    };
    // One thread is enough for one command, and starts faster.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{name}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(command.run());
    // A thread may be reading a stdin that never ends; nobody waits for it any more.
    runtime.shutdown_background();
    match outcome {
        Ok(()) | Err(Failure::ReaderLeft) => return ExitCode::SUCCESS,
        Err(Failure::Client(error)) => eprintln!("{name}: {}", error.line()),
        Err(Failure::Message(message)) => eprintln!("{name}: {message}"),
        Err(Failure::Bare(message)) => eprintln!("{message}"),
        Err(Failure::Usage(message)) => {
            eprintln!(
                "{message}\n{}",
                completion::with_option(C::command()).render_help()
            );
        }
        Err(Failure::Status(code)) => return ExitCode::from(code),
        Err(Failure::Reported) => {}
    }
    ExitCode::FAILURE
}
