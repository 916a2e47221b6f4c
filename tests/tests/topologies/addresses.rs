//! Names that lead to several addresses, of which some are dead, frozen, or know nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tidings_publisher::tail::{Follow, Tail};
use tidings_publisher::{Event, Publisher};
use tidings_tests::forwarder::Forwarder;
use tidings_tests::port::Port;
use tidings_tests::{Cluster, Gateway, Hosts, Layout, Node, Sentinel, Server, Setup, Standalone};
use tokio::net::TcpListener;

use crate::on_each_server;

on_each_server!(
    one_server,
    one_name_for_all_sentinels,
    one_name_for_all_nodes,
    a_sentinel_that_knows_no_primary,
    a_sentinel_that_is_behind,
    a_node_that_is_no_part_of_the_cluster,
);

const NAME: &str = "many.test";

/// A name, and what is at each of its addresses.
struct Name {
    _hosts: Hosts,
    port: Port,
    _forwarders: Vec<Forwarder>,
    _frozen: Vec<TcpListener>,
}

/// What is at one address.
enum At<'a> {
    /// Nobody listens.
    Nobody,
    /// Connections are accepted, and nothing is answered.
    Frozen,
    Node(&'a Node),
}

impl Name {
    async fn leading_to(places: &[At<'_>]) -> Self {
        let (hosts, port) = (Hosts::private(), Port::free());
        let (mut forwarders, mut frozen, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for (last, place) in (2..).zip(places) {
            let ip = Ipv4Addr::new(127, 0, 0, last);
            let outer = SocketAddr::from((ip, port.number()));
            match place {
                At::Nobody => {}
                At::Frozen => frozen.push(TcpListener::bind(outer).await.unwrap()),
                At::Node(node) => forwarders.push(Forwarder::start(outer, node.addr()).await),
            }
            addresses.push(IpAddr::V4(ip));
        }
        hosts.set(NAME, &addresses);
        Self { _hosts: hosts, port, _forwarders: forwarders, _frozen: frozen }
    }

    fn url(&self, kind: &str, rest: &str) -> String {
        format!("redis{kind}://{NAME}:{}{rest}", self.port.number())
    }
}

/// A server that takes clients from other addresses than 127.0.0.1.
fn open(server: Server) -> Layout {
    Layout::of(server).setting("protected-mode no")
}

/// All that reach a store, through it.
struct Reached {
    publisher: Publisher,
    gateway: Gateway,
}

impl Reached {
    async fn through(url: &str) -> Self {
        let publisher = Publisher::builder(url).retries(20).timeout(Duration::from_secs(5));
        let reached = Self { publisher: publisher.connect().await.unwrap(), gateway: Setup::redis(url).start().await };
        reached.publish("1").await;
        let follow = Follow {
            addresses: vec!["a".parse().unwrap()],
            cursor: None,
            namespace: Default::default(),
            partitions: None,
            tls: Default::default(),
        };
        Tail::start(url, follow).await.map(drop).unwrap();
        reached
    }

    /// Publishes, and gets it from the gateway.
    async fn publish(&self, version: &str) {
        self.gateway.ready().await;
        self.publisher.publish(Event::refresh("a").version(version)).await.unwrap();
        let (status, body) = self.gateway.public_get("/v1/poll?topic=a&tail=1").await;
        assert!(status == 200 && body.contains(&format!(r#""version":"{version}""#)), "{status} {body}");
    }
}

async fn one_server(server: Server) {
    let redis = Standalone::start(open(server)).await;
    let name = Name::leading_to(&[At::Nobody, At::Frozen, At::Node(&redis)]).await;
    Reached::through(&name.url("", "")).await;
}

async fn one_name_for_all_sentinels(server: Server) {
    let topology = Sentinel::start(open(server)).await;
    let last = &topology.sentinels()[2];
    let name = Name::leading_to(&[At::Nobody, At::Frozen, At::Node(last)]).await;
    let reached = Reached::through(&name.url("+sentinel", "/tidings")).await;
    topology.crash_failover().await;
    reached.publish("2").await;
}

async fn one_name_for_all_nodes(server: Server) {
    let cluster = Cluster::start(open(server)).await;
    let last = &cluster.nodes()[5];
    let name = Name::leading_to(&[At::Frozen, At::Nobody, At::Frozen, At::Node(last)]).await;
    let reached = Reached::through(&name.url("+cluster", "")).await;
    cluster.crash_failover(super::gateway::slot_of("a")).await;
    reached.publish("2").await;
}

async fn a_sentinel_that_knows_no_primary(server: Server) {
    let topology = Sentinel::start(open(server)).await;
    let [unknowing, frozen, good] = topology.sentinels() else { unreachable!("three") };
    for sentinel in [unknowing, frozen] {
        sentinel.ask::<()>("SENTINEL", &["REMOVE", "tidings"]).await.unwrap();
    }
    let name = Name::leading_to(&[At::Node(unknowing), At::Frozen, At::Node(frozen), At::Node(good)]).await;
    let reached = Reached::through(&name.url("+sentinel", "/tidings")).await;
    reached.publish("2").await;
}

/// It names a server that has been made a replica, as one does that was cut off in a failover.
async fn a_sentinel_that_is_behind(server: Server) {
    let topology = Sentinel::start(open(server)).await;
    let [behind, good, _] = topology.sentinels() else { unreachable!("three") };
    let replica = topology.replicas().await[0].addr();
    behind.ask::<()>("SENTINEL", &["REMOVE", "tidings"]).await.unwrap();
    let (host, port) = (replica.ip().to_string(), replica.port().to_string());
    behind.ask::<()>("SENTINEL", &["MONITOR", "tidings", &host, &port, "3"]).await.unwrap();
    let name = Name::leading_to(&[At::Node(behind), At::Node(good)]).await;
    let reached = Reached::through(&name.url("+sentinel", "/tidings")).await;
    reached.publish("2").await;
}

async fn a_node_that_is_no_part_of_the_cluster(server: Server) {
    let cluster = Cluster::start(open(server)).await;
    let alone = Standalone::start(open(server)).await;
    let name = Name::leading_to(&[At::Node(&alone), At::Node(&cluster.nodes()[1])]).await;
    let reached = Reached::through(&name.url("+cluster", "")).await;
    reached.publish("2").await;
}
