//! One server that nothing takes over from.

use std::ops::Deref;

use super::node::Role;
use super::{Layout, Node, Server};

/// A running server, or one that was killed; all that it can do, its [`Node`] does.
#[derive(Debug)]
pub struct Standalone {
    node: Node,
}

impl Standalone {
    /// Starts it.
    pub async fn start(layout: impl Into<Layout>) -> Self {
        Self { node: Node::begin(&layout.into(), Role::Primary).await }
    }

    /// Redis 7 that writes every command to disk before it answers, so that a restart loses nothing.
    pub async fn durable() -> Self {
        Self::start(Layout::of(Server::Redis7).durable()).await
    }

    /// Redis 7 that keeps nothing.
    pub async fn volatile() -> Self {
        Self::start(Server::Redis7).await
    }

    /// Its URL, for the default user.
    pub fn url(&self) -> String {
        self.node.layout().url("", &self.node.addr().to_string())
    }

    /// Its URL past its proxy, if it has one.
    pub fn url_behind(&self) -> String {
        self.node.layout().url("", &self.node.behind().to_string())
    }

    /// Its URL for another user of the layout.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        self.node.layout().url_for("", &self.node.addr().to_string(), user, password)
    }
}

impl Deref for Standalone {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}
