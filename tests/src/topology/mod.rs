//! Redis as it is run in production: one server, Sentinel or Cluster, of either server family, and what befalls it.
//!
//! | module | owns |
//! |---|---|
//! | [`server`] | which server software runs |
//! | [`layout`] | what all servers of one topology have in common |
//! | [`node`] | one server process: its life, its ports, its disk |
//! | [`sentinel`], [`cluster`] | several of them that fail over |
//!
//! The harness itself speaks to each node over a Unix socket, so what it does to ports, proxies and certificates never
//! stands in its own way.

pub mod cluster;
pub mod layout;
pub mod node;
pub mod sentinel;
pub mod server;

pub use cluster::Cluster;
pub use layout::Layout;
pub use node::Node;
pub use sentinel::Sentinel;
pub use server::Server;
