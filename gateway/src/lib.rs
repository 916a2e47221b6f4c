//! The Tidings gateway: streams refresh events to browsers over Server-Sent Events.
//!
//! ```text
//!  store ──pushes──► reader (own thread) ──deliveries──► hub of worker 0..n ──frames──► stream body ──► socket
//! ```
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`store`] | sessions with Redis or the embedded store | who reads |
//! | [`reader`] | what is followed, what was missed, the order of things | HTTP |
//! | [`hub`] | a worker's connections and their queues | the store |
//! | [`admission`] | how many connections come in | what they follow them for |
//! | [`stream`] | requests for streams and polls, their bodies | the store |
//! | `lean` | streams over plain HTTP/1.1, past the HTTP server | what is streamed |
//! | `http1`, `http2` | connections of HTTP/1 and HTTP/2 | what is answered |
//! | `request` | what every request is held to | what it asks for |
//! | [`tls`] | the certificate of the public listener | what goes over it |
//! | `reload` | requests to read files again | who reads them |
//! | [`cors`] | which pages of other origins may read | HTTP |
//! | [`admin`] | publish, health, metrics | the hub |
//! | [`demo`] | a page and a backend to try it with | all of the above |
//! | [`without`] | what tests switch off | |
//! | [`control`], [`frame`], [`problem`] | what clients can see | |
#![deny(missing_docs)]

pub mod admin;
pub mod admission;
mod cli;
mod clock;
pub mod config;
pub mod control;
pub mod cors;
pub mod demo;
pub mod files;
pub mod frame;
mod http1;
mod http2;
pub mod hub;
mod lean;
pub mod log;
pub mod metrics;
pub mod problem;
pub mod reader;
mod reload;
mod request;
mod run;
mod server;
pub mod spread;
pub mod store;
pub mod stream;
mod supervision;
pub mod tls;
pub mod without;

pub use reload::Reload;
pub use run::{Listeners, run};
