//! One request of an HTTP/2 connection and its answer.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::header::{HOST, HeaderName, HeaderValue};
use actix_http::{BoxedPayloadStream, HttpMessage, Method, Payload, Request, RequestHead, Response, Uri, Version};
use actix_service::Service;
use actix_web::ResponseError;
use actix_web::dev::ServiceResponse;
use bytes::Bytes;
use futures_util::{Stream, stream};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use tokio::time::timeout;

use super::joined::Joined;
use crate::admission::Places;
use crate::http1;
use crate::problem::{Kind, Problem};
use crate::request::{self, HeadBounds, Patience, check_target};

/// What a request comes to.
pub(super) struct Exchange<S> {
    app: Rc<S>,
    places: Places,
    peer: Option<SocketAddr>,
    patience: Duration,
    head: HeadBounds,
}

/// The client has closed the stream, takes nothing from it, or the connection has ended: nobody waits for more.
struct Gone;

impl<S> Exchange<S> {
    /// With `app`, for a request of `peer`, whose connection has `places`. A stream from which nothing is taken for
    /// `patience` is reset; that its connection is alive says nothing of it. A head over `head` is refused.
    pub(super) fn new(
        app: Rc<S>,
        places: Places,
        peer: Option<SocketAddr>,
        patience: Duration,
        head: HeadBounds,
    ) -> Self {
        Self { app, places, peer, patience, head }
    }

    /// Answers the request. What was begun for it is dropped as soon as the client closes the stream.
    pub(super) async fn run(self, request: http::Request<RecvStream>, mut answer: SendResponse<Bytes>)
    where
        S: Service<Request, Response = ServiceResponse>,
        S::Error: Into<Response<BoxBody>>,
    {
        let only_head = request.method() == http::Method::HEAD;
        let patience = Patience::begin();
        let late = patience.late();
        let response = match translate(request, self.peer, self.head, patience) {
            Ok(request) => {
                request.extensions_mut().insert(self.places);
                let response = tokio::select! {
                    biased;
                    _ = poll_fn(|context| answer.poll_reset(context)) => return,
                    response = self.app.call(request) => response,
                };
                match late.get() {
                    true => Patience::problem().error_response().into(),
                    false => response.map_or_else(Into::into, Into::into),
                }
            }
            Err(problem) => problem.error_response().into(),
        };
        let (response, body) = response.into_parts();
        let ends = body.size().is_eof() || only_head;
        let Ok(out) = answer.send_response(head(&response, body.size()), ends) else { return };
        if !ends {
            let _gone = write(body, out, self.patience).await;
        }
    }
}

/// Writes the body as it comes. One that fails is cut: the stream is reset after what was written.
async fn write(body: BoxBody, mut out: SendStream<Bytes>, patience: Duration) -> Result<(), Gone> {
    let mut body = Joined::new(body);
    loop {
        let next = tokio::select! {
            biased;
            _ = poll_fn(|context| out.poll_reset(context)) => return Err(Gone),
            next = poll_fn(|context| body.poll_next(context)) => next,
        };
        match next {
            Some(Ok(bytes)) => send(&mut out, bytes, patience).await?,
            Some(Err(_cut)) => return Ok(()),
            None => return out.send_data(Bytes::new(), true).map_err(|_| Gone),
        }
    }
}

/// Sends as the client makes room, and holds no more than that.
async fn send(out: &mut SendStream<Bytes>, mut bytes: Bytes, patience: Duration) -> Result<(), Gone> {
    while !bytes.is_empty() {
        out.reserve_capacity(bytes.len());
        let room = timeout(patience, poll_fn(|context| out.poll_capacity(context))).await;
        let Ok(Some(Ok(room))) = room else { return Err(Gone) };
        let part = bytes.split_to(room.min(bytes.len()));
        if !part.is_empty() {
            out.send_data(part, false).map_err(|_| Gone)?;
        }
    }
    Ok(())
}

/// The request as the application takes it, which uses an older version of the `http` crate.
fn translate(
    request: http::Request<RecvStream>,
    peer: Option<SocketAddr>,
    bounds: HeadBounds,
    patience: Patience,
) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    if size(&parts) > bounds.bytes() || parts.headers.len() > HeadBounds::HEADERS {
        return Err(http1::too_large(bounds));
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    check_target(target.as_bytes())?;
    let body: BoxedPayloadStream = Box::pin(payload(body, patience));
    let mut request = Request::with_payload(Payload::from(body));
    fill(request.head_mut(), &parts).ok_or_else(|| Problem::new(Kind::BadRequest, "the head is not valid"))?;
    request.head_mut().peer_addr = peer;
    request::check(&request, has_body)?;
    Ok(request)
}

/// Puts what a head says into another. `None` if it is not valid there.
fn fill(head: &mut RequestHead, parts: &http::request::Parts) -> Option<()> {
    head.method = Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.uri = parts.uri.to_string().parse::<Uri>().ok()?;
    head.version = Version::HTTP_2;
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        head.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    // `:authority` is what HTTP/1 calls Host, and who asks for Host means that. Several of those stay, and are refused.
    let several = head.headers.get_all(HOST).count() > 1;
    if let Some(authority) = parts.uri.authority().filter(|_| !several) {
        head.headers.insert(HOST, HeaderValue::from_str(authority.as_str()).ok()?);
    }
    Some(())
}

/// The bytes of a head as HTTP/1.1 would write it: one bound for both.
fn size(parts: &http::request::Parts) -> usize {
    const LINE: usize = "  HTTP/1.1\r\n\r\n".len();
    const FIELD: usize = ": \r\n".len();
    let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let host = parts.uri.authority().map_or(0, |authority| "host".len() + authority.as_str().len() + FIELD);
    let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    LINE + parts.method.as_str().len() + target + host + fields.sum::<usize>()
}

/// The body of a request; what was read makes room for more.
fn payload(mut body: RecvStream, mut patience: Patience) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    stream::poll_fn(move |context| {
        if patience.poll(context).is_ready() {
            return Poll::Ready(Some(Err(PayloadError::Incomplete(None))));
        }
        body.poll_data(context).map(|next| {
            patience.renew();
            let read = next?.and_then(|bytes| body.flow_control().release_capacity(bytes.len()).map(|()| bytes));
            Some(read.map_err(|error| PayloadError::Io(io::Error::other(error))))
        })
    })
}

/// Headers that belong to a connection of HTTP/1, and have no place here.
const HOP: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

fn head(response: &Response<()>, size: BodySize) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = http::StatusCode::from_u16(response.status().as_u16()).unwrap_or_default();
    let headers = head.headers_mut();
    for (name, value) in response.headers().iter().filter(|(name, _)| !HOP.contains(&name.as_str())) {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    if let BodySize::Sized(length) = size {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    if let Ok(date) = httpdate::fmt_http_date(SystemTime::now()).try_into() {
        headers.insert(http::header::DATE, date);
    }
    head
}
