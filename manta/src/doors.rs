//! The addresses that the store listens on, and the one at which it finds itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use muskie::{Listener, TlsFiles};

use crate::config::Config;

/// Bound, and not served yet.
#[derive(Debug)]
pub(crate) struct Doors {
    pub(crate) first: Listener,
    pub(crate) others: Vec<Listener>,
    /// For clients.
    pub(crate) url: String,
    pub(crate) insecure_url: Option<String>,
    /// For jobs, which know of no certificates. Where clients come through TLS it is one of its own, and
    /// not to be reached from elsewhere.
    pub(crate) internal_url: String,
}

pub(crate) async fn open(config: &Config) -> Result<Doors> {
    let first = bind(config.listen).await?;
    let mut others = Vec::new();
    let (first, url, internal_url) = match &config.tls {
        None => {
            let url = format!("http://{}", reachable(first.local_addr()));
            (first, url.clone(), url)
        }
        Some(tls) => {
            let url = format!("https://{}", reachable(first.local_addr()));
            let first = first
                .with_tls(TlsFiles {
                    certificates: tls.certificates.clone(),
                    key: tls.key.clone(),
                })
                .context("set up TLS")?;
            let internal = bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
            let internal_url = format!("http://{}", internal.local_addr());
            others.push(internal);
            (first, url, internal_url)
        }
    };
    let mut insecure_url = None;
    if let Some(address) = config.listen_insecure {
        let insecure = bind(address).await?.insecure();
        insecure_url = Some(format!("http://{}", reachable(insecure.local_addr())));
        others.push(insecure);
    }
    Ok(Doors {
        first,
        others,
        url,
        insecure_url,
        internal_url,
    })
}

async fn bind(address: SocketAddr) -> Result<Listener> {
    Listener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))
}

/// Where the store reaches itself when it listens on every address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
