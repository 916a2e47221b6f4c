//! A join: a connection asks where it begins.

use std::sync::Arc;

use tidings_shared::{Address, Cursor};

use crate::admission::Origin;
use crate::reader::delivery::ConnectionKey;
use crate::reader::outbox::WorkerId;

/// Where a connection wants to begin.
#[derive(Debug)]
pub enum From {
    /// Now.
    Now,
    /// Now, after the latest event of each address.
    Latest,
    /// After a cursor; `None` if it could not be read.
    Cursor(Option<Cursor>),
}

/// Names a join: its worker, and its connection, which has one join in its life.
pub type JoinKey = (WorkerId, ConnectionKey);

/// What a worker asks for a connection.
#[derive(Debug)]
pub struct Join {
    key: JoinKey,
    origin: Option<Origin>,
    addresses: Arc<[Arc<Address>]>,
    from: From,
}

impl Join {
    /// A join of a connection that follows `addresses`, none twice. `origin` is where its client
    /// is, if that is known.
    pub fn new(key: JoinKey, origin: Option<Origin>, addresses: Arc<[Arc<Address>]>, from: From) -> Self {
        Self { key, origin, addresses, from }
    }

    /// Its name.
    pub fn key(&self) -> JoinKey {
        self.key
    }

    /// The worker of its connection.
    pub fn worker(&self) -> WorkerId {
        self.key.0
    }

    /// Where its client is, if that is known.
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// What the connection follows.
    pub fn addresses(&self) -> &[Arc<Address>] {
        &self.addresses
    }

    /// Where the connection wants to begin.
    pub fn from(&self) -> &From {
        &self.from
    }

    /// Whether the connection came with a cursor.
    pub fn has_cursor(&self) -> bool {
        matches!(self.from, From::Cursor(_))
    }

    /// Begins now instead of after its cursor.
    pub fn drop_cursor(&mut self) {
        if self.has_cursor() {
            self.from = From::Now;
        }
    }
}
