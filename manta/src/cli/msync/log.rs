//! What `msync` says: progress on stdout, errors on stderr at once and again at the end.

use super::super::failure::Failure;
use super::super::output::Output;

#[derive(Clone, Copy, Debug)]
pub(super) enum Verbosity {
    Quiet,
    /// Lines up to this level are printed.
    Said(u8),
}

#[derive(Debug)]
pub(super) struct Log {
    output: Output,
    verbosity: Verbosity,
    errors: Vec<String>,
}

impl Log {
    pub(super) fn new(verbosity: Verbosity) -> Log {
        Log {
            output: Output::new(),
            verbosity,
            errors: Vec::new(),
        }
    }

    pub(super) fn say(&mut self, level: u8, line: &str) -> Result<(), Failure> {
        match self.verbosity {
            Verbosity::Said(said) if level <= said => self.output.line(line),
            Verbosity::Said(_) | Verbosity::Quiet => Ok(()),
        }
    }

    pub(super) fn error(&mut self, line: &str) -> Result<(), Failure> {
        // In the order in which things happened, where both go to one place.
        self.output.finish()?;
        eprintln!("{line}");
        self.errors.push(line.to_owned());
        Ok(())
    }

    /// The end of the log, and of the command.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.output.finish()?;
        if !self.errors.is_empty() {
            eprintln!("\n== errors\n");
            for error in &self.errors {
                eprintln!("{error}");
            }
        }
        self.say(0, "done")?;
        self.output.finish()?;
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::Reported)
        }
    }
}
