//! What a request asks for: read from its query and `Last-Event-ID`, checked whole before anything is done.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidings_shared::event::check_type;
use tidings_shared::{Address, Cursor, Invalid, Partitions};

use crate::hub::Follow;
use crate::reader::From;

/// What a request asks for.
#[derive(Debug)]
pub struct Options {
    /// What the connection follows.
    pub follow: Follow,
    /// Where it begins.
    pub from: From,
    /// How long a poll waits for an event, if it says so.
    pub wait: Option<Duration>,
}

/// Which requests may ask for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A stream.
    Stream,
    /// A long poll, which may also say how long.
    Poll,
}

/// The longest that a poll may wait: proxies cut what is idle for a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(55);

/// How often a connection may want refreshes of an address. Below that it may as well take each.
const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);

/// Reads a request. The `Last-Event-ID` header wins over a cursor in the query: it is newer.
pub fn read(
    kind: Kind,
    query: &str,
    last_event_id: Option<&str>,
    partitions: Partitions,
    most: usize,
) -> Result<Options, Invalid> {
    let mut asked = Asked::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        asked.take(kind, &name, &value)?;
    }
    let addresses = addresses(&asked.topics, most)?;
    let header = last_event_id.filter(|id| !id.is_empty()).map(str::to_owned);
    let from = match header.or(asked.last_event_id).or(asked.cursor) {
        // A cursor that cannot be read is answered with resyncs: an error status would be the end of an EventSource.
        Some(text) => From::Cursor(Cursor::decode(&text, partitions).ok()),
        None if asked.tail => From::Latest,
        None => From::Now,
    };
    let follow = Follow { addresses: addresses.into(), types: Rc::from(asked.types), every: asked.every };
    Ok(Options { follow, from, wait: asked.wait })
}

#[derive(Default)]
struct Asked {
    topics: Vec<String>,
    types: Vec<String>,
    cursor: Option<String>,
    last_event_id: Option<String>,
    tail: bool,
    wait: Option<Duration>,
    every: Option<Duration>,
}

impl Asked {
    fn take(&mut self, kind: Kind, name: &str, value: &str) -> Result<(), Invalid> {
        let given = || Some(value.to_owned()).filter(|value| !value.is_empty());
        match name {
            "topic" => self.topics.push(value.to_owned()),
            "types" => {
                for one in value.split(',') {
                    check_type("types", Some(one))?;
                    self.types.push(one.to_owned());
                }
            }
            "cursor" => self.cursor = given(),
            // Where EventSource polyfills put what they cannot send as a header.
            "lastEventId" => self.last_event_id = given(),
            "tail" => {
                self.tail = match value {
                    "1" => true,
                    "0" => false,
                    _ => return Err(Invalid::new("tail", value, "1 or 0")),
                };
            }
            "wait" if kind == Kind::Poll => self.wait = Some(wait(value)?),
            // A poll asks as often as it wants.
            "every" if kind == Kind::Stream => self.every = Some(every(value)?),
            _ => return Err(Invalid::new("query parameter", name, allowed(kind))),
        }
        Ok(())
    }
}

fn allowed(kind: Kind) -> &'static str {
    match kind {
        Kind::Stream => "topic, types, cursor, tail, every",
        Kind::Poll => "topic, types, cursor, tail, wait",
    }
}

fn wait(value: &str) -> Result<Duration, Invalid> {
    let wait = humantime::parse_duration(value).ok().filter(|wait| *wait <= LONGEST_WAIT);
    wait.ok_or_else(|| Invalid::new("wait", value, "a duration from 0 to 55s, such as 25s"))
}

fn every(value: &str) -> Result<Duration, Invalid> {
    let every = humantime::parse_duration(value).ok().filter(|every| EVERY.contains(every));
    every.ok_or_else(|| Invalid::new("every", value, "a duration from 1s to 1h, such as 10s"))
}

fn addresses(topics: &[String], most: usize) -> Result<Vec<Arc<Address>>, Invalid> {
    let mut addresses: Vec<Arc<Address>> = Vec::new();
    for topic in topics {
        // Not one more than is needed to say so: a query can name thousands, and each is compared with all before it.
        if addresses.len() > most {
            break;
        }
        let address: Address = topic.parse().map_err(|error: Invalid| error.of("topic"))?;
        if !addresses.iter().any(|known| **known == address) {
            addresses.push(Arc::new(address));
        }
    }
    if addresses.is_empty() || addresses.len() > most {
        let given = format!("{} topics", topics.len());
        return Err(Invalid::new("topic", &given, format!("1 to {most} topics on one connection")));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(kind: Kind, query: &str, last_event_id: Option<&str>) -> Result<Options, Invalid> {
        read(kind, query, last_event_id, Partitions::ONE, 100)
    }

    #[test]
    fn reads_addresses_as_a_url_encodes_them() {
        let options = ask(Kind::Stream, "topic=orders%2F42&topic=%40a%20b%2Finbox&topic=orders/42", None).unwrap();
        let names: Vec<String> = options.follow.addresses.iter().map(|a| a.to_string()).collect();
        assert_eq!(names, ["orders/42", "@a b/inbox"]);
        assert!(matches!(options.from, From::Now));
    }

    #[test]
    fn the_header_wins_and_a_cursor_wins_over_tail() {
        let id = |options: Options| match options.from {
            From::Cursor(Some(cursor)) => cursor.encode(),
            other => format!("{other:?}"),
        };
        assert_eq!(id(ask(Kind::Stream, "topic=a&cursor=1.7.1-0&tail=1", Some("1.7.2-0")).unwrap()), "1.7.2-0");
        assert_eq!(id(ask(Kind::Stream, "topic=a&cursor=1.7.1-0&lastEventId=1.7.3-0", None).unwrap()), "1.7.3-0");
        assert_eq!(id(ask(Kind::Stream, "topic=a&cursor=1.7.1-0&tail=1", Some("")).unwrap()), "1.7.1-0");
        assert_eq!(id(ask(Kind::Stream, "topic=a&cursor=nonsense", None).unwrap()), "Cursor(None)");
        assert_eq!(id(ask(Kind::Stream, "topic=a&tail=1", None).unwrap()), "Latest");
    }

    #[test]
    fn every_is_a_second_to_an_hour() {
        let every = |value: &str| ask(Kind::Stream, &format!("topic=a&every={value}"), None);
        assert_eq!(every("10s").unwrap().follow.every, Some(Duration::from_secs(10)));
        assert_eq!(every("1h").unwrap().follow.every, Some(Duration::from_secs(3_600)));
        for value in ["", "10", "999ms", "61m", "-1s", "often"] {
            let error = every(value).unwrap_err();
            assert_eq!((error.field(), error.value()), ("every", value));
        }
    }

    #[test]
    fn names_the_field_and_the_value() {
        let wrong = |query: &str| {
            let error = ask(Kind::Poll, query, None).unwrap_err();
            format!("{}={}", error.field(), error.value())
        };
        assert_eq!(wrong(""), "topic=0 topics");
        assert_eq!(wrong("topic=a%20b"), "topic=a b");
        assert_eq!(wrong("topic=a&types=a,b%20c"), "types=b c");
        assert_eq!(wrong("topic=a&tail=yes"), "tail=yes");
        assert_eq!(wrong("topic=a&wait=soon"), "wait=soon");
        assert_eq!(wrong("topic=a&wait=56s"), "wait=56s");
        assert_eq!(wrong("topic=a&every=10s"), "query parameter=every");
        assert_eq!(wrong("topics=a"), "query parameter=topics");
        assert!(ask(Kind::Stream, "topic=a&wait=1s", None).is_err());
        let many: Vec<String> = (0..101).map(|n| format!("topic=t{n}")).collect();
        assert_eq!(wrong(&many.join("&")), "topic=101 topics");
        assert!(ask(Kind::Stream, &many[..100].join("&"), None).is_ok());
    }

    proptest! {
        #[test]
        fn never_panics(query: String, header: Option<String>) {
            let _ = ask(Kind::Poll, &query, header.as_deref());
        }
    }
}
