//! The configuration file of a node. It is written once: the server itself rewrites it as topologies change.

use std::net::SocketAddr;

use super::{Layout, Node};
use crate::topology::sentinel::NAME;

/// What a node is to the others when it starts for the first time.
pub(in crate::topology) enum Role<'a> {
    /// It stands alone, or others follow it.
    Primary,
    /// It follows that one.
    Replica(SocketAddr),
    /// A node of a cluster; which, commands tell it.
    Cluster,
    /// It watches that primary.
    Sentinel(&'a Node),
}

/// A primary or a node of a cluster that was silent for this long, in milliseconds, is down.
const DOWN_AFTER: u32 = 2_000;

/// Writes it.
pub(super) fn write(node: &Node, layout: &Layout, role: &Role<'_>) {
    let folder = node.folder.path().display();
    let mut lines = vec![
        format!("port {}", node.port.number()),
        "bind 127.0.0.1".to_owned(),
        format!("unixsocket {folder}/control"),
        format!("dir {folder}"),
    ];
    match role {
        Role::Sentinel(primary) => lines.extend(sentinel(node, layout, primary)),
        Role::Primary | Role::Replica(_) => {
            lines.extend(layout.lines());
            lines.extend(["replica-announce-ip 127.0.0.1".to_owned()]);
            lines.push(format!("replica-announce-port {}", node.addr().port()));
        }
        Role::Cluster => lines.extend(layout.lines().into_iter().chain(cluster(node))),
    }
    if let Role::Replica(primary) = role {
        lines.push(format!("replicaof {} {}", primary.ip(), primary.port()));
    }
    std::fs::write(node.path("conf"), lines.join("\n") + "\n").expect("its configuration");
}

fn sentinel(node: &Node, layout: &Layout, primary: &Node) -> Vec<String> {
    let (own, watched) = (node.addr(), primary.addr());
    let mut lines = vec![
        "sentinel announce-ip 127.0.0.1".to_owned(),
        format!("sentinel announce-port {}", own.port()),
        format!("sentinel monitor {NAME} {} {} 2", watched.ip(), watched.port()),
        format!("sentinel down-after-milliseconds {NAME} {DOWN_AFTER}"),
        // An election without a winner is held again after twice this time.
        format!("sentinel failover-timeout {NAME} 4000"),
        format!("sentinel parallel-syncs {NAME} 2"),
    ];
    if let Some(password) = &layout.password {
        lines.push(format!("sentinel auth-pass {NAME} {password}"));
    }
    lines
}

fn cluster(node: &Node) -> Vec<String> {
    let (bus, announced) = (node.bus.as_ref().map_or(0, |port| port.number()), node.bus_addr());
    vec![
        "cluster-enabled yes".to_owned(),
        "cluster-config-file nodes.conf".to_owned(),
        format!("cluster-node-timeout {DOWN_AFTER}"),
        format!("cluster-port {bus}"),
        "cluster-announce-ip 127.0.0.1".to_owned(),
        format!("cluster-announce-port {}", node.addr().port()),
        format!("cluster-announce-bus-port {}", announced.map_or(0, |addr| addr.port())),
        // A replica that missed writes is promoted all the same: that is one of the faults.
        "cluster-replica-validity-factor 0".to_owned(),
        "cluster-allow-replica-migration no".to_owned(),
    ]
}
