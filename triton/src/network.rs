//! The network of a zone: a loopback device, and the local Manta's sockets on it. Sockets keep the network
//! namespace they were made in, so the host accepts from outside what is connected to inside.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use crate::sys::process;

/// Port of the local Manta. Source: marlin.md section 7.2, `MANTA_URL`.
const PORT: u16 = 80;

/// Of a namespace, below `/proc/sys/net/ipv4`.
const SETTINGS: &[(&str, &str)] = &[
    // Tasks may use low ports; ours is taken already.
    ("ip_unprivileged_port_start", "0"),
    // A connection is forgotten when it ends, not a minute later when somebody else has the zone: segments that
    // come late are what that minute is for, and on a loopback device there are none. For IPv6 as well.
    ("tcp_max_tw_buckets", "0"),
];

/// A network namespace and the listeners in it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) namespace: OwnedFd,
    pub(crate) listeners: Vec<TcpListener>,
    /// Where the kernel counts its sockets.
    counters: Vec<File>,
}

impl Network {
    /// Closes the connections nobody accepted, so that the next tenant's listeners start empty. To be called when
    /// no process is left in it. Takes some microseconds.
    ///
    /// `false` when there are sockets still, and then the next tenant must have another network. What a dead
    /// client has sent on a half-open connection comes again until the listener has room for it, that is, now:
    /// the next tenant's Manta would do it in the next tenant's name.
    pub(crate) fn clear(&self) -> io::Result<bool> {
        for listener in &self.listeners {
            // The flag is shared with every copy of the socket, and the host's copies are non-blocking too.
            listener.set_nonblocking(true)?;
            while listener.accept().is_ok() {}
        }
        let mut sockets = 0;
        for file in &self.counters {
            let mut text = [0; 512];
            let length = file.read_at(&mut text, 0)?;
            sockets += tcp_sockets(&text[..length])
                .ok_or_else(|| io::Error::other("the kernel does not count TCP sockets"))?;
        }
        Ok(sockets == self.listeners.len())
    }
}

/// From `sockstat` or `sockstat6`: those that listen, connect or are connected, whether a process has them or not.
fn tcp_sockets(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let mut counts = text.lines().filter_map(|line| {
        let (kind, count) = line.split_once(": inuse ")?;
        matches!(kind, "TCP" | "TCP6").then_some(count)
    });
    counts.next()?.split(' ').next()?.parse().ok()
}

/// Makes a namespace. Blocks for about a millisecond.
pub(crate) fn make() -> io::Result<Network> {
    // A thread of its own: the namespace of a thread that comes back to a pool would be a trap.
    let thread = std::thread::Builder::new()
        .name("zone-network".into())
        .spawn(|| {
            process::unshare(libc::CLONE_NEWNET)?;
            let listeners = listen_here()?;
            for (name, value) in SETTINGS {
                std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value)?;
            }
            let mut counters = vec![File::open("/proc/thread-self/net/sockstat")?];
            match File::open("/proc/thread-self/net/sockstat6") {
                Ok(file) => counters.push(file),
                // A kernel without IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let network = Network {
                namespace: File::open("/proc/thread-self/ns/net")?.into(),
                listeners: listeners.into_iter().map(TcpListener::from).collect(),
                counters,
            };
            // Whether this kernel counts is better known now than at the end of the first zone.
            network.clear()?;
            Ok(network)
        })?;
    thread
        .join()
        .map_err(|_| io::Error::other("the network thread panicked"))?
}

/// Brings loopback up and listens, in the current namespace. IPv6 only where the kernel has it.
pub(crate) fn listen_here() -> io::Result<Vec<OwnedFd>> {
    process::loopback_up()?;
    let mut listeners = vec![TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?.into()];
    // `localhost` may resolve to it first.
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, PORT))) {
        Ok(listener) => listeners.push(listener.into()),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)
            ) => {}
        Err(error) => return Err(error),
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_counted_by_the_kernel() {
        let four =
            "sockets: used 4\nTCP: inuse 3 orphan 0 tw 0 alloc 22 mem 0\nUDP: inuse 9 mem 0\n";
        assert_eq!(tcp_sockets(four.as_bytes()), Some(3));
        let six = "TCP6: inuse 12\nUDP6: inuse 0\n";
        assert_eq!(tcp_sockets(six.as_bytes()), Some(12));
        assert_eq!(tcp_sockets(b"sockets: used 4\nTCP: inuse\n"), None);
    }
}
