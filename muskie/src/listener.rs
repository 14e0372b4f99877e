//! An address and what is spoken there, before and while it is served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::config::Config;
use crate::server::{self, Deps, Handle};
use crate::tls::{Tls, TlsError, TlsFiles};

/// A bound address that is not served yet. Connections wait in its backlog.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: TcpListener,
    address: SocketAddr,
    pub(crate) door: Door,
}

/// How clients come in.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// Everything is served: nobody listens in, or whoever stands in front ends TLS.
    Plain,
    Tls(Arc<Tls>),
    /// Anybody may listen in.
    Insecure,
}

impl Listener {
    /// Serves everything, in the clear. Errors: whatever the system says about the address.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            door: Door::Plain,
        })
    }

    /// Speaks TLS; the files are read now and whenever they change. Errors: they are of no use.
    pub fn with_tls(mut self, files: TlsFiles) -> Result<Self, TlsError> {
        self.door = Door::Tls(Arc::new(Tls::open(files)?));
        Ok(self)
    }

    /// Serves only what may be overheard. Source: rest-api.md section 0.4.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.door = Door::Insecure;
        self
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts to serve. Must be called inside a tokio runtime.
    #[must_use]
    pub fn serve(self, config: Config, deps: Deps) -> Handle {
        self.serve_with(Vec::new(), config, deps)
    }

    /// The same store behind several doors. The first is the one that the handle tells the address of.
    #[must_use]
    pub fn serve_with(self, others: Vec<Self>, config: Config, deps: Deps) -> Handle {
        server::start(self, others, config, deps)
    }
}
