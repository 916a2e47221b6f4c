//! Resuming: where a connection begins, and what it gets first.
//!
//! A join is planned by what is known, waits for what is on its way, reads history for what is not, and is answered.

pub mod allowance;
mod joins;
pub mod past;
pub mod plan;
pub mod reads;
pub mod replay;
#[cfg(test)]
mod tests;
