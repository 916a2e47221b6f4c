//! The head of a request, as far as it takes to see whether it asks for a stream and nothing else.

use httparse::Header;
use smallvec::SmallVec;

use crate::http1::{self, Framing, RequestHead};
use crate::request::{HeadBounds, is_host};
use crate::stream::Asked;

/// What the bytes that have come so far begin with.
#[derive(Debug)]
pub enum Head<'a> {
    /// A request for a stream, whole, with no body.
    Stream(Asked<'a>, Manner),
    /// The preface of HTTP/2, spoken without being asked to.
    Http2,
    /// Something else, or what had better be judged by a whole server.
    Other,
    /// Not to be told yet.
    Partial,
}

/// What the request says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Nothing.
    Persist,
    /// `Connection: close`, which the answer repeats.
    Close,
}

/// The path of streams, as nearly every client writes it. Other spellings of it are the server's to understand.
const START: &[u8] = b"GET /v1/events";
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Looks at the beginning of a connection.
pub fn read(bytes: &[u8], bounds: HeadBounds) -> Head<'_> {
    if bytes.starts_with(b"P") && PREFACE.starts_with(&bytes[..bytes.len().min(PREFACE.len())]) {
        return if bytes.len() < PREFACE.len() { Head::Partial } else { Head::Http2 };
    }
    if bytes.len() <= START.len() {
        return if START.starts_with(bytes) { Head::Partial } else { Head::Other };
    }
    if !bytes.starts_with(START) || !matches!(bytes.get(START.len()), Some(b'?' | b' ')) {
        return Head::Other;
    }
    match http1::read(bytes, bounds) {
        Ok(Some(head)) => whole(&head).map_or(Head::Other, |(asked, manner)| Head::Stream(asked, manner)),
        Ok(None) => Head::Partial,
        Err(_) => Head::Other,
    }
}

fn whole<'a>(head: &RequestHead<'a>) -> Option<(Asked<'a>, Manner)> {
    let query = head.target.split_once('?').map_or("", |(_, query)| query);
    let (mut last_event_id, mut origin, mut hosts, mut lengths) = (None, None, 0, 0);
    let mut forwarded = SmallVec::new();
    for Header { name, value } in head.headers.iter() {
        match *name {
            name if name.eq_ignore_ascii_case("last-event-id") => {
                last_event_id.get_or_insert(text(value).unwrap_or("?"));
            }
            name if name.eq_ignore_ascii_case("x-forwarded-for") => forwarded.extend(text(value)),
            name if name.eq_ignore_ascii_case("origin") => {
                origin.get_or_insert(text(value).unwrap_or("?"));
            }
            name if name.eq_ignore_ascii_case("host") && is_host(value) => hosts += 1,
            name if name.eq_ignore_ascii_case("content-length") && *value == b"0" => lengths += 1,
            name if OTHERS.iter().any(|other| name.eq_ignore_ascii_case(other)) => return None,
            _ => {}
        }
    }
    let plain = head.is_current && hosts == 1 && lengths <= 1 && head.framing().is_ok_and(|f| f == Framing::Length(0));
    let manner = if head.persists() { Manner::Persist } else { Manner::Close };
    plain.then_some((Asked { query, last_event_id, origin, peer: None, forwarded, places: None }, manner))
}

/// Headers of requests that are more than a head, or that are wrong.
const OTHERS: [&str; 4] = ["host", "content-length", "transfer-encoding", "expect"];

/// A header's value, if it is visible ASCII.
fn text(value: &[u8]) -> Option<&str> {
    let visible = value.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t');
    std::str::from_utf8(value).ok().filter(|_| visible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn look(bytes: &[u8]) -> Head<'_> {
        read(bytes, HeadBounds::for_topics(100))
    }

    fn stream(request: &str) -> Option<(String, Option<String>)> {
        match look(request.as_bytes()) {
            Head::Stream(asked, _) => Some((asked.query.to_owned(), asked.last_event_id.map(str::to_owned))),
            _ => None,
        }
    }

    #[test]
    fn a_request_for_a_stream_is_taken() {
        let head = "GET /v1/events?topic=orders%2F42&topic=@a HTTP/1.1\r\nHost: x\r\nlast-event-id: 1.7.1-0\r\n\r\n";
        assert_eq!(stream(head), Some(("topic=orders%2F42&topic=@a".to_owned(), Some("1.7.1-0".to_owned()))));
        assert_eq!(
            stream("GET /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
            Some((String::new(), None))
        );
        let odd = b"GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nLast-Event-ID: \xff\r\n\r\n";
        assert!(matches!(look(odd), Head::Stream(Asked { last_event_id: Some("?"), .. }, Manner::Persist)));
    }

    #[test]
    fn it_waits_only_while_it_can_be_one() {
        let head = "GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 0..head.len() {
            assert!(matches!(look(&head.as_bytes()[..end]), Head::Partial), "{end} bytes");
        }
        for end in 1..PREFACE.len() {
            assert!(matches!(look(&PREFACE[..end]), Head::Partial), "{end} bytes");
        }
        assert!(matches!(look(PREFACE), Head::Http2));
        assert!(matches!(look(&[PREFACE, b"\0\0\x12\x04"].concat()), Head::Http2));
        for other in ["PO", "PRI * HTTP/1", "GET /v1/p", "GET /v1/eventsx", "\u{16}\u{3}\u{1}", "get /v1/events"] {
            assert!(matches!(look(other.as_bytes()), Head::Other), "{other}");
        }
    }

    #[test]
    fn what_matters_only_to_others_is_no_reason_to_hand_it_on() {
        for (header, expected) in [
            ("Upgrade: websocket\r\nConnection: upgrade", Manner::Persist),
            ("Connection: keep-alive", Manner::Persist),
            ("Connection: x, Close", Manner::Close),
        ] {
            let request = format!("GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n");
            assert!(matches!(look(request.as_bytes()), Head::Stream(_, manner) if manner == expected), "{header}");
        }
    }

    #[test]
    fn whatever_is_more_than_that_is_for_a_whole_server() {
        let with = |header: &str| format!("GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n");
        for header in [
            "Content-Length: 2",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Host: y",
            "Content-Length: 0\r\nContent-Length: 0",
        ] {
            assert!(matches!(look(with(header).as_bytes()), Head::Other), "{header}");
        }
        let many = vec!["A: b"; HeadBounds::HEADERS + 1].join("\r\n");
        assert!(matches!(look(with(&many).as_bytes()), Head::Other));
        assert!(matches!(look(b"GET /v1/events HTTP/1.0\r\n\r\n"), Head::Other));
        assert!(matches!(look(b"GET /v1/events?topic=\"a\" HTTP/1.1\r\n\r\n"), Head::Other));
        assert!(matches!(look(b"GET /v1/events HTTP/1.1\r\nno header\r\n\r\n"), Head::Other));
    }

    proptest! {
        #[test]
        fn never_panics(rest: Vec<u8>) {
            look(&rest);
            look(&[START, &rest].concat());
        }
    }
}
