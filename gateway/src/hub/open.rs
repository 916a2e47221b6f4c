//! A connection as its transport sees it: open for as long as this lives.

use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::{Filled, Outlet, SharedHub, WaitingTurn};
use crate::admission::{Admitted, Place};
use crate::control::Goodbye;
use crate::reader::delivery::ConnectionKey;

/// A connection that is in the hub for as long as this lives: dropping it, however the request ends, removes it, and
/// then frees the places that it had in this replica and on its connection.
#[derive(Debug)]
pub struct OpenConnection {
    hub: SharedHub,
    key: ConnectionKey,
    _admitted: Option<Admitted>,
    _place: Option<Place>,
    /// Its turn, if it had to wait for that.
    _turn: Option<Box<WaitingTurn>>,
}

impl OpenConnection {
    /// Takes care of a connection that was let in and is in the hub now, or waits there for its `turn`.
    pub fn new(
        hub: SharedHub,
        key: ConnectionKey,
        admitted: Admitted,
        place: Option<Place>,
        turn: Option<WaitingTurn>,
    ) -> Self {
        Self { hub, key, _admitted: Some(admitted), _place: place, _turn: turn.map(Box::new) }
    }

    /// One that was not let in: it has ended as it begins.
    pub fn refused(hub: SharedHub) -> Self {
        Self { hub, key: ConnectionKey::NONE, _admitted: None, _place: None, _turn: None }
    }

    /// Lets it last, as a stream does and a poll does not. See [`Hub::last`](super::Hub::last).
    pub fn last(&self) {
        self.hub.borrow_mut().last(self.key);
    }

    /// The next bytes to write; `None` when it has ended. While there are none, `waker` is woken when there are.
    pub fn poll(&self, waker: &Waker) -> Poll<Option<Bytes>> {
        self.hub.borrow_mut().poll(self.key, waker)
    }

    /// Gives it a way out by which the hub writes at once.
    pub fn attach(&self, outlet: Rc<dyn Outlet>) {
        self.hub.borrow_mut().attach(self.key, outlet);
    }

    /// Appends what is to be written to `out`, as much as is good to write at once. While nothing is left, `waker` is
    /// woken when there is more.
    pub fn fill(&self, waker: &Waker, out: &mut Vec<u8>) -> Filled {
        self.hub.borrow_mut().fill(self.key, waker, out)
    }

    /// Why it has ended and when its client is to come back, if this gateway ended it.
    pub fn goodbye(&self) -> Option<(Goodbye, Duration)> {
        self.hub.borrow_mut().goodbye_of(self.key)
    }

    /// The cursor after all that it was given, lifted to the watermarks; `None` if it has no place.
    pub fn cursor(&self) -> Option<String> {
        self.hub.borrow_mut().cursor(self.key)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.hub.borrow_mut().leave(self.key);
    }
}
