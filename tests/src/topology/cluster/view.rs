//! What one node knows of its cluster: `CLUSTER NODES`, read.

use std::ops::RangeInclusive;

/// All nodes that it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub members: Vec<Member>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub id: String,
    /// The port of its bus: the one for clients is another for each way that a client can come.
    pub bus: u16,
    pub flags: Vec<String>,
    /// Its primary, if it is a replica.
    pub primary: Option<String>,
    /// The epoch of its claim to its slots; of two that claim one slot, the higher holds it.
    pub epoch: u64,
    pub linked: bool,
    pub slots: Vec<RangeInclusive<u16>>,
}

impl View {
    /// Reads the answer to `CLUSTER NODES`. A line that it cannot read is no member.
    pub fn read(text: &str) -> Self {
        Self { members: text.lines().filter_map(Member::read).collect() }
    }

    /// The node that was asked.
    pub fn own(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.is("myself"))
    }

    /// Each primary's id and slots, in order: equal in all views of a cluster that agrees.
    pub fn shares(&self) -> Vec<(&str, &[RangeInclusive<u16>])> {
        let serving = self.members.iter().filter(|member| !member.slots.is_empty());
        let mut shares: Vec<_> = serving.map(|member| (member.id.as_str(), member.slots.as_slice())).collect();
        shares.sort_unstable_by_key(|(id, _)| *id);
        shares
    }

    /// How many slots have an owner.
    pub fn served(&self) -> usize {
        self.members.iter().flat_map(|member| &member.slots).map(ExactSizeIterator::len).sum()
    }
}

impl Member {
    fn read(line: &str) -> Option<Self> {
        // id ip:port@bus[,host] flags primary ping-sent pong-received epoch link slot slot-slot [slot->-importing]
        let parts: Vec<&str> = line.split_whitespace().collect();
        let (&[id, addr, flags, primary, _, _, epoch, link], slots) = parts.split_first_chunk()?;
        Some(Self {
            id: id.to_owned(),
            bus: addr.split_once('@')?.1.split(',').next()?.parse().ok()?,
            flags: flags.split(',').map(str::to_owned).collect(),
            primary: (primary != "-").then(|| primary.to_owned()),
            epoch: epoch.parse().ok()?,
            linked: link == "connected",
            slots: slots.iter().filter_map(|slot| range(slot)).collect(),
        })
    }

    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }

    pub fn serves(&self, slot: u16) -> bool {
        self.is("master") && self.slots.iter().any(|range| range.contains(&slot))
    }

    /// Whether the node that was asked speaks with it, and does not think ill of it.
    pub fn is_well(&self) -> bool {
        let ill = ["handshake", "fail", "fail?", "noaddr"].iter().any(|flag| self.is(flag));
        !ill && (self.linked || self.is("myself"))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_node_tells() {
        let view = View::read(
            "a1 127.0.0.1:10001@20001 myself,master - 0 0 3 connected 0-5 7 [9->-b2] [10-<-b2]\n\
             b2 127.0.0.1:10002@20002,host master,fail? - 1 1 2 disconnected 6 8-16383\n\
             c3 127.0.0.1:10003@20003 slave a1 0 1 3 connected\n",
        );
        assert_eq!(view.members.len(), 3);
        assert_eq!(view.own().map(|own| (own.bus, own.epoch)), Some((20_001, 3)));
        assert!(view.members[0].serves(7) && !view.members[0].serves(9) && view.members[1].serves(16_383));
        assert_eq!(view.served(), 16_384);
        assert_eq!(view.members[2].primary.as_deref(), Some("a1"));
        assert_eq!(view.members.iter().map(Member::is_well).collect::<Vec<_>>(), [true, false, true]);
    }
}
