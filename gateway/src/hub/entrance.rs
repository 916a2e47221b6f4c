//! The entrance of a hub: connections come in at their turn.
//!
//! Reading what a connection missed and telling it is what it costs, and what others would wait for. It is open already
//! while it waits, so its client does not time out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::SharedHub;
use crate::admission::{Limit, Origin, Pace, Ticket, Turn};
use crate::reader::From;
use crate::reader::delivery::ConnectionKey;

/// What may come at once after a pause, as the time in which it would come otherwise.
const BURST: Duration = Duration::from_millis(100);
/// The longest that a connection waits for its turn. Clients time out after no less than 5 s, and it is open already.
const PATIENCE: Duration = Duration::from_secs(2);
/// The shortest time between two looks at whose turn it is: less is finer than timers are.
const STEP: Duration = Duration::from_millis(1);

/// The entrance of a worker's hub. A clone is the same.
#[derive(Debug, Clone)]
pub struct Entrance(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    hub: SharedHub,
    /// `None` where there is no limit.
    pace: Option<RefCell<Pace<Arrival>>>,
    /// Whether a task lets those in who wait.
    is_watched: Cell<bool>,
}

/// A connection that is in the hub and has yet to enter.
#[derive(Debug)]
struct Arrival {
    key: ConnectionKey,
    from: From,
    origin: Option<Origin>,
}

/// A connection that waits for its turn. Dropping this gives the turn back.
#[derive(Debug)]
pub struct WaitingTurn {
    entrance: Entrance,
    ticket: Ticket,
}

impl Entrance {
    /// The entrance of `hub`, for `rate` connections a second; 0 is no limit.
    pub fn new(hub: SharedHub, rate: u32) -> Self {
        let pace = (rate > 0).then(|| RefCell::new(Pace::new(rate, BURST, PATIENCE)));
        Self(Rc::new(Inner { hub, pace, is_watched: Cell::new(false) }))
    }

    /// Lets a connection from `origin` in, which `add` adds to the hub, now or at its turn. The error is that it would wait
    /// for too long; it is not added then.
    pub fn enter(
        &self,
        origin: Option<Origin>,
        from: From,
        add: impl FnOnce() -> ConnectionKey,
    ) -> Result<(ConnectionKey, Option<WaitingTurn>), Limit> {
        let Some(pace) = &self.0.pace else {
            let key = add();
            self.0.hub.borrow_mut().enter(key, from, origin);
            return Ok((key, None));
        };
        let mut added = ConnectionKey::NONE;
        let turn = pace.borrow_mut().ask(origin, Instant::now(), || {
            added = add();
            Arrival { key: added, from, origin }
        });
        match turn.ok_or(Limit::Rate)? {
            Turn::Now(arrival) => {
                self.let_in(arrival);
                Ok((added, None))
            }
            Turn::Later(ticket) => {
                if !self.0.is_watched.replace(true) {
                    actix_web::rt::spawn(self.clone().watch());
                }
                Ok((added, Some(WaitingTurn { entrance: self.clone(), ticket })))
            }
        }
    }

    /// Lets those in whose turn has come, until nobody waits.
    async fn watch(self) {
        while let Some(wait) = self.wait() {
            tokio::time::sleep(wait.max(STEP)).await;
            let now = Instant::now();
            while let Some(arrival) = self.next(now) {
                self.let_in(arrival);
            }
        }
        self.0.is_watched.set(false);
    }

    fn wait(&self) -> Option<Duration> {
        self.0.pace.as_ref()?.borrow().wait(Instant::now())
    }

    fn let_in(&self, Arrival { key, from, origin }: Arrival) {
        self.0.hub.borrow_mut().enter(key, from, origin);
    }

    fn next(&self, now: Instant) -> Option<Arrival> {
        self.0.pace.as_ref()?.borrow_mut().next(now)
    }
}

impl Drop for WaitingTurn {
    fn drop(&mut self) {
        if let Some(pace) = &self.entrance.0.pace {
            pace.borrow_mut().leave(self.ticket);
        }
    }
}
