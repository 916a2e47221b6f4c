//! End to end: real gateways, a real Redis, strict clients. A module is a theme; each test has servers of its own.

mod arrays;
mod bad_input;
mod connections;
mod cors;
mod databases;
mod dead_peers;
mod drain;
mod duplicate;
mod ended_parts;
mod every;
mod fanout;
mod follows;
mod foreign_bytes;
mod herd;
mod hosts;
mod http2;
mod limits;
mod logging;
mod marks;
mod multi;
mod names;
mod options;
mod poll;
mod probes;
mod proxies;
mod query;
mod raw_requests;
mod readiness;
mod recipes;
mod replay;
mod retention;
mod senders;
mod shutdown;
mod slow;
mod sockets;
mod spread;
mod staleness;
mod store;
mod storm;
mod stuck_reader;
mod subscriptions;
mod tls;
mod topics;

use std::sync::Arc;

use tidings_tests::{Client, Gateway, Oracle, Proxy, Setup, Source, Standalone};

/// One Redis, some gateways on it, and a publisher that speaks to Redis.
struct Stage {
    redis: Standalone,
    gateways: Vec<Gateway>,
    oracle: Arc<Oracle>,
    source: Source,
}

impl Stage {
    /// With a Redis that keeps its data over a restart.
    async fn of(gateways: usize) -> Self {
        Self::with(gateways, |setup| setup).await
    }

    /// The same, its gateways set up in some way.
    async fn with(gateways: usize, set: impl FnOnce(Setup) -> Setup) -> Self {
        let redis = Standalone::durable().await;
        let gateways = set(Setup::redis(&redis.url())).start_many(gateways).await;
        let oracle = Oracle::new();
        let source = Source::connect(&redis.url(), &oracle).await;
        Self { redis, gateways, oracle, source }
    }

    /// One gateway, which reaches Redis by a link of its own; the publisher does not.
    async fn linked() -> (Proxy, Self) {
        let mut stage = Self::of(0).await;
        let link = Proxy::start(stage.redis.addr()).await;
        stage.gateways = Setup::redis(&format!("redis://{}", link.addr())).start_many(1).await;
        (link, stage)
    }
}

/// The embedded store in one gateway, and a publisher that speaks to it.
async fn memory(set: impl FnOnce(Setup) -> Setup) -> (Gateway, Arc<Oracle>, Source) {
    let gateway = set(Setup::memory()).start().await;
    let oracle = Oracle::new();
    let source = Source::connect(&gateway.url(), &oracle).await;
    (gateway, oracle, source)
}

/// Waits until all are live.
async fn all_ready(clients: &[Client]) {
    for client in clients {
        client.ready().await;
    }
}
