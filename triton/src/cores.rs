//! Which zone had a process die of a core-dumping signal.
//!
//! A shell reaps its own children, so zone init does not see how they died. The kernel's task statistics
//! tell of every process that ends, with its uid as the host knows it, which names the slot; and they are
//! queued before the parent can see the death, so that a meter read after a command is complete.
//! (The process connector would tell of core dumps only, but by pid, too late to ask whose it was.)

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use crate::sys::process::is_core_signal;

/// `GENL_ID_CTRL`, which knows the numbers of the other families.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const TASKSTATS_GET: u8 = 1;
const TASKSTATS_NEW: u8 = 2;
const REGISTER_CPUS: u16 = 3;
const TYPE_PID: u16 = 1;
const TYPE_STATS: u16 = 3;
const TYPE_AGGREGATE_PID: u16 = 4;
/// `struct nlmsghdr` and `struct genlmsghdr`.
const HEADERS: usize = 20;
/// Offsets in `struct taskstats`, up to version 14 and again since 17.
const EXIT_CODE: usize = 4;
const UID: usize = 120;
const PID: usize = 128;
/// Enough for the exits of a fork bomb of one zone between two reads.
const RECEIVE_BUFFER: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct Cores {
    socket: AsyncFd<OwnedFd>,
    first_uid: u32,
    range: u32,
    /// Per slot, since the start.
    counts: Mutex<Vec<u64>>,
}

impl Cores {
    /// Listens. Errors where the kernel has no task statistics or we may not have them (in a container);
    /// then only what zone init reaps itself is seen.
    pub(crate) fn listen(first_uid: u32, range: u32, slots: usize) -> io::Result<Arc<Self>> {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::GENERIC),
        )?;
        // As much as an ordinary process gets, if we may not have more.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        let family = family(&socket)?;
        let cpus = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
        let message = message(family, TASKSTATS_GET, REGISTER_CPUS, cpus.trim().as_bytes());
        rustix::net::send(&socket, &message, SendFlags::empty())?;
        acknowledged(&socket)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let socket = crate::sys::watch(socket, Interest::READABLE)?;
        Ok(Arc::new(Self {
            socket,
            first_uid,
            range,
            counts: Mutex::new(vec![0; slots]),
        }))
    }

    /// Core-dumping deaths in slot `slot` so far, up to this very moment.
    pub(crate) fn count(&self, slot: usize) -> u64 {
        self.drain();
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(slot)
            .copied()
            .unwrap_or(0)
    }

    /// Keeps the queue short until `shutdown`.
    pub(crate) async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                ready = self.socket.readable() => match ready {
                    Ok(mut ready) => {
                        self.drain();
                        ready.clear_ready();
                    }
                    Err(_) => return,
                },
            }
        }
    }

    /// Reads what is queued. Under the lock, so that whoever asks for a count has seen all of it.
    fn drain(&self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = [0; 8192];
        loop {
            match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((length, _)) => {
                    for uid in core_deaths(&buffer[..length]) {
                        let slot = uid
                            .checked_sub(self.first_uid)
                            .map(|above| above / self.range);
                        if let Some(count) = slot.and_then(|slot| counts.get_mut(slot as usize)) {
                            *count += 1;
                        }
                    }
                }
                // Some were lost because the queue was full: not ours to know whose.
                Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

fn message(family: u16, command: u8, attribute: u16, value: &[u8]) -> Vec<u8> {
    const REQUEST_AND_ACK: u16 = 0x1 | 0x4;
    let attribute_length = 4 + value.len() + 1;
    let length = HEADERS + attribute_length.next_multiple_of(4);
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend((attribute_length as u16).to_ne_bytes());
    message.extend(attribute.to_ne_bytes());
    message.extend(value);
    message.resize(length, 0);
    message
}

/// The number of the TASKSTATS family.
fn family(socket: &OwnedFd) -> io::Result<u16> {
    let request = message(CONTROL, GET_FAMILY, FAMILY_NAME, b"TASKSTATS");
    rustix::net::send(socket, &request, SendFlags::empty())?;
    let mut buffer = [0; 8192];
    let (length, _) = rustix::net::recv(socket, &mut buffer, RecvFlags::empty())?;
    let answer = &buffer[..length];
    let id = attributes(answer.get(HEADERS..).unwrap_or_default())
        .find(|(kind, _)| *kind == FAMILY_ID)
        .and_then(|(_, value)| Some(u16::from_ne_bytes(value.get(..2)?.try_into().ok()?)));
    let Some(id) = id else {
        return Err(io::Error::other("the kernel has no TASKSTATS"));
    };
    acknowledged(socket)?;
    Ok(id)
}

/// Reads the acknowledgement of the last request.
fn acknowledged(socket: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let (length, _) = rustix::net::recv(socket, &mut buffer, RecvFlags::empty())?;
        let answer = &buffer[..length];
        let kind = answer
            .get(4..6)
            .map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
        // Statistics may arrive first.
        if kind != Some(libc::NLMSG_ERROR as u16) {
            continue;
        }
        return match word(answer, 16).map(|code| code as i32) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        };
    }
}

/// The uids of the processes that died of a core-dumping signal, by one datagram.
fn core_deaths(datagram: &[u8]) -> Vec<u32> {
    if datagram.get(16) != Some(&TASKSTATS_NEW) {
        return Vec::new();
    }
    attributes(datagram.get(HEADERS..).unwrap_or_default())
        .filter(|(kind, _)| *kind == TYPE_AGGREGATE_PID)
        .filter_map(|(_, nested)| core_death(nested))
        .collect()
}

fn core_death(nested: &[u8]) -> Option<u32> {
    let value = |wanted| {
        attributes(nested)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    let (pid, stats) = (word(value(TYPE_PID)?, 0)?, value(TYPE_STATS)?);
    // Versions 15 and 16 had other offsets; the pid, which is said twice, gives them away.
    if word(stats, PID)? != pid {
        return None;
    }
    let signal = word(stats, EXIT_CODE)? & 0x7f;
    is_core_signal(signal as i32)
        .then(|| word(stats, UID))
        .flatten()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The attributes of a netlink message: (type, value) pairs.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn exit(signal: u32, uid: u32, pid: u32, pid_in_stats: u32) -> Vec<u8> {
        let mut stats = vec![0; 400];
        stats[EXIT_CODE..EXIT_CODE + 4].copy_from_slice(&signal.to_ne_bytes());
        stats[UID..UID + 4].copy_from_slice(&uid.to_ne_bytes());
        stats[PID..PID + 4].copy_from_slice(&pid_in_stats.to_ne_bytes());
        let nested = [
            attribute(TYPE_PID, &pid.to_ne_bytes()),
            attribute(TYPE_STATS, &stats),
        ];
        let mut datagram = vec![0; HEADERS];
        datagram[16] = TASKSTATS_NEW;
        datagram.extend(attribute(TYPE_AGGREGATE_PID, &nested.concat()));
        datagram
    }

    #[test]
    fn core_signals_are_told_with_their_uid() {
        assert_eq!(core_deaths(&exit(11, 1000, 5, 5)), [1000]);
        assert_eq!(core_deaths(&exit(9, 1000, 5, 5)), [0; 0]);
        assert_eq!(core_deaths(&exit(0, 1000, 5, 5)), [0; 0]);
    }

    #[test]
    fn another_layout_and_cut_datagrams_say_nothing() {
        assert_eq!(core_deaths(&exit(11, 1000, 5, 6)), [0; 0]);
        let whole = exit(11, 1000, 5, 5);
        for length in 0..whole.len() - 300 {
            assert_eq!(core_deaths(&whole[..length]), [0; 0]);
        }
    }
}
