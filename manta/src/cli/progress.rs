//! The progress bar of a transfer, on stderr, for people only.
//!
//! A transfer that is over at once draws nothing: a bar that flashes by only disturbs.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

const SHOW_AFTER: Duration = Duration::from_millis(300);
/// The bar is drawn for the narrowest terminal in use; asking its size would need another system call
/// wrapper for nothing.
const TERMINAL_COLUMNS: u16 = 80;

/// When to draw.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// If somebody is looking.
    Auto,
    /// `-q`.
    Never,
    /// `--progress`: on the terminal itself, wherever stderr goes.
    Always,
}

impl Wish {
    pub(super) fn from_flags(quiet: bool, forced: bool) -> Wish {
        match (quiet, forced) {
            (_, true) => Wish::Always,
            (true, false) => Wish::Never,
            (false, false) => Wish::Auto,
        }
    }
}

/// A bar that may never become visible.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    target: Option<ProgressDrawTarget>,
}

impl Progress {
    pub(super) fn new(wish: Wish, name: &str, size: Option<u64>) -> Progress {
        let target = match wish {
            Wish::Never => None,
            Wish::Auto => io::stderr().is_terminal().then(ProgressDrawTarget::stderr),
            Wish::Always => {
                Terminal::open().map(|terminal| ProgressDrawTarget::term_like(Box::new(terminal)))
            }
        };
        let template = match size {
            Some(_) => "{prefix} [{bar:24}] {percent:>3}% {bytes:>11} {bytes_per_sec:>13} {eta}",
            None => "{prefix} {spinner} {bytes:>11} {bytes_per_sec:>13} {elapsed}",
        };
        let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(name.rsplit('/').next().unwrap_or(name).to_owned());
        Progress {
            bar,
            started: Instant::now(),
            target,
        }
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        if self.started.elapsed() >= SHOW_AFTER
            && let Some(target) = self.target.take()
        {
            self.bar.set_draw_target(target);
        }
        self.bar.inc(bytes as u64);
    }

    /// Leaves the bar as it stands and goes to the next line; nothing if it was never drawn.
    pub(super) fn finish(&self) {
        self.bar.abandon();
    }
}

/// Gives every transfer its bar, or all transfers of a tree a common one.
#[derive(Clone, Debug)]
pub(super) enum Meter {
    Each(Wish),
    Together(Arc<Mutex<Progress>>),
}

impl Meter {
    pub(super) fn new(wish: Wish) -> Meter {
        Meter::Each(wish)
    }

    /// One bar for many transfers whose sizes are told by [`Meter::expect`].
    pub(super) fn together(wish: Wish, name: &str) -> Meter {
        let progress = Progress::new(wish, name, Some(0));
        Meter::Together(Arc::new(Mutex::new(progress)))
    }

    /// Another transfer of so many bytes will come.
    pub(super) fn expect(&self, bytes: u64) {
        if let Meter::Together(progress) = self {
            lock(progress).bar.inc_length(bytes);
        }
    }

    /// Bytes that need not be transferred after all.
    pub(super) fn skip(&self, bytes: u64) {
        if let Meter::Together(progress) = self {
            lock(progress).bar.inc(bytes);
        }
    }

    pub(super) fn start(&self, name: &str, size: Option<u64>) -> Count {
        let (progress, shared) = match self {
            Meter::Each(wish) => {
                let progress = Progress::new(*wish, name, size);
                (Arc::new(Mutex::new(progress)), false)
            }
            Meter::Together(progress) => (progress.clone(), true),
        };
        Count {
            progress,
            shared,
            bytes: 0,
            size,
        }
    }

    pub(super) fn finish(&self) {
        if let Meter::Together(progress) = self {
            lock(progress).finish();
        }
    }
}

/// The bytes of one transfer. One that is dropped before its end takes them back from a common bar, since
/// they will be sent again.
#[derive(Debug)]
pub(super) struct Count {
    progress: Arc<Mutex<Progress>>,
    shared: bool,
    bytes: u64,
    size: Option<u64>,
}

impl Count {
    pub(super) fn advance(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        lock(&self.progress).advance(bytes);
    }

    pub(super) fn finish(&self) {
        if !self.shared {
            lock(&self.progress).finish();
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if self.shared && self.size.is_some_and(|size| self.bytes < size) {
            lock(&self.progress).bar.dec(self.bytes);
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `/dev/tty` for indicatif, which by itself only knows stdout and stderr.
#[derive(Debug)]
struct Terminal {
    tty: Mutex<File>,
}

impl Terminal {
    /// `None` without a terminal, for example under cron.
    fn open() -> Option<Terminal> {
        let tty = OpenOptions::new().write(true).open("/dev/tty").ok()?;
        Some(Terminal {
            tty: Mutex::new(tty),
        })
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut tty = self.tty.lock().unwrap_or_else(PoisonError::into_inner);
        tty.write_all(text.as_bytes())
    }

    fn control(&self, count: usize, letter: char) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.write(&format!("\x1b[{count}{letter}"))
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        TERMINAL_COLUMNS
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.control(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.control(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.control(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.control(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write(&format!("{text}\r\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.write(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
