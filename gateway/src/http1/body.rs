//! The body of a request: read from the connection as its handler asks for it.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::BoxedPayloadStream;
use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_util::stream;

use super::decoder::Decoder;
use super::head::Framing;
use super::wire::Wire;
use crate::request::Patience;

/// What a client that waits for leave to send its body is told.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The body of a request. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct RequestBody {
    state: Rc<RefCell<State>>,
    late: Rc<Cell<bool>>,
}

#[derive(Debug)]
struct State {
    wire: Wire,
    decoder: Decoder,
    patience: Patience,
    /// What is left to be written before the body is read.
    leave: &'static [u8],
}

impl RequestBody {
    /// The body behind a head. Its client is given leave to send it when it is first asked for: a handler that refuses it
    /// by its head alone must not have it sent.
    pub(super) fn new(wire: Wire, framing: Framing, expects: bool) -> Self {
        let patience = Patience::begin();
        let late = patience.late();
        let leave = if expects { CONTINUE } else { b"" };
        let state = State { wire, decoder: Decoder::new(framing), patience, leave };
        Self { state: Rc::new(RefCell::new(state)), late }
    }

    /// As the handler takes it.
    pub(super) fn stream(&self) -> BoxedPayloadStream {
        let state = Rc::clone(&self.state);
        Box::pin(stream::poll_fn(move |context| state.borrow_mut().poll_next(context)))
    }

    /// Whether its time was over before it was whole.
    pub(super) fn is_late(&self) -> bool {
        self.late.get()
    }

    /// Whether all of it was read.
    pub(super) fn is_done(&self) -> bool {
        self.state.borrow().decoder.is_done()
    }

    /// Passes over what has come of it already. Whether that was all.
    pub(super) fn skip(&self) -> bool {
        let State { wire, decoder, .. } = &mut *self.state.borrow_mut();
        wire.with_read(|read| while let Ok(Some(_)) = decoder.decode(read) {});
        decoder.is_done()
    }
}

impl State {
    /// Gives the client leave to send, if it waits for that.
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.leave.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.leave.is_empty() {
            let written = ready!(self.wire.poll_write(context, self.leave))?;
            self.leave = &self.leave[written..];
        }
        self.wire.poll_flush(context)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        loop {
            let decoded = self.wire.with_read(|read| self.decoder.decode(read));
            match decoded {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(None) if self.decoder.is_done() => return Poll::Ready(None),
                Ok(None) => {}
                Err(_) => return Poll::Ready(Some(Err(PayloadError::EncodingCorrupted))),
            }
            if self.patience.poll(context).is_ready() {
                return Poll::Ready(Some(Err(PayloadError::Incomplete(None))));
            }
            if let Err(error) = ready!(self.poll_leave(context)) {
                return Poll::Ready(Some(Err(PayloadError::Io(error))));
            }
            match ready!(self.wire.poll_read(context)) {
                Ok(0) => return Poll::Ready(Some(Err(PayloadError::Incomplete(None)))),
                Ok(_) => self.patience.renew(),
                Err(error) => return Poll::Ready(Some(Err(PayloadError::Io(error)))),
            }
        }
    }
}
