//! A pattern: the addresses that a grant covers.

use std::fmt;
use std::str::FromStr;

use crate::{Address, Invalid, limits, topic, user};

/// An address in which `*` stands for one whole segment (or a whole user id) and a final `**` for any rest, itself at
/// least one segment: `orders/*`, `@alice/**`, `**`. A pattern without `@` never matches a user's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

const EXPECTED: &str =
    "an address in which * may stand for a segment and a final ** for any rest, such as orders/* or @alice/**";

impl Pattern {
    /// Whether `address` is one of those meant.
    pub fn matches(&self, address: &Address) -> bool {
        let text = address.to_string();
        match (self.0.strip_prefix('@'), text.strip_prefix('@')) {
            (None, None) => segments_match(&self.0, &text),
            (Some(pattern), Some(text)) => segments_match(pattern, text),
            _ => false,
        }
    }
}

fn segments_match(pattern: &str, text: &str) -> bool {
    let mut rest = text.split('/');
    for wanted in pattern.split('/') {
        match (wanted, rest.next()) {
            (_, None) => return false,
            ("**", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(got)) if wanted == got => {}
            _ => return false,
        }
    }
    rest.next().is_none()
}

/// One segment of a pattern; `first_of_user` is the user id after `@`.
fn segment_is_valid(segment: &str, first_of_user: bool, last: bool) -> bool {
    match segment {
        "*" => true,
        "**" => last,
        id if first_of_user => (1..=limits::USER_BYTES).contains(&id.len()) && id.chars().all(user::is_printable),
        segment => topic::is_segment(segment),
    }
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (of_user, body) = match text.strip_prefix('@') {
            Some(body) => (true, body),
            None => (false, text),
        };
        let segments: Vec<&str> = body.split('/').collect();
        let topic = if of_user { segments.get(1..).unwrap_or_default() } else { &segments[..] };
        let fits = topic.len() <= limits::TOPIC_SEGMENTS && topic.join("/").len() <= limits::TOPIC_BYTES;
        let valid = segments
            .iter()
            .enumerate()
            .all(|(at, segment)| segment_is_valid(segment, of_user && at == 0, at + 1 == segments.len()));
        if fits && valid { Ok(Self(text.into())) } else { Err(Invalid::new("pattern", text, EXPECTED)) }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, address: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(&address.parse().unwrap())
    }

    #[test]
    fn one_segment_any_rest_and_users_apart() {
        assert!(matches("orders/*", "orders/42"));
        assert!(!matches("orders/*", "orders"));
        assert!(!matches("orders/*", "orders/42/lines"));
        assert!(matches("orders/**", "orders/42/lines"));
        assert!(!matches("orders/**", "orders"));
        assert!(matches("**", "orders/42"));
        assert!(!matches("**", "@alice"));
        assert!(matches("@alice/**", "@alice/inbox"));
        assert!(!matches("@alice/**", "@alice"));
        assert!(!matches("@alice/**", "@bob/inbox"));
        assert!(matches("@*", "@alice"));
        assert!(matches("@*/inbox", "@a/inbox"));
        assert!(matches("@**", "@alice/inbox"));
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for text in ["", "a/**/b", "a*", "**/a", "a//b", "@", "@/a", "a b"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_address_matches_itself(text in "@?[a-z]{1,5}(/[a-z]{1,5}){0,6}") {
            prop_assert!(matches(&text, &text));
        }

        #[test]
        fn never_panics(text: String) {
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
