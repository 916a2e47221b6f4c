//! HTTP/2: connections whose streams are requests to the application; those of HTTP/1 go on to the HTTP server.
//!
//! A loop of its own around the `h2` crate, because the one of the HTTP server neither tells clients how many streams
//! they may open nor that they should leave a gateway which is about to end, and learns that a client has closed a
//! stream only when it writes the next time.

mod connection;
mod exchange;
mod joined;

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::hub::Told;
use crate::lean::Connection;
use actix_http::body::BoxBody;
use actix_http::{Protocol, Request, Response};
use actix_service::{Service, ServiceFactory};
use actix_web::dev::ServiceResponse;
use futures_util::future::LocalBoxFuture;

/// How connections are held.
#[derive(Debug, Clone)]
pub struct Http2Options {
    /// The most event streams of one connection.
    pub streams: u32,
    /// Time between two pings. A peer that has not answered one by the next is gone, and so is a stream from which
    /// nothing was taken in two of these times.
    pub ping: Duration,
    /// Tells when clients are to leave.
    pub drain: Told,
}

/// Makes a worker's [`Http`].
#[derive(Debug)]
pub struct HttpFactory<A, H> {
    app: A,
    http1: H,
    options: Http2Options,
}

impl<A, H> HttpFactory<A, H> {
    /// `app` answers the requests of HTTP/2; `http1` takes connections of HTTP/1.
    pub fn new(app: A, http1: H, options: Http2Options) -> Self {
        Self { app, http1, options }
    }
}

impl<A, H> ServiceFactory<Connection> for HttpFactory<A, H>
where
    A: ServiceFactory<Request, Config = (), Response = ServiceResponse>,
    A::Error: Into<Response<BoxBody>>,
    A::Future: 'static,
    A::Service: 'static,
    H: ServiceFactory<Connection, Config = (), Response = (), InitError = ()>,
    H::Future: 'static,
    H::Service: 'static,
{
    type Response = ();
    type Error = H::Error;
    type Config = ();
    type Service = Http<A::Service, H::Service>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (app, http1, options) = (self.app.new_service(()), self.http1.new_service(()), self.options.clone());
        Box::pin(async move {
            let app = app.await.map_err(|_| ())?;
            Ok(Http { app: Rc::new(app), http1: http1.await?, options })
        })
    }
}

/// A worker's service: takes connections of both versions.
#[derive(Debug)]
pub struct Http<A, H> {
    app: Rc<A>,
    http1: H,
    options: Http2Options,
}

impl<A, H> Service<Connection> for Http<A, H>
where
    A: Service<Request, Response = ServiceResponse> + 'static,
    A::Error: Into<Response<BoxBody>>,
    H: Service<Connection, Response = ()>,
    H::Future: 'static,
{
    type Response = ();
    type Error = H::Error;
    type Future = LocalBoxFuture<'static, Result<(), H::Error>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), H::Error>> {
        // An application that is not ready would answer so itself; none of ours ever is not.
        let _ready = ready!(self.app.poll_ready(context));
        self.http1.poll_ready(context)
    }

    fn call(&self, (io, protocol, peer): Connection) -> Self::Future {
        if protocol != Protocol::Http2 {
            return Box::pin(self.http1.call((io, protocol, peer)));
        }
        let served = connection::serve(io, peer, Rc::clone(&self.app), self.options.clone());
        Box::pin(async move {
            if let Err(error) = served.await {
                tracing::debug!(%error, "an HTTP/2 connection ended badly");
            }
            Ok(())
        })
    }
}
