//! Where the bytes of a connection go at once, without a task in between.

use std::fmt::Debug;

use super::Filled;

/// A way out of which the hub's own thread takes care: what a connection's queue holds goes there as soon as a turn is
/// over. Waking a task for each connection would cost as much again as giving it the event.
///
/// A connection has an outlet besides its task, and not in place of it: whatever does not go out at once is the task's.
pub trait Outlet: Debug {
    /// Whether it takes bytes now, as far as is known.
    fn is_free(&self) -> bool;

    /// Writes what `fill` appends, as often as it has more. False if that was not all, or the connection has ended: then
    /// the task is to look after it. Must not call the hub.
    fn write(&self, fill: &mut dyn FnMut(&mut Vec<u8>) -> Filled) -> bool;
}
