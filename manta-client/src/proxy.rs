//! An HTTP proxy on the way to the server.
//!
//! Requests to an `http` server are sent to the proxy with their whole URL; to an `https` server it opens
//! a tunnel (`CONNECT`), and never sees what is inside.

use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::endpoint::{Endpoint, Scheme};
use crate::error::Error;

/// More than any proxy says before a tunnel is open.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A proxy, and what it wants to be told before it serves us.
#[derive(Clone, Eq, PartialEq)]
pub struct Proxy {
    pub(crate) endpoint: Endpoint,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`; the scheme may be left out. User and password can be
    /// percent-encoded.
    pub fn parse(text: &str) -> Result<Proxy, Error> {
        let bare = text.strip_prefix("http://").unwrap_or(text);
        if bare.contains("://") {
            return Err(Error::Url {
                url: text.to_owned(),
                reason: "is not a proxy that can be used: its URL must begin with http://",
            });
        }
        let (user, host) = match bare.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, bare),
        };
        let authorization = user.map(|user| {
            let decoded: Vec<u8> = percent_decode_str(user).collect();
            let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(decoded)))
                .expect("base64 is made of header characters");
            value.set_sensitive(true);
            value
        });
        Ok(Proxy {
            endpoint: Endpoint::parse(&format!("http://{host}"))?,
            authorization,
        })
    }

    /// The proxy that the environment wants for `url`, if any: `http_proxy` or `https_proxy` by the
    /// scheme (upper case too), unless `no_proxy` names the host. `variable` looks one up.
    ///
    /// `no_proxy` is a list with commas: hosts, which stand for everything below them too, with or
    /// without a dot in front and a port behind; `*` is every host.
    pub fn of_environment(
        url: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Proxy>, Error> {
        let endpoint = Endpoint::parse(url)?;
        let either = |lower: &str| {
            variable(lower)
                .or_else(|| variable(&lower.to_uppercase()))
                .filter(|value| !value.is_empty())
        };
        let proxy = match endpoint.scheme {
            Scheme::Http => either("http_proxy"),
            Scheme::Https => either("https_proxy"),
        };
        let Some(proxy) = proxy else { return Ok(None) };
        if either("no_proxy").is_some_and(|list| is_exempt(&endpoint, &list)) {
            return Ok(None);
        }
        Proxy::parse(&proxy).map(Some)
    }

    /// Opens a tunnel to `to` over a connection to the proxy.
    pub(crate) async fn tunnel(&self, stream: &mut TcpStream, to: &Endpoint) -> io::Result<()> {
        let mut request = format!(
            "CONNECT {0}:{1} HTTP/1.1\r\nHost: {0}:{1}\r\n",
            to.host, to.port
        );
        if let Some(value) = self
            .authorization
            .as_ref()
            .and_then(|value| value.to_str().ok())
        {
            request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            // Byte by byte, so that nothing of what comes through the tunnel is taken.
            head.push(stream.read_u8().await?);
            if head.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("the proxy's answer has no end"));
            }
        }
        let head = String::from_utf8_lossy(&head);
        let line = head.lines().next().unwrap_or_default();
        let status = line.split(' ').nth(1).unwrap_or_default();
        if line.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2') {
            return Ok(());
        }
        // It has answered: asking again would not help.
        let message = format!("the proxy refused a tunnel: {line}");
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, message))
    }
}

fn is_exempt(endpoint: &Endpoint, list: &str) -> bool {
    let host = endpoint.bare_host().to_lowercase();
    let with_port = format!("{host}:{}", endpoint.port);
    list.split([',', ' ']).map(str::trim).any(|entry| {
        let entry = entry.trim_start_matches('.').to_lowercase();
        let is_below = |host: &str| {
            host.strip_suffix(entry.as_str())
                .is_some_and(|front| front.is_empty() || front.ends_with('.'))
        };
        match entry.as_str() {
            "" => false,
            "*" => true,
            _ => is_below(&host) || is_below(&with_port),
        }
    })
}

/// Shows no password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.endpoint.host, self.endpoint.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_and_perhaps_a_password() {
        let proxy = Proxy::parse("http://us%40er:p%3Aw@proxy:3128/").unwrap();
        assert_eq!(
            (proxy.endpoint.host.as_str(), proxy.endpoint.port),
            ("proxy", 3128)
        );
        let expected = format!("Basic {}", STANDARD.encode("us@er:p:w"));
        assert_eq!(proxy.authorization.as_ref().unwrap(), expected.as_str());
        assert!(!format!("{proxy:?}").contains("p:w"));
        assert_eq!(Proxy::parse("proxy").unwrap().endpoint.port, 80);
        for text in ["", "socks5://x", "https://x", "http://"] {
            assert!(Proxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_environment_chooses_by_scheme_and_host() {
        let of = |url: &str, set: &[(&str, &str)]| {
            let found = Proxy::of_environment(url, |name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            found.unwrap().map(|proxy| proxy.endpoint.host)
        };
        let both = [("http_proxy", "http://a:1"), ("HTTPS_PROXY", "b:2")];
        assert_eq!(of("http://x", &both).as_deref(), Some("a"));
        assert_eq!(of("https://x", &both).as_deref(), Some("b"));
        assert_eq!(of("https://x", &both[..1]), None);
        assert_eq!(of("http://x", &[("http_proxy", "")]), None);
        for (exempt, list) in [
            (true, "*"),
            (true, "example.com"),
            (true, "other, .Example.com"),
            (true, "us.example.com:8080"),
            (true, "example.com:8080"),
            (false, "us.example.com:80"),
            (false, "s.example.com"),
            (false, "ample.com"),
            (false, ""),
        ] {
            let set = [("http_proxy", "p"), ("no_proxy", list)];
            assert_eq!(
                of("http://us.example.com:8080", &set).is_none(),
                exempt,
                "{list}"
            );
        }
        assert_eq!(
            of(
                "http://[::1]:80",
                &[("http_proxy", "p"), ("NO_PROXY", "::1")]
            ),
            None
        );
    }
}
