//! Every key and channel in Redis.
//!
//! Namespace `ns` (default `tidings`), partition `p`, tag `{ns:p}`, so that a partition lives in one slot of a cluster.
//!
//! | key or channel | type | what |
//! |---|---|---|
//! | `{ns:p}:j` | stream and channel | journal: an entry for each publish, with its addresses ([`crate::entry`]); its ids are the partition's ids. On the channel: end marks of events to several addresses |
//! | `{ns:p}:e` | hash | `epoch`; `run` and `replid`, the server that has this history and its replication id; `events`, `age`, `journal`: the [`crate::Retention`] in force; `events_until` and such, until when a gateway holds it; `events_next` and such, the most that others want; `far`, when the last beacon came while ids are far ahead of the clock; `paced_until` and `paced_keep`, until when streams are kept for so long at the most; `partitions`, the [`crate::Count`]; `claim`, for which count it was set or is being changed; `until`, before which no other may be claimed; `fenced`, 1 where nothing more is taken; `fenced_until` and `fenced_for`, until when and for the server with which `run_id`, where that is because a name was moved; `b:<gateway>`, the number of that gateway's last beacon and when others may remove it |
//! | `{ns:p}:t:<topic>` | stream and channel | events of a topic, newest `events` of them, gone `age` after the newest |
//! | `{ns:p}:u:<user>` | stream and channel | the same for a user |
//! | `{ns:p}:u:<user>/<topic>` | stream and channel | the same for a user's topic; user ids have no `/` |
//! | `{ns:p}:k:<key>` | string | idempotency key ([`idempotency_scope`], or one made up for retries) → id, gone after ten minutes |
//! | `{ns:p}:b:<gateway>` | channel | beacons of one gateway |

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use crc::{CRC_16_XMODEM, Crc};
use sha2::{Digest, Sha256};

use crate::{Address, Invalid, Partition, limits};

/// The name that all keys of one installation share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace(Box<str>);

impl Namespace {
    /// The keys of one partition.
    pub fn keys(&self, partition: Partition) -> Keys {
        Keys { tag: format!("{{{}:{}}}:", self.0, partition.number()) }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("tidings".into())
    }
}

impl FromStr for Namespace {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=limits::NAMESPACE_BYTES).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("namespace", text, "1 to 64 bytes of [A-Za-z0-9_.-]"))
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keys of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    tag: String,
}

/// The number of the partition that a key or channel of some namespace is of.
pub fn partition_of(name: &str) -> Option<u16> {
    name.strip_prefix('{')?.split_once('}')?.0.rsplit_once(':')?.1.parse().ok()
}

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

impl Keys {
    /// The slot of a cluster in which all of them are: the CRC-16 (XMODEM) of what stands between the braces.
    pub fn slot(&self) -> u16 {
        let tag = self.tag.trim_start_matches('{').trim_end_matches("}:");
        CRC.checksum(tag.as_bytes()) % SLOTS
    }

    /// The journal, and the channel of end marks.
    pub fn journal(&self) -> String {
        format!("{}j", self.tag)
    }

    /// The hash with the epoch.
    pub fn epoch(&self) -> String {
        format!("{}e", self.tag)
    }

    /// The stream of an address, and the channel of the same name.
    pub fn stream(&self, address: &Address) -> String {
        match address {
            Address::Topic(topic) => format!("{}t:{topic}", self.tag),
            Address::User(user) => format!("{}u:{user}", self.tag),
            Address::UserTopic(user, topic) => format!("{}u:{user}/{topic}", self.tag),
        }
    }

    /// The address whose channel this is: the way back from [`Keys::stream`].
    pub fn address(&self, channel: &str) -> Option<Address> {
        let name = channel.strip_prefix(&self.tag)?;
        if let Some(topic) = name.strip_prefix("t:") {
            return topic.parse().ok().map(Address::Topic);
        }
        format!("@{}", name.strip_prefix("u:")?).parse().ok()
    }

    /// An idempotency key: the [`idempotency_scope`] of a caller's, or one that a publisher made up
    /// for its retries.
    pub fn idempotency(&self, key: &str) -> String {
        format!("{}k:{key}", self.tag)
    }

    /// The channel of one gateway's beacons.
    pub fn beacon(&self, gateway: &str) -> String {
        format!("{}b:{gateway}", self.tag)
    }
}

/// Half of a SHA-256, in bytes: enough that no two scopes meet.
const SCOPE_BYTES: usize = 16;

/// The name under which the store remembers a caller's idempotency key for an event with these
/// addresses, the same in each partition that the event goes to.
///
/// It is the first half of the SHA-256, in hexadecimal, of the key and of each address without
/// doubles, sorted by their bytes, each line ended by a line feed. So one key for two events of one
/// change that go to other addresses counts for each of them. Publishers before this rule use
/// the key itself: a retry by one of these is another event, which is delivered twice.
pub fn idempotency_scope(key: &str, addresses: &[Address]) -> String {
    let addresses: BTreeSet<String> = addresses.iter().map(Address::to_string).collect();
    let mut hash = Sha256::new();
    for line in std::iter::once(key).chain(addresses.iter().map(String::as_str)) {
        hash.update(line);
        hash.update("\n");
    }
    let mut scope = String::with_capacity(2 * SCOPE_BYTES);
    for byte in hash.finalize().iter().take(SCOPE_BYTES) {
        // Writing to a String cannot fail.
        let _ = write!(scope, "{byte:02x}");
    }
    scope
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Partitions;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn channels_lead_back_to_their_address(text in crate::address::tests::any_address()) {
            let address: Address = text.parse().unwrap();
            let keys = Namespace::default().keys(Partitions::ONE.of(&address));
            prop_assert_eq!(keys.address(&keys.stream(&address)), Some(address));
        }

        #[test]
        fn names_tell_their_partition(number in 0..32_u16) {
            let partition = Partitions::new(32).unwrap().get(number).unwrap();
            let keys = Namespace::default().keys(partition);
            for name in [keys.journal(), keys.beacon("a:b}"), keys.stream(&"t:1".parse().unwrap())] {
                prop_assert_eq!(partition_of(&name), Some(number));
            }
        }

        #[test]
        fn never_panics(text: String) {
            let keys = Namespace::default().keys(Partitions::ONE.get(0).unwrap());
            let _ = (keys.address(&text), partition_of(&text));
            let _ = text.parse::<Namespace>();
        }
    }

    #[test]
    fn slots_are_those_of_a_cluster() {
        // As told by CLUSTER KEYSLOT.
        let slot = |namespace: &str, number| {
            let partition = Partitions::CLUSTER.get(number).unwrap();
            namespace.parse::<Namespace>().unwrap().keys(partition).slot()
        };
        assert_eq!([slot("tidings", 0), slot("tidings", 15), slot("shop.eu_1", 7)], [1405, 14434, 4949]);
    }

    #[test]
    fn a_namespace_cannot_break_the_tag() {
        for text in ["", "a:b", "a{b", "a}b", "a b", "ä"] {
            assert!(text.parse::<Namespace>().is_err(), "{text:?}");
        }
    }
}
