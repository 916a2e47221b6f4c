//! Resuming: where a connection begins, and what it gets first.
//!
//! A join is planned by what is known, waits for what is on its way, reads history for what is not,
//! and is answered. Its [`state`] machine has the whole course.

mod allowance;
mod join;
mod join_limit;
mod joins;
mod past;
mod plan;
mod reads;
pub mod replay;
mod running;
mod state;
#[cfg(test)]
mod tests;
mod watermark_beacons;

pub use self::join::{From, Join, JoinKey};
pub use self::reads::ReadOptions;
pub use self::running::{JoinEvent, Joins};
