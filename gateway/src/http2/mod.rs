//! HTTP/2: connections whose streams are requests to the application; those of HTTP/1 go on to `http1`.
//!
//! A loop of its own around the `h2` crate, because the one of the HTTP server neither tells clients how many streams
//! they may open nor that they should leave a gateway which is about to end, and learns that a client has closed a
//! stream only when it writes the next time.

mod connection;
mod exchange;
mod joined;

pub(crate) use self::joined::Joined;

use std::convert::Infallible;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::http1::{self, Http1Options};
use crate::hub::Told;
use crate::lean::Connection;
use crate::request::HeadBounds;
use actix_http::body::BoxBody;
use actix_http::{Protocol, Request, Response};
use actix_service::{Service, ServiceFactory};
use actix_web::dev::ServiceResponse;
use futures_util::future::LocalBoxFuture;

/// How connections are held.
#[derive(Debug, Clone)]
pub struct Http2Options {
    /// The largest head of a request.
    pub head: HeadBounds,
    /// The most event streams of one connection.
    pub streams: u32,
    /// Time between two pings. A peer that has not answered one by the next is gone, and so is a stream from which
    /// nothing was taken in two of these times.
    pub ping: Duration,
    /// Tells when clients are to leave.
    pub drain: Told,
}

/// How connections of both versions are held.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Those of HTTP/1.
    pub http1: Http1Options,
    /// Those of HTTP/2.
    pub http2: Http2Options,
}

/// Makes a worker's [`Http`].
#[derive(Debug)]
pub struct HttpFactory<A> {
    app: A,
    options: HttpOptions,
}

impl<A> HttpFactory<A> {
    /// `app` answers the requests.
    pub fn new(app: A, options: HttpOptions) -> Self {
        Self { app, options }
    }
}

impl<A> ServiceFactory<Connection> for HttpFactory<A>
where
    A: ServiceFactory<Request, Config = (), Response = ServiceResponse>,
    A::Error: Into<Response<BoxBody>>,
    A::Future: 'static,
    A::Service: 'static,
{
    type Response = ();
    type Error = Infallible;
    type Config = ();
    type Service = Http<A::Service>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (app, options) = (self.app.new_service(()), self.options.clone());
        Box::pin(async move {
            let app = app.await.map_err(|_| ())?;
            Ok(Http { app: Rc::new(app), options })
        })
    }
}

/// A worker's service: takes connections of both versions.
#[derive(Debug)]
pub struct Http<A> {
    app: Rc<A>,
    options: HttpOptions,
}

impl<A> Service<Connection> for Http<A>
where
    A: Service<Request, Response = ServiceResponse> + 'static,
    A::Error: Into<Response<BoxBody>>,
{
    type Response = ();
    type Error = Infallible;
    type Future = LocalBoxFuture<'static, Result<(), Infallible>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // An application that is not ready would answer so itself; none of ours ever is not.
        let _ready = ready!(self.app.poll_ready(context));
        Poll::Ready(Ok(()))
    }

    fn call(&self, connection: Connection) -> Self::Future {
        let (app, HttpOptions { http1, http2 }) = (Rc::clone(&self.app), self.options.clone());
        Box::pin(async move {
            if connection.protocol != Protocol::Http2 {
                http1::serve(connection, app, http1).await;
            } else if let Err(error) = connection::serve(connection, app, http2).await {
                tracing::debug!(%error, "an HTTP/2 connection ended badly");
            }
            Ok(())
        })
    }
}
