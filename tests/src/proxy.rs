//! An HTTP proxy for clients that are told of one: tunnels, and requests with their whole URL.
//!
//! Surprise: a request with a whole URL is passed on as it came. Servers must understand that form
//! (RFC 9112 section 3.2.2), and this way the store is seen to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

/// Longer than the head of any request of a client.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A running proxy. Ends, with everything that goes through it, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    /// The first line of each connection.
    asked: Mutex<Vec<String>>,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen as a proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = {
            let shared = shared.clone();
            std::thread::spawn(move || shared.accept(&listener))
        };
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// As variables name it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked for since this was last called, a line for each connection.
    #[must_use]
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared.asked))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for stream in lock(&self.shared.open).iter() {
            // One that is closed already is as it should be.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener) {
        std::thread::scope(|scope| {
            for client in listener.incoming() {
                if self.ended.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client {
                    // A connection that breaks is for the client to tell.
                    scope.spawn(move || self.serve(client));
                }
            }
        });
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        self.remember(&client)?;
        let head = read_head(&mut client)?;
        let text = String::from_utf8_lossy(&head);
        let line = text.lines().next().unwrap_or_default();
        lock(&self.asked).push(line.to_owned());
        let target = line.split(' ').nth(1).unwrap_or_default();
        let is_tunnel = line.starts_with("CONNECT ");
        let authority = match target.strip_prefix("http://") {
            Some(rest) => rest.split('/').next().unwrap_or_default(),
            None => target,
        };
        let mut server = TcpStream::connect(authority)?;
        self.remember(&server)?;
        if is_tunnel {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        } else {
            server.write_all(&head)?;
        }
        let (from_client, to_client) = (client.try_clone()?, client);
        let (from_server, to_server) = (server.try_clone()?, server);
        std::thread::scope(|scope| {
            scope.spawn(|| pass_on(from_client, to_server));
            pass_on(from_server, to_client);
        });
        Ok(())
    }

    /// So that it can be closed from outside. Fails when that has happened already.
    fn remember(&self, stream: &TcpStream) -> io::Result<()> {
        lock(&self.open).push(stream.try_clone()?);
        match self.ended.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::NotConnected.into()),
            false => Ok(()),
        }
    }
}

fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    // Byte by byte, so that nothing of what comes behind it is taken.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("a head without an end"));
        }
    }
    Ok(head)
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    // Either way there is no more to pass on, and the other side is told.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
