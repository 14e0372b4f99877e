//! The server a URL names.

use hyper::Uri;

use crate::error::Error;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Scheme, host and port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    /// A name or an address; IPv6 in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Reads `http[s]://host[:port]`, with or without a slash at the end.
    pub(crate) fn parse(url: &str) -> Result<Endpoint, Error> {
        let error = |reason| Error::Url {
            url: url.to_owned(),
            reason,
        };
        let uri: Uri = url
            .trim_end_matches('/')
            .parse()
            .map_err(|_| error("is not a URL"))?;
        let (scheme, port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(error("must begin with http:// or https://")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(error("must not have a path"));
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or(error("has no host"))?;
        Ok(Endpoint {
            scheme,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(port),
        })
    }

    /// What stands in the `Host` header, and in the text of a signed URL: without the port that the
    /// scheme has anyway.
    pub(crate) fn authority(&self) -> String {
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// The host as the system's calls want it.
    pub(crate) fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_checked() {
        for (url, authority, port) in [
            ("http://localhost:80/", "localhost", 80),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", 8080),
            ("http://[::1]:1", "[::1]:1", 1),
            (
                "https://us-east.manta.example",
                "us-east.manta.example",
                443,
            ),
            ("https://x:80", "x:80", 80),
            ("http://x:443", "x:443", 443),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(
                (endpoint.authority().as_str(), endpoint.port),
                (authority, port)
            );
        }
        for url in [
            "",
            "localhost:80",
            "ftp://x",
            "http://",
            "http://x/y",
            "http://x?y",
        ] {
            assert!(
                matches!(Endpoint::parse(url), Err(Error::Url { .. })),
                "{url}"
            );
        }
    }
}
