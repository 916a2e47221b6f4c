//! HTTP as the clients speak it: a GET over any [`Transport`], and a body that is read only when asked for.

mod http1;
mod http2;
mod transport;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::wait::PATIENCE;

pub use http2::Session;
pub use transport::{Transport, trust};

/// What bytes go over: a socket, perhaps with TLS on it.
pub(crate) trait Link: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Link for T {}

/// The head of a response, with its body still to be read.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Reads on until this has come. What was read.
    pub async fn until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        while !read.windows(text.len()).any(|part| part == text.as_bytes()) {
            let next = timeout(PATIENCE, self.body.next()).await;
            match next.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(Part::Bytes(bytes)) => read.extend_from_slice(&bytes),
                end => panic!("{end:?} before {text:?}, after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// A body as it comes: pieces, then an end.
pub struct Body(Inner);

enum Inner {
    Http1(http1::Body),
    Http2(http2::Body),
}

/// Part of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Some bytes.
    Bytes(Bytes),
    /// The end as announced: the last chunk, or the whole length.
    End,
    /// The connection ended before the body did.
    Cut,
}

impl Body {
    /// The next part. Can be dropped while it waits without losing anything.
    pub async fn next(&mut self) -> io::Result<Part> {
        match &mut self.0 {
            Inner::Http1(body) => body.next().await,
            Inner::Http2(body) => Ok(body.next().await),
        }
    }

    /// Says that nothing more is asked for, by closing one side of the connection. HTTP/2 has no such thing.
    pub async fn close_side(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::Http1(body) => body.link().shutdown().await,
            Inner::Http2(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// All that is left, for bodies that end.
    pub async fn all(&mut self) -> io::Result<(Vec<u8>, Part)> {
        let mut whole = Vec::new();
        loop {
            match self.next().await? {
                Part::Bytes(bytes) => whole.extend_from_slice(&bytes),
                end => return Ok((whole, end)),
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Http1(_) => "Body(HTTP/1.1)",
            Inner::Http2(_) => "Body(HTTP/2)",
        })
    }
}

/// Connects; a small `receive_buffer` makes the server feel a slow reader soon.
pub async fn connect(to: SocketAddr, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// `path?key=value&…`, each value percent-encoded.
pub fn target(path: &str, query: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        query.iter().map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))).collect();
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded() {
        let query = [("topic".to_owned(), "@a b/ü&".to_owned()), ("cursor".to_owned(), "1.a.2-0".to_owned())];
        assert_eq!(target("/v1/events", &query), "/v1/events?topic=%40a%20b%2F%C3%BC%26&cursor=1%2Ea%2E2%2D0");
    }
}
