//! What is wrong with a head that has been read: the same problem on every transport.

use actix_http::header::{self, HeaderMap};
use actix_http::{HttpMessage, Request, Version};

use crate::problem::{Kind, Problem};

/// How many `Host` a request must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authority {
    /// Exactly one, as HTTP/1.1 and HTTP/2 ask for.
    Required,
    /// One or none: HTTP/1.0.
    Optional,
}

/// Checks what no path may accept. `has_body` says whether a body follows.
pub(crate) fn check(request: &Request, has_body: bool) -> Result<(), Problem> {
    let headers = request.headers();
    let required = request.version() != Version::HTTP_10;
    check_host(headers, if required { Authority::Required } else { Authority::Optional })?;
    check_target(request.uri().query().unwrap_or_default().as_bytes())?;
    check_length(headers)?;
    if has_body {
        check_encoding(headers)?;
    }
    check_expectation(headers)
}

/// Checks the bytes of a URL, or of a part of it: what has to be percent-encoded in it must be so.
pub(crate) fn check_target(target: &[u8]) -> Result<(), Problem> {
    let wrong = |byte: &&u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'<' | b'>' | b'#');
    let Some(byte) = target.iter().find(wrong) else { return Ok(()) };
    let what = match byte {
        b' ' => "a blank, which is written as %20",
        byte if byte.is_ascii_graphic() => "a quote, < or >, # or the like",
        byte if byte.is_ascii() => "a control character",
        _ => "a character that is not ASCII",
    };
    Err(bad(format!("the URL holds {what}: such characters must be percent-encoded, as in %C3%A9")))
}

fn check_host(headers: &HeaderMap, authority: Authority) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST);
    let Some(host) = hosts.next() else {
        return match authority {
            Authority::Required => Err(bad("the request has no Host header: it must have one")),
            Authority::Optional => Ok(()),
        };
    };
    if hosts.next().is_some() {
        return Err(bad("the request has several Host headers: it must have one"));
    }
    if !is_host(host.as_bytes()) {
        return Err(bad("the Host header is no host: it must be a name or an address, and a port if need be"));
    }
    Ok(())
}

/// Whether this may be a host and a port. An empty one is allowed: RFC 9110, section 7.2.
pub(crate) fn is_host(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_graphic() && !b"/\\?#@\"<>,".contains(byte))
}

/// A length that is given twice may be read as two requests by a proxy in front.
fn check_length(headers: &HeaderMap) -> Result<(), Problem> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH);
    let Some(length) = lengths.next() else { return Ok(()) };
    let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    let number = length.to_str().ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok());
    match (number, lengths.next()) {
        (Some(_), None) => Ok(()),
        (None, _) => Err(bad("the Content-Length header is no number of bytes")),
        (Some(_), Some(_)) => Err(bad("the request has several Content-Length headers: it must have one at the most")),
    }
}

fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else { return Ok(()) };
    let encoding = String::from_utf8_lossy(encoding.as_bytes());
    if encoding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    let shown: String = encoding.chars().take(32).collect();
    let detail = format!("Content-Encoding {shown:?} is not supported: send the body as it is, without that header");
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Problem> {
    let known = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(header::EXPECT).all(known) {
        return Ok(());
    }
    Err(Problem::new(Kind::ExpectationFailed, "Expect must be 100-continue, or be left out"))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadRequest, detail)
}
