//! The thread that starts the zygote and talks to it.
//!
//! One thread, for as long as the host lives: the signal that ends a zygote with its parent follows the
//! *thread* that started it. When the zygote dies its zones die; the next request starts another.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::ZygoteProgram;
use crate::wire::{self, DESCRIPTORS_MAX, FromZygote, Image, Provision, ToZygote};

/// A zygote answers within a millisecond; one that does not is stuck.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Requests waiting: every slot has at most one.
const QUEUE: usize = crate::uids::SLOTS_MAX + 1;

/// A zone being made.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) provision: Provision,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Pid and pidfd of a zone's init.
type Born = (i32, OwnedFd);

#[derive(Debug)]
enum Job {
    Provision(Box<Request>, oneshot::Sender<io::Result<Born>>),
    Stop,
}

/// Makes zones. When the last copy is dropped the zygote ends, and with it every zone.
#[derive(Clone, Debug)]
pub(crate) struct Nursery {
    jobs: mpsc::SyncSender<Job>,
}

/// Waits for the zygote to end.
#[derive(Debug)]
pub(crate) struct Keeper {
    jobs: mpsc::SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl Nursery {
    /// Starts the first zygote, which also makes a user namespace for each of `bases`. Blocks.
    pub(crate) fn start(
        program: ZygoteProgram,
        image: Image,
        bases: Vec<u32>,
    ) -> io::Result<(Self, Keeper, Vec<OwnedFd>)> {
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        let (first, started) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("zone-nursery".into())
            .spawn(move || {
                let factory = Factory { program, image };
                let (zygote, answer) = match factory.start(&bases) {
                    Ok((zygote, users)) => (Some(zygote), Ok(users)),
                    Err(error) => (None, Err(error)),
                };
                let usable = answer.is_ok();
                if first.send(answer).is_ok() && usable {
                    serve(&factory, zygote, &queue);
                }
            })?;
        let users = started.recv().map_err(io::Error::other)??;
        Ok((Self { jobs: jobs.clone() }, Keeper { jobs, thread }, users))
    }

    /// Makes a zone and returns pid and pidfd of its init. The zone is not complete yet: its init says so on
    /// the control socket. Cancel-safe: a zone nobody waits for finds its control socket closed.
    pub(crate) async fn provision(&self, request: Request) -> io::Result<Born> {
        let (answer, result) = oneshot::channel();
        let job = Job::Provision(Box::new(request), answer);
        self.jobs.try_send(job).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

impl Keeper {
    /// Ends the zygote and waits for it. Blocks.
    pub(crate) fn stop(self) {
        // Refused when the thread has ended by itself.
        let _ = self.jobs.send(Job::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the zygote's thread panicked");
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the zygote's thread has ended")
}

fn serve(factory: &Factory, mut zygote: Option<Zygote>, queue: &mpsc::Receiver<Job>) {
    while let Ok(Job::Provision(request, answer)) = queue.recv() {
        let mut result = None;
        // A second attempt, because the first may find that the zygote has been killed.
        for _ in 0..2 {
            if zygote.is_none() {
                match factory.start(&[]) {
                    Ok((started, _)) => zygote = Some(started),
                    Err(error) => {
                        result = Some(Err(error));
                        break;
                    }
                }
            }
            let Some(current) = &zygote else { continue };
            match current.provision(&request) {
                Ok(outcome) => {
                    result = Some(outcome);
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "zygote lost");
                    zygote = None;
                    result = Some(Err(error));
                }
            }
        }
        let result = result.unwrap_or_else(|| Err(io::Error::other("no zygote")));
        // Nobody waits any more: the descriptors close and the zone ends.
        let _ = answer.send(result);
    }
}

struct Factory {
    program: ZygoteProgram,
    image: Image,
}

impl Factory {
    fn start(&self, bases: &[u32]) -> io::Result<(Zygote, Vec<OwnedFd>)> {
        let (ours, theirs) = wire::pair()?;
        let child = Command::new(&self.program.program)
            .args(&self.program.args)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| {
                let program = self.program.program.display();
                io::Error::new(error.kind(), format!("start the zygote {program}: {error}"))
            })?;
        let zygote = Zygote {
            child,
            socket: Some(ours),
        };
        rustix::net::sockopt::set_socket_timeout(
            zygote.socket()?,
            rustix::net::sockopt::Timeout::Recv,
            Some(ANSWER_DEADLINE),
        )?;
        let setup = ToZygote::Setup {
            parent: std::process::id(),
            image: self.image.clone(),
        };
        wire::send(zygote.socket()?, &setup, &[])?;
        let mut users = Vec::new();
        for part in bases.chunks(DESCRIPTORS_MAX) {
            match zygote.ask(
                &ToZygote::MakeUsers {
                    bases: part.to_vec(),
                },
                &[],
            )? {
                (FromZygote::Users, namespaces) if namespaces.len() == part.len() => {
                    users.extend(namespaces);
                }
                (FromZygote::Failed(failure), _) => return Err(failure.into_io()),
                _ => return Err(unexpected()),
            }
        }
        match zygote.ask(&ToZygote::Seal, &[])? {
            (FromZygote::Sealed, _) => Ok((zygote, users)),
            (FromZygote::Failed(failure), _) => Err(failure.into_io()),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> io::Error {
    io::Error::other("unexpected answer of the zygote")
}

#[derive(Debug)]
struct Zygote {
    child: Child,
    socket: Option<OwnedFd>,
}

impl Zygote {
    fn socket(&self) -> io::Result<&OwnedFd> {
        self.socket.as_ref().ok_or_else(unexpected)
    }

    /// The outer error: this zygote is of no use any more.
    fn provision(&self, request: &Request) -> io::Result<io::Result<Born>> {
        let message = ToZygote::Provision(request.provision.clone());
        match self.ask(&message, &request.descriptors)? {
            (FromZygote::Born { pid }, descriptors) => {
                let pidfd = descriptors.into_iter().next().ok_or_else(unexpected)?;
                Ok(Ok((pid, pidfd)))
            }
            (FromZygote::Failed(failure), _) => Ok(Err(failure.into_io())),
            _ => Err(unexpected()),
        }
    }

    fn ask(
        &self,
        request: &ToZygote,
        descriptors: &[OwnedFd],
    ) -> io::Result<(FromZygote, Vec<OwnedFd>)> {
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        wire::send(self.socket()?, request, &borrowed)?;
        wire::receive(self.socket()?)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the zygote died"))
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // It ends by itself when its socket closes; one that is stuck does not.
        self.socket = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
