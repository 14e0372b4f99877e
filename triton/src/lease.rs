//! A zone in the hands of a task group.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use libmanta::triton::{Command, CoreFile, Exit, ExitStatus, Meter, Zone, ZoneError, ZoneSpec};
use rustix::fs::{AtFlags, Gid, MemfdFlags, Mode, OFlags, ResolveFlags, Uid};

use crate::core_files::Pattern;
use crate::during::during;
use crate::inside::{INSIDE, NO_LINKS};
use crate::live::{Live, unexpected};
use crate::meter::{Spent, ZoneMeter};
use crate::origin::Origin;
use crate::pool::{Empty, Pool, Slop};
use crate::scratch;
use crate::slot::Slot;
use crate::sys::mount::{self, NODEV, NOSUID, RDONLY};
use crate::sys::process::is_core_signal;
use crate::wire::{Ended, Flavour, FromInit, Input, Start, ToInit};

/// Files that cannot be mounted are copied into zone memory; larger ones are refused.
const COPY_MAX: u64 = 8 << 20;

/// Gives its slot back when dropped.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    /// `None` only while being dropped.
    slot: Option<Slot>,
    name: String,
    live: Arc<Live>,
    origin: Arc<Origin>,
    charged: Slop,
    spent: Arc<Spent>,
}

impl Lease {
    /// Takes over `zone` and gives it the memory of `spec`.
    pub(crate) async fn new(
        pool: Arc<Pool>,
        zone: Empty,
        spec: &ZoneSpec,
        charged: Slop,
    ) -> Result<Self, ZoneError> {
        let Empty { slot, live, origin } = zone;
        let name = slot.name.clone();
        let lease = Self {
            pool,
            slot: Some(slot),
            name,
            live,
            origin,
            charged,
            spent: Arc::default(),
        };
        if spec.memory_bytes != lease.pool.plant.memory_bytes {
            let bytes = spec.memory_bytes;
            if let Some(cgroup) = lease.slot()?.cgroup.clone() {
                let limited = tokio::task::spawn_blocking(move || cgroup.set_memory(bytes)).await;
                let limited = limited.map_err(io::Error::other).flatten();
                limited.map_err(during("set the memory limit"))?;
            }
            match lease.call(&ToInit::Memory { bytes }, &[]).await? {
                FromInit::Shown => {}
                other => return Err(during("tell the memory limit")(unexpected(other))),
            }
        }
        Ok(lease)
    }

    fn slot(&self) -> Result<&Slot, ZoneError> {
        self.slot
            .as_ref()
            .ok_or_else(|| ZoneError::Gone("given back".to_owned()))
    }

    /// One request to zone init. When the future is dropped half-way the zone is killed: the answer would
    /// be taken for that of the next request.
    async fn call(&self, request: &ToInit, descriptors: &[OwnedFd]) -> Result<FromInit, ZoneError> {
        let kill = KillOnDrop {
            live: Some(&self.live),
        };
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let answer = self.live.call(request, &borrowed).await;
        match answer {
            Ok(answer) => {
                kill.disarm();
                Ok(answer)
            }
            Err(error) => Err(ZoneError::Gone(error.to_string())),
        }
    }

    /// Bare flavour: listeners on the host's own loopback.
    fn bare_listeners(&self) -> Option<Vec<TcpListener>> {
        self.live
            .is_bare()
            .then(|| self.listeners().unwrap_or_default())
    }

    /// Cgroup counters now, to be compared with those after a command.
    fn meters(&self) -> Result<Meters, ZoneError> {
        let slot = self.slot()?;
        let mut meters = Meters::default();
        if let Some(cgroup) = &slot.cgroup {
            meters.oom_kills = cgroup.oom_kills().map_err(during("read the OOM counter"))?;
            meters.cpu = cgroup.cpu().map_err(during("read the CPU meter"))?;
        }
        if let Some(cores) = &self.pool.cores {
            meters.cores = cores.count(slot.index);
        }
        Ok(meters)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Meters {
    oom_kills: u64,
    cpu: Duration,
    cores: u64,
}

#[async_trait]
impl Zone for Lease {
    fn name(&self) -> &str {
        &self.name
    }

    fn listeners(&self) -> io::Result<Vec<TcpListener>> {
        let made_inside = self
            .live
            .listeners
            .iter()
            .map(|fd| fd.try_clone().map(TcpListener::from));
        let kept = self.slot.as_ref().and_then(|slot| slot.kept.as_ref());
        let kept = kept.into_iter().flat_map(|kept| &kept.network.listeners);
        made_inside
            .chain(kept.map(TcpListener::try_clone))
            .collect()
    }

    fn manta_url(&self) -> String {
        // A bare zone has the host's network, and so some other port.
        let port = || {
            self.bare_listeners()?
                .first()?
                .local_addr()
                .ok()
                .map(|address| address.port())
        };
        match port() {
            Some(port) => format!("http://localhost:{port}/"),
            None => "http://localhost:80/".to_owned(),
        }
    }

    fn path_prefix(&self) -> String {
        self.live.prefix().unwrap_or_default()
    }

    fn environment(&self) -> Vec<(String, String)> {
        self.origin.environment.clone()
    }

    async fn write_file(&mut self, path: &str, mode: u32, content: File) -> Result<(), ZoneError> {
        let (root, _) = self.live.parts().map_err(gone)?;
        let path = checked(path).map_err(during("write a file"))?.to_owned();
        let owner = self.slot()?.uid_base;
        let write = move || write_file(&root, &path, mode, content, owner);
        let written = tokio::task::spawn_blocking(write).await;
        written
            .map_err(io::Error::other)
            .flatten()
            .map_err(during("write a file"))
    }

    async fn show_input(&mut self, path: &str, file: Option<File>) -> Result<File, ZoneError> {
        let failed = during("show an input");
        let inside = checked(path).and_then(|path| {
            path.strip_prefix("manta/")
                .ok_or_else(|| io::ErrorKind::InvalidInput.into())
        });
        let inside = inside.map_err(&failed)?.to_owned();
        let (what, descriptor) = match file {
            None => (Input::Empty, None),
            Some(file) if self.live.is_bare() => (Input::Link, Some(file.into())),
            // No right to copy mounts: the content is copied, to the zone's disk.
            Some(file) if self.live.flavour == Flavour::Plain => (Input::Copy, Some(file.into())),
            Some(file) => {
                let (what, descriptor) = prepare(file).map_err(&failed)?;
                (what, Some(descriptor))
            }
        };
        self.live.await_armed().await.map_err(gone)?;
        let request = ToInit::Show {
            path: inside.clone(),
            what,
        };
        let descriptors: Vec<_> = descriptor.into_iter().collect();
        match self.call(&request, &descriptors).await? {
            FromInit::Shown => {}
            other => return Err(failed(unexpected(other))),
        }
        // Through the mount of the zone, which is read-only: opened through the host's, the file could be
        // opened again for writing by way of /proc/self/fd/0.
        let (root, _) = self.live.parts().map_err(gone)?;
        let path = format!("manta/{inside}");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        // In a bare zone the name is a link to the host's file.
        let limits = if self.live.is_bare() {
            ResolveFlags::empty()
        } else {
            NO_LINKS
        };
        let opened = rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), limits);
        opened.map(File::from).map_err(|error| failed(error.into()))
    }

    async fn output_file(&mut self) -> Result<File, ZoneError> {
        let (_, scratch) = self.live.parts().map_err(gone)?;
        let owner = self.slot()?.uid_base;
        scratch::output_file(&scratch, owner).map_err(during("make an output file"))
    }

    async fn run(&mut self, command: Command) -> Result<Exit, ZoneError> {
        let start = Start {
            argv: command.argv,
            env: command.env,
        };
        let start = as_file(&start).map_err(during("write down a command"))?;
        let descriptors = [start, command.stdin, command.stdout, command.stderr];
        self.live.await_armed().await.map_err(gone)?;

        let before = self.meters()?;
        if let Some(cgroup) = &self.slot()?.cgroup {
            cgroup
                .reset_peak()
                .map_err(during("reset the memory meter"))?;
        }
        let started = Instant::now();
        self.live.disarm();
        let answer = {
            let call = self.call(&ToInit::Run, &descriptors);
            call.await?
        };
        let wall = started.elapsed();
        let ended = match answer {
            FromInit::Exited(ended) => ended,
            FromInit::NotStarted { errno } => {
                return Err(ZoneError::Io {
                    during: "execute the command",
                    source: io::Error::from_raw_os_error(errno),
                });
            }
            other => return Err(during("run a command")(unexpected(other))),
        };
        self.spent.add(&ended);
        let after = self.meters()?;
        let mut exit = exit(ended, wall);
        exit.core_dumped |= after.cores > before.cores;
        exit.out_of_memory = after.oom_kills > before.oom_kills;
        if let Some(cgroup) = &self.slot()?.cgroup {
            // Counts those too that nobody waited for.
            exit.cpu = after.cpu.saturating_sub(before.cpu);
            exit.peak_memory_bytes = cgroup.peak_bytes().unwrap_or(exit.peak_memory_bytes);
        }
        Ok(exit)
    }

    async fn core_file(&mut self) -> Result<Option<CoreFile>, ZoneError> {
        let Some(pattern) = Pattern::of_machine().filter(|_| self.live.flavour == Flavour::Full)
        else {
            return Ok(None);
        };
        let (root, _) = self.live.parts().map_err(gone)?;
        let base = self.slot()?.uid_base;
        let owners = base..base + crate::uids::RANGE;
        let found = tokio::task::spawn_blocking(move || pattern.find(&root, &owners)).await;
        found.map_err(|error| during("look for a core file")(io::Error::other(error)))
    }

    fn disk_available_bytes(&self) -> u64 {
        self.live
            .parts()
            .and_then(|(_, scratch)| scratch::available(&scratch))
            .unwrap_or_default()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        let cgroup = self.slot.as_ref().and_then(|slot| slot.cgroup.clone());
        let spent = Arc::clone(&self.spent);
        Arc::new(ZoneMeter { cgroup, spent })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.refund(self.charged);
        if let Some(slot) = self.slot.take() {
            self.live.kill();
            // For the next task that asks for the same image: there probably is one.
            let make = self.pool.usual(Arc::clone(&self.origin));
            let live = Some(Arc::clone(&self.live));
            self.pool.recycle(slot, live, make, None);
        }
    }
}

/// Ends the zone unless told otherwise.
struct KillOnDrop<'a> {
    live: Option<&'a Live>,
}

impl KillOnDrop<'_> {
    fn disarm(mut self) {
        self.live = None;
    }
}

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.live {
            live.kill();
        }
    }
}

fn gone(error: io::Error) -> ZoneError {
    ZoneError::Gone(error.to_string())
}

pub(crate) fn exit(ended: Ended, wall: Duration) -> Exit {
    let status = if libc::WIFSIGNALED(ended.status) {
        ExitStatus::Signal(libc::WTERMSIG(ended.status))
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(ended.status))
    };
    let core = matches!(status, ExitStatus::Signal(signal) if is_core_signal(signal));
    Exit {
        status,
        core_dumped: core || ended.core,
        out_of_memory: false,
        wall,
        cpu: Duration::from_micros(ended.user_us + ended.system_us),
        peak_memory_bytes: ended.max_rss_kib * 1024,
    }
}

/// The absolute `path` without its first slash, if it means one place.
fn checked(path: &str) -> io::Result<&str> {
    let inside = path.strip_prefix('/').filter(|inside| !inside.is_empty());
    let inside = inside.ok_or(io::ErrorKind::InvalidInput)?;
    let plain = Path::new(inside)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    // `components` forgives double slashes and dots in the middle.
    let literal = inside
        .split('/')
        .all(|part| !matches!(part, "" | "." | ".."));
    if plain && literal && !inside.contains('\0') {
        return Ok(inside);
    }
    Err(io::ErrorKind::InvalidInput.into())
}

/// Turns an input into what zone init can show.
fn prepare(file: File) -> io::Result<(Input, OwnedFd)> {
    if !scratch::is_regular(&file)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let tree = mount::clone_file(&file).and_then(|tree| {
        mount::set_attributes(&tree, RDONLY | NOSUID | NODEV, None).map(|()| tree)
    });
    match tree {
        Ok(tree) => Ok((Input::Mount, tree)),
        // A file that is in no mount of ours, a memfd for one.
        Err(_) if file.metadata()?.len() <= COPY_MAX => Ok((Input::Copy, file.into())),
        Err(error) => Err(error),
    }
}

fn as_file(start: &Start) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("command", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    serde_json::to_writer(io::BufWriter::new(&mut file), start)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

fn write_file(
    root: &OwnedFd,
    path: &str,
    mode: u32,
    mut content: File,
    owner: u32,
) -> io::Result<()> {
    let (user, group) = (Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)));
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = root.try_clone()?;
    // One name at a time, so that a link a tenant has put in the way is seen.
    for part in parents.split('/').filter(|part| !part.is_empty()) {
        let opened = match rustix::fs::openat2(&directory, part, flags, Mode::empty(), INSIDE) {
            Err(rustix::io::Errno::NOENT) => {
                rustix::fs::mkdirat(&directory, part, Mode::from_raw_mode(0o755))?;
                rustix::fs::chownat(&directory, part, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
                rustix::fs::openat2(&directory, part, flags, Mode::empty(), INSIDE)
            }
            opened => opened,
        };
        directory = opened?;
    }
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o600))?;
    let mut file = File::from(file);
    io::copy(&mut content, &mut file)?;
    rustix::fs::fchown(&file, user, group)?;
    Ok(rustix::fs::fchmod(
        &file,
        Mode::from_raw_mode(mode & 0o777),
    )?)
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn only_plain_absolute_paths_pass() {
        assert_eq!(checked("/manta/a b/c").unwrap(), "manta/a b/c");
        for bad in [
            "", "/", "a", "/a/../b", "/a//b", "/./a", "/a/", "/a/b/..", "/a\0b",
        ] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }
}
