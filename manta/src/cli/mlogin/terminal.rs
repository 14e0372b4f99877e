//! The user's own terminal.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Every key goes to the session as it is typed, until this is dropped.
pub(super) struct Raw(Termios);

impl Raw {
    pub(super) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin.as_fd(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, &self.0);
    }
}

/// Columns and lines, where the terminal knows.
pub(super) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout().as_fd()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Progress, one line each, but for one that is being written while we wait.
pub(super) struct Log {
    quiet: bool,
    /// The cursor stands behind something.
    open_line: bool,
    waits: usize,
}

const SPINNER: [&str; 4] = ["-", "\\", "|", "/"];

impl Log {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            open_line: false,
            waits: 0,
        }
    }

    pub(super) fn line(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        let gap = if std::mem::take(&mut self.open_line) {
            "\n\n"
        } else {
            ""
        };
        show(format!("{gap} * {text}\n").as_bytes());
    }

    /// Nobody is there yet.
    pub(super) fn waits(&mut self) {
        if self.quiet {
            return;
        }
        self.open_line = true;
        match self.waits {
            0 => show(b" * waiting for session...  "),
            n => show(format!("\x08{}", SPINNER[n % SPINNER.len()]).as_bytes()),
        }
        self.waits += 1;
    }

    pub(super) fn established(&mut self) {
        if self.waits == 0 {
            return self.line("session established");
        }
        self.open_line = false;
        show(b" established\n");
    }

    /// From now on others write too.
    pub(super) fn others_write(&mut self) {
        self.open_line = true;
    }
}

/// Writes as it is. Where nobody looks any more, the session ends by itself.
pub(super) fn show(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
