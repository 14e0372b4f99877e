//! Making a connection: to the server or to a proxy before it, in the clear or in TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::endpoint::{Endpoint, Scheme};
use crate::error::Error;
use crate::proxy::Proxy;
use crate::tls::TlsOptions;

/// What bytes go over.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The way to one server.
pub(crate) struct Connector {
    endpoint: Endpoint,
    proxy: Option<Proxy>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// For all of it: name lookup, connection, tunnel, handshake.
    timeout: Duration,
}

/// How requests must look on this way.
#[derive(Clone, Debug)]
pub(crate) struct AbsoluteForm {
    /// Goes before the path: `http://host[:port]`.
    pub(crate) prefix: String,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Connector {
    pub(crate) fn new(
        endpoint: Endpoint,
        proxy: Option<Proxy>,
        tls: &TlsOptions,
        timeout: Duration,
    ) -> Result<Connector, Error> {
        let tls = match endpoint.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let name = ServerName::try_from(endpoint.bare_host().to_owned());
                let name = name.map_err(|_| Error::Url {
                    url: endpoint.host.clone(),
                    reason: "is not a host that a certificate could be for",
                })?;
                Some((tls.connector()?, name))
            }
        };
        Ok(Connector {
            endpoint,
            proxy,
            tls,
            timeout,
        })
    }

    /// The server, for error messages.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.endpoint.host, self.endpoint.port)
    }

    /// Set when a proxy reads the requests.
    pub(crate) fn absolute_form(&self) -> Option<AbsoluteForm> {
        let proxy = self.proxy.as_ref().filter(|_| self.tls.is_none())?;
        Some(AbsoluteForm {
            prefix: format!("http://{}", self.endpoint.authority()),
            authorization: proxy.authorization.clone(),
        })
    }

    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Wire>> {
        // Boxed: a handshake needs kilobytes, and few requests make one.
        tokio::time::timeout(self.timeout, Box::pin(self.connect_all()))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connection timed out"))?
    }

    async fn connect_all(&self) -> io::Result<Box<dyn Wire>> {
        let first = self
            .proxy
            .as_ref()
            .map_or(&self.endpoint, |proxy| &proxy.endpoint);
        let mut stream = connect_tcp(first).await?;
        stream.set_nodelay(true)?;
        let Some((connector, name)) = &self.tls else {
            return Ok(Box::new(stream));
        };
        if let Some(proxy) = &self.proxy {
            proxy.tunnel(&mut stream, &self.endpoint).await?;
        }
        Ok(Box::new(connector.connect(name.clone(), stream).await?))
    }
}

/// Whether another try could end differently: not if the other side has shown what it is and was refused.
pub(crate) fn is_worth_another_try(error: &io::Error) -> bool {
    let is_refusal = error.get_ref().is_some_and(|cause| {
        cause.is::<tokio_rustls::rustls::Error>()
            || error.kind() == io::ErrorKind::ConnectionRefused
    });
    !is_refusal
}

async fn connect_tcp(to: &Endpoint) -> io::Result<TcpStream> {
    // No name service is asked for the machine itself: inside a zone there may be none.
    if to.host == "localhost" {
        let loopback = [
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), to.port),
            SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), to.port),
        ];
        return TcpStream::connect(&loopback[..]).await;
    }
    TcpStream::connect((to.bare_host(), to.port)).await
}
