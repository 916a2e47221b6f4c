//! The task of one stream: begins it, ends it, and writes what did not go out at once.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::head::Manner;
use super::socket::{Scratch, Socket};
use crate::admission::HeldSocket;
use crate::cors::Grant;
use crate::hub::{Filled, OpenConnection, Outlet};
use crate::stream::{HEADERS, LAST_BYTES, Stream};

/// Looks after a stream until either side ends it. While its client reads, it sleeps: the hub writes to the socket.
#[derive(Debug)]
pub struct Writer {
    // First, so that the hub has forgotten the socket when this closes it.
    connection: OpenConnection,
    socket: Rc<Socket>,
    _held: HeldSocket,
    /// Runs once all is written, until the cut.
    cut: Option<Pin<Box<Sleep>>>,
}

impl Writer {
    /// The writer of `stream`; `tcp` has read the request, and is counted for as long as `held` lives.
    pub fn new((tcp, held): (TcpStream, HeldSocket), stream: Stream, manner: Manner, scratch: Scratch) -> Self {
        let Stream { connection, first, grant } = stream;
        let mut begin = head(&grant, manner).into_bytes();
        if let Some(first) = first {
            begin.extend_from_slice(format!("{:x}\r\n", first.len()).as_bytes());
            begin.extend_from_slice(&first);
            begin.extend_from_slice(b"\r\n");
        }
        let socket = Rc::new(Socket::new(tcp, begin, scratch));
        let outlet: Rc<dyn Outlet> = Rc::clone(&socket) as Rc<dyn Outlet>;
        connection.attach(outlet);
        Self { connection, socket, _held: held, cut: None }
    }

    /// Writes what there is. Ready when there is nothing left to come.
    fn poll_write(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_rest(context))?;
            match self.socket.write_all(|out| self.connection.fill(context.waker(), out)) {
                Filled::Waiting => return Poll::Pending,
                Filled::Ended => return Poll::Ready(Ok(())),
                Filled::More => {}
            }
        }
    }
}

impl Future for Writer {
    /// However it ended, the client knows what to do: it comes back.
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.socket.listen(context).is_err() {
            return Poll::Ready(());
        }
        if self.cut.is_none() && ready!(self.poll_write(context)).is_err() {
            return Poll::Ready(());
        }
        // Cut without the last chunk: some clients take a clean end for a wish that they stay away. And not in the same
        // instant as the last bytes: proxies such as Varnish and nghttpx then lose them.
        let cut = self.cut.get_or_insert_with(|| Box::pin(sleep(LAST_BYTES)));
        cut.as_mut().poll(context)
    }
}

/// The head of the answer, as the HTTP server writes it.
fn head(grant: &Grant, manner: Manner) -> String {
    let mut head = String::from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n");
    if manner == Manner::Close {
        head.push_str("connection: close\r\n");
    }
    for (name, value) in HEADERS.into_iter().chain(grant.headers()) {
        let _written = write!(head, "{name}: {value}\r\n");
    }
    let _written = write!(head, "date: {}\r\n\r\n", httpdate::fmt_http_date(SystemTime::now()));
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each stream, for hours. Whoever lets it grow measures what that costs.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_stream_holds_little_outside_its_hub() {
        assert!(size_of::<Writer>() <= 120, "{}", size_of::<Writer>());
    }
}
