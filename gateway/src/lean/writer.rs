//! The writer of one stream: what the connection's queue holds, as chunks of an HTTP/1.1 body, many frames in a write.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tokio::net::TcpStream;

use crate::cors::Grant;
use crate::hub::{Filled, OpenConnection};
use crate::stream::{HEADERS, Stream};

/// Where a worker gathers what it writes next. All its streams share it, as each is done with it when it returns.
pub type Scratch = Rc<RefCell<Vec<u8>>>;

/// The most that is gathered for one write.
const WRITE: usize = 32 * 1024;
/// Room for the size of a chunk, which is known only when it is gathered, and the end of its line.
const SIZE: usize = 18;
/// What a client may send after its request; one that goes on and on is not waiting for events.
const CHATTER: u16 = 16 * 1024;

/// Writes a stream until either side ends it. Holds no bytes but those that the socket did not take.
#[derive(Debug)]
pub struct Writer {
    socket: TcpStream,
    connection: OpenConnection,
    scratch: Scratch,
    /// What the socket did not take.
    rest: Vec<u8>,
    /// Bytes of chatter that are still put up with.
    patience: u16,
    ended: bool,
}

impl Writer {
    /// The writer of `stream`; `socket` has read the request.
    pub fn new(socket: TcpStream, stream: Stream, scratch: Scratch) -> Self {
        let Stream { connection, first, grant } = stream;
        let mut rest = head(&grant).into_bytes();
        rest.extend_from_slice(format!("{:x}\r\n", first.len()).as_bytes());
        rest.extend_from_slice(&first);
        rest.extend_from_slice(b"\r\n");
        Self { socket, connection, scratch, rest, patience: CHATTER, ended: false }
    }

    /// Whether the client is still there. Asks to be woken when it says anything or leaves.
    fn listen(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let mut chatter = [0; 256];
        while let Poll::Ready(ready) = self.socket.poll_read_ready(context) {
            ready?;
            match self.socket.try_read(&mut chatter) {
                // It closed its side: an EventSource that does so is gone.
                Ok(0) => return Err(ErrorKind::ConnectionAborted.into()),
                Ok(count) => {
                    let left = self.patience.checked_sub(count as u16);
                    self.patience = left.ok_or(ErrorKind::InvalidData)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what there is. Ready when there is nothing left to come.
    fn write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.write_rest(context))?;
            if self.ended {
                // Cut without the last chunk: some clients take a clean end for a wish that they stay away.
                return Poll::Ready(Ok(()));
            }
            let scratch = Rc::clone(&self.scratch);
            let mut scratch = scratch.borrow_mut();
            scratch.clear();
            scratch.resize(SIZE, 0);
            let filled = self.connection.fill(context.waker(), &mut scratch, WRITE);
            self.ended = filled == Filled::Ended;
            if scratch.len() > SIZE {
                self.send(&mut scratch)?;
            }
            if filled == Filled::Waiting && self.rest.is_empty() {
                return Poll::Pending;
            }
        }
    }

    /// Writes what was gathered, as a chunk, and keeps what the socket does not take.
    fn send(&mut self, gathered: &mut Vec<u8>) -> io::Result<()> {
        let start = put_size(gathered);
        gathered.extend_from_slice(b"\r\n");
        let chunk = &gathered[start..];
        let written = match self.socket.try_write(chunk) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.rest.extend_from_slice(&chunk[written..]);
        Ok(())
    }

    fn write_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            match self.socket.try_write(&self.rest) {
                Ok(written) if written == self.rest.len() => self.rest = Vec::new(),
                Ok(written) => drop(self.rest.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_write_ready(context))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Future for Writer {
    /// However it ended, the client knows what to do: it comes back.
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let writer = self.get_mut();
        if writer.listen(context).is_err() {
            return Poll::Ready(());
        }
        writer.write(context).map(|_ended| ())
    }
}

/// The head of the answer, as the HTTP server writes it.
fn head(grant: &Grant) -> String {
    let mut head = String::from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n");
    for (name, value) in HEADERS.into_iter().chain(grant.headers()) {
        let _written = write!(head, "{name}: {value}\r\n");
    }
    let _written = write!(head, "date: {}\r\n\r\n", httpdate::fmt_http_date(SystemTime::now()));
    head
}

/// Puts the size of what was gathered right before it, in the room that is left there. Tells where the chunk begins.
fn put_size(gathered: &mut [u8]) -> usize {
    let mut size = gathered.len() - SIZE;
    let mut at = SIZE - 2;
    gathered[at..SIZE].copy_from_slice(b"\r\n");
    loop {
        at -= 1;
        gathered[at] = b"0123456789abcdef"[size & 15];
        size >>= 4;
        if size == 0 {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_size_in_front() {
        for size in [1, 9, 10, 15, 16, 255, 256, 340, 65_535, 65_536, 1 << 20] {
            let mut gathered = vec![b'x'; SIZE + size];
            let start = put_size(&mut gathered);
            let text = std::str::from_utf8(&gathered[start..SIZE]).unwrap();
            assert_eq!(text, format!("{size:x}\r\n"));
        }
    }
}
