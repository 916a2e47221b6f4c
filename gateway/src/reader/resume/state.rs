//! The states of a join, from the turn in which it is taken until it is answered.
//!
//! ```text
//!            its place is above a watermark   ┌───────────────────┐
//!  ┌──────────┬──────────────────────────────▶│ AwaitingWatermark │
//!  │          │◀──────────────────────────────┴───────────────────┘
//!  │          │   the watermark came, or the journal ends before it
//!  │          │
//!  │          │        no share is free       ┌───────────────────┐
//!  │ Planning ├──────────────────────────────▶│   AwaitingShare   │
//!  │          │◀──────────────────────────────┴───────────────────┘
//!  │          │        it has a share
//!  │          │
//!  │          │       history is needed       ┌───────────────────┐
//!  │          ├──────────────────────────────▶│      Reading      ├──▶ Joined
//!  │          │◀──────────────────────────────┴───────────────────┘
//!  └────┬─────┘  what was read does not do; more is read next
//!       └─────▶ Joined
//!
//!  any ──▶ Refused: the store is away, its history cannot be read, or too many joins are under way
//!  any ──▶ Cancelled: the connection left
//! ```
//!
//! A join ends exactly once, as the [`RunningJoin`] is given away then. It ends after finitely many
//! steps while the history stays the same: the waits and the reads behind the watermark are counted
//! down, and each other read that does not do leads to a wider [`ReadScope`].

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::DropGuard;

use super::allowance::Allowance;
use super::join::{Join, JoinKey};
use super::join_limit::{JoinLimit, JoinPermit};
use super::reads::ReadTicket;

/// How often a join waits for a watermark before all that it needs is read.
const WAITS: u8 = 3;
/// How often a join may be answered from behind the watermark. A journal that is gone would answer
/// so until the next beacon.
const BEHIND: u8 = 8;

/// Where a join under way stands.
#[derive(Debug)]
enum JoinState {
    /// It is being planned by what is known now, with its share of the allowance if it has one. It
    /// leaves this state in the same turn of the reader.
    Planning(Option<OwnedSemaphorePermit>),
    /// It waits until watermarks have come to where it begins. It has no share, which others could
    /// use. The wait ends when the guard is dropped.
    AwaitingWatermark { _guard: DropGuard },
    /// It waits for its turn to have a share. The wait ends when the guard is dropped.
    AwaitingShare { _guard: DropGuard },
    /// Its history is being read, and the read has its share. What waits for that ends when the
    /// guard is dropped.
    Reading { tickets: Vec<ReadTicket>, guard: DropGuard },
}

/// What is read for a join that needs history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadScope {
    /// The addresses of which not enough is remembered, in one read with other joins.
    Missing,
    /// All its addresses: what was missing has been read, and was not all that is missing.
    All,
    /// All its addresses, in a read of its own: with others it was too much, or too old.
    Alone,
}

/// Why what was read for a join makes no start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFailure {
    /// What was planned or read is of another history, or from before a gap.
    Outdated,
    /// It was not for all that the join needs. What it brought is remembered now like the rest.
    Partial,
    /// Together with what others asked for it was too much, or too old.
    Crowded,
    /// It is from before something that was handed out: it was read for another join, most likely.
    Behind,
    /// The history could not be read, or is another one already.
    Unread,
}

/// A join under way: what was asked, where it stands, and what it may still try.
#[derive(Debug)]
pub struct RunningJoin {
    request: Join,
    state: JoinState,
    /// Once it has had to wait, or to read.
    permit: Option<JoinPermit>,
    scope: ReadScope,
    waits_left: u8,
    behind_left: u8,
}

impl RunningJoin {
    /// A join that is to be planned.
    pub fn new(request: Join) -> Self {
        let (state, scope) = (JoinState::Planning(None), ReadScope::Missing);
        Self { request, state, permit: None, scope, waits_left: WAITS, behind_left: BEHIND }
    }

    /// What was asked.
    pub fn request(&self) -> &Join {
        &self.request
    }

    /// Its name.
    pub fn key(&self) -> JoinKey {
        self.request.key()
    }

    /// What is to be read for it, if something is.
    pub fn scope(&self) -> ReadScope {
        self.scope
    }

    /// Whether something has been read for it.
    pub fn has_read(&self) -> bool {
        self.scope > ReadScope::Missing
    }

    /// Whether it may wait for a watermark.
    pub fn may_wait(&self) -> bool {
        self.waits_left > 0
    }

    /// Takes a permit to wait or to read if it has none. False if there are too many joins.
    pub fn take_permit(&mut self, limit: &JoinLimit) -> bool {
        if self.permit.is_none() {
            self.permit = limit.try_acquire(self.request.origin());
        }
        self.permit.is_some()
    }

    /// Takes a share if it has none. False if none is free.
    pub fn take_share(&mut self, allowance: &Allowance) -> bool {
        let JoinState::Planning(share) = &mut self.state else { return false };
        if share.is_none() {
            *share = allowance.try_take();
        }
        share.is_some()
    }

    /// Planning → AwaitingWatermark. The wait ends with `guard`.
    pub fn await_watermark(&mut self, guard: DropGuard) {
        self.leave_planning();
        self.state = JoinState::AwaitingWatermark { _guard: guard };
    }

    /// Planning → AwaitingShare. The wait ends with `guard`.
    pub fn await_share(&mut self, guard: DropGuard) {
        self.leave_planning();
        self.state = JoinState::AwaitingShare { _guard: guard };
    }

    /// Planning → Reading. Gives away the share, which is for what is read.
    pub fn start_reading(&mut self, tickets: Vec<ReadTicket>, guard: DropGuard) -> Option<OwnedSemaphorePermit> {
        let share = self.leave_planning();
        self.state = JoinState::Reading { tickets, guard };
        share
    }

    /// Any → Cancelled, or Refused while the history is read. Gives the reads that are not sent,
    /// and need not be if nobody else wants them; the share is free at once then.
    ///
    /// A read that is sent goes on with the share: what it brings takes memory, whoever waits for
    /// it. That takes no longer than the store needs for the few reads that are under way at a
    /// time.
    pub fn cancel(self) -> Vec<ReadTicket> {
        match self.state {
            JoinState::Reading { tickets, guard } if tickets.iter().any(ReadTicket::is_sent) => {
                guard.disarm();
                Vec::new()
            }
            JoinState::Reading { tickets, .. } => tickets,
            _ => Vec::new(),
        }
    }

    /// AwaitingWatermark → Planning. Where the journal ends before the place that it waited for,
    /// only the store can tell of that place: it waits no more.
    pub fn settle_watermark(&mut self, is_reached: bool) {
        debug_assert!(matches!(self.state, JoinState::AwaitingWatermark { .. }), "{self:?}");
        self.waits_left = if is_reached { self.waits_left.saturating_sub(1) } else { 0 };
        self.state = JoinState::Planning(None);
    }

    /// AwaitingShare → Planning.
    pub fn grant_share(&mut self, share: Option<OwnedSemaphorePermit>) {
        debug_assert!(matches!(self.state, JoinState::AwaitingShare { .. }), "{self:?}");
        self.state = JoinState::Planning(share);
    }

    /// Reading → Planning. What was read makes a start, or [fails](Self::widen).
    pub fn finish_reading(&mut self, share: Option<OwnedSemaphorePermit>) {
        debug_assert!(matches!(self.state, JoinState::Reading { .. }), "{self:?}");
        self.state = JoinState::Planning(share);
    }

    /// What was read makes no start. True if it is to be planned again, and false if it is to be
    /// refused.
    pub fn widen(&mut self, failure: ReadFailure) -> bool {
        match failure {
            ReadFailure::Outdated => true,
            ReadFailure::Partial => {
                self.scope = self.scope.max(ReadScope::All);
                true
            }
            ReadFailure::Crowded => {
                self.scope = ReadScope::Alone;
                true
            }
            ReadFailure::Behind if self.behind_left > 0 => {
                self.behind_left -= 1;
                self.scope = self.scope.max(ReadScope::All);
                true
            }
            ReadFailure::Behind | ReadFailure::Unread => false,
        }
    }

    /// Joined: gives away the share, which its replay takes.
    pub fn into_share(mut self) -> Option<OwnedSemaphorePermit> {
        self.leave_planning()
    }

    /// Takes the share out of [`JoinState::Planning`].
    fn leave_planning(&mut self) -> Option<OwnedSemaphorePermit> {
        match &mut self.state {
            JoinState::Planning(share) => share.take(),
            state => {
                debug_assert!(false, "not planned: {state:?}");
                None
            }
        }
    }
}
