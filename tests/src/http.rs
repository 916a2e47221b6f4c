//! HTTP/1.1 over a bare socket: one GET, and a body that is read only when asked for, so that a reader can be slow.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

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
}

impl Response {
    /// Reads on until this has come.
    pub async fn until(&mut self, text: &str) {
        let mut read = Vec::new();
        while !read.windows(text.len()).any(|part| part == text.as_bytes()) {
            match self.body.next().await {
                Ok(Part::Bytes(bytes)) => read.extend_from_slice(&bytes),
                end => panic!("{end:?} before {text:?}, after {:?}", String::from_utf8_lossy(&read)),
            }
        }
    }
}

/// A body as it comes: pieces, then an end.
#[derive(Debug)]
pub struct Body {
    socket: TcpStream,
    buffer: BytesMut,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    Length(usize),
    ChunkHead,
    Chunk(usize),
    Close,
    Done,
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

/// Sends a GET and reads the head of the response.
pub async fn get(mut socket: TcpStream, target: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n", socket.peer_addr()?);
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    loop {
        if socket.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((status, headers, length)) = head(&buffer)? {
            buffer.advance(length);
            let framing = framing(&headers);
            return Ok(Response { status, headers, body: Body { socket, buffer, framing } });
        }
    }
}

type Head = (u16, Vec<(String, String)>, usize);

fn head(buffer: &[u8]) -> io::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let invalid = |e: httparse::Error| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    let httparse::Status::Complete(length) = response.parse(buffer).map_err(invalid)? else { return Ok(None) };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = response.headers.iter().map(|h| (h.name.to_ascii_lowercase(), text(h.value))).collect();
    Ok(Some((response.code.unwrap_or(0), headers, length)))
}

fn framing(headers: &[(String, String)]) -> Framing {
    let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    match (find("transfer-encoding"), find("content-length").and_then(|n| n.parse().ok())) {
        (Some("chunked"), _) => Framing::ChunkHead,
        (_, Some(length)) => Framing::Length(length),
        _ => Framing::Close,
    }
}

impl Body {
    /// The next part. Can be dropped while it waits without losing anything.
    pub async fn next(&mut self) -> io::Result<Part> {
        loop {
            if let Some(part) = self.buffered()? {
                return Ok(part);
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Ok(if matches!(self.framing, Framing::Close) { Part::End } else { Part::Cut });
            }
        }
    }

    /// Where it comes from.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
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

    fn buffered(&mut self) -> io::Result<Option<Part>> {
        loop {
            match self.framing {
                Framing::Done | Framing::Length(0) => return Ok(Some(Part::End)),
                Framing::Length(left) => return Ok(self.take(left, Framing::Length)),
                Framing::Close => return Ok(self.take(usize::MAX, |_| Framing::Close)),
                // Two bytes more: a chunk ends with CRLF, which is dropped below.
                Framing::Chunk(left) if left > 2 => return Ok(self.take(left - 2, |left| Framing::Chunk(left + 2))),
                Framing::Chunk(left) => {
                    if self.buffer.len() < left {
                        return Ok(None);
                    }
                    self.buffer.advance(left);
                    self.framing = Framing::ChunkHead;
                }
                Framing::ChunkHead => {
                    let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
                    let line = self.buffer.split_to(end + 2);
                    let size =
                        std::str::from_utf8(&line[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
                    let size = size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no chunk size"))?;
                    self.framing = if size == 0 { Framing::Done } else { Framing::Chunk(size + 2) };
                }
            }
        }
    }

    fn take(&mut self, most: usize, left: impl Fn(usize) -> Framing) -> Option<Part> {
        if self.buffer.is_empty() {
            return None;
        }
        let bytes = self.buffer.split_to(self.buffer.len().min(most)).freeze();
        self.framing = left(most - bytes.len());
        Some(Part::Bytes(bytes))
    }
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
    use tokio::net::TcpListener;

    async fn answer(pieces: &'static [&'static str]) -> Response {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let _ = socket.read(&mut [0; 1024]).await.unwrap();
            for piece in pieces {
                socket.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        get(connect(to, None).await.unwrap(), "/", &[]).await.unwrap()
    }

    #[tokio::test]
    async fn chunks_in_any_pieces() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut whole = answer(&[
            "HTTP/1.1 200 OK\r\nTransfer-Enco",
            "ding: chunked\r\n\r\n5\r",
            "\nhel",
            "lo\r\n1",
            "0\r\n0123456789abcdef",
            "\r",
            "\n0\r\n\r\n",
        ])
        .await;
        assert_eq!((whole.status, whole.header("transfer-encoding")), (200, Some("chunked")));
        assert_eq!(whole.body.all().await.unwrap(), (b"hello0123456789abcdef".to_vec(), Part::End));
        let mut cut = answer(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]).await;
        assert_eq!(cut.body.all().await.unwrap(), (b"hello".to_vec(), Part::Cut));
        let mut within = answer(&[HEAD, "5\r\nhel"]).await;
        assert_eq!(within.body.all().await.unwrap(), (b"hel".to_vec(), Part::Cut));
    }

    #[tokio::test]
    async fn lengths() {
        let mut whole = answer(&["HTTP/1.1 400 X\r\nContent-Length: 3\r\n\r\nabc"]).await;
        assert_eq!(whole.body.all().await.unwrap(), (b"abc".to_vec(), Part::End));
        let mut cut = answer(&["HTTP/1.1 400 X\r\nContent-Length: 4\r\n\r\nabc"]).await;
        assert_eq!(cut.body.all().await.unwrap(), (b"abc".to_vec(), Part::Cut));
    }

    #[test]
    fn targets_are_encoded() {
        let query = [("topic".to_owned(), "@a b/ü&".to_owned()), ("cursor".to_owned(), "1.a.2-0".to_owned())];
        assert_eq!(target("/v1/events", &query), "/v1/events?topic=%40a%20b%2F%C3%BC%26&cursor=1%2Ea%2E2%2D0");
    }
}
