//! Who waits for whom. The terminal's end of a session (the master) comes first and is told every two
//! seconds that it is alone; the zone's end (the slave) takes it as it is. A session has one of each, lives in
//! this process, and dies with it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use libmanta::marlin::{JobError, JobState, Jobs};
use libmanta::{AccountId, JobId};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::relay::{self, Farewell};
use crate::shares::{Share, Shares};

/// Source: marlin.md section 12.3.
const WAIT_PERIOD: Duration = Duration::from_secs(2);
const WAIT: &str = r#"medusa:{"type":"wait"}"#;
const LINK_UP: &str = r#"medusa:{"type":"linkup"}"#;

/// A session whose job has ended may stay for as many periods: clients look for themselves every five seconds
/// why it has, and can say it better than we.
const PERIODS_AFTER_JOB: u32 = 8;

/// How long a connection may take to become a websocket after it was told that it is one.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest message either end may send. A terminal's are a few kilobytes; what somebody pastes may be longer.
/// Each direction of a session holds at most three times as much.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 << 10;

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The sessions of this process.
pub(crate) struct Reflector {
    seats: Arc<Mutex<HashMap<JobId, Seat>>>,
    shares: Arc<Shares>,
    idle: Duration,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl fmt::Debug for Reflector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reflector")
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

/// How a session stands, seen from a slave that comes.
enum Seat {
    Waiting(oneshot::Sender<Socket>),
    /// A slave is there or on its way.
    Taken,
}

/// Why a master cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// The session has one.
    Taken,
    /// There are as many sessions as may be, of the account or of all.
    Full,
    Closing,
}

/// A master's place; the session ends when it is dropped.
pub(crate) struct MasterSeat {
    job: JobId,
    owner: AccountId,
    seats: Arc<Mutex<HashMap<JobId, Seat>>>,
    slave: oneshot::Receiver<Socket>,
    _share: Share,
}

/// A slave's; when it is dropped unused the master waits for another.
pub(crate) struct SlaveSeat(oneshot::Sender<Socket>);

impl Reflector {
    pub(crate) fn new(sessions_max: usize, idle: Duration) -> Self {
        Self {
            seats: Arc::default(),
            shares: Shares::new(sessions_max),
            idle,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// `owner` is that of the job.
    pub(crate) fn seat_master(&self, job: JobId, owner: AccountId) -> Result<MasterSeat, NoSeat> {
        if self.closing.is_cancelled() {
            return Err(NoSeat::Closing);
        }
        let mut seats = lock(&self.seats);
        let Entry::Vacant(vacant) = seats.entry(job) else {
            return Err(NoSeat::Taken);
        };
        let share = self.shares.take(owner).ok_or(NoSeat::Full)?;
        let (tell, slave) = oneshot::channel();
        vacant.insert(Seat::Waiting(tell));
        Ok(MasterSeat {
            job,
            owner,
            seats: Arc::clone(&self.seats),
            slave,
            _share: share,
        })
    }

    /// `None` unless a master waits.
    pub(crate) fn seat_slave(&self, job: JobId) -> Option<SlaveSeat> {
        let mut seats = lock(&self.seats);
        let seat = seats.get_mut(&job)?;
        match std::mem::replace(seat, Seat::Taken) {
            Seat::Waiting(tell) => Some(SlaveSeat(tell)),
            Seat::Taken => None,
        }
    }

    /// Runs the session from its master's upgrade to its end.
    pub(crate) fn serve_master(
        &self,
        mut seat: MasterSeat,
        upgrade: OnUpgrade,
        jobs: Arc<dyn Jobs>,
    ) {
        let (idle, closing) = (self.idle, self.closing.clone());
        self.tasks.spawn(async move {
            let Some(mut master) = websocket(upgrade, &closing).await else {
                return;
            };
            let slave = tokio::select! {
                slave = seat.wait_for_slave(&mut master, jobs.as_ref()) => slave,
                () = closing.cancelled() => Err(Farewell::closing()),
            };
            let mut slave = match slave {
                Ok(slave) => slave,
                Err(farewell) => return relay::part(master, farewell).await,
            };
            // Whoever is gone by now shows when there is something to pass on.
            let link_up = async {
                for end in [&mut master, &mut slave] {
                    let _ = end.send(Message::text(LINK_UP)).await;
                }
            };
            tokio::select! {
                () = link_up => {}
                () = closing.cancelled() => {}
            }
            let over = seat.until_job_is_over(jobs.as_ref());
            relay::join(master, slave, idle, over, closing).await;
        });
    }

    /// Brings a slave to its master.
    pub(crate) fn serve_slave(&self, seat: SlaveSeat, upgrade: OnUpgrade) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            if let Some(slave) = websocket(upgrade, &closing).await
                && let Err(slave) = seat.0.send(slave)
            {
                relay::part(slave, Farewell::away("the terminal is gone")).await;
            }
        });
    }

    /// Ends every session, telling both ends why, and waits for that.
    pub(crate) async fn shutdown(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The same without waiting.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}

impl MasterSeat {
    /// Until the slave is there. Whatever the master says before that is dropped. Errors: how to part from it.
    async fn wait_for_slave(
        &mut self,
        master: &mut Socket,
        jobs: &dyn Jobs,
    ) -> Result<Socket, Farewell> {
        let mut ticks = tokio::time::interval(WAIT_PERIOD);
        let mut over = std::pin::pin!(until_over(jobs, self.owner, self.job));
        loop {
            tokio::select! {
                slave = &mut self.slave => match slave {
                    Ok(slave) => return Ok(slave),
                    Err(_) => self.wait_again(),
                },
                said = master.next() => match said {
                    Some(Ok(Message::Close(frame))) => return Err(Farewell::answer(frame)),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Farewell::blame(&error)),
                    None => return Err(Farewell::away("the connection ended")),
                },
                _ = ticks.tick() => {
                    if master.send(Message::text(WAIT)).await.is_err() {
                        return Err(Farewell::away("the connection ended"));
                    }
                }
                () = &mut over => return Err(Farewell::job_over()),
            }
        }
    }

    fn wait_again(&mut self) {
        let (tell, slave) = oneshot::channel();
        self.slave = slave;
        lock(&self.seats).insert(self.job, Seat::Waiting(tell));
    }

    async fn until_job_is_over(&self, jobs: &dyn Jobs) {
        until_over(jobs, self.owner, self.job).await;
    }
}

impl Drop for MasterSeat {
    fn drop(&mut self) {
        lock(&self.seats).remove(&self.job);
    }
}

/// Until the job has been over for a while.
async fn until_over(jobs: &dyn Jobs, owner: AccountId, id: JobId) {
    let mut ticks = tokio::time::interval(WAIT_PERIOD);
    let mut periods_after_job = 0;
    while periods_after_job <= PERIODS_AFTER_JOB {
        ticks.tick().await;
        if is_over(jobs, owner, id).await {
            periods_after_job += 1;
        }
    }
}

async fn is_over(jobs: &dyn Jobs, owner: AccountId, id: JobId) -> bool {
    match jobs.status(owner, id).await {
        Ok(status) => status.state == JobState::Done,
        Err(JobError::NotFound) => true,
        // Nobody can tell; the session goes on.
        Err(JobError::InvalidState { .. } | JobError::Unavailable { .. }) => false,
    }
}

async fn websocket(upgrade: OnUpgrade, closing: &CancellationToken) -> Option<Socket> {
    let upgraded = tokio::select! {
        upgraded = tokio::time::timeout(UPGRADE_TIMEOUT, upgrade) => upgraded.ok()?,
        () = closing.cancelled() => return None,
    };
    let upgraded = match upgraded {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "no websocket with this client");
            return None;
        }
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    Some(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await)
}

fn lock(seats: &Mutex<HashMap<JobId, Seat>>) -> std::sync::MutexGuard<'_, HashMap<JobId, Seat>> {
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_of_each_and_ends_with_its_master() {
        let reflector = Reflector::new(2, Duration::from_secs(1));
        let (job, other) = (JobId::random(), JobId::random());
        let [alice, bob, jill] = [(); 3].map(|()| AccountId::random());
        assert!(reflector.seat_slave(job).is_none());
        let mut master = reflector.seat_master(job, alice).ok().unwrap();
        assert_eq!(reflector.seat_master(job, alice).err(), Some(NoSeat::Taken));
        let slave = reflector.seat_slave(job).unwrap();
        assert!(reflector.seat_slave(job).is_none());
        // That one never came.
        drop(slave);
        assert!(master.slave.try_recv().is_err());
        master.wait_again();
        assert!(reflector.seat_slave(job).is_some());
        let second = reflector.seat_master(other, bob).ok().unwrap();
        assert_eq!(
            reflector.seat_master(JobId::random(), jill).err(),
            Some(NoSeat::Full)
        );
        drop(second);
        drop(master);
        assert!(reflector.seat_slave(job).is_none());
        assert!(reflector.seat_master(job, alice).is_ok());
        reflector.close();
        assert_eq!(
            reflector.seat_master(other, bob).err(),
            Some(NoSeat::Closing)
        );
    }
}
