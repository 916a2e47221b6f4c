//! Redis as it is run in production: one server, Sentinel or Cluster, of either server family, and what befalls it.
//!
//! | module | owns |
//! |---|---|
//! | [`server`] | which server software runs |
//! | [`layout`] | what all servers of one topology have in common |
//! | [`authority`] | the certificates of those that speak TLS |
//! | [`node`] | one server process: its life, its ports, its disk, and what befalls it |
//! | [`standalone`] | one of them |
//! | [`sentinel`], [`cluster`] | several of them that fail over |
//!
//! The harness itself speaks to each node over a Unix socket, so what it does to ports, proxies and certificates never
//! stands in its own way.

pub mod authority;
pub mod cluster;
pub mod layout;
pub mod node;
pub mod sentinel;
pub mod server;
pub mod standalone;

pub use authority::Authority;
pub use cluster::Cluster;
pub use layout::Layout;
pub use node::{Foreign, Node};
pub use sentinel::Sentinel;
pub use server::Server;
pub use standalone::Standalone;

/// `host:port` of each of these, with commas between.
fn hosts(nodes: &[Node]) -> String {
    let addrs: Vec<_> = nodes.iter().map(|node| node.addr().to_string()).collect();
    addrs.join(",")
}
