//! A cluster behind a NAT, whose nodes tell no endpoint: they are reached at the host that was asked.

use std::net::{Ipv4Addr, SocketAddr};

use tidings_publisher::Partitions;
use tidings_tests::forwarder::Forwarder;
use tidings_tests::{Cluster, Layout, Node, Server};

use super::Stage;
use super::cluster::slot_of;
use crate::on_each_server;

on_each_server!(nodes_without_an_endpoint, nodes_that_tell_their_inner_address);

/// Where all nodes are reached from outside, each at its own port.
const OUTER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

struct Nat {
    cluster: Cluster,
    _forwarders: Vec<Forwarder>,
}

impl Nat {
    async fn start(server: Server, endpoint: &str) -> Self {
        let layout = Layout::of(server).setting(&format!("cluster-preferred-endpoint-type {endpoint}"));
        // Clients come from another address than 127.0.0.1.
        let layout = layout.setting("protected-mode no");
        let cluster = Cluster::start(layout).await;
        let mut forwarders = Vec::new();
        for node in cluster.nodes() {
            let outer = SocketAddr::from((OUTER, node.addr().port()));
            forwarders.push(Forwarder::start(outer, node.addr()).await);
        }
        Self { cluster, _forwarders: forwarders }
    }

    fn url(&self) -> String {
        let hosts: Vec<String> =
            self.cluster.nodes().iter().map(|node| format!("{OUTER}:{}", node.addr().port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Clients that have come to the inner address of a node.
    async fn direct_clients(&self) -> Vec<String> {
        let mut direct = Vec::new();
        for node in self.cluster.nodes().iter().filter(|node| node.is_up()) {
            direct.extend(direct_clients_of(node).await);
        }
        direct
    }
}

async fn direct_clients_of(node: &Node) -> Vec<String> {
    let mut direct = Vec::new();
    for kind in ["normal", "pubsub"] {
        let list: String = node.ask("CLIENT", &["LIST", "TYPE", kind]).await.unwrap();
        let lines = list.lines().map(str::to_owned);
        // The harness itself comes over a socket file, and other nodes bring keys of a slot that moves.
        let expected = [&format!(" addr={OUTER}:"), "/control:0", "cmd=restore-asking"];
        let is_direct = |line: &String| !expected.iter().any(|part| line.contains(part));
        direct.extend(lines.filter(is_direct));
    }
    direct
}

async fn nodes_without_an_endpoint(server: Server) {
    let nat = Nat::start(server, "unknown-endpoint").await;
    let (cluster, url) = (&nat.cluster, nat.url());
    let stage = Stage::over(&url, Partitions::CLUSTER).await;
    let slot = slot_of("o/0");
    stage.publish_through(std::future::ready(())).await;
    assert_eq!(nat.direct_clients().await, [""; 0], "at first");
    let from = cluster.primary_of(slot).await.addr();
    let to = cluster.nodes()[..3].iter().find(|node| node.addr() != from).unwrap();
    // MOVED names no host either.
    stage.publish_through(cluster.migrate(slot, to)).await;
    assert_eq!(nat.direct_clients().await, [""; 0], "after a slot has moved");
    stage.publish_through(cluster.crash_failover(slot)).await;
    stage.assert_converged().await;
    assert_eq!(nat.direct_clients().await, [""; 0], "after a failover");
}

/// Shows that this test would see those who go to inner addresses.
async fn nodes_that_tell_their_inner_address(server: Server) {
    let nat = Nat::start(server, "ip").await;
    let stage = Stage::over(&nat.url(), Partitions::CLUSTER).await;
    stage.publish_through(std::future::ready(())).await;
    assert!(!nat.direct_clients().await.is_empty());
}
