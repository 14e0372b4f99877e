//! Results on stdout: written in blocks into a pipe, line by line to a person.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use super::failure::Failure;

const BUFFER_BYTES: usize = 64 * 1024;

/// Stdout, buffered. What is still in the buffer is written by [`Output::finish`], which every command
/// calls, also before it reports an error.
#[derive(Debug)]
pub(super) struct Output {
    buffer: BufWriter<io::Stdout>,
    to_person: bool,
}

impl Output {
    pub(super) fn new() -> Output {
        let stdout = io::stdout();
        let to_person = stdout.is_terminal();
        Output {
            buffer: BufWriter::with_capacity(BUFFER_BYTES, stdout),
            to_person,
        }
    }

    pub(super) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.buffer.write_all(line.as_bytes())?;
        self.buffer.write_all(b"\n")?;
        if self.to_person {
            self.buffer.flush()?;
        }
        Ok(())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.buffer.write_all(bytes)?)
    }

    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.buffer.flush()?)
    }
}

/// Asks a question on the terminal; anything but `y` is no.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout();
    stdout.write_all(question.as_bytes())?;
    stdout.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim_end(), "y" | "Y"))
}

/// Refuses to ask where nobody can answer.
pub(super) fn check_can_ask() -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    let message = "stdin must be a tty when interactive specified";
    Err(Failure::Bare(message.to_owned()))
}
