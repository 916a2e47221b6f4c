//! The two ends of a connection: bytes that were read and not yet used, and the socket.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::lean::Io;

/// What is read at once. On the stack: a connection that waits holds no buffer.
const READ: usize = 8 * 1_024;
/// What a client may send while its request is answered.
const AHEAD: usize = 16 * 1_024;
/// How long a client may take to read the end of an answer before its connection is closed.
const DISCONNECT: Duration = Duration::from_secs(1);

/// A connection of HTTP/1. A clone is the same. Never borrowed across an await.
#[derive(Debug, Clone)]
pub(super) struct Wire(Rc<RefCell<Ends>>);

#[derive(Debug)]
struct Ends {
    io: Io,
    read: BytesMut,
}

impl Wire {
    /// One of which nothing was read.
    pub(super) fn new(io: Io) -> Self {
        Self(Rc::new(RefCell::new(Ends { io, read: BytesMut::new() })))
    }

    /// Looks at what was read, or takes from it.
    pub(super) fn with_read<T>(&self, look: impl FnOnce(&mut BytesMut) -> T) -> T {
        look(&mut self.0.borrow_mut().read)
    }

    /// Gives back the memory of what was used.
    pub(super) fn shrink(&self) {
        self.with_read(|read| {
            if read.is_empty() {
                *read = BytesMut::new();
            }
        });
    }

    /// Reads more. The count is 0 at the end.
    pub(super) fn poll_read(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Ends { io, read } = &mut *self.0.borrow_mut();
        let mut room = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut room);
        ready!(Pin::new(io).poll_read(context, &mut buffer))?;
        read.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Ready when the client has left, or sends so much ahead that it waits for no answer.
    pub(super) fn poll_left(&self, context: &mut Context<'_>) -> Poll<()> {
        while self.with_read(|read| read.len()) < AHEAD {
            match ready!(self.poll_read(context)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Ready(())
    }

    /// Writes all of it.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|context| self.poll_write(context, bytes)).await?;
            bytes = &bytes[written..];
        }
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// Sends what TLS may still hold.
    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_flush(context)
    }

    /// Writes some of it.
    pub(super) fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0.borrow_mut().io).poll_write(context, bytes))?;
        Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
    }

    /// Says that nothing follows, and waits for the client to leave: one that still sends when its connection is closed
    /// would lose the answer.
    pub(super) async fn close(&self) {
        let closed = async {
            poll_fn(|context| Pin::new(&mut self.0.borrow_mut().io).poll_shutdown(context)).await?;
            while poll_fn(|context| self.poll_read(context)).await? > 0 {
                self.with_read(BytesMut::clear);
            }
            io::Result::Ok(())
        };
        let _late_or_broken = timeout(DISCONNECT, closed).await;
    }
}
