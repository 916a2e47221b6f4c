//! The head of a request, as far as it takes to see whether it asks for a stream and nothing else.

use httparse::{EMPTY_HEADER, Header, Request, Status};
use smallvec::SmallVec;

use crate::stream::Asked;

/// What the bytes that have come so far begin with.
#[derive(Debug)]
pub enum Head<'a> {
    /// A request for a stream, whole, with no body.
    Stream(Asked<'a>),
    /// The preface of HTTP/2, spoken without being asked to.
    Http2,
    /// Something else, or what had better be judged by a whole server.
    Other,
    /// Not to be told yet.
    Partial,
}

/// The path of streams, as nearly every client writes it. Other spellings of it are the server's to understand.
const START: &[u8] = b"GET /v1/events";
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Headers of a request that is read here; browsers send about fifteen.
const HEADERS: usize = 48;

/// Looks at the beginning of a connection.
pub fn read(bytes: &[u8]) -> Head<'_> {
    if bytes.starts_with(b"P") && PREFACE.starts_with(&bytes[..bytes.len().min(PREFACE.len())]) {
        return if bytes.len() < PREFACE.len() { Head::Partial } else { Head::Http2 };
    }
    if bytes.len() <= START.len() {
        return if START.starts_with(bytes) { Head::Partial } else { Head::Other };
    }
    if !bytes.starts_with(START) || !matches!(bytes.get(START.len()), Some(b'?' | b' ')) {
        return Head::Other;
    }
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(Status::Complete(_)) => whole(&request).map_or(Head::Other, Head::Stream),
        Ok(Status::Partial) => Head::Partial,
        Err(_) => Head::Other,
    }
}

fn whole<'a>(request: &Request<'_, 'a>) -> Option<Asked<'a>> {
    let target = request.path.filter(|_| request.version == Some(1))?;
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let (mut last_event_id, mut origin) = (None, None);
    let mut forwarded = SmallVec::new();
    for Header { name, value } in request.headers.iter() {
        match *name {
            name if name.eq_ignore_ascii_case("last-event-id") => {
                last_event_id.get_or_insert(text(value).unwrap_or("?"));
            }
            name if name.eq_ignore_ascii_case("x-forwarded-for") => forwarded.extend(text(value)),
            name if name.eq_ignore_ascii_case("origin") => {
                origin.get_or_insert(text(value).unwrap_or("?"));
            }
            name if name.eq_ignore_ascii_case("content-length") && *value == b"0" => {}
            name if OTHERS.iter().any(|other| name.eq_ignore_ascii_case(other)) => return None,
            _ => {}
        }
    }
    query.bytes().all(is_query).then_some(Asked { query, last_event_id, origin, peer: None, forwarded, places: None })
}

/// Headers of requests that are more than a head.
const OTHERS: [&str; 4] = ["content-length", "transfer-encoding", "expect", "upgrade"];

/// What RFC 3986 allows in a query.
fn is_query(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%[]".contains(&byte)
}

/// A header's value, if it is visible ASCII.
fn text(value: &[u8]) -> Option<&str> {
    let visible = value.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t');
    std::str::from_utf8(value).ok().filter(|_| visible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(request: &str) -> Option<(String, Option<String>)> {
        match read(request.as_bytes()) {
            Head::Stream(asked) => Some((asked.query.to_owned(), asked.last_event_id.map(str::to_owned))),
            _ => None,
        }
    }

    #[test]
    fn a_request_for_a_stream_is_taken() {
        let head = "GET /v1/events?topic=orders%2F42&topic=@a HTTP/1.1\r\nHost: x\r\nlast-event-id: 1.7.1-0\r\n\r\n";
        assert_eq!(stream(head), Some(("topic=orders%2F42&topic=@a".to_owned(), Some("1.7.1-0".to_owned()))));
        assert_eq!(stream("GET /v1/events HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), Some((String::new(), None)));
        let odd = b"GET /v1/events?topic=a HTTP/1.1\r\nLast-Event-ID: \xff\r\n\r\n";
        assert!(matches!(read(odd), Head::Stream(Asked { last_event_id: Some("?"), .. })));
    }

    #[test]
    fn it_waits_only_while_it_can_be_one() {
        let head = "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 0..head.len() {
            assert!(matches!(read(&head.as_bytes()[..end]), Head::Partial), "{end} bytes");
        }
        for end in 1..PREFACE.len() {
            assert!(matches!(read(&PREFACE[..end]), Head::Partial), "{end} bytes");
        }
        assert!(matches!(read(PREFACE), Head::Http2));
        assert!(matches!(read(&[PREFACE, b"\0\0\x12\x04"].concat()), Head::Http2));
        for other in ["PO", "PRI * HTTP/1", "GET /v1/p", "GET /v1/eventsx", "\u{16}\u{3}\u{1}", "get /v1/events"] {
            assert!(matches!(read(other.as_bytes()), Head::Other), "{other}");
        }
    }

    #[test]
    fn whatever_is_more_than_that_is_for_a_whole_server() {
        let with = |header: &str| format!("GET /v1/events?topic=a HTTP/1.1\r\n{header}\r\n\r\n");
        for header in ["Content-Length: 2", "Transfer-Encoding: chunked", "Expect: 100-continue", "Upgrade: h2c"] {
            assert!(matches!(read(with(header).as_bytes()), Head::Other), "{header}");
        }
        let many = vec!["A: b"; HEADERS + 1].join("\r\n");
        assert!(matches!(read(with(&many).as_bytes()), Head::Other));
        assert!(matches!(read(b"GET /v1/events HTTP/1.0\r\n\r\n"), Head::Other));
        assert!(matches!(read(b"GET /v1/events?topic=\"a\" HTTP/1.1\r\n\r\n"), Head::Other));
        assert!(matches!(read(b"GET /v1/events HTTP/1.1\r\nno header\r\n\r\n"), Head::Other));
    }

    proptest! {
        #[test]
        fn never_panics(rest: Vec<u8>) {
            read(&rest);
            read(&[START, &rest].concat());
        }
    }
}
