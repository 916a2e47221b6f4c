//! The configuration file of a node. It is written once: the server itself rewrites it as topologies change.

use std::net::SocketAddr;

use super::Node;
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
pub(super) fn write(node: &Node, role: &Role<'_>) {
    let (layout, folder, port) = (&node.layout, node.folder.path().display(), node.port.number());
    let mut lines = vec!["bind 127.0.0.1".to_owned(), format!("unixsocket {folder}/control"), format!("dir {folder}")];
    match &layout.tls {
        Some(tls) => lines.extend([vec!["port 0".to_owned(), format!("tls-port {port}")], tls.lines()].concat()),
        None => lines.push(format!("port {port}")),
    }
    match role {
        Role::Sentinel(primary) => lines.extend(sentinel(node, primary)),
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

fn sentinel(node: &Node, primary: &Node) -> Vec<String> {
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
    if let Some(password) = &node.layout.password {
        lines.push(format!("sentinel auth-pass {NAME} {password}"));
    }
    lines.extend(node.layout.sentinels.lines());
    lines
}

fn cluster(node: &Node) -> Vec<String> {
    let tls = node.layout.tls.is_some();
    let bus = node.bus().unwrap_or_default();
    vec![
        "cluster-enabled yes".to_owned(),
        "cluster-config-file nodes.conf".to_owned(),
        format!("cluster-node-timeout {DOWN_AFTER}"),
        format!("cluster-port {bus}"),
        "cluster-announce-ip 127.0.0.1".to_owned(),
        format!("cluster-announce-{}port {}", if tls { "tls-" } else { "" }, node.addr().port()),
        format!("tls-cluster {}", if tls { "yes" } else { "no" }),
        format!("cluster-announce-bus-port {bus}"),
        // A replica that missed writes is promoted all the same: that is one of the faults.
        "cluster-replica-validity-factor 0".to_owned(),
        "cluster-allow-replica-migration no".to_owned(),
    ]
}
