//! Three primaries that share the slots, and a replica of each.

mod migration;
mod view;

use std::time::Duration;

use tokio::time::timeout;

use super::node::Role;
use super::{Layout, Node, hosts};
use crate::wait::{PATIENCE, eventually};

pub use migration::Migration;
use view::View;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

const PRIMARIES: u16 = 3;

/// A replica that could not take over in this time has given it up.
const ORDER: Duration = Duration::from_secs(6);

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts it, and returns when it would survive the loss of a primary.
    pub async fn start(layout: impl Into<Layout>) -> Self {
        let layout = layout.into();
        let mut nodes = Vec::new();
        for _ in 0..2 * PRIMARIES {
            nodes.push(Node::begin(&layout, Role::Cluster).await);
        }
        for (number, node) in (0_u16..).zip(&nodes) {
            told(node, &["SET-CONFIG-EPOCH", &(number + 1).to_string()]).await;
            if number < PRIMARIES {
                let share = |part: u16| u32::from(part) * u32::from(SLOTS) / u32::from(PRIMARIES);
                let (first, end) = (share(number), share(number + 1));
                told(node, &["ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]).await;
            }
        }
        let cluster = Self { layout, nodes };
        for node in &cluster.nodes {
            cluster.meet(node).await;
        }
        cluster.acquainted().await;
        let (primaries, replicas) = cluster.nodes.split_at(PRIMARIES.into());
        for (primary, replica) in primaries.iter().zip(replicas) {
            told(replica, &["REPLICATE", &id(primary).await]).await;
        }
        cluster.settled().await;
        cluster
    }

    /// All nodes, running or not; the first three were the first primaries.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Its URL, with all of its nodes, for the default user.
    pub fn url(&self) -> String {
        self.layout.url("+cluster", &hosts(&self.nodes))
    }

    /// Its URL for another user of the layout.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        self.layout.url_for("+cluster", &hosts(&self.nodes), user, password)
    }

    /// The slot of a key.
    pub async fn slot_of(&self, key: &str) -> u16 {
        let node = self.nodes.iter().find(|node| node.is_up()).expect("a node that is up");
        node.ask("CLUSTER", &["KEYSLOT", key]).await.expect("CLUSTER KEYSLOT")
    }

    /// The node that serves a slot; waits while none does, as until a failover is through.
    pub async fn primary_of(&self, slot: u16) -> &Node {
        self.primaries_of(&[slot]).await[0]
    }

    /// The node that serves each of these slots; waits while one of them has none.
    pub async fn primaries_of(&self, slots: &[u16]) -> Vec<&Node> {
        let mut found = Vec::new();
        eventually(&format!("primaries serve the slots {slots:?}"), PATIENCE, async || {
            let claims = self.claims().await;
            found = slots.iter().filter_map(|slot| holder(&claims, *slot)).collect();
            found.len() == slots.len()
        })
        .await;
        found
    }

    /// The nodes that replicate the slot's primary and are up.
    pub async fn replicas_of(&self, slot: u16) -> Vec<&Node> {
        let primary = id(self.primary_of(slot).await).await;
        let mut replicas = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            let own = view(node).await.and_then(|view| view.own().cloned());
            if own.is_some_and(|own| own.primary.as_ref() == Some(&primary)) {
                replicas.push(node);
            }
        }
        replicas
    }

    /// Waits until all nodes that are up agree, all slots are served, and each replica that is up follows.
    pub async fn settled(&self) {
        eventually("the cluster is in order", PATIENCE, async || self.is_settled().await).await;
    }

    /// Kills the primary of a slot, and returns the one that took its place.
    pub async fn crash_failover(&self, slot: u16) -> &Node {
        let old = self.primary_of(slot).await;
        old.kill();
        self.successor(slot, old).await
    }

    /// The primary that takes this one's place at a slot; waits until one has.
    pub async fn successor(&self, slot: u16, old: &Node) -> &Node {
        let mut found = None;
        eventually(&format!("another primary serves slot {slot}"), PATIENCE, async || {
            found = holder(&self.claims().await, slot).filter(|node| node.addr() != old.addr());
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    /// Lets a replica take over from a slot's primary, which lives on as its replica, and returns the new primary.
    pub async fn failover(&self, slot: u16) -> &Node {
        self.take_over(slot, &["FAILOVER"]).await
    }

    /// The same with a replica that takes over as it is, though the primary could still give it what it lacks.
    pub async fn forced_failover(&self, slot: u16) -> &Node {
        self.take_over(slot, &["FAILOVER", "FORCE"]).await
    }

    async fn take_over(&self, slot: u16, order: &[&str]) -> &Node {
        let old = self.primary_of(slot).await;
        for _ in 0..3 {
            let replica = *self.replicas_of(slot).await.first().expect("the slot has a replica");
            told(replica, order).await;
            if let Ok(new) = timeout(ORDER, self.successor(slot, old)).await {
                return new;
            }
        }
        panic!("no replica takes slot {slot} over")
    }

    /// Moves a slot and its keys to another primary.
    pub async fn migrate(&self, slot: u16, to: &Node) {
        let migration = self.migration(slot, to).await;
        migration.move_keys().await;
        migration.finish().await;
    }

    /// Begins to move a slot to another primary: keys that are not at the old one are asked of the new one (`ASK`).
    pub async fn migration<'a>(&'a self, slot: u16, to: &'a Node) -> Migration<'a> {
        Migration::begin(self, slot, to).await
    }

    /// Adds a primary without slots, and returns when it could take some: until it knows the others' it takes no keys.
    pub async fn add(&mut self) -> &Node {
        let node = Node::begin(&self.layout, Role::Cluster).await;
        self.nodes.push(node);
        let added = &self.nodes[self.nodes.len() - 1];
        self.meet(added).await;
        self.settled().await;
        added
    }

    /// Adds a replica of the slot's primary.
    pub async fn add_replica(&mut self, slot: u16) -> &Node {
        let primary = id(self.primary_of(slot).await).await;
        self.add().await;
        let added = &self.nodes[self.nodes.len() - 1];
        told(added, &["REPLICATE", &primary]).await;
        self.settled().await;
        added
    }

    /// Removes the node of that number in [`Cluster::nodes`]: a replica, or a primary without slots. The others forget
    /// it; it is returned, running, as one that knows no cluster.
    pub async fn remove(&mut self, number: usize) -> Node {
        let removed = self.nodes.remove(number);
        let gone = id(&removed).await;
        told(&removed, &["RESET", "HARD"]).await;
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            told(node, &["FORGET", &gone]).await;
        }
        eventually("no node knows the removed one", PATIENCE, async || {
            for node in self.nodes.iter().filter(|node| node.is_up()) {
                if view(node).await.is_none_or(|view| view.members.iter().any(|member| member.id == gone)) {
                    return false;
                }
            }
            true
        })
        .await;
        removed
    }

    /// Changes the password of all nodes that are up. Connections that are open stay.
    pub async fn set_password(&self, password: &str) {
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            node.set_password(password).await;
        }
    }

    /// Makes this node known to all others, and them to it.
    async fn meet(&self, node: &Node) {
        for other in self.nodes.iter().filter(|other| other.addr() != node.addr() && other.is_up()) {
            told(node, &["MEET", "127.0.0.1", &other.addr().port().to_string(), &bus(other).to_string()]).await;
        }
    }

    /// Waits until all nodes that are up know all others that are.
    async fn acquainted(&self) {
        let up: Vec<&Node> = self.nodes.iter().filter(|node| node.is_up()).collect();
        eventually("all nodes know each other", PATIENCE, async || {
            for node in &up {
                let Some(view) = view(node).await else { return false };
                let well = view.members.iter().filter(|member| member.is_well());
                if well.filter(|member| up.iter().any(|node| bus(node) == member.bus)).count() < up.len() {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// What each node that is up says of itself.
    async fn claims(&self) -> Vec<(&Node, View)> {
        let mut claims = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            claims.extend(view(node).await.map(|view| (node, view)));
        }
        claims
    }

    async fn is_settled(&self) -> bool {
        let mut views: Vec<View> = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            let state: Option<String> = node.ask("CLUSTER", &["INFO"]).await.ok();
            let Some(view) = view(node).await.filter(|_| state.is_some_and(|text| text.contains("state:ok"))) else {
                return false;
            };
            let replica = view.own().is_none_or(|own| own.primary.is_some());
            if replica && node.info("master_link_status").await.as_deref() != Some("up") {
                return false;
            }
            views.push(view);
        }
        let well = |view: &View| {
            let up = self.nodes.iter().filter(|node| node.is_up()).map(bus);
            let mut known = up.map(|bus| view.members.iter().find(|member| member.bus == bus));
            view.served() == usize::from(SLOTS) && known.all(|member| member.is_some_and(view::Member::is_well))
        };
        views.iter().all(|view| well(view) && view.shares() == views[0].shares())
    }
}

/// Who holds a slot: of those that claim it, the one with the newest claim.
fn holder<'a>(claims: &[(&'a Node, View)], slot: u16) -> Option<&'a Node> {
    let claiming = claims.iter().filter_map(|(node, view)| Some((*node, view.own().filter(|own| own.serves(slot))?)));
    claiming.max_by_key(|(_, own)| own.epoch).map(|(node, _)| node)
}

/// What a node knows, if it answers.
async fn view(node: &Node) -> Option<View> {
    node.ask::<String>("CLUSTER", &["NODES"]).await.ok().map(|text| View::read(&text))
}

fn bus(node: &Node) -> u16 {
    node.bus().expect("a node of a cluster has a bus")
}

async fn id(node: &Node) -> String {
    node.ask("CLUSTER", &["MYID"]).await.expect("CLUSTER MYID")
}

async fn told(node: &Node, args: &[&str]) {
    node.ask::<()>("CLUSTER", args).await.unwrap_or_else(|e| panic!("CLUSTER {args:?}: {e}"));
}
