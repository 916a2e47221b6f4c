//! A slot on its way from one primary to another.

use redis::RedisResult;

use super::{Cluster, id, told};
use crate::topology::Node;

/// A migration that has begun. Dropped, it stays as it is: half done.
#[derive(Debug)]
pub struct Migration<'a> {
    cluster: &'a Cluster,
    slot: u16,
    from: &'a Node,
    to: &'a Node,
}

impl<'a> Migration<'a> {
    pub(super) async fn begin(cluster: &'a Cluster, slot: u16, to: &'a Node) -> Self {
        let from = cluster.primary_of(slot).await;
        let number = slot.to_string();
        told(to, &["SETSLOT", &number, "IMPORTING", &id(from).await]).await;
        told(from, &["SETSLOT", &number, "MIGRATING", &id(to).await]).await;
        Self { cluster, slot, from, to }
    }

    /// Moves all keys that are still at the old primary. Returns how many.
    pub async fn move_keys(&self) -> usize {
        let (port, slot) = (self.to.addr().port().to_string(), self.slot.to_string());
        let mut moved = 0;
        loop {
            let keys: Vec<String> =
                self.from.ask("CLUSTER", &["GETKEYSINSLOT", &slot, "100"]).await.expect("CLUSTER GETKEYSINSLOT");
            if keys.is_empty() {
                return moved;
            }
            let password = self.to.password();
            let mut args = vec!["127.0.0.1", &port, "", "0", "1000"];
            args.extend(password.iter().flat_map(|password| ["AUTH", password]));
            args.push("KEYS");
            args.extend(keys.iter().map(String::as_str));
            let answer: RedisResult<String> = self.from.ask("MIGRATE", &args).await;
            // Keys may expire on the way: `NOKEY`.
            answer.unwrap_or_else(|e| panic!("MIGRATE: {e}"));
            moved += keys.len();
        }
    }

    /// Gives the slot to the new primary, for all nodes to know. Keys that are still at the old one are moved first.
    pub async fn finish(self) {
        self.move_keys().await;
        let (slot, new) = (self.slot.to_string(), id(self.to).await);
        // The new owner first: should it stop here, no slot is without one.
        told(self.to, &["SETSLOT", &slot, "NODE", &new]).await;
        told(self.from, &["SETSLOT", &slot, "NODE", &new]).await;
        self.cluster.settled().await;
    }
}
