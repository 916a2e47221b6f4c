//! What workers say to the reader: who begins to follow what, and who has left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tidings_shared::{Address, Partition};
use tokio::sync::watch;

use super::handle::Command;
use super::requests::Requests;
use super::{Join, Reader, Route};
use crate::admission::Limit;
use crate::without::Mechanism;

impl Reader {
    pub(super) fn take_commands(&mut self, commands: impl Iterator<Item = Command>, requests: &mut Requests) {
        let mut joins = Vec::new();
        let mut channels: BTreeMap<Partition, Vec<(String, Arc<Address>)>> = BTreeMap::new();
        for command in commands {
            match command {
                // As if it had never come: what it follows cannot be subscribed.
                Command::Join(join) if !self.is_attached(&join) => self.turn_away(join.key()),
                Command::Join(join) if !self.make_room(&join, requests) => self.refuse(&join),
                Command::Join(mut join) => {
                    self.options.without.panic_if_lacking(Mechanism::Reader);
                    if self.options.without.lacks(Mechanism::Replay) {
                        join.drop_cursor();
                    }
                    self.follow(&join, &mut channels);
                    joins.push(join);
                }
                Command::Cancel(worker, connection) => {
                    joins.retain(|join: &Join| join.key() != (worker, connection));
                    self.joins.cancel((worker, connection));
                }
                other => self.take_command(other),
            }
        }
        for (partition, channels) in channels {
            let addresses: Vec<_> = channels.iter().map(|(_, address)| Arc::clone(address)).collect();
            let acknowledged = requests.subscribe(partition, channels);
            for address in &addresses {
                if let Some(followed) = self.table.get_mut(address) {
                    followed.pending = Some(acknowledged.clone());
                }
            }
        }
        for join in joins {
            self.begin(join, requests);
        }
    }

    /// Whether the store is there for all that a join follows.
    fn is_attached(&self, join: &Join) -> bool {
        join.addresses().iter().all(|address| self.states[self.partitions.of(address).index()].attached)
    }

    /// Makes room for the addresses of a join that are new, if need be and possible at the cost of those that linger.
    fn make_room(&mut self, join: &Join, requests: &mut Requests) -> bool {
        let (known, new): (Vec<_>, Vec<_>) =
            join.addresses().iter().partition(|address| self.table.get(address).is_some());
        let new = new.len();
        if new == 0 {
            return true;
        }
        let count = self.address_limit.count_to_forget(self.table.len(), new);
        if count > 0 {
            // First, or it might lose what lingers for it. If it is refused after all, its worker leaves them again.
            known.into_iter().for_each(|address| self.table.follow_known(join.worker(), address));
            let channels = self.table.forget_lingering(count);
            self.forget_channels(channels, requests);
        }
        let has_room = self.address_limit.has_room(self.table.len(), new);
        has_room && self.address_limit.try_take(join.origin(), new, Instant::now())
    }

    /// There are too many addresses: the connection is to come back later.
    fn refuse(&mut self, join: &Join) {
        self.address_limit.note_refused();
        self.metrics.add_refused(Limit::Addresses);
        let (worker, connection) = join.key();
        self.outboxes.refused(worker, connection);
    }

    /// Notes what a connection follows, and which channels that makes necessary in each partition.
    fn follow(&mut self, join: &Join, channels: &mut BTreeMap<Partition, Vec<(String, Arc<Address>)>>) {
        for address in join.addresses().iter() {
            let partition = self.partitions.of(address);
            let channel = || self.options.namespace.keys(partition).stream(address);
            if self.table.follow(join.worker(), address, || (partition, channel().into())) {
                // Until its SUBSCRIBE is sent, at the end of this turn: it must not be forgotten before that.
                if let Some(followed) = self.table.get_mut(address) {
                    followed.pending = Some(watch::channel(false).1);
                }
                let channel = channel();
                self.routes.insert(channel.clone().into(), Route::Address(partition, Arc::clone(address)));
                channels.entry(partition).or_default().push((channel, Arc::clone(address)));
            }
        }
    }

    pub(super) fn take_command(&mut self, command: Command) {
        match command {
            Command::Register(worker, sender) => self.outboxes.register(worker, sender),
            Command::Leave(worker, address) => self.table.leave(worker, &address, Instant::now()),
            Command::Join(_) | Command::Cancel(..) => {}
        }
    }
}
