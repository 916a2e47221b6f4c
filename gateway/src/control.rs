//! All that a client can see besides events: control events, resyncs with their reasons, the retry delay.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_shared::Address;
use tidings_shared::message::json_string;

use crate::frame::{self, NameLine};

/// The most that an outage adds to what a refused client waits, without jitter.
const LONGEST_OUTAGE_RETRY: Duration = Duration::from_secs(30);

/// Why a connection must refetch an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Events after the cursor are no longer kept.
    HistoryLost,
    /// The cursor, or the live stream, belongs to another history: Redis lost its data, or keeps it for longer now.
    Epoch,
    /// Another server answers than before, and may lack the last writes of the one before.
    Failover,
    /// The connection, or this gateway, fell too far behind.
    Slow,
    /// The cursor could not be read, or names a place that never was.
    Cursor,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Reason; 5] = [Self::HistoryLost, Self::Epoch, Self::Failover, Self::Slow, Self::Cursor];

    /// Whether a connection that comes back to this is hardly the only one. The store or its layout is another one, then;
    /// while what a connection missed is its own.
    pub fn strikes_many(self) -> bool {
        matches!(self, Self::Epoch | Self::Failover | Self::Cursor)
    }

    /// The word that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HistoryLost => "history-lost",
            Self::Epoch => "epoch",
            Self::Failover => "failover",
            Self::Slow => "slow",
            Self::Cursor => "cursor",
        }
    }
}

/// Why a gateway ends a stream that could go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// The gateway is about to end.
    Drain,
    /// The stream is old; another gateway may have more room.
    MaxAge,
    /// The store is away: nothing that the stream follows can be served now.
    Store,
    /// The stream would be over a limit.
    Overload,
}

impl Goodbye {
    /// Every one there is.
    pub const ALL: [Goodbye; 4] = [Self::Drain, Self::MaxAge, Self::Store, Self::Overload];

    /// The word that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::MaxAge => "max-age",
            Self::Store => "store",
            Self::Overload => "overload",
        }
    }
}

/// "Refetch `address`." It has no `id:`, so a connection that breaks before it got the rest is told again.
///
/// It comes without a name, and once more under each of `names`: who listens to a publisher's event name alone would
/// never hear it otherwise, and stay stale in silence.
pub fn resync(address: &Address, reason: Reason, names: &[Arc<str>]) -> Bytes {
    let block = resync_block(address, reason);
    let named = names.iter().map(|name| frame::name_line(name) + &block);
    (block.clone() + &named.collect::<String>()).into()
}

/// The same for a connection that hears all its messages under one name.
pub fn named_resync(address: &Address, reason: Reason, name: &NameLine) -> Bytes {
    (name.as_str().to_owned() + &resync_block(address, reason)).into()
}

fn resync_block(address: &Address, reason: Reason) -> String {
    let topic = json_string(&address.to_string());
    let reason = reason.as_str();
    format!("data: {{\"topic\":{topic},\"resync\":true,\"reason\":\"{reason}\"}}\n\n")
}

/// How long the client waits before it comes back. First in every stream.
pub fn retry(delay: Duration) -> Bytes {
    format!("retry: {}\n\n", delay.as_millis()).into()
}

/// The connection is up to date: from here on nothing is missed in silence. `ignored` are the parameters of its request
/// that nobody knows.
pub fn ready(cursor: &str, connection: &str, addresses: &[Arc<Address>], ignored: &[String]) -> Bytes {
    let (connection, topics) = (json_string(connection), json_list(addresses.iter().map(ToString::to_string)));
    let ignored = match ignored {
        [] => String::new(),
        names => format!(",\"ignored\":{}", json_list(names.iter().cloned())),
    };
    let data = format!("{{\"connection\":{connection},\"topics\":{topics}{ignored}}}");
    format!("event: tidings.ready\nid: {cursor}\ndata: {data}\n\n").into()
}

fn json_list(texts: impl Iterator<Item = String>) -> String {
    format!("[{}]", texts.map(|text| json_string(&text)).collect::<Vec<_>>().join(","))
}

/// The heartbeat. Both browsers take an id from an event with empty data, and only Chromium takes one without data.
pub fn tick(cursor: &str) -> Bytes {
    format!("event: tidings.tick\nid: {cursor}\ndata:\n\n").into()
}

/// The heartbeat of a connection that has no place yet.
pub fn keep_alive() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// This gateway ends the stream or refuses it; the client comes back after `delay`, to another gateway if there is one.
///
/// One block: clients that hand out only blocks with data would not see a `retry:` alone.
pub fn goodbye(why: Goodbye, delay: Duration) -> Bytes {
    let (delay, reason) = (delay.as_millis(), why.as_str());
    format!("retry: {delay}\nevent: tidings.goodbye\ndata: {{\"reason\":\"{reason}\"}}\n\n").into()
}

/// The least delay of a client that is refused because the store is away. It grows with the outage, so that a store that
/// comes back is not met by all who asked every few seconds: `retry` at first, then a quarter of the outage, up to 30 s.
/// With the jitter of [`retry_delay`] that is up to a minute.
pub fn outage_retry(retry: Duration, outage: Duration) -> Duration {
    retry.max((outage / 4).min(LONGEST_OUTAGE_RETRY))
}

/// How many times longer than others those stay away that were over a limit: until there is room for them.
pub const OVERLOAD_RETRIES: u32 = 4;

/// A random delay between `base` and twice that, so that connections that end together do not come back together.
/// Never below a second, which browsers would hammer at.
pub fn retry_delay(base: Duration) -> Duration {
    base.max(Duration::from_secs(1)).mul_f64(1.0 + fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resync_is_an_ordinary_message_without_an_id() {
        let address = "@a\"b/inbox".parse().unwrap();
        let block = "data: {\"topic\":\"@a\\\"b/inbox\",\"resync\":true,\"reason\":\"history-lost\"}\n\n";
        assert_eq!(resync(&address, Reason::HistoryLost, &[]), block);
        let names = ["x", "y"].map(Arc::from);
        let each = [block, &frame::name_line("x"), block, &frame::name_line("y"), block].concat();
        assert_eq!(resync(&address, Reason::HistoryLost, &names), each);
        let named = named_resync(&address, Reason::HistoryLost, &NameLine::new("mine"));
        assert_eq!(named, frame::name_line("mine") + block);
    }

    #[test]
    fn a_goodbye_is_one_block_with_its_reason() {
        let told = |why| String::from_utf8(goodbye(why, Duration::from_secs(4)).to_vec()).unwrap();
        for why in Goodbye::ALL {
            let reason = why.as_str();
            assert_eq!(
                told(why),
                format!("retry: 4000\nevent: tidings.goodbye\ndata: {{\"reason\":\"{reason}\"}}\n\n")
            );
        }
    }

    #[test]
    fn a_refusal_waits_longer_in_a_longer_outage() {
        let seconds = |retry, outage| outage_retry(Duration::from_secs(retry), Duration::from_secs(outage)).as_secs();
        assert_eq!((seconds(3, 0), seconds(3, 12), seconds(3, 60), seconds(3, 3_600)), (3, 3, 15, 30));
        assert_eq!(seconds(600, 3_600), 600, "never less than what is configured");
    }

    #[test]
    fn retry_is_jittered_and_never_below_a_second() {
        for _ in 0..1_000 {
            let delay = retry_delay(Duration::from_millis(10));
            assert!((1_000..2_000).contains(&delay.as_millis()));
        }
    }
}
