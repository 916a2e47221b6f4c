//! The socket of one stream: chunks of an HTTP/1.1 body go out, many frames in a write.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::net::TcpStream;

use crate::hub::{Filled, Outlet};

/// Where a worker gathers what it writes next. All its streams share it, as each is done with it when it returns.
pub type Scratch = Rc<RefCell<Vec<u8>>>;

/// Room for the size of a chunk, which is known only when it is gathered, and the end of its line.
const SIZE: usize = 18;
/// What a client may send after its request; one that goes on and on is not waiting for events.
const CHATTER: u16 = 16 * 1024;

/// The socket of a stream. Holds no bytes but those that were not taken.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    scratch: Scratch,
    /// What was not taken.
    rest: RefCell<Vec<u8>>,
    /// Bytes of chatter that are still put up with.
    patience: Cell<u16>,
    broken: Cell<bool>,
}

impl Socket {
    /// A socket that writes `first` before all else.
    pub fn new(tcp: TcpStream, first: Vec<u8>, scratch: Scratch) -> Self {
        Self { tcp, scratch, rest: first.into(), patience: Cell::new(CHATTER), broken: Cell::new(false) }
    }

    /// Whether the client is still there. Asks to be woken when it says anything or leaves.
    pub fn listen(&self, context: &mut Context<'_>) -> io::Result<()> {
        let mut chatter = [0; 256];
        while let Poll::Ready(ready) = self.tcp.poll_read_ready(context) {
            ready?;
            match self.tcp.try_read(&mut chatter) {
                // It closed its side: an EventSource that does so is gone.
                Ok(0) => return Err(ErrorKind::ConnectionAborted.into()),
                Ok(count) => {
                    let left = self.patience.get().checked_sub(count as u16);
                    self.patience.set(left.ok_or(ErrorKind::InvalidData)?);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what is left from before. Pending while the client does not take it.
    pub fn poll_rest(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rest = self.rest.borrow_mut();
        while !rest.is_empty() {
            match self.tcp.try_write(&rest) {
                Ok(written) if written == rest.len() => *rest = Vec::new(),
                Ok(written) => drop(rest.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(self.tcp.poll_write_ready(context))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(if self.broken.get() { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) })
    }

    /// Writes what `fill` appends, until it has no more or the socket takes no more. Tells what `fill` said last, with
    /// [`Filled::More`] if the socket takes no more.
    pub fn write_all(&self, mut fill: impl FnMut(&mut Vec<u8>) -> Filled) -> Filled {
        if self.is_blocked() {
            return Filled::More;
        }
        let mut scratch = self.scratch.borrow_mut();
        loop {
            scratch.clear();
            scratch.resize(SIZE, 0);
            let filled = fill(&mut scratch);
            if scratch.len() > SIZE && !self.write_chunk(&mut scratch) {
                return Filled::More;
            }
            if filled != Filled::More {
                return filled;
            }
        }
    }

    fn is_blocked(&self) -> bool {
        self.broken.get() || !self.rest.borrow().is_empty()
    }

    /// Writes what was gathered, as a chunk, and keeps what the socket does not take. Whether it took all.
    fn write_chunk(&self, gathered: &mut Vec<u8>) -> bool {
        let start = put_size(gathered);
        gathered.extend_from_slice(b"\r\n");
        let chunk = &gathered[start..];
        // Past what the runtime knows of the socket, which is one more place in memory for each: should it be full, the
        // task that writes the rest finds out.
        let written = match send(&self.tcp, chunk, SendFlags::NOSIGNAL) {
            Ok(written) => written,
            Err(error) => {
                self.broken.set(error != Errno::AGAIN);
                0
            }
        };
        if written < chunk.len() {
            self.rest.borrow_mut().extend_from_slice(&chunk[written..]);
        }
        written == chunk.len()
    }
}

impl Outlet for Socket {
    fn is_free(&self) -> bool {
        !self.is_blocked()
    }

    fn write(&self, fill: &mut dyn FnMut(&mut Vec<u8>) -> Filled) -> bool {
        self.write_all(fill) == Filled::Waiting
    }
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
