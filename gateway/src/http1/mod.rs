//! HTTP/1: connections whose requests go to the application, one after the other.
//!
//! A loop of its own, so that a request is read, bounded and refused here as on the lean path and over HTTP/2. The one of
//! the HTTP library answers malformed requests with an empty body, frames streams by the request's `Upgrade`, and waits
//! for bodies without end.

mod answer;
mod body;
mod connection;
mod decoder;
mod head;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{Request, Response};
use actix_service::Service;
use actix_web::dev::ServiceResponse;

pub(crate) use self::connection::HEAD;
pub(crate) use self::head::{Framing, RequestHead, read, too_large};

use crate::hub::Told;
use crate::lean::Connection;
use crate::request::HeadBounds;

/// How connections are held.
#[derive(Debug, Clone)]
pub struct Http1Options {
    /// The largest head of a request.
    pub head: HeadBounds,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// Tells when clients are to leave.
    pub drain: Told,
}

impl Http1Options {
    fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }
}

/// Serves a connection until either side ends it.
pub async fn serve<S>(connection: Connection, app: Rc<S>, options: Http1Options)
where
    S: Service<Request, Response = ServiceResponse>,
    S::Error: Into<Response<BoxBody>>,
{
    connection::serve(connection, app, options).await;
}
