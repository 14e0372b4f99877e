//! Where a request comes from when proxies stand in between. A proxy that is not known could say anything,
//! so `X-Forwarded-For` is believed from those in the configuration only, and read from its end: what
//! stands before the address that the nearest unknown host is said to have was written by that host.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// A range of addresses, as `10.0.0.0/8`, `fd00::/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is neither an address nor a network such as 10.0.0.0/8")]
pub struct InvalidNetwork(String);

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.leading_zeros() >= self.prefix_bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.leading_zeros() >= self.prefix_bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| invalid())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(prefix) => prefix.trim().parse().map_err(|_| invalid())?,
            None => bits_max,
        };
        if prefix_bits > bits_max {
            return Err(invalid());
        }
        Ok(Self {
            address,
            prefix_bits,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// The nearest host that is not one of `proxies`; the furthest one when all of them are. `forwarded` is the
/// header, of which what is not understood ends what is believed.
pub(crate) fn client_ip(remote: IpAddr, forwarded: Option<&str>, proxies: &[Network]) -> IpAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|network| network.has(address));
    // An IPv4 client of a listener for both protocols.
    let mut client = remote.to_canonical();
    for hop in forwarded.unwrap_or_default().rsplit(',') {
        if !trusted(client) {
            break;
        }
        match address(hop.trim()) {
            Some(before) => client = before,
            None => break,
        }
    }
    client
}

/// With or without port, the sixth version with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let parsed = bare.unwrap_or(text).parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    parsed
        .or_else(with_port)
        .map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(remote: &str, forwarded: Option<&str>) -> String {
        let proxies = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(|n| n.parse().unwrap());
        client_ip(remote.parse().unwrap(), forwarded, &proxies).to_string()
    }

    #[test]
    fn only_proxies_are_believed_and_only_about_their_own_clients() {
        for (remote, forwarded, expected) in [
            // Nobody in between, whatever they say.
            ("198.51.100.1", None, "198.51.100.1"),
            ("198.51.100.1", Some("203.0.113.9"), "198.51.100.1"),
            // One proxy; what the client made up stands further left.
            ("10.1.2.3", Some("203.0.113.9"), "203.0.113.9"),
            ("10.1.2.3", Some("127.0.0.1, 203.0.113.9"), "203.0.113.9"),
            // Several, of both protocols.
            ("10.1.2.3", Some("203.0.113.9, 192.0.2.7"), "203.0.113.9"),
            ("fd12::1", Some("2001:db8::1,10.0.0.1"), "2001:db8::1"),
            ("::ffff:10.1.2.3", Some("203.0.113.9"), "203.0.113.9"),
            // All of them.
            ("10.1.2.3", Some("10.0.0.5, 10.0.0.6"), "10.0.0.5"),
            // Ports and brackets.
            ("10.1.2.3", Some("203.0.113.9:4711"), "203.0.113.9"),
            ("10.1.2.3", Some("[2001:db8::1]:4711"), "2001:db8::1"),
            ("10.1.2.3", Some("[2001:db8::1]"), "2001:db8::1"),
            // What cannot be read ends it.
            ("10.1.2.3", Some("203.0.113.9, unknown"), "10.1.2.3"),
            ("10.1.2.3", Some(""), "10.1.2.3"),
            ("10.1.2.3", Some("203.0.113.9, , 10.0.0.1"), "10.0.0.1"),
            // A neighbour of a single address is somebody else.
            ("192.0.2.8", Some("203.0.113.9"), "192.0.2.8"),
        ] {
            assert_eq!(
                client(remote, forwarded),
                expected,
                "{remote} {forwarded:?}"
            );
        }
    }

    #[test]
    fn networks_are_checked() {
        for good in ["0.0.0.0/0", "::/0", "127.0.0.1/32", "::1/128", "::1"] {
            assert!(good.parse::<Network>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "host/8",
            "1.2.3.4/x",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        let everything: Network = "0.0.0.0/0".parse().unwrap();
        assert!(everything.has([8, 8, 8, 8].into()));
        assert!(!everything.has("::1".parse().unwrap()));
    }
}
