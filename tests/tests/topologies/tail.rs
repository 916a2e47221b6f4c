//! Following from a terminal: every event is told once, or its topic resynced, whatever happens to a primary.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join3;
use tidings_publisher::store::TlsFiles;
use tidings_publisher::tail::{Follow, Line, Tail};
use tidings_publisher::{Builder, Event, Publisher};
use tidings_tests::wait::{PATIENCE, now_us};
use tidings_tests::{Authority, Cluster, Layout, Sentinel, Server, Setup, Standalone};
use tokio::time::timeout;

use super::gateway::slot_of;
use crate::on_each_server;

on_each_server!(
    failover_of_a_cluster,
    slot_that_moves,
    behind_sentinel_with_tls,
    over_a_cluster_with_tls,
    another_count,
);

const TOPICS: u64 = 20;

fn topic(n: u64) -> String {
    format!("o/{}", n % TOPICS)
}

/// A tail, and who publishes what it follows.
struct Pair {
    publisher: Publisher,
    tail: Tail,
    told: BTreeSet<u64>,
}

impl Pair {
    async fn start(publisher: Builder, url: &str, tls: TlsFiles) -> Self {
        let publisher = publisher.retries(30).timeout(Duration::from_secs(1)).connect().await.unwrap();
        let addresses = (0..TOPICS).map(|n| topic(n).parse().unwrap()).collect();
        let follow = Follow { addresses, cursor: None, namespace: Default::default(), partitions: None, tls };
        Self { publisher, tail: Tail::start(url, follow).await.unwrap(), told: BTreeSet::new() }
    }

    /// Publishes these events while `fault` happens, until each was told once, or its topic resynced after it was stored.
    async fn told_through<T>(&mut self, numbers: Range<u64>, fault: impl Future<Output = T>) {
        let stored: RefCell<HashMap<u64, u64>> = RefCell::default();
        let publishing = async {
            for n in numbers.clone() {
                let receipt = self.publisher.publish(Event::refresh(topic(n)).version(n.to_string())).await.unwrap();
                stored.borrow_mut().insert(n, receipt.ids[&topic(n)].ms);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let telling = async {
            let mut resynced: HashMap<String, u64> = HashMap::new();
            let is_open = |n: &u64, told: &BTreeSet<u64>, resynced: &HashMap<String, u64>| {
                let resynced = resynced.get(&topic(*n)).copied().unwrap_or(0);
                !told.contains(n) && stored.borrow().get(n).is_none_or(|stored| *stored > resynced)
            };
            while let Some(n) = numbers.clone().find(|n| is_open(n, &self.told, &resynced)) {
                let line = timeout(PATIENCE, self.tail.next()).await;
                let Line::Data { json, .. } = line.unwrap_or_else(|_| panic!("{n} never came")).unwrap() else {
                    continue;
                };
                let data: serde_json::Value = serde_json::from_str(&json).unwrap();
                match data["version"].as_str() {
                    Some(n) => assert!(self.told.insert(n.parse().unwrap()), "it came twice: {json}"),
                    None => drop(resynced.insert(data["topic"].as_str().unwrap().to_owned(), now_us() / 1000)),
                }
            }
        };
        join3(publishing, fault, telling).await;
    }

    /// What is published before the fault, during it and after it; before it nothing is resynced.
    async fn told_around<T>(&mut self, fault: impl Future<Output = T>) {
        self.told_through(0..40, ready(())).await;
        assert_eq!(self.told.len(), 40, "resynced without need");
        self.told_through(40..200, fault).await;
        // Perhaps it has yet to notice.
        self.told_through(200..240, ready(())).await;
    }
}

async fn failover_of_a_cluster(server: Server) {
    let cluster = Cluster::start(server).await;
    let mut pair = Pair::start(Publisher::builder(cluster.url()), &cluster.url(), TlsFiles::default()).await;
    pair.told_around(cluster.failover(slot_of("o/0"))).await;
}

async fn slot_that_moves(server: Server) {
    let cluster = Cluster::start(server).await;
    let mut pair = Pair::start(Publisher::builder(cluster.url()), &cluster.url(), TlsFiles::default()).await;
    let slot = slot_of("o/0");
    let from = cluster.primary_of(slot).await.addr();
    let to = cluster.nodes()[..3].iter().find(|node| node.addr() != from).unwrap();
    pair.told_around(cluster.migrate(slot, to)).await;
}

fn certified(url: &str, authority: &Authority) -> (Builder, TlsFiles) {
    let (ca, (cert, key)) = (authority.ca(), authority.client());
    let builder = Publisher::builder(url).tls_ca(&ca).tls_certificate(&cert, &key);
    (builder, TlsFiles { ca: Some(ca), cert: Some(cert), key: Some(key) })
}

async fn behind_sentinel_with_tls(server: Server) {
    let authority = Arc::new(Authority::new());
    let topology = Sentinel::start(Layout::of(server).mutual_tls(&authority).password("secret")).await;
    let (publisher, tls) = certified(&topology.url(), &authority);
    Pair::start(publisher, &topology.url(), tls).await.told_around(topology.crash_failover()).await;
}

async fn over_a_cluster_with_tls(server: Server) {
    let authority = Arc::new(Authority::new());
    let cluster = Cluster::start(Layout::of(server).mutual_tls(&authority).password("secret")).await;
    let (publisher, tls) = certified(&cluster.url(), &authority);
    Pair::start(publisher, &cluster.url(), tls).await.told_around(cluster.crash_failover(slot_of("o/0"))).await;
}

/// Neither the tail nor the publisher is told how many partitions there are, nor that they become more.
async fn another_count(server: Server) {
    let redis = Standalone::start(server).await;
    let gateway = |count| Setup::redis(&redis.url()).with("store.partitions", count);
    let few = gateway("3").start().await;
    let mut pair = Pair::start(Publisher::builder(redis.url()), &redis.url(), TlsFiles::default()).await;
    pair.told_around(async {
        drop(few);
        gateway("32").start().await
    })
    .await;
}
