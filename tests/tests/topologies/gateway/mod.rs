//! The gateway over topologies: whatever happens to a primary, what was published is delivered or resynced.

mod cluster;
mod nat;
mod nodes;
mod partitions;
mod refusals;
mod sentinel;
mod staleness;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use tidings_publisher::{Builder, Partitions, Publisher};
use tidings_tests::client::Options;
use tidings_tests::gateway::publics;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Node, Oracle, Setup, Source};
use tokio::sync::watch;

pub(crate) use cluster::slot_of;

/// In all partitions of a cluster, and some of these more than once.
const TOPICS: usize = 40;
/// How long clients may take to converge once the fault is over: gateways that were busy connecting to a server that is
/// gone try again within a second or two.
const CONVERGED: Duration = Duration::from_secs(10);

/// Two gateways over a topology, clients of theirs, and a publisher.
pub(super) struct Stage {
    pub(super) gateways: Vec<Gateway>,
    oracle: Arc<Oracle>,
    source: Source,
    topics: Vec<String>,
    clients: Vec<Client>,
}

impl Stage {
    pub(super) async fn over(url: &str, partitions: Partitions) -> Self {
        Self::of(Setup::redis(url), Publisher::builder(url), partitions).await
    }

    pub(super) async fn of(gateways: Setup, publisher: Builder, partitions: Partitions) -> Self {
        let gateways = gateways.with("stream.resync_spread", "0s").start_many(2).await;
        let oracle = Oracle::of(partitions);
        let publisher = publisher.retries(30).timeout(Duration::from_secs(1)).connect().await.unwrap();
        let source = Source::new(publisher, &oracle);
        let topics: Vec<String> = (0..TOPICS).map(|n| format!("o/{n}")).collect();
        let open = |n: usize| Client::open(&format!("client {n}"), &[gateways[n].public()], &topics);
        let clients: Vec<Client> = (0..2).map(open).collect();
        for client in &clients {
            client.ready().await;
        }
        Self { gateways, oracle, source, topics, clients }
    }

    /// Publishes to all topics in turn, from before the fault until it is over and a while longer.
    pub(super) async fn publish_through<T>(&self, fault: impl Future<Output = T>) -> T {
        let (over, mut told) = watch::channel(false);
        let publishing = async {
            let mut after = 0;
            for topic in self.topics.iter().cycle() {
                let serial = self.source.publish(&[topic]).await;
                if *told.borrow_and_update() {
                    after += 1;
                }
                if after > TOPICS {
                    return serial;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            unreachable!("a cycle does not end")
        };
        let faulty = async {
            // Some events go the way of before.
            let last = self.clients[0].record().serials().len() + 20;
            self.clients[0].record().until("events come", PATIENCE, |record| record.serials().len() >= last).await;
            let result = fault.await;
            let _ = over.send(true);
            result
        };
        futures_util::future::join(publishing, faulty).await.1
    }

    /// A place in history that somebody has left with.
    fn cursor(&self) -> String {
        self.clients[0].record().cursor().unwrap()
    }

    /// Somebody who was away since then comes back, to the other gateway.
    async fn come_back(&mut self, cursor: &str) {
        let gateways = publics(&self.gateways[1..]);
        let away = Options::new("away", &gateways, &self.topics).after(cursor).open();
        away.ready().await;
        self.clients.push(away);
    }

    /// The other gateway, which was killed, and somebody who was away come back; all converge.
    async fn all_come_back(&mut self, cursor: &str) {
        self.gateways[1].start().await;
        self.clients[1].ready_times(2).await;
        self.come_back(cursor).await;
        self.publish_through(std::future::ready(())).await;
        self.assert_converged().await;
    }

    /// Something was neither delivered nor resynced.
    pub(super) async fn assert_lost(&self) {
        let records = self.clients.iter().map(Client::record);
        let verdict = self.oracle.settle(records, CONVERGED).await;
        assert!(verdict.lost > 0, "{verdict}");
    }

    /// Nothing was neither delivered nor resynced.
    pub(super) async fn assert_converged(&self) {
        let records = self.clients.iter().map(Client::record);
        let begun = std::time::Instant::now();
        let verdict = self.oracle.settle(records, CONVERGED).await;
        println!("converged {:?} after the last event", begun.elapsed());
        println!("{verdict}");
        verdict.assert_kept();
        for gateway in &self.gateways {
            gateway.ready().await;
        }
    }
}

/// From now on the replicas of this primary get nothing any more: what it acknowledges is lost with it.
async fn cut_replicas_off(primary: &Node) {
    primary.ask::<()>("ACL", &["SETUSER", "default", "-psync", "-sync", "-replconf"]).await.unwrap();
    primary.ask::<i64>("CLIENT", &["KILL", "TYPE", "replica"]).await.unwrap();
}
