//! HTTP/1.1: one GET, and a body that is read only when asked for, so that a reader can be slow.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Inner, Link, Part, Response};

/// A body as it comes: pieces, then an end.
pub(super) struct Body {
    link: Box<dyn Link>,
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

/// Sends a GET and reads the head of the response.
pub(super) async fn get(
    mut link: Box<dyn Link>,
    host: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    link.write_all(request.as_bytes()).await?;
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    loop {
        if link.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((status, headers, length)) = head(&buffer)? {
            buffer.advance(length);
            let framing = framing(&headers);
            let body = Body { link, buffer, framing };
            return Ok(Response { status, headers, body: super::Body(Inner::Http1(body)) });
        }
    }
}

/// Sends a request to nowhere and reads its answer, so that what comes next is a later request.
pub(super) async fn warm(link: Box<dyn Link>, host: &str) -> io::Result<Box<dyn Link>> {
    let mut answer = get(link, host, "/nowhere", &[]).await?;
    answer.body.all().await?;
    match answer.body.0 {
        Inner::Http1(body) if body.buffer.is_empty() => Ok(body.link),
        _ => Err(io::ErrorKind::InvalidData.into()),
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
    pub(super) async fn next(&mut self) -> io::Result<Part> {
        loop {
            if let Some(part) = self.buffered()? {
                return Ok(part);
            }
            if self.link.read_buf(&mut self.buffer).await? == 0 {
                return Ok(if matches!(self.framing, Framing::Close) { Part::End } else { Part::Cut });
            }
        }
    }

    /// What it comes over.
    pub(super) fn link(&mut self) -> &mut Box<dyn Link> {
        &mut self.link
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

#[cfg(test)]
mod tests {
    use super::super::connect;
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
        let link = connect(to, None).await.unwrap();
        get(Box::new(link), "test", "/", &[]).await.unwrap()
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
}
