//! A pseudo-terminal with a command in it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::{IN_TERMINAL, NAME};

const FLAGS: OpenptFlags = OpenptFlags::RDWR
    .union(OpenptFlags::NOCTTY)
    .union(OpenptFlags::CLOEXEC);

/// Typed ahead of a program that does not read. Beyond that a terminal drops what is typed.
const TYPED_BYTES_MAX: usize = 1 << 20;

/// What a user sees. A pipe's end is what the runtime has for any descriptor that can be waited for.
pub(super) struct Screen(pipe::Receiver);

/// What a user types, and where. When this and the screen are dropped, what runs in the terminal is told that it
/// hung up.
pub(super) struct Keys {
    into: pipe::Sender,
    typed: VecDeque<u8>,
}

/// The third part is for the command.
pub(super) fn open(size: (u16, u16)) -> io::Result<(Screen, Keys, OwnedFd)> {
    let ours = openpt(FLAGS)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, FLAGS)?;
    // Of the terminal, not of a descriptor: both of ours have it.
    rustix::io::ioctl_fionbio(&ours, true)?;
    let keys = Keys {
        into: pipe::Sender::from_owned_fd_unchecked(ours.try_clone()?)?,
        typed: VecDeque::new(),
    };
    keys.resize(size)?;
    let screen = Screen(pipe::Receiver::from_owned_fd_unchecked(ours)?);
    Ok((screen, keys, theirs))
}

impl Screen {
    /// What was written, at most a buffer of it; nothing once nobody can write any more. Cancel-safe.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer).await {
            // Every descriptor of the other side is closed.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Ok(0)
            }
            read => read,
        }
    }
}

impl Keys {
    /// Whoever runs in front hears of it.
    pub(super) fn resize(&self, (columns, lines): (u16, u16)) -> io::Result<()> {
        let size = Winsize {
            ws_row: lines,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(&self.into, size)?)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = TYPED_BYTES_MAX.saturating_sub(self.typed.len());
        self.typed.extend(bytes.iter().take(room));
    }

    pub(super) fn has_some(&self) -> bool {
        !self.typed.is_empty()
    }

    /// Gives some of it to whoever reads in the terminal; all of it is forgotten where nobody can. Cancel-safe.
    pub(super) async fn write_some(&mut self) {
        match self.into.write(self.typed.as_slices().0).await {
            Ok(written) => drop(self.typed.drain(..written)),
            Err(_) => self.typed.clear(),
        }
    }
}

/// Starts a command with the terminal as its own. It is this program that makes it so, in the child, and then
/// becomes the command.
pub(super) fn start(
    terminal: &OwnedFd,
    command: &[String],
    cwd: &str,
    variables: &[(&str, String)],
) -> io::Result<Child> {
    let stdio = || terminal.try_clone().map(Stdio::from);
    Command::new("/proc/self/exe")
        .arg0(NAME)
        .arg(IN_TERMINAL)
        .args(command)
        .current_dir(cwd)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(stdio()?)
        .stdout(stdio()?)
        .stderr(stdio()?)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_shows_and_typing_ahead_has_an_end() {
        let (mut screen, mut keys, theirs) = open((80, 25)).unwrap();
        rustix::io::write(&theirs, b"hello").unwrap();
        let mut seen = [0; 16];
        assert_eq!(screen.read(&mut seen).await.unwrap(), 5);
        assert_eq!(&seen[..5], b"hello");
        keys.resize((132, 43)).unwrap();
        let size = rustix::termios::tcgetwinsize(&theirs).unwrap();
        assert_eq!((size.ws_col, size.ws_row), (132, 43));
        for _ in 0..3 {
            keys.push(&vec![b'x'; TYPED_BYTES_MAX / 2]);
        }
        assert_eq!(keys.typed.len(), TYPED_BYTES_MAX);
        keys.write_some().await;
        assert!(keys.has_some() && keys.typed.len() < TYPED_BYTES_MAX);
        drop(theirs);
        // What was typed comes back as it does on every terminal, and then there is nobody.
        while screen.read(&mut seen).await.unwrap() > 0 {}
    }
}
