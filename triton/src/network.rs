//! The network of a zone: a loopback device, and the local Manta's sockets on it. Sockets keep the network
//! namespace they were made in, so the host accepts from outside what is connected to inside.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use crate::sys::process;

/// Port of the local Manta. Source: marlin.md section 7.2, `MANTA_URL`.
const PORT: u16 = 80;

/// A network namespace and the listeners in it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) namespace: OwnedFd,
    pub(crate) listeners: Vec<TcpListener>,
}

/// Makes a namespace. Blocks for about a millisecond.
pub(crate) fn make() -> io::Result<Network> {
    // A thread of its own: the namespace of a thread that comes back to a pool would be a trap.
    let thread = std::thread::Builder::new()
        .name("zone-network".into())
        .spawn(|| {
            process::unshare(libc::CLONE_NEWNET)?;
            let listeners = listen_here()?;
            // Tasks may use low ports; ours is taken already.
            std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
            let namespace = std::fs::File::open("/proc/thread-self/ns/net")?.into();
            Ok(Network {
                namespace,
                listeners: listeners.into_iter().map(TcpListener::from).collect(),
            })
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

/// Closes the connections nobody accepted, so that the next tenant's listener starts empty.
pub(crate) fn drain(listeners: &[TcpListener]) -> io::Result<()> {
    for listener in listeners {
        // The flag is shared with every copy of the socket, and the host's copies are non-blocking too.
        listener.set_nonblocking(true)?;
        while listener.accept().is_ok() {}
    }
    Ok(())
}
