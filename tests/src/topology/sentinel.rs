//! One primary, two replicas, and three sentinels that promote one of these when the primary is down.

use std::net::SocketAddr;
use std::time::Duration;

use super::node::Role;
use super::{Layout, Node, hosts};
use crate::wait::{PATIENCE, eventually, perhaps};

/// What the sentinels call their primary.
pub const NAME: &str = "tidings";

/// After several faults in a row it can take them that long: a primary that was replaced is made a replica after ten
/// seconds, and a failover that failed is tried again after eight.
const SETTLED: Duration = Duration::from_secs(60);

/// A running topology.
#[derive(Debug)]
pub struct Sentinel {
    nodes: Vec<Node>,
    sentinels: Vec<Node>,
}

impl Sentinel {
    /// Starts it, and returns when it would survive the loss of its primary.
    pub async fn start(layout: impl Into<Layout>) -> Self {
        let layout = layout.into();
        let mut nodes = vec![Node::begin(&layout, Role::Primary).await];
        for _ in 0..2 {
            nodes.push(Node::begin(&layout, Role::Replica(nodes[0].addr())).await);
        }
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Node::begin(&layout, Role::Sentinel(&nodes[0])).await);
        }
        let topology = Self { nodes, sentinels };
        topology.settled().await;
        topology
    }

    /// All data nodes; the first was the first primary.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Node] {
        &self.sentinels
    }

    /// Its URL, for the default users of servers and sentinels.
    pub fn url(&self) -> String {
        let layout = self.nodes[0].layout();
        let own = layout.sentinels.password.as_ref().map(|password| format!("?sentinel_password={password}"));
        format!("{}/{NAME}{}", layout.url("+sentinel", &hosts(&self.sentinels)), own.unwrap_or_default())
    }

    /// Its URL for another user of the layout.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        format!("{}/{NAME}", self.nodes[0].layout().url_for("+sentinel", &hosts(&self.sentinels), user, password))
    }

    /// The node that most sentinels name and that is itself a primary; waits while there is none.
    pub async fn primary(&self) -> &Node {
        let mut found = None;
        eventually("the sentinels name a primary", PATIENCE, async || {
            found = self.named().await;
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    /// The other data nodes, running or not.
    pub async fn replicas(&self) -> Vec<&Node> {
        let primary = self.primary().await.addr();
        self.nodes.iter().filter(|node| node.addr() != primary).collect()
    }

    /// Waits until all nodes that are up replicate from one primary, and all sentinels that are up know all of that.
    pub async fn settled(&self) {
        let mut wrong = None;
        perhaps(SETTLED, async || {
            wrong = self.unsettled().await;
            wrong.is_none()
        })
        .await;
        assert_eq!(wrong, None, "within {SETTLED:?} replicas and sentinels do not agree");
    }

    /// Kills the primary, and returns the one that took its place.
    pub async fn crash_failover(&self) -> &Node {
        let old = self.primary().await;
        old.kill();
        self.successor(old).await
    }

    /// Tells the sentinels to fail over though nothing is broken, and returns the new primary.
    pub async fn failover(&self) -> &Node {
        let old = self.primary().await;
        let sentinel = self.sentinels.iter().find(|node| node.is_up()).expect("a sentinel that is up");
        // It refuses for some seconds after a failover, and until it knows a replica that is good enough.
        eventually("a sentinel agrees to fail over", PATIENCE, async || {
            sentinel.ask::<()>("SENTINEL", &["FAILOVER", NAME]).await.is_ok()
        })
        .await;
        self.successor(old).await
    }

    /// Changes the password of all nodes that are up, and tells the sentinels. Connections that are open stay.
    pub async fn set_password(&self, password: &str) {
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            node.set_password(password).await;
        }
        for sentinel in self.sentinels.iter().filter(|node| node.is_up()) {
            sentinel.ask::<()>("SENTINEL", &["SET", NAME, "auth-pass", password]).await.expect("SENTINEL SET");
        }
    }

    /// The primary that takes the place of this one; waits until one has.
    pub async fn successor(&self, old: &Node) -> &Node {
        let mut found = None;
        eventually("another primary", PATIENCE, async || {
            found = self.named().await.filter(|node| node.addr() != old.addr());
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    async fn named(&self) -> Option<&Node> {
        let mut votes: Vec<SocketAddr> = Vec::new();
        for sentinel in self.sentinels.iter().filter(|node| node.is_up()) {
            let named = sentinel.ask::<(String, u16)>("SENTINEL", &["GET-MASTER-ADDR-BY-NAME", NAME]).await;
            votes.extend(named.ok().and_then(|(host, port)| format!("{host}:{port}").parse::<SocketAddr>().ok()));
        }
        let most = |addr: &&SocketAddr| votes.iter().filter(|vote| vote == addr).count() * 2 > self.sentinels.len();
        let addr = votes.iter().find(most)?;
        let node = self.nodes.iter().find(|node| node.addr() == *addr && node.is_up())?;
        (node.info("role").await? == "master").then_some(node)
    }

    /// What keeps it from being settled.
    async fn unsettled(&self) -> Option<String> {
        let Some(primary) = self.named().await else { return Some("no primary that most sentinels name".to_owned()) };
        let mut replicas = 0;
        for node in self.nodes.iter().filter(|node| node.is_up() && node.addr() != primary.addr()) {
            let (port, link) = (node.info("master_port").await, node.info("master_link_status").await);
            if port != Some(primary.addr().port().to_string()) || link.as_deref() != Some("up") {
                let (node, primary) = (node.addr(), primary.addr());
                return Some(format!("{node} follows port {port:?}, not {primary}; its link is {link:?}"));
            }
            replicas += 1;
        }
        let up = self.sentinels.iter().filter(|node| node.is_up());
        for sentinel in up {
            // `slaves=2,sentinels=3` and `status=ok`, as the sentinel counts them, dead ones too.
            let Some(seen) = sentinel.info("master0").await else {
                return Some("a sentinel watches nothing".to_owned());
            };
            let count = |name: &str| {
                let value = seen.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
                value.and_then(|value| value.parse::<usize>().ok()).unwrap_or(0)
            };
            if count("sentinels") < self.sentinels.len() || count("slaves") < replicas || !seen.contains("status=ok") {
                return Some(format!("of {replicas} replicas and a primary a sentinel sees {seen}"));
            }
        }
        None
    }
}
