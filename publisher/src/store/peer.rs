//! The addresses of a server's name, and connecting to the first that answers.
//!
//! A name may lead to several addresses, of which some are dead or frozen. A frozen server still accepts connections
//! (its kernel does), so only a login shows that an address works.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::io::AsyncDNSResolver;
use redis::{AsyncConnectionConfig, RedisFuture, RedisResult};
use tidings_shared::store_url::Server;
use tokio::net::lookup_host;
use tokio::time::sleep;

use crate::{Error, ErrorKind};

/// A server as it was reached: its name, and one of the addresses of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    server: Server,
    address: SocketAddr,
}

/// The address after the next one is tried this long after it, if neither has answered until then. RFC 8305 says
/// 250 ms for a TCP handshake; here it is a whole login.
pub(super) const HEAD_START: Duration = Duration::from_millis(300);

impl Peer {
    /// The server at this address.
    pub(super) fn new(server: Server, address: SocketAddr) -> Self {
        Self { server, address }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A configuration of connections that lead to this address, whatever the name says.
    pub fn pin(&self, config: AsyncConnectionConfig) -> AsyncConnectionConfig {
        config.set_dns_resolver(Pinned(self.address))
    }

    /// The server, at its address if that suffices to reach it. What the server says of others is relative to this
    /// address: its name may have several, each of another server. TLS needs the name to check the certificate.
    pub(super) fn pinned_server(&self, tls: bool) -> Server {
        match tls {
            true => self.server.clone(),
            false => Server::new(self.address.ip().to_string(), self.server.port),
        }
    }

    /// Whether the server was named by its address, which leads nowhere else.
    pub(super) fn is_literal(&self) -> bool {
        self.server.host.parse::<std::net::IpAddr>().is_ok()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_literal() {
            true => self.server.fmt(f),
            false => write!(f, "{} ({})", self.server, self.address),
        }
    }
}

/// Resolves the server's name: at least one address, each once. Runs on a thread for blocking work.
pub(super) async fn resolve(server: &Server) -> Result<Vec<SocketAddr>, Error> {
    let failed = |what: String| {
        Error::told(ErrorKind::Unavailable, format!("cannot resolve {}: {what}; retry later", server.host))
    };
    let found = lookup_host((server.host.as_str(), server.port)).await.map_err(|error| failed(error.to_string()))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(failed("no address".to_owned())) } else { Ok(addresses) }
}

/// Tries all of these, until one succeeds. Each gets a head start before the next, so that a frozen one does not use up
/// the time of the others.
pub(super) async fn first_of<A: Clone, T, Trying: Future<Output = Result<T, Error>>>(
    all: &[A],
    head_start: Duration,
    attempt: impl Fn(A) -> Trying,
) -> Result<T, Error> {
    let mut left = all.iter();
    let mut trying = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        let next = left.next();
        trying.extend(next.map(|one| attempt(one.clone())));
        let more = left.len() > 0;
        let answer = tokio::select! {
            answer = trying.next() => answer,
            () = sleep(head_start), if more => continue,
        };
        match answer {
            Some(Ok(done)) => return Ok(done),
            Some(Err(error)) => failures.push(error),
            None => {}
        }
        if trying.is_empty() && !more {
            return Err(single_or_all(failures));
        }
    }
}

/// One failure as it is, or several as one.
fn single_or_all(mut failures: Vec<Error>) -> Error {
    match failures.pop() {
        Some(only) if failures.is_empty() => only,
        last => Error::of_all(failures.into_iter().chain(last).collect()),
    }
}

/// A resolver that has the client library connect to this address, whatever the name leads to by now.
struct Pinned(SocketAddr);

impl AsyncDNSResolver for Pinned {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _host: &'b str,
        _port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        let only: RedisResult<Box<dyn Iterator<Item = SocketAddr> + Send>> = Ok(Box::new(std::iter::once(self.0)));
        Box::pin(std::future::ready(only))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| ([127, 0, 0, 1], port).into()).collect()
    }

    fn away(address: SocketAddr) -> Error {
        Error::told(ErrorKind::Unavailable, format!("{address} is away"))
    }

    #[tokio::test]
    async fn a_frozen_address_does_not_keep_the_others_waiting() {
        let connect = async |address: SocketAddr| match address.port() {
            1 | 2 => pending().await,
            3 => Err(away(address)),
            _ => Ok(address.port()),
        };
        assert_eq!(first_of(&addresses(5), HEAD_START, connect).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn one_that_fails_makes_room_at_once_and_all_are_named() {
        let connect = async |address| Err::<u8, _>(away(address));
        let error = first_of(&addresses(3), HEAD_START, connect).await.unwrap_err();
        let text = error.to_string();
        assert!(error.is_retryable() && (1..4).all(|port| text.contains(&format!(":{port} is away"))), "{text}");
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_may_be_there_later() {
        let error = resolve(&Server::new("no-such-host.invalid", 1)).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("cannot resolve no-such-host.invalid"), "{error}");
        assert_eq!(resolve(&Server::new("::1", 7)).await.unwrap().len(), 1);
    }
}
