//! TLS of the public listener: the certificate in force, and the handshake.

mod pair;
#[cfg(test)]
mod tests;
mod watch;

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use pair::{Culprit, Paths, WrongPair};
pub use watch::Renewal;

use crate::metrics::Metrics;

/// How long a handshake may take. What is over holds a connection and no stream.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How a TLS record of a handshake begins.
const RECORD: u8 = 22;

/// What a client that speaks plain HTTP is told. Its body lasts as long as the connection.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
this port speaks HTTPS: ask again with https://\n";

/// The TLS of a listener. A clone is the same, and cheap.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

impl Tls {
    /// TLS with the pair at `paths`: 1.2 and 1.3, and HTTP/2 for clients that know it. The other half keeps the pair as
    /// the files are, for as long as it runs.
    pub fn open(paths: &Paths, metrics: &Metrics) -> Result<(Self, Renewal), WrongPair> {
        let texts = paths.read()?;
        let pair = pair::load(&texts)?;
        metrics.set_tls_not_after(pair.not_after);
        let current = Arc::new(Current(RwLock::new(pair.certified)));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(WrongPair::internal)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Whoever comes back in a reconnect storm resumes, and costs a tenth of a first handshake.
        config.ticketer = ring::Ticketer::new().map_err(WrongPair::internal)?;
        let tls = Self { acceptor: TlsAcceptor::from(Arc::new(config)), current };
        Ok((tls.clone(), Renewal::new(tls, paths.clone(), texts, metrics.clone())))
    }

    /// Shakes hands within 10 s. The error of a client that speaks plain HTTP comes after it was told.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        timeout(HANDSHAKE, self.handshake(socket)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn handshake(&self, mut socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 1 && first[0] != RECORD {
            if first[0].is_ascii_uppercase() {
                socket.write_all(PLAIN).await?;
                socket.shutdown().await?;
            }
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no TLS"));
        }
        self.acceptor.accept(socket).await
    }

    /// From now on new connections get this pair; those that are open keep theirs.
    fn replace(&self, certified: Arc<CertifiedKey>) {
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Whether the handshake agreed on HTTP/2.
pub fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// The certificate in force. Locked for as long as it takes to clone a pointer, once for each handshake.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
