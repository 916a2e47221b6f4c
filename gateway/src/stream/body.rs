//! The body of a stream: what a connection's queue holds, written as it comes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::time::Sleep;

use crate::hub::OpenConnection;

/// The body of a stream. Dropping it, as happens when the client has left, removes the connection.
#[derive(Debug)]
pub struct StreamBody {
    connection: OpenConnection,
    first: Option<Bytes>,
    cut: Option<Pin<Box<Sleep>>>,
}

/// How long the last bytes have to get out before the body is cut, on every transport. An error right behind a chunk takes
/// the chunk along, and proxies lose bytes that come in the same instant as the cut.
pub const LAST_BYTES: Duration = Duration::from_millis(20);

impl StreamBody {
    /// The body of `connection`, which begins with `first`, if there is that.
    pub fn new(connection: OpenConnection, first: Option<Bytes>) -> Self {
        Self { connection, first, cut: None }
    }
}

impl MessageBody for StreamBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        let body = self.get_mut();
        if let Some(first) = body.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if body.cut.is_none() {
            match body.connection.poll(context.waker()) {
                Poll::Ready(Some(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        let cut = body.cut.get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_BYTES)));
        match cut.as_mut().poll(context) {
            // Cut without the last chunk: some clients take a clean end for a wish that they stay away.
            Poll::Ready(()) => Poll::Ready(Some(Err(io::Error::other("the stream ends here; the client comes back")))),
            Poll::Pending => Poll::Pending,
        }
    }
}
