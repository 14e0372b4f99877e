//! A recording double of the zone port: commands run as plain processes below a temporary directory.
//!
//! It keeps the contract that marlin relies on (waiting for a free zone, one command at a time, stragglers
//! killed, a dead zone after a dropped run) and none of the isolation. A directory stands for a zone's
//! root; commands find it in `ZONE_ROOT`.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use libmanta::triton::{
    Command, Exit, ExitStatus, Isolation, Meter, Reading, Zone, ZoneError, ZoneSpec, ZoneStats,
    Zones,
};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What happened to the zones, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneEvent {
    Acquired {
        zone: String,
        spec: ZoneSpec,
    },
    /// The path at which an input would have appeared.
    Shown {
        zone: String,
        path: String,
    },
    Wrote {
        zone: String,
        path: String,
    },
    Ran {
        zone: String,
        argv: Vec<String>,
        env: Vec<(String, String)>,
    },
    Dropped {
        zone: String,
    },
}

/// Zones that isolate nothing and remember everything.
#[derive(Debug)]
pub struct RecordingZones {
    capacity: usize,
    free: Arc<Semaphore>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: TempDir,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    made: usize,
    busy: usize,
    resets: u64,
    events: Vec<ZoneEvent>,
    /// What the next acquisitions answer instead of a zone.
    refusals: VecDeque<ZoneError>,
    /// Commands that end with their zone.
    vanish: usize,
    out_of_memory: bool,
    disk_available_bytes: u64,
}

impl RecordingZones {
    /// `capacity` zones below a temporary directory of their own.
    #[must_use]
    pub fn new(capacity: usize) -> Arc<Self> {
        let root = tempfile::tempdir().expect("a test can make a temporary directory");
        Arc::new(Self {
            capacity,
            free: Arc::new(Semaphore::new(capacity)),
            shared: Arc::new(Shared {
                root,
                state: Mutex::new(State {
                    disk_available_bytes: 1 << 40,
                    ..State::default()
                }),
            }),
        })
    }

    #[must_use]
    pub fn events(&self) -> Vec<ZoneEvent> {
        self.shared.lock().events.clone()
    }

    /// The next acquisition fails with `error`.
    pub fn refuse_next(&self, error: ZoneError) {
        self.shared.lock().refusals.push_back(error);
    }

    /// The next `commands` commands run to their end and take their zone with them.
    pub fn vanish_next(&self, commands: usize) {
        self.shared.lock().vanish = commands;
    }

    /// What zones say of the commands that run from now on.
    pub fn pretend(&self, out_of_memory: bool, disk_available_bytes: u64) {
        let mut state = self.shared.lock();
        state.out_of_memory = out_of_memory;
        state.disk_available_bytes = disk_available_bytes;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Zones for RecordingZones {
    fn isolation(&self) -> Isolation {
        Isolation::Process
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    async fn images(&self) -> Vec<String> {
        Vec::new()
    }

    async fn acquire(&self, spec: ZoneSpec) -> Result<Box<dyn Zone>, ZoneError> {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.map_err(|_| ZoneError::ShutDown)?;
        if let Some(error) = self.shared.lock().refusals.pop_front() {
            return Err(error);
        }
        let name = {
            let mut state = self.shared.lock();
            state.made += 1;
            state.busy += 1;
            format!("zone{}", state.made)
        };
        let root = self.shared.root.path().join(&name);
        fs::create_dir(&root).map_err(during("make a root"))?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(during("listen"))?;
        let zone = name.clone();
        self.shared
            .lock()
            .events
            .push(ZoneEvent::Acquired { zone, spec });
        Ok(Box::new(RecordingZone {
            name,
            root,
            listener,
            files: 0,
            dead: false,
            shared: Arc::clone(&self.shared),
            _permit: permit,
        }))
    }

    fn stats(&self) -> ZoneStats {
        let state = self.shared.lock();
        ZoneStats {
            uninit: 0,
            ready: self.capacity - state.busy,
            busy: state.busy,
            disabled: 0,
            resets: state.resets,
        }
    }

    async fn shutdown(&self) {
        self.free.close();
    }
}

struct RecordingZone {
    name: String,
    root: PathBuf,
    listener: TcpListener,
    files: usize,
    dead: bool,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl RecordingZone {
    fn alive(&self) -> Result<(), ZoneError> {
        if self.dead {
            return Err(ZoneError::Gone("its command was dropped".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Zone for RecordingZone {
    fn name(&self) -> &str {
        &self.name
    }

    fn listeners(&self) -> io::Result<Vec<TcpListener>> {
        Ok(vec![self.listener.try_clone()?])
    }

    fn manta_url(&self) -> String {
        let address = self
            .listener
            .local_addr()
            .map(|a| a.to_string())
            .unwrap_or_default();
        format!("http://{address}/")
    }

    fn path_prefix(&self) -> String {
        self.root.display().to_string()
    }

    async fn write_file(
        &mut self,
        path: &str,
        mode: u32,
        mut content: File,
    ) -> Result<(), ZoneError> {
        self.alive()?;
        let target = self.root.join(path.trim_start_matches('/'));
        let parent = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(during("make a directory"))?;
        let mut file = File::create(&target).map_err(during("make a file"))?;
        content
            .seek(SeekFrom::Start(0))
            .map_err(during("read a file"))?;
        io::copy(&mut content, &mut file).map_err(during("write a file"))?;
        let mode = fs::Permissions::from_mode(mode);
        file.set_permissions(mode).map_err(during("set a mode"))?;
        let (zone, path) = (self.name.clone(), path.to_owned());
        self.shared
            .lock()
            .events
            .push(ZoneEvent::Wrote { zone, path });
        Ok(())
    }

    async fn show_input(&mut self, path: &str, file: Option<File>) -> Result<File, ZoneError> {
        self.alive()?;
        let failed = during("show an input");
        let target = self.root.join(path.trim_start_matches('/'));
        let parent = target.parent().unwrap_or(&self.root);
        // Alone: what was shown before disappears.
        let _ = fs::remove_dir_all(self.root.join("manta"));
        fs::create_dir_all(parent).map_err(&failed)?;
        let mut copy = File::create(&target).map_err(&failed)?;
        if let Some(mut file) = file {
            file.seek(SeekFrom::Start(0)).map_err(&failed)?;
            io::copy(&mut file, &mut copy).map_err(&failed)?;
        }
        let (zone, path) = (self.name.clone(), path.to_owned());
        self.shared
            .lock()
            .events
            .push(ZoneEvent::Shown { zone, path });
        File::open(&target).map_err(&failed)
    }

    async fn output_file(&mut self) -> Result<File, ZoneError> {
        self.alive()?;
        self.files += 1;
        let path = self.root.join(format!("output{}", self.files));
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(during("make an output file"))?;
        fs::remove_file(&path).map_err(during("unlink an output file"))?;
        Ok(file)
    }

    async fn run(&mut self, command: Command) -> Result<Exit, ZoneError> {
        self.alive()?;
        let vanish = {
            let mut state = self.shared.lock();
            state.events.push(ZoneEvent::Ran {
                zone: self.name.clone(),
                argv: command.argv.clone(),
                env: command.env.clone(),
            });
            let vanish = state.vanish > 0;
            state.vanish -= usize::from(vanish);
            vanish
        };
        let (program, arguments) = command.argv.split_first().ok_or_else(|| {
            let source = io::ErrorKind::InvalidInput.into();
            ZoneError::Io {
                during: "run nothing",
                source,
            }
        })?;
        // Only a run that came to its end leaves a living zone.
        self.dead = true;
        let began = Instant::now();
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(command.env)
            .env("ZONE_ROOT", &self.root)
            .current_dir("/")
            .stdin(Stdio::from(command.stdin))
            .stdout(Stdio::from(command.stdout))
            .stderr(Stdio::from(command.stderr))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(during("start a command"))?;
        let group = KillGroup(child.id());
        let status = child.wait().await.map_err(during("wait for a command"))?;
        drop(group);
        if vanish {
            return Err(ZoneError::Gone("the test made it vanish".to_owned()));
        }
        self.dead = false;
        let status = match (status.code(), status.signal()) {
            (Some(code), _) => ExitStatus::Code(code),
            (None, signal) => ExitStatus::Signal(signal.unwrap_or_default()),
        };
        Ok(Exit {
            status,
            core_dumped: matches!(status, ExitStatus::Signal(3..=8 | 11 | 24 | 25 | 31)),
            out_of_memory: self.shared.lock().out_of_memory,
            wall: began.elapsed(),
            cpu: Duration::ZERO,
            peak_memory_bytes: 0,
        })
    }

    fn disk_available_bytes(&self) -> u64 {
        self.shared.lock().disk_available_bytes
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(NoMeter)
    }
}

/// Nothing is measured here.
#[derive(Debug)]
struct NoMeter;

impl Meter for NoMeter {
    fn read(&self) -> Reading {
        Reading::default()
    }
}

impl Drop for RecordingZone {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
        let mut state = self.shared.lock();
        state.busy -= 1;
        state.resets += 1;
        let zone = self.name.clone();
        state.events.push(ZoneEvent::Dropped { zone });
    }
}

/// Kills a command and what it started when it ends or its future is dropped.
struct KillGroup(Option<u32>);

impl Drop for KillGroup {
    fn drop(&mut self) {
        let pid = self
            .0
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

fn during(during: &'static str) -> impl Fn(io::Error) -> ZoneError {
    move |source| ZoneError::Io { during, source }
}
