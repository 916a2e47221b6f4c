//! The scripts that touch Redis, and what each is called with.
//!
//! All of a partition's reads and writes that must agree with one another go through these: a script runs at one moment.
//! What each answers stands at the head of its file.

use crate::keys::Keys;
use crate::{Address, Epoch, Id, Partitions, Retention};

/// A script that sends on channels, with the command by which it does.
macro_rules! sending {
    ($command:literal, $file:literal) => {
        concat!("local PUBLISH = '", $command, "'\n", include_str!($file))
    };
}

/// Publishes an event.
pub const PUBLISH: &str = sending!("PUBLISH", "script/publish.lua");
/// Proves the way through the server and lifts the journal.
pub const BEACON: &str = sending!("PUBLISH", "script/beacon.lua");
/// Claims a partition for a count of partitions.
pub const CLAIM: &str = include_str!("script/claim.lua");
/// Reads what addresses got after a place.
pub const HISTORY: &str = include_str!("script/history.lua");
/// Reads which addresses got anything after a place.
pub const MISSED: &str = include_str!("script/missed.lua");

/// The scripts that are others on a cluster: there channels are sharded, as else each message would go to all its servers.
/// Keys, arguments and answers are the same.
pub mod cluster {
    /// [`PUBLISH`](super::PUBLISH) on a cluster.
    pub const PUBLISH: &str = sending!("SPUBLISH", "script/publish.lua");
    /// [`BEACON`](super::BEACON) on a cluster.
    pub const BEACON: &str = sending!("SPUBLISH", "script/beacon.lua");
}

/// A script with its keys and arguments, for any client to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The source, one of the constants of this module.
    pub script: &'static str,
    /// `KEYS`; all of one partition, so of one slot.
    pub keys: Vec<String>,
    /// `ARGV`.
    pub args: Vec<String>,
}

impl Call {
    /// Of an attaching [`beacon`] with `hold_ms`: the gateway has left the server with this `run_id`
    /// to come here. Only so it ends a [fence](fence_for) that was raised for that server before
    /// its time.
    pub fn coming_from(mut self, run: &str) -> Self {
        self.args.push(run.to_owned());
        self
    }

    /// Of a [`history`] [after](Span::After) an id: reads each address after an id of its own in place of that; none of
    /// them: all after that one.
    pub fn after_each(mut self, each: &[Id]) -> Self {
        self.args.extend(each.iter().map(Id::to_string));
        self
    }
}

/// What [`publish`] sends.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// Addresses of one partition, none twice.
    pub addresses: &'a [Address],
    /// The encoded [`crate::Message`].
    pub message: &'a str,
    /// The count of partitions by which the addresses are of this one. Nothing is published where it is another.
    pub partitions: Partitions,
    /// The idempotency key and how long it is remembered, in milliseconds.
    pub key: Option<(&'a str, u64)>,
    /// The epoch of the partition if it has none yet: a random one.
    pub epoch: Epoch,
    /// The retention if no gateway has set one.
    pub retention: Retention,
}

/// Publishes an event to its addresses in one partition. Answers `[id, epoch, 1 if the key was known, count]`, the last
/// as [`Count`](crate::Count) reads it; without an id nothing was published, as the count is another.
pub fn publish(keys: &Keys, publish: Publish<'_>) -> Call {
    let mut names = vec![keys.journal(), keys.epoch()];
    names.extend(publish.addresses.iter().map(|address| keys.stream(address)));
    names.extend(publish.key.map(|(key, _)| keys.idempotency(key)));
    let Retention { events, age_ms, journal } = publish.retention;
    let key_age = publish.key.map_or(0, |(_, age_ms)| age_ms.max(1));
    let mut args = vec![
        publish.message.to_owned(),
        publish.partitions.count().to_string(),
        publish.epoch.to_string(),
        events.to_string(),
        age_ms.to_string(),
        journal.to_string(),
        key_age.to_string(),
    ];
    args.extend(publish.addresses.iter().map(Address::to_string));
    Call { script: PUBLISH, keys: names, args }
}

/// What [`beacon`] sends.
#[derive(Debug, Clone, Copy)]
pub struct Beacon<'a> {
    /// The gateway's id; its beacons come on its own channel.
    pub gateway: &'a str,
    /// The highest id that the gateway has seen of the partition.
    pub seen: Id,
    /// The epoch to begin if there is none, or if history may have been lost: a random one.
    pub epoch: Epoch,
    /// The `run_id` of the server that this is sent to; empty if it does not matter which it is.
    pub run: &'a str,
    /// Whether this is the first beacon over this connection.
    pub attaching: bool,
    /// The retention in force from now on, if attaching.
    pub retention: Retention,
    /// The count of partitions by which the gateway goes; `None` if it does not matter which there is.
    pub partitions: Option<Partitions>,
    /// For how long from now on no other count may be claimed, in milliseconds.
    pub lease_ms: u64,
    /// The mark that the beacon leaves, by which the gateway's next beacons see whether history went back. `None`: it
    /// leaves none, and judges nothing.
    pub mark: Option<Mark<'a>>,
    /// For how long the gateway holds its retention in force, in milliseconds: what others want less of is not lowered
    /// before that. `None`: it sets its retention when it attaches, whatever others want, as earlier versions do.
    pub hold_ms: Option<u64>,
}

/// A number that a gateway's beacon leaves in the hash of the epoch, and what the gateway knows of earlier ones.
///
/// History went back if the hash has an older mark than the last one whose beacon was answered, or an epoch that the
/// gateway has left, or if the journal ends below what the gateway has seen in this epoch. Then the beacon begins the
/// epoch that it brings.
#[derive(Debug, Clone, Copy)]
pub struct Mark<'a> {
    /// Higher than in any beacon that the gateway sent before.
    pub number: u64,
    /// For how long beacons of other gateways leave it alone, in milliseconds.
    pub keep_ms: u64,
    /// The last mark whose beacon was answered.
    pub last: Option<MarkLeft>,
    /// Epochs that the gateway has left.
    pub left: &'a [Epoch],
}

/// A mark whose beacon was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkLeft {
    /// The epoch that the beacon answered.
    pub epoch: Epoch,
    /// The mark's number.
    pub number: u64,
    /// When other gateways may remove it, in milliseconds since 1970 by the server's clock.
    pub until_ms: u64,
}

/// The arguments that a mark takes.
const MARK_ARGS: usize = 6;

impl Mark<'_> {
    fn args(&self) -> [String; MARK_ARGS] {
        let of_last = |get: fn(MarkLeft) -> String| self.last.map(get).unwrap_or_default();
        let left = self.left.iter().fold(" ".to_owned(), |all, epoch| all + &epoch.to_string() + " ");
        [
            self.number.to_string(),
            self.keep_ms.to_string(),
            of_last(|last| last.epoch.to_string()),
            of_last(|last| last.number.to_string()),
            of_last(|last| last.until_ms.to_string()),
            left,
        ]
    }
}

/// Sends a beacon. Answers `[epoch, last id]`, or an error with the code [`PARTITIONS`] where the count is another, or none
/// is set. With a [`Mark`] the answer goes on: when the mark may be removed, in milliseconds since 1970, and 1 if the last
/// mark may have been removed already, so that nobody can say whether the history is the same. With `hold_ms` it goes on
/// with the events, age and journal entries that are in force, and has two empty strings for a mark that is not left.
pub fn beacon(keys: &Keys, beacon: Beacon<'_>) -> Call {
    let Retention { events, age_ms, journal } = beacon.retention;
    let mut args = vec![
        keys.beacon(beacon.gateway),
        beacon.seen.to_string(),
        beacon.epoch.to_string(),
        beacon.run.to_owned(),
        u8::from(beacon.attaching).to_string(),
        events.to_string(),
        age_ms.to_string(),
        journal.to_string(),
        beacon.partitions.map_or_else(String::new, |partitions| partitions.count().to_string()),
        beacon.lease_ms.to_string(),
    ];
    match (beacon.mark, beacon.hold_ms) {
        (Some(mark), _) => args.extend(mark.args()),
        (None, Some(_)) => args.extend([const { String::new() }; MARK_ARGS]),
        (None, None) => {}
    }
    args.extend(beacon.hold_ms.map(|hold_ms| hold_ms.to_string()));
    Call { script: BEACON, keys: vec![keys.journal(), keys.epoch()], args }
}

/// The code of the error by which a beacon is refused for the count of partitions.
pub const PARTITIONS: &str = "PARTITIONS";

/// The arguments of the `HMGET` that tells the count of partitions, as [`Count`](crate::Count) reads it; for which count
/// the partition was claimed last; and until when, in milliseconds since 1970 by the server's clock, no other may be.
pub fn count(keys: &Keys) -> [String; 4] {
    [keys.epoch(), "partitions".to_owned(), "claim".to_owned(), "until".to_owned()]
}

/// A step of a claim. Each is done in all partitions that there may be before the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nobody publishes by the count before any more.
    Take,
    /// The count is the new one. Only where the partition was taken for that, or tells no count.
    Give,
}

/// What [`claim`] claims.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// How far the claim is.
    pub step: Step,
    /// The count.
    pub partitions: Partitions,
    /// The epoch that begins: a random one.
    pub epoch: Epoch,
    /// For how long from then on no other count may be claimed, in milliseconds: until whoever takes it should have given
    /// it, or should have sent a beacon.
    pub lease_ms: u64,
}

/// Claims a partition for a count. Answers an empty string, or the count that is in the way.
pub fn claim(keys: &Keys, claim: Claim) -> Call {
    let step = match claim.step {
        Step::Take => "take",
        Step::Give => "give",
    };
    let (count, lease) = (claim.partitions.count().to_string(), claim.lease_ms.to_string());
    Call { script: CLAIM, keys: vec![keys.epoch()], args: vec![step.to_owned(), count, claim.epoch.to_string(), lease] }
}

/// What `HSET` sets, as key, field and value, at a server that was the primary and is to take nothing more: from then on
/// its publish script refuses, as if it were a replica already. The first beacon of a gateway that attaches ends it.
pub fn fence(keys: &Keys) -> (String, &'static str, &'static str) {
    (keys.epoch(), "fenced", "1")
}

/// The arguments of the `HSET` by which a server takes nothing more because its name leads to the
/// one with `run_id` `run` now. Until then, in milliseconds since 1970 by the clock of the fenced
/// server, its beacons fail too. After that the first beacon that attaches ends it, as somebody may
/// have moved the name back, and begins another epoch.
pub fn fence_for(keys: &Keys, run: &str, until_ms: u64) -> [String; 7] {
    let (key, field, value) = fence(keys);
    let until = until_ms.to_string();
    let words = [field, value, "fenced_until", &until, "fenced_for", run].map(str::to_owned);
    let [a, b, c, d, e, f] = words;
    [key, a, b, c, d, e, f]
}

/// What [`history`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// All events after the id.
    After(Id),
    /// All events after the first id, up to and with the second.
    Between(Id, Id),
    /// Only the latest event of each address, however old.
    Latest,
}

/// Reads what `addresses`, all of one partition, got in `span`, at most `bytes` of messages.
/// Answers `[epoch, last id, status, [id, message, …], …]`, with a status and a list for each address.
pub fn history(keys: &Keys, addresses: &[Address], span: Span, bytes: u64) -> Call {
    let mut names = vec![keys.journal(), keys.epoch()];
    names.extend(addresses.iter().map(|address| keys.stream(address)));
    let (after, up_to, tail) = match span {
        Span::After(after) => (after, "+".to_owned(), "0"),
        Span::Between(after, up_to) => (after, up_to.to_string(), "0"),
        Span::Latest => (Id::ZERO, "+".to_owned(), "1"),
    };
    Call { script: HISTORY, keys: names, args: vec![after.to_string(), up_to, tail.to_owned(), bytes.to_string()] }
}

/// Reads which addresses got anything after `after`, from `entries` entries of the journal. `up_to` is `None` on the
/// first page, and on the next ones the last id that the first page told.
/// Answers `[epoch, last id, 1 if complete, id to go on after or '', [address, …]]`.
pub fn missed(keys: &Keys, after: Id, up_to: Option<Id>, entries: u64) -> Call {
    let up_to = up_to.map_or_else(|| "+".to_owned(), |id| id.to_string());
    Call {
        script: MISSED,
        keys: vec![keys.journal(), keys.epoch()],
        args: vec![after.to_string(), up_to, entries.to_string()],
    }
}
