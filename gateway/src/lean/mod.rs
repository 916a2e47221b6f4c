//! The lean path: streams over plain HTTP/1.1, without the HTTP server's two buffers for each connection.
//!
//! A connection whose first request asks for a stream, and for nothing else, is served here. Every other is handed to
//! the HTTP server with all its bytes, as if nobody had looked: other requests, other versions of HTTP, requests that
//! are wrong. Both come to the same [`Gate`], so no behaviour differs.

mod head;
mod io;
mod socket;
mod writer;

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::Protocol;
use actix_service::{Service, ServiceFactory};
use futures_util::future::LocalBoxFuture;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use self::io::Io;

use self::head::Head;
use self::socket::Scratch;
use self::writer::Writer;
use crate::stream::{Asked, Gate, Stream};
use crate::tls::{self, Tls};

/// What the HTTP server takes: a connection, the version that it speaks, and whose it is.
pub type Connection = (Io, Protocol, Option<SocketAddr>);

/// How long the head of a request may take; after that the HTTP server waits for it, and loses patience.
const HEAD: Duration = Duration::from_secs(5);
/// The largest head that is read here.
const MOST: usize = 16 * 1024;
/// Connections that a worker takes before its streams get their turn: a storm of thousands comes in between their writes,
/// not before them.
const TURN: usize = 16;
/// What is read at once.
const READ: usize = 4 * 1024;

/// Makes a worker's [`Lean`].
#[derive(Debug)]
pub struct LeanFactory<H> {
    gate: Gate,
    tls: Option<Tls>,
    http: H,
}

impl<H> LeanFactory<H> {
    /// Streams come from `gate`; `http` gets every other connection. With `tls` that is every one, after its handshake.
    pub fn new(gate: Gate, tls: Option<Tls>, http: H) -> Self {
        Self { gate, tls, http }
    }
}

impl<H> ServiceFactory<TcpStream> for LeanFactory<H>
where
    H: ServiceFactory<Connection, Config = (), Response = (), InitError = ()>,
    H::Future: 'static,
    H::Service: 'static,
{
    type Response = ();
    type Error = H::Error;
    type Config = ();
    type Service = Lean<H::Service>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (gate, tls, http) = (self.gate.clone(), self.tls.clone(), self.http.new_service(()));
        Box::pin(async move {
            Ok(Lean { gate, tls, http: Rc::new(http.await?), scratch: Scratch::default(), taken: Cell::new(0) })
        })
    }
}

/// A worker's service: takes connections.
#[derive(Debug)]
pub struct Lean<S> {
    gate: Gate,
    tls: Option<Tls>,
    http: Rc<S>,
    scratch: Scratch,
    /// Connections taken since others of the worker had their turn.
    taken: Cell<usize>,
}

impl<S> Service<TcpStream> for Lean<S>
where
    S: Service<Connection, Response = ()> + 'static,
{
    type Response = ();
    type Error = S::Error;
    type Future = LocalBoxFuture<'static, Result<(), S::Error>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.taken.get() >= TURN {
            self.taken.set(0);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.http.poll_ready(context)
    }

    fn call(&self, socket: TcpStream) -> Self::Future {
        self.taken.set(self.taken.get() + 1);
        let (gate, tls) = (self.gate.clone(), self.tls.clone());
        let (http, scratch) = (Rc::clone(&self.http), Rc::clone(&self.scratch));
        // Boxed one by one: a stream lives for hours, and must not hold the room that its beginning took, nor that of
        // a connection of the HTTP server.
        Box::pin(async move {
            let begun: LocalBoxFuture<'_, Begun> = Box::pin(begin(socket, gate, tls));
            match begun.await {
                Begun::Stream(socket, stream) => {
                    Writer::new(socket, stream, scratch).await;
                    Ok(())
                }
                Begun::Other(connection) => {
                    let served: LocalBoxFuture<'_, _> = Box::pin(http.call(connection));
                    drop(http);
                    served.await
                }
                Begun::Gone => Ok(()),
            }
        })
    }
}

/// How a connection begins.
enum Begun {
    Stream(TcpStream, Stream),
    Other(Connection),
    Gone,
}

async fn begin(socket: TcpStream, gate: Gate, tls: Option<Tls>) -> Begun {
    let _delays_nothing = socket.set_nodelay(true);
    let peer = socket.peer_addr().ok();
    if let Some(tls) = tls {
        return match tls.accept(socket).await {
            Ok(stream) => {
                let protocol = if tls::is_http2(&stream) { Protocol::Http2 } else { Protocol::Http1 };
                Begun::Other((Io::tls(stream), protocol, peer))
            }
            Err(error) => {
                tracing::debug!(?peer, %error, "a TLS handshake failed");
                Begun::Gone
            }
        };
    }
    let mut seen = Vec::new();
    let first = match timeout(HEAD, read_head(&socket, &mut seen, &gate)).await {
        Ok(Err(Closed)) => return Begun::Gone,
        Ok(Ok(first)) => first,
        Err(_slow) => First::Other(Protocol::Http1),
    };
    match first {
        First::Stream(stream) => Begun::Stream(socket, stream),
        First::Other(protocol) => Begun::Other((Io::new(socket, seen), protocol, peer)),
    }
}

/// The client has gone before it asked for anything.
struct Closed;

/// What a connection begins with.
enum First {
    Stream(Stream),
    Other(Protocol),
}

/// Reads until it is certain what the connection begins with; the stream, if it asks for one that can be had. What is
/// wrong with a request the HTTP server tells.
async fn read_head(socket: &TcpStream, seen: &mut Vec<u8>, gate: &Gate) -> Result<First, Closed> {
    let peer = socket.peer_addr().ok().map(|peer| peer.ip());
    loop {
        read_some(socket, seen).await?;
        match head::read(seen) {
            Head::Stream(asked) => {
                return Ok(gate.stream(Asked { peer, ..asked }).map_or(First::Other(Protocol::Http1), First::Stream));
            }
            Head::Http2 => return Ok(First::Other(Protocol::Http2)),
            Head::Partial if seen.len() < MOST => {}
            Head::Partial | Head::Other => return Ok(First::Other(Protocol::Http1)),
        }
    }
}

async fn read_some(socket: &TcpStream, seen: &mut Vec<u8>) -> Result<(), Closed> {
    loop {
        socket.readable().await.map_err(|_| Closed)?;
        seen.reserve(READ);
        match socket.try_read_buf(seen) {
            Ok(0) => return Err(Closed),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Closed),
        }
    }
}
