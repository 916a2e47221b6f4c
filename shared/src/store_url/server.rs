//! A server: a host and a port.

use core::net::IpAddr;
use std::fmt;

use super::WrongUrl;

/// A server's name and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Server {
    /// A server.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `host`, `host:port`, `[address]` or `[address]:port`.
    pub(super) fn read(text: &str, default_port: u16) -> Result<Self, WrongUrl> {
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(WrongUrl::Port)?)),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let right = match host.parse::<IpAddr>() {
            // 0.0.0.0 is where a server listens, not where anybody finds it.
            Ok(address) => address.is_ipv6() == bracketed.is_some() && !address.is_unspecified(),
            Err(_) => {
                let named = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
                bracketed.is_none() && !host.is_empty() && host.bytes().all(named)
            }
        };
        if !right {
            return Err(WrongUrl::Host);
        }
        let port = port.map_or(Ok(default_port), str::parse).ok().filter(|port| *port != 0);
        Ok(Self { host: host.to_owned(), port: port.ok_or(WrongUrl::Port)? })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
