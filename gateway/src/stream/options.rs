//! What a request asks for: read from its query and `Last-Event-ID`, checked whole before anything is done.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidings_shared::event::{check_name, check_sender, check_type};
use tidings_shared::{Address, Cursor, Invalid, Partitions};

use super::query::{self, IgnoredNames, QueryParam};
use crate::frame::NameLine;
use crate::hub::{Follow, FollowOptions};
use crate::problem::{self, Problem};
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

/// The most different types that a connection may ask for.
const MAX_TYPES: usize = 32;
/// The most different senders that a connection may skip. A tab has one; what else runs in its session may have some.
const MAX_SENDERS: usize = 8;

/// Parameters, in lower case, that carry what nobody else may see. URLs end up in logs, histories and `Referer` headers.
const TOKENS: [&str; 6] = ["access_token", "id_token", "token", "jwt", "authorization", "bearer"];

/// Why a request cannot be answered as it is.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A parameter is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A token is in the URL, under this name.
    #[error(
        "{0} in a URL is refused, as URLs end up in logs (RFC 9700, section 4.3.2). Tokens will come in an \
         Authorization header, in a cookie, or as a ticket for the URL. This version checks none of them: leave the \
         parameter out, and have a proxy in front check who asks"
    )]
    TokenInUrl(&'static str),
}

impl core::convert::From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Invalid(invalid) => invalid.into(),
            RequestError::TokenInUrl(_) => Self::new(problem::Kind::Unauthorized, error.to_string()),
        }
    }
}

/// Reads a request. The `Last-Event-ID` header wins over a cursor in the query: it is newer.
pub fn read(
    kind: Kind,
    query: &str,
    last_event_id: Option<&str>,
    partitions: Partitions,
    most: usize,
) -> Result<Options, RequestError> {
    let mut asked = Asked::default();
    for param in query::params(query) {
        if let Some(name) = TOKENS.into_iter().find(|token| param.name.eq_ignore_ascii_case(token)) {
            return Err(RequestError::TokenInUrl(name));
        }
        asked.take(kind, &param)?;
    }
    let addresses = addresses(&asked.topics, most)?;
    let header = last_event_id.filter(|id| !id.is_empty()).map(str::to_owned);
    let from = match header.or(asked.last_event_id).or(asked.cursor) {
        // A cursor that cannot be read is answered with resyncs: an error status would be the end of an EventSource.
        Some(text) => From::Cursor(Cursor::decode(&text, partitions).ok()),
        None if asked.tail => From::Latest,
        None => From::Now,
    };
    let options = FollowOptions {
        types: asked.types.into(),
        not: asked.not.into(),
        name: asked.name,
        ignored: asked.ignored.into_vec(),
    };
    let options = (options != FollowOptions::default()).then(|| Rc::new(options));
    let follow = Follow { addresses: addresses.into(), every: asked.every, options };
    Ok(Options { follow, from, wait: asked.wait })
}

#[derive(Default)]
struct Asked {
    topics: Vec<String>,
    types: BTreeSet<String>,
    not: BTreeSet<String>,
    ignored: IgnoredNames,
    name: Option<NameLine>,
    cursor: Option<String>,
    last_event_id: Option<String>,
    tail: bool,
    wait: Option<Duration>,
    every: Option<Duration>,
}

impl Asked {
    fn take(&mut self, kind: Kind, param: &QueryParam<'_>) -> Result<(), Invalid> {
        match param.name.as_str() {
            "topic" => self.topics.push(param.value()?.to_owned()),
            "types" => self.take_types(param.value()?)?,
            "not" => self.take_sender(param.value()?)?,
            "name" => {
                let name = param.value()?;
                check_name("name", Some(name))?;
                self.name = Some(NameLine::new(name));
            }
            "cursor" => self.cursor = param.cursor(),
            // Where EventSource polyfills put what they cannot send as a header.
            "lastEventId" => self.last_event_id = param.cursor(),
            "tail" => {
                self.tail = match param.value()? {
                    "1" => true,
                    "0" => false,
                    other => return Err(Invalid::new("tail", other, "1 or 0")),
                };
            }
            "wait" if kind == Kind::Poll => self.wait = Some(wait(param.value()?)?),
            // A poll asks as often as it wants.
            "every" if kind == Kind::Stream => self.every = Some(every(param.value()?)?),
            // A parameter that a cache or a polyfill adds must not end an EventSource for good.
            name => self.ignored.add(name),
        }
        Ok(())
    }

    fn take_sender(&mut self, value: &str) -> Result<(), Invalid> {
        check_sender("not", Some(value))?;
        self.not.insert(value.to_owned());
        if self.not.len() > MAX_SENDERS {
            let expected = format!("at most {MAX_SENDERS} different senders on one connection");
            return Err(Invalid::new("not", value, expected));
        }
        Ok(())
    }

    fn take_types(&mut self, value: &str) -> Result<(), Invalid> {
        for one in value.split(',') {
            check_type("types", Some(one))?;
            if !self.types.contains(one) {
                self.types.insert(one.to_owned());
            }
            if self.types.len() > MAX_TYPES {
                let expected = format!("at most {MAX_TYPES} different types on one connection");
                return Err(Invalid::new("types", one, expected));
            }
        }
        Ok(())
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
        let address: Address = topic.parse().map_err(|error: Invalid| of_topic(error, topic))?;
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

/// The same error, of the parameter. Who wrote a `+` for itself does not see where the blank comes from.
fn of_topic(error: Invalid, topic: &str) -> Invalid {
    let expected = match error.expected() {
        expected if topic.contains(' ') => Cow::Owned(format!("{expected}; a + in a URL means a blank, %2B a plus")),
        expected => Cow::Owned(expected.to_owned()),
    };
    Invalid::new("topic", topic, expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(kind: Kind, query: &str, last_event_id: Option<&str>) -> Result<Options, Invalid> {
        match read(kind, query, last_event_id, Partitions::ONE, 100) {
            Err(RequestError::Invalid(invalid)) => Err(invalid),
            other => Ok(other.unwrap()),
        }
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
        assert_eq!(wrong("topics=a"), "topic=0 topics");
        assert_eq!(wrong("topic=a&types=%ff"), "types=\u{fffd}");
        let many: Vec<String> = (0..101).map(|n| format!("topic=t{n}")).collect();
        assert_eq!(wrong(&many.join("&")), "topic=101 topics");
        assert!(ask(Kind::Stream, &many[..100].join("&"), None).is_ok());
    }

    #[test]
    fn unknown_parameters_are_ignored_by_name() {
        let ignored = |kind, query: &str| ask(kind, query, None).unwrap().follow.ignored().to_vec();
        assert_eq!(ignored(Kind::Poll, "topic=a&_=1&every=10s&Topic=b"), ["_", "every", "Topic"]);
        assert_eq!(ignored(Kind::Stream, "topic=a&wait=1s"), ["wait"]);
        assert!(ask(Kind::Stream, "topic=a", None).unwrap().follow.options.is_none());
    }

    #[test]
    fn types_are_a_bounded_set() {
        let types = |count: usize| (0..count).map(|n| format!("types=t{n}")).collect::<Vec<_>>().join("&");
        let query = format!("topic=a&{}&types={}", types(32), ["t0"; 1_000].join(","));
        let options = ask(Kind::Stream, &query, None).unwrap().follow.options.unwrap();
        assert!(options.types.contains("t31") && !options.types.contains("t32"));
        let error = ask(Kind::Stream, &format!("topic=a&{}", types(33)), None).unwrap_err();
        assert_eq!((error.field(), error.value()), ("types", "t32"));
    }

    #[test]
    fn senders_to_skip_are_few() {
        let not = |count: usize| (0..count).map(|n| format!("not=tab%20{n}")).collect::<Vec<_>>().join("&");
        let options = ask(Kind::Poll, &format!("topic=a&{}&not=tab+0", not(8)), None).unwrap().follow.options.unwrap();
        assert!(options.not.contains("tab 7") && !options.not.contains("tab 8"));
        let wrong = |query: &str| ask(Kind::Stream, &format!("topic=a&{query}"), None).unwrap_err().field().to_owned();
        assert_eq!([wrong(&not(9)), wrong("not="), wrong("not=%0a"), wrong("not=%ff")], ["not"; 4]);
        assert_eq!(wrong(&format!("not={}", "x".repeat(129))), "not");
    }

    #[test]
    fn a_token_is_refused_and_its_value_is_not_told() {
        let refused = read(Kind::Stream, "topic=a&ACCESS_TOKEN=s3cret", None, Partitions::ONE, 1).unwrap_err();
        let problem = Problem::from(refused);
        assert_eq!(problem.kind(), problem::Kind::Unauthorized);
        assert!(problem.detail().contains("access_token") && !problem.detail().contains("s3cret"));
    }

    proptest! {
        #[test]
        fn never_panics(query: String, header: Option<String>) {
            let _ = ask(Kind::Poll, &query, header.as_deref());
        }
    }
}
