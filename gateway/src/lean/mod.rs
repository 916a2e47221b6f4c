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
use std::time::Instant;

use actix_http::Protocol;
use actix_service::{Service, ServiceFactory};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use self::io::Io;

use self::head::{Head, Manner};
use self::socket::Scratch;
use self::writer::Writer;
use crate::admission::{OpenSocket, SocketLimit};
use crate::http1::HEAD;
use crate::request::HeadBounds;
use crate::stream::{Asked, Gate, Stream};
use crate::tls::{self, Tls};

/// What the HTTP server takes.
#[derive(Debug)]
pub struct Connection {
    /// Its bytes.
    pub io: Io,
    /// The version that it speaks.
    pub protocol: Protocol,
    /// Whose it is.
    pub peer: Option<SocketAddr>,
    /// When it could begin to speak.
    pub since: Instant,
    /// Its place among the sockets of the listener.
    pub socket: OpenSocket,
}

/// Connections that a worker takes before its streams get their turn: a storm of thousands comes in between their writes,
/// not before them.
const TURN: usize = 16;
/// What is read at once.
const READ: usize = 4 * 1024;

/// Makes a worker's [`Lean`].
#[derive(Debug)]
pub struct LeanFactory<H> {
    gate: Option<Gate>,
    bounds: HeadBounds,
    sockets: SocketLimit,
    tls: Option<Tls>,
    http: H,
}

impl<H> LeanFactory<H> {
    /// Streams come from `gate`, if this listener has them, and their heads are no larger than `bounds`; `http` gets every
    /// other connection. With `tls` that is every one, after its handshake.
    pub fn new(gate: Option<Gate>, bounds: HeadBounds, sockets: SocketLimit, tls: Option<Tls>, http: H) -> Self {
        Self { gate, bounds, sockets, tls, http }
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
        let (gate, bounds, tls) = (self.gate.clone(), self.bounds, self.tls.clone());
        let (sockets, http) = (self.sockets.clone(), self.http.new_service(()));
        Box::pin(async move {
            let intake = Rc::new(Intake { gate, bounds, sockets, tls, scratch: Scratch::default() });
            Ok(Lean { intake, http: Rc::new(http.await?), taken: Cell::new(0) })
        })
    }
}

/// A worker's service: takes connections.
#[derive(Debug)]
pub struct Lean<S> {
    intake: Rc<Intake>,
    http: Rc<S>,
    /// Connections taken since others of the worker had their turn.
    taken: Cell<usize>,
}

/// What a connection needs as it begins. Connections share it.
#[derive(Debug)]
struct Intake {
    gate: Option<Gate>,
    bounds: HeadBounds,
    sockets: SocketLimit,
    tls: Option<Tls>,
    scratch: Scratch,
}

/// All that is done for a connection from some moment on.
type Served<E> = LocalBoxFuture<'static, Result<(), E>>;

impl<S> Service<TcpStream> for Lean<S>
where
    S: Service<Connection, Response = ()> + 'static,
    S::Future: 'static,
{
    type Response = ();
    type Error = S::Error;
    type Future = Served<S::Error>;

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
        // Its own box, as a stream lives for hours and must not hold the room that its beginning took.
        let begun: LocalBoxFuture<'_, _> = Box::pin(begin(socket, Rc::clone(&self.intake), Rc::clone(&self.http)));
        Box::pin(async move {
            let served = begun.await;
            served.await
        })
    }
}

/// Learns what a connection asks for. What is done for it then is in a box of its own size.
async fn begin<S>(socket: TcpStream, intake: Rc<Intake>, http: Rc<S>) -> Served<S::Error>
where
    S: Service<Connection, Response = ()> + 'static,
    S::Future: 'static,
{
    let peer = socket.peer_addr().ok();
    let mut place = intake.sockets.open(peer.map(|peer| peer.ip()));
    let begun = tokio::select! {
        biased;
        () = place.surplus() => Begun::Gone,
        begun = learn(socket, peer, &intake) => begun,
    };
    match begun {
        Begun::Stream(socket, stream, manner) => {
            place.speak();
            let writer = Writer::new((socket, place.into_held()), stream, manner, Rc::clone(&intake.scratch));
            Box::pin(writer.map(Ok))
        }
        Begun::Other(io, protocol, since) => {
            Box::pin(http.call(Connection { io, protocol, peer, since, socket: place }))
        }
        Begun::Gone => Box::pin(std::future::ready(Ok(()))),
    }
}

/// How a connection begins.
enum Begun {
    Stream(TcpStream, Stream, Manner),
    Other(Io, Protocol, Instant),
    Gone,
}

async fn learn(socket: TcpStream, peer: Option<SocketAddr>, intake: &Intake) -> Begun {
    let _delays_nothing = socket.set_nodelay(true);
    if let Some(tls) = &intake.tls {
        return match tls.accept(socket).await {
            Ok(stream) => {
                let protocol = if tls::is_http2(&stream) { Protocol::Http2 } else { Protocol::Http1 };
                Begun::Other(Io::tls(stream), protocol, Instant::now())
            }
            Err(error) => {
                tracing::debug!(?peer, %error, "a TLS handshake failed");
                Begun::Gone
            }
        };
    }
    let (mut seen, since) = (Vec::new(), Instant::now());
    let first = match &intake.gate {
        Some(gate) => timeout(HEAD, read_head(&socket, &mut seen, gate, intake.bounds)).await,
        None => Ok(Ok(First::Other(Protocol::Http1))),
    };
    let first = match first {
        Ok(Err(Closed)) => return Begun::Gone,
        Ok(Ok(first)) => first,
        Err(_slow) => First::Other(Protocol::Http1),
    };
    match first {
        First::Stream(stream, manner) => Begun::Stream(socket, stream, manner),
        First::Other(protocol) => Begun::Other(Io::new(socket, seen), protocol, since),
    }
}

/// The client has gone before it asked for anything.
struct Closed;

/// What a connection begins with.
enum First {
    Stream(Stream, Manner),
    Other(Protocol),
}

/// Reads until it is certain what the connection begins with; the stream, if it asks for one that can be had. What is
/// wrong with a request the HTTP server tells.
async fn read_head(socket: &TcpStream, seen: &mut Vec<u8>, gate: &Gate, bounds: HeadBounds) -> Result<First, Closed> {
    let peer = socket.peer_addr().ok().map(|peer| peer.ip());
    loop {
        read_some(socket, seen).await?;
        match head::read(seen, bounds) {
            Head::Stream(asked, manner) => {
                let stream = gate.stream(Asked { peer, ..asked });
                return Ok(stream.map_or(First::Other(Protocol::Http1), |stream| First::Stream(stream, manner)));
            }
            Head::Http2 => return Ok(First::Other(Protocol::Http2)),
            Head::Partial => {}
            Head::Other => return Ok(First::Other(Protocol::Http1)),
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
