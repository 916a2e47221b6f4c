//! The answer to a request, as HTTP/1 writes it.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::task::Poll;
use std::time::SystemTime;

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::{Response, StatusCode};

use super::wire::Wire;
use crate::http2::Joined;

/// What the request says about its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// No body: the request was HEAD.
    pub only_head: bool,
    /// The client knows chunks: it speaks HTTP/1.1.
    pub chunks: bool,
    /// Another request may follow.
    pub persists: bool,
}

/// The client has left, or the body was cut.
pub(super) struct Cut;

/// Writes an answer. Whether another request may follow.
pub(super) async fn write(wire: &Wire, response: Response<BoxBody>, manner: Manner) -> Result<bool, Cut> {
    let (response, body) = response.into_parts();
    let size = body.size();
    let streams = size == BodySize::Stream;
    // Without chunks a body of no known length ends with its connection.
    let manner = Manner { persists: manner.persists && (manner.chunks || !streams), ..manner };
    let mut out = head(&response, size, manner);
    if manner.only_head || size.is_eof() {
        wire.write_all(&out).await.map_err(|_| Cut)?;
        return Ok(manner.persists);
    }
    let (mut body, chunked) = (Joined::new(body), streams && manner.chunks);
    loop {
        let next = poll_fn(|context| match body.poll_next(context) {
            Poll::Ready(next) => Poll::Ready(Some(next)),
            Poll::Pending if !out.is_empty() => Poll::Ready(None),
            Poll::Pending if streams => wire.poll_left(context).map(|()| Some(Some(Err("the client left".into())))),
            Poll::Pending => Poll::Pending,
        });
        match next.await {
            Some(Some(Ok(bytes))) => put(&mut out, &bytes, chunked),
            Some(Some(Err(_))) => return Err(Cut),
            Some(None) => {
                out.extend_from_slice(if chunked { b"0\r\n\r\n" } else { b"" });
                wire.write_all(&out).await.map_err(|_| Cut)?;
                return Ok(manner.persists);
            }
            None => {}
        }
        wire.write_all(&out).await.map_err(|_| Cut)?;
        // A stream waits most of its time, and holds no memory meanwhile.
        out = Vec::new();
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8], chunked: bool) {
    if chunked {
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
    }
    out.extend_from_slice(bytes);
    if chunked {
        out.extend_from_slice(b"\r\n");
    }
}

fn head(response: &Response<()>, size: BodySize, manner: Manner) -> Vec<u8> {
    let status = response.status();
    let mut head = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    match size {
        _ if is_bodiless(status) => {}
        BodySize::None => head.push_str("content-length: 0\r\n"),
        BodySize::Sized(length) => {
            let _written = write!(head, "content-length: {length}\r\n");
        }
        BodySize::Stream if manner.chunks => head.push_str("transfer-encoding: chunked\r\n"),
        BodySize::Stream => {}
    }
    if !manner.persists {
        head.push_str("connection: close\r\n");
    }
    let _written = write!(head, "date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    let mut head = head.into_bytes();
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Whether an answer of this status has neither a body nor a length.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}
