//! An address: what an event is sent to and a connection follows.

use std::fmt;
use std::str::FromStr;

use crate::{Invalid, Topic, User};

/// What an event is sent to and a connection follows. Its text is what a page sees as `"topic"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// `orders/42`
    Topic(Topic),
    /// `@alice`
    User(User),
    /// `@alice/inbox`
    UserTopic(User, Topic),
}

const EXPECTED: &str = "a topic (1 to 8 segments of [A-Za-z0-9_.:~-] joined by /, at most 200 bytes, such as orders/42), \
                        a user (@alice) or a user's topic (@alice/inbox)";

impl Address {
    /// What decides the partition: the topic, or the user, so that all of a user's addresses share one partition.
    pub(crate) fn routing_key(&self) -> String {
        match self {
            Self::Topic(topic) => format!("t:{topic}"),
            Self::User(user) | Self::UserTopic(user, _) => format!("u:{user}"),
        }
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parsed = match text.strip_prefix('@') {
            None => text.parse().map(Self::Topic),
            Some(rest) => match rest.split_once('/') {
                None => rest.parse().map(Self::User),
                Some((user, topic)) => user.parse().and_then(|user| Ok(Self::UserTopic(user, topic.parse()?))),
            },
        };
        parsed.map_err(|_| Invalid::new("address", text, EXPECTED))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => write!(f, "{topic}"),
            Self::User(user) => write!(f, "@{user}"),
            Self::UserTopic(user, topic) => write!(f, "@{user}/{topic}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_three_forms() {
        assert!(matches!("orders/42".parse().unwrap(), Address::Topic(_)));
        assert!(matches!("@alice".parse().unwrap(), Address::User(_)));
        assert!(matches!("@alice/inbox".parse().unwrap(), Address::UserTopic(_, _)));
        assert!(matches!("@a b@c.de".parse().unwrap(), Address::User(_)));
    }

    #[test]
    fn refuses_and_says_why() {
        let long = "a".repeat(201);
        let deep = ["a"; 9].join("/");
        let user = format!("@{}", "é".repeat(65));
        for text in
            ["", "/", "a/", "/a", "a//b", "a b", "ä", "a*", "@", "@/a", "@a/", "@a/b c", "@a\n", &long, &deep, &user]
        {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error.field(), "address");
            assert!(error.expected().contains("@alice/inbox"), "{error}");
        }
    }

    pub(crate) fn any_address() -> impl Strategy<Value = String> {
        prop_oneof![
            "[A-Za-z0-9_.:~-]{1,20}(/[A-Za-z0-9_.:~-]{1,20}){0,7}",
            "@[^/\\p{C}\\p{Zl}\\p{Zp}]{1,32}",
            "@[^/\\p{C}\\p{Zl}\\p{Zp}]{1,32}/[a-z]{1,9}",
        ]
    }

    proptest! {
        #[test]
        fn round_trips(text in any_address()) {
            prop_assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }

        #[test]
        fn never_panics_and_keeps_what_it_takes(text: String) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string(), text);
            }
        }
    }
}
