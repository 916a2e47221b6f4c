//! The Tidings gateway: streams refresh events to browsers over Server-Sent Events.
#![deny(missing_docs)]

mod cli;
pub mod config;
pub mod demo;
pub mod log;
pub mod metrics;
pub mod problem;
