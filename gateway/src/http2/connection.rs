//! One HTTP/2 connection, from its preface to its end.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{Request, Response};
use actix_service::Service;
use actix_web::dev::ServiceResponse;
use bytes::Bytes;
use h2::server::{self, Builder};
use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use super::Http2Options;
use super::exchange::Exchange;
use crate::admission::Places;
use crate::lean::{Connection, Io};

/// How long the preface and the first settings may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Streams beyond those of events, so that a page with all of those open can still poll and fetch.
const ROOM: u32 = 28;
/// The largest head of a request that is read, as the bounds of requests are smaller: HTTP/2 itself would refuse a larger
/// one without a word.
const HEAD: u32 = 256 * 1024;
/// What a stream may have written that its client has not taken; the rest waits in the connection's queue.
const SEND_BUFFER: usize = 16 * 1024;

/// Serves a connection until either side ends it.
pub(super) async fn serve<S>(connection: Connection, app: Rc<S>, options: Http2Options) -> io::Result<()>
where
    S: Service<Request, Response = ServiceResponse> + 'static,
    S::Error: Into<Response<BoxBody>>,
{
    let Connection { io, peer, mut socket, .. } = connection;
    let Http2Options { head, streams, ping, mut drain } = options;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(streams.saturating_add(ROOM))
        .max_header_list_size(HEAD)
        .max_send_buffer_size(SEND_BUFFER);
    let handshake = tokio::select! {
        biased;
        () = socket.surplus() => return Err(gone()),
        handshake = timeout(HANDSHAKE, builder.handshake(io)) => handshake.map_err(|_| gone())?,
    };
    let mut connection: server::Connection<Io, Bytes> = handshake.map_err(io::Error::other)?;
    let pings = connection.ping_pong();
    let mut dead = std::pin::pin!(until_dead(pings, ping));
    let mut idle = std::pin::pin!(sleep(ping));
    let places = Places::new(streams);
    let mut leaving = false;
    loop {
        tokio::select! {
            request = connection.accept() => match request {
                Some(request) => {
                    // From now on it is held by its streams, or closed as it has none.
                    socket.speak();
                    let (request, answer) = request.map_err(io::Error::other)?;
                    let exchange = Exchange::new(Rc::clone(&app), places.clone(), peer, 2 * ping, head);
                    actix_web::rt::spawn(exchange.run(request, answer));
                }
                None => return Ok(()),
            },
            () = &mut dead => return Err(gone()),
            () = socket.surplus() => return Err(gone()),
            _ = drain.wait_for(Option::is_some), if !leaving => {
                // A client that stayed would come back on this connection, and so to a gateway that ends.
                leaving = true;
                connection.graceful_shutdown();
            }
            () = &mut idle, if !leaving => {
                leaving = !connection.has_streams();
                if leaving {
                    connection.graceful_shutdown();
                }
                idle.set(sleep(ping));
            }
        }
    }
}

/// Pings until a ping is not answered in time.
async fn until_dead(pings: Option<PingPong>, interval: Duration) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(interval).await;
        if !matches!(timeout(interval, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::TimedOut.into()
}
