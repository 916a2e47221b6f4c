//! The head of an HTTP/1 request: read once, for the lean path and the server alike.

use actix_http::header::{self, HeaderName, HeaderValue};
use actix_http::{Method, Request, Uri, Version};
use httparse::{EMPTY_HEADER, Error, Header, Status};
use smallvec::SmallVec;

use crate::problem::{Kind, Problem};
use crate::request::{HeadBounds, check_target};

/// A head that is whole and well-formed. What its fields say is not judged yet.
#[derive(Debug)]
pub(crate) struct RequestHead<'b> {
    /// The method.
    pub method: &'b str,
    /// The URL: a path and a query, or a whole one.
    pub target: &'b str,
    /// Whether it is of HTTP/1.1, not 1.0.
    pub is_current: bool,
    /// The fields, in order.
    pub headers: SmallVec<[Header<'b>; 24]>,
    /// Its bytes, from the beginning of what was read.
    pub length: usize,
}

/// How the body of a request is told from what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By its length; 0 where there is none.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// Reads the head that `bytes` begin with. `None` while it is not whole.
pub(crate) fn read(bytes: &[u8], bounds: HeadBounds) -> Result<Option<RequestHead<'_>>, Problem> {
    let mut fields = [EMPTY_HEADER; HeadBounds::HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) if length <= bounds.bytes() => length,
        Ok(Status::Partial) if bytes.len() < bounds.bytes() => return Ok(None),
        Ok(_) => return Err(too_large(bounds)),
        Err(error) => return Err(malformed(bytes, error)),
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Ok(None);
    };
    check_target(target.as_bytes())?;
    let headers = SmallVec::from_slice(request.headers);
    Ok(Some(RequestHead { method, target, is_current: version == 1, headers, length }))
}

/// The answer to a head over the bounds.
pub(crate) fn too_large(bounds: HeadBounds) -> Problem {
    let (bytes, headers) = (bounds.bytes(), HeadBounds::HEADERS);
    let detail = format!("the head of the request is larger than {bytes} bytes or {headers} header fields");
    Problem::new(Kind::HeadTooLarge, detail)
}

fn malformed(bytes: &[u8], error: Error) -> Problem {
    if error == Error::TooManyHeaders {
        let most = HeadBounds::HEADERS;
        return Problem::new(Kind::HeadTooLarge, format!("the request has more than {most} header fields"));
    }
    let line = bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let target = line.trim_ascii().splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default();
    let target = target.strip_suffix(b" HTTP/1.1").or_else(|| target.strip_suffix(b" HTTP/1.0"));
    if let Some(Err(problem)) = target.map(check_target) {
        return problem;
    }
    Problem::new(Kind::BadRequest, format!("this is no request of HTTP/1.1: {error}"))
}

impl<'b> RequestHead<'b> {
    /// The values of the fields of this name, which is in lower case.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// Whether a field is a list that has this word.
    pub(crate) fn lists(&self, name: &str, word: &str) -> bool {
        let mut words = self.all(name).flat_map(|value| value.split(|byte| *byte == b','));
        words.any(|one| one.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    }

    /// How its body ends. Whatever two readers could understand differently is refused.
    pub(crate) fn framing(&self) -> Result<Framing, Problem> {
        let bad = |detail: &str| Err(Problem::new(Kind::BadRequest, detail));
        let mut codings = self.all("transfer-encoding");
        if let Some(coding) = codings.next() {
            return if !self.is_current {
                bad("Transfer-Encoding is not part of HTTP/1.0")
            } else if codings.next().is_some() || !coding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                bad("Transfer-Encoding must be chunked, once")
            } else if self.all("content-length").next().is_some() {
                bad("the request has both Content-Length and Transfer-Encoding: it must have one at the most")
            } else {
                Ok(Framing::Chunked)
            };
        }
        // What is no number, or is there twice, is refused with the rest of the head.
        let length = self.all("content-length").next().and_then(|value| std::str::from_utf8(value).ok());
        Ok(Framing::Length(length.and_then(|text| text.parse().ok()).unwrap_or_default()))
    }

    /// Whether another request may follow on the connection. HTTP/1.0 always closes.
    pub(crate) fn persists(&self) -> bool {
        self.is_current && !self.lists("connection", "close")
    }

    /// The request as the application takes it.
    pub(crate) fn request(&self) -> Result<Request, Problem> {
        let bad = |detail: &str| Problem::new(Kind::BadRequest, detail);
        let mut request = Request::new();
        let head = request.head_mut();
        head.method = Method::from_bytes(self.method.as_bytes()).map_err(|_| bad("the method is no token"))?;
        let origin = self.target.starts_with('/') || self.target == "*" || self.target.contains("://");
        let uri = self.target.parse::<Uri>().ok().filter(|_| origin);
        head.uri = uri.ok_or_else(|| bad("the URL is not valid: it must be a path, such as /v1/events?topic=a"))?;
        head.version = if self.is_current { Version::HTTP_11 } else { Version::HTTP_10 };
        for Header { name, value } in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("a header's name is not valid"))?;
            let value = HeaderValue::from_bytes(value).map_err(|_| bad("a header's value is not valid"))?;
            head.headers.append(name, value);
        }
        // An absolute URL names the host, whatever Host says: RFC 9112, section 3.2.2.
        let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
        if let (Some(authority), true) = (authority, head.headers.contains_key(header::HOST)) {
            let value = HeaderValue::from_str(&authority).map_err(|_| bad("the host of the URL is not valid"))?;
            head.headers.insert(header::HOST, value);
        }
        Ok(request)
    }
}
