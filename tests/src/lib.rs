//! The harness: real servers, a fault proxy, strict clients, and the oracle that judges what they saw.
//!
//! | module | owns |
//! |---|---|
//! | [`topology`] | Redis: one server, Sentinel or Cluster, and the faults that befall them |
//! | [`gateway`] | the gateway under test, a child process on ports of its own |
//! | [`forwarder`] | another address for a server, as behind a NAT |
//! | [`front`] | a reverse proxy in front of gateways: Varnish, nghttpx, nginx or haproxy |
//! | [`proxy`] | a TCP link that can be cut, frozen, slowed and refused |
//! | [`lines`], [`sse`], [`conduct`] | the event stream as the standard reads it, and what our server must never send |
//! | [`http`], [`client`], [`poller`] | the ways to a gateway; an EventSource and a long poller, as many as a test wants |
//! | [`publish`], [`record`], [`oracle`] | what was published, what each client saw, and whether that keeps promise 1 |
//! | [`faults`] | the incidents of production, each with what shows that it is one, and what comes of them |
//! | [`certificate`] | a certificate that is renewed, or broken |
//! | [`hosts`] | names that lead where the test says |
//! | [`stopped`] | a thread that stands still while its process runs |
//! | [`network`], [`process`], [`port`], [`metrics`], [`wait`] | small parts of these |
//!
//! A harness panics when its own means fail: that is a failed test, with the reason in the message.

pub mod certificate;
pub mod client;
pub mod conduct;
pub mod faults;
pub mod forwarder;
pub mod front;
pub mod gateway;
pub mod hosts;
pub mod http;
pub mod lines;
pub mod metrics;
pub mod network;
pub mod oracle;
pub mod poller;
pub mod port;
pub mod process;
pub mod proxy;
pub mod publish;
pub mod record;
pub mod sse;
pub mod stopped;
pub mod topology;
pub mod wait;

pub use certificate::Certificate;
pub use client::Client;
pub use gateway::{Gateway, Setup};
pub use hosts::Hosts;
pub use oracle::Oracle;
pub use poller::Poller;
pub use proxy::Proxy;
pub use publish::Source;
pub use topology::{Authority, Cluster, Layout, Node, Sentinel, Server, Standalone};
pub use wait::eventually;
