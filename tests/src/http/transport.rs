//! The ways to a gateway, which must all behave the same.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Link, Response, Session, connect, http1};

/// How a client asks for something.
#[derive(Clone, Default)]
pub enum Transport {
    /// By HTTP/1.1, with nothing that keeps the gateway from serving a stream past its HTTP server.
    #[default]
    Lean,
    /// By HTTP/1.1, behind another request on the same connection.
    Server,
    /// By HTTP/2, spoken without being asked to.
    Http2,
    /// Over TLS, by the version that the handshake agrees on.
    Tls(Arc<ClientConfig>),
}

impl Transport {
    /// All that go without TLS.
    pub const PLAIN: [Self; 3] = [Self::Lean, Self::Server, Self::Http2];

    /// The way that `TIDINGS_TEST_TRANSPORT` names, so that whole suites can go each of them.
    pub fn of_environment() -> Self {
        match std::env::var("TIDINGS_TEST_TRANSPORT").as_deref() {
            Err(_) | Ok("lean") => Self::Lean,
            Ok("actix") => Self::Server,
            Ok("h2c") => Self::Http2,
            Ok(other) => panic!("TIDINGS_TEST_TRANSPORT is {other:?}: expected lean, actix or h2c"),
        }
    }

    /// Sends a GET on a connection of its own and reads the head of the answer. A small `receive_buffer` makes the
    /// gateway feel a slow reader soon.
    pub async fn get(
        &self,
        to: SocketAddr,
        receive_buffer: Option<u32>,
        target: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Response> {
        self.over(connect(to, receive_buffer).await?, receive_buffer, target, headers).await
    }

    /// The same on this connection, of which a stream of HTTP/2 takes up to `window` bytes in advance.
    pub async fn over(
        &self,
        socket: TcpStream,
        window: Option<u32>,
        target: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Response> {
        let host = socket.peer_addr()?.to_string();
        let link: Box<dyn Link> = Box::new(socket);
        match self {
            Self::Lean => http1::get(link, &host, target, headers).await,
            Self::Server => http1::get(http1::warm(link, &host).await?, &host, target, headers).await,
            Self::Http2 => Session::over(link, &host, window).await?.get(target, headers).await,
            Self::Tls(config) => {
                let link = secure(config, link).await?;
                if link.get_ref().1.alpn_protocol() == Some(b"h2") {
                    return Session::over(Box::new(link), HOST, window).await?.get(target, headers).await;
                }
                http1::get(Box::new(link), HOST, target, headers).await
            }
        }
    }

    /// The bytes of a connection, after its handshake if there is TLS.
    pub async fn bytes(&self, socket: TcpStream) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
        let link: Box<dyn Link> = Box::new(socket);
        Ok(match self {
            Self::Tls(config) => Box::new(secure(config, link).await?),
            _ => link,
        })
    }

    /// A session of HTTP/2 on this connection, for many streams. Over TLS the server must have agreed to it.
    pub async fn session(&self, socket: TcpStream) -> io::Result<Session> {
        let host = socket.peer_addr()?.to_string();
        match self {
            Self::Tls(config) => Session::over(Box::new(secure(config, Box::new(socket)).await?), HOST, None).await,
            _ => Session::over(Box::new(socket), &host, None).await,
        }
    }
}

/// Whom certificates of tests are for.
const HOST: &str = "localhost";

async fn secure(config: &Arc<ClientConfig>, link: Box<dyn Link>) -> io::Result<TlsStream<Box<dyn Link>>> {
    let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
    TlsConnector::from(config.clone()).connect(name, link).await
}

/// What trusts this certificate alone, which must be for `localhost`, and offers these versions of HTTP.
pub fn trust(certificate: &CertificateDer<'static>, versions: &[&str]) -> Transport {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("versions of TLS").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = versions.iter().map(|version| version.as_bytes().to_vec()).collect();
    Transport::Tls(Arc::new(config))
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lean => "HTTP/1.1",
            Self::Server => "HTTP/1.1, behind another request",
            Self::Http2 => "HTTP/2",
            Self::Tls(_) => "TLS",
        })
    }
}
