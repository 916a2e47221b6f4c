//! One HTTP/1 connection: requests and their answers, in turn.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{Method, Payload, Request, Response};
use actix_service::Service;
use actix_web::ResponseError;
use actix_web::dev::ServiceResponse;
use bytes::Buf;
use tokio::time::{Instant, timeout_at};

use super::Http1Options;
use super::answer::{self, Manner};
use super::body::RequestBody;
use super::head::{self, Framing};
use super::wire::Wire;
use crate::lean::Connection;
use crate::problem::{Kind, Problem};
use crate::request::{self, Patience};

/// How long the head of a request may take, from its first byte or from the beginning of the connection.
pub(crate) const HEAD: Duration = Duration::from_secs(5);

/// A request that was read.
struct Received {
    request: Request,
    body: RequestBody,
    manner: Manner,
}

/// Why no request was read.
enum NoRequest {
    /// The client has left, said nothing, or is to leave.
    Gone,
    /// What it sent is wrong. It is told, and the connection is closed.
    Wrong(Problem),
}

impl From<Problem> for NoRequest {
    fn from(problem: Problem) -> Self {
        Self::Wrong(problem)
    }
}

/// Serves a connection until either side ends it.
pub(super) async fn serve<S>(connection: Connection, app: Rc<S>, options: Http1Options)
where
    S: Service<Request, Response = ServiceResponse>,
    S::Error: Into<Response<BoxBody>>,
{
    let Connection { io, peer, since, mut socket, .. } = connection;
    let wire = Wire::new(io);
    let mut until = Instant::from_std(since) + HEAD;
    loop {
        let received = tokio::select! {
            biased;
            () = socket.surplus() => return,
            received = receive(&wire, until, &options) => received,
        };
        socket.speak();
        let received = match received {
            Ok(received) => received,
            Err(NoRequest::Gone) => return,
            Err(NoRequest::Wrong(problem)) => {
                let manner = Manner { only_head: false, chunks: true, persists: false };
                let _cut = answer::write(&wire, problem.error_response().into(), manner).await;
                return wire.close().await;
            }
        };
        let Received { mut request, body, manner } = received;
        request.head_mut().peer_addr = peer;
        let Some(response) = respond(&wire, &*app, request, &body).await else { return };
        let persists = manner.persists && body.skip() && !options.is_draining();
        match answer::write(&wire, response, Manner { persists, ..manner }).await {
            Ok(true) => {}
            Ok(false) => return wire.close().await,
            Err(_cut) => return,
        }
        wire.shrink();
        socket.fall_silent();
        tokio::select! {
            biased;
            () = socket.surplus() => return,
            begins = wait(&wire, &options) => if !begins { return },
        }
        until = Instant::now() + HEAD;
    }
}

/// Waits for the next request to begin. False if there is none: the client left, or is to leave.
async fn wait(wire: &Wire, options: &Http1Options) -> bool {
    if wire.with_read(|read| !read.is_empty()) {
        return true;
    }
    let mut drain = options.drain.clone();
    let until = Instant::now() + options.keep_alive;
    tokio::select! {
        read = timeout_at(until, poll_fn(|context| wire.poll_read(context))) => matches!(read, Ok(Ok(1..))),
        _ = drain.wait_for(Option::is_some) => false,
    }
}

/// Reads a request as far as its head goes.
async fn receive(wire: &Wire, until: Instant, options: &Http1Options) -> Result<Received, NoRequest> {
    loop {
        if let Some(received) = take(wire, options)? {
            return Ok(received);
        }
        match timeout_at(until, poll_fn(|context| wire.poll_read(context))).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return Err(NoRequest::Gone),
            // Whoever has said nothing expects nothing.
            Err(_) if wire.with_read(|read| read.is_empty()) => return Err(NoRequest::Gone),
            Err(_) => {
                let detail = format!("the head of the request took more than {} s", HEAD.as_secs());
                return Err(Problem::new(Kind::RequestTimeout, detail).into());
            }
        }
    }
}

/// Takes a request from what was read, if its head is whole.
fn take(wire: &Wire, options: &Http1Options) -> Result<Option<Received>, Problem> {
    let head: Result<_, Problem> = wire.with_read(|read| {
        let Some(head) = head::read(read, options.head)? else { return Ok(None) };
        let (request, framing) = (head.request()?, head.framing()?);
        let manner =
            Manner { only_head: request.method() == Method::HEAD, chunks: head.is_current, persists: head.persists() };
        let expects = head.is_current && head.lists("expect", "100-continue");
        let length = head.length;
        drop(head);
        read.advance(length);
        Ok(Some((request, framing, manner, expects)))
    });
    let Some((request, framing, manner, expects)) = head? else { return Ok(None) };
    let has_body = framing != Framing::Length(0);
    request::check(&request, has_body)?;
    let body = RequestBody::new(wire.clone(), framing, expects);
    let request = if has_body { request.replace_payload(Payload::from(body.stream())).0 } else { request };
    Ok(Some(Received { request, body, manner }))
}

/// Has the application answer. `None` if the client left before: what was begun for it is dropped.
async fn respond<S>(wire: &Wire, app: &S, request: Request, body: &RequestBody) -> Option<Response<BoxBody>>
where
    S: Service<Request, Response = ServiceResponse>,
    S::Error: Into<Response<BoxBody>>,
{
    // A poll waits for long. What changes something is not given up halfway.
    let watched = request.method() == Method::GET || request.method() == Method::HEAD;
    let mut call = pin!(app.call(request));
    let response = poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        Poll::Pending if watched && body.is_done() => wire.poll_left(context).map(|()| None),
        Poll::Pending => Poll::Pending,
    });
    let response = response.await?;
    if body.is_late() {
        return Some(Patience::problem().error_response().into());
    }
    Some(response.map_or_else(Into::into, Into::into))
}
