//! The URL of the store: in this process, or Redis.

use std::fmt;
use std::str::FromStr;

use tidings_shared::store_url;
use tidings_shared::{Partitions, RedisUrl};

/// Which store keeps the events. Its `Debug` and `Display` mask passwords.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StoreUrl {
    /// In this process: gone when it ends, and not shared with other gateways.
    #[default]
    Memory,
    /// Redis.
    Redis(RedisUrl),
}

/// What was expected instead of a text that is no URL of a store. It does not repeat the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongUrl {
    /// Something behind `memory://`.
    #[error("nothing behind memory://")]
    Memory,
    /// A URL of Redis that is wrong, or of something else.
    #[error("memory:// or {0}")]
    Redis(#[from] store_url::WrongUrl),
}

impl FromStr for StoreUrl {
    type Err = WrongUrl;

    fn from_str(text: &str) -> Result<Self, WrongUrl> {
        match text.strip_prefix("memory://") {
            Some("") => Ok(Self::Memory),
            Some(_) => Err(WrongUrl::Memory),
            None => Ok(Self::Redis(text.parse()?)),
        }
    }
}

impl StoreUrl {
    /// How many partitions a namespace has there if nobody says.
    pub fn partitions(&self) -> Partitions {
        match self {
            Self::Redis(url) if url.topology == store_url::Topology::Cluster => Partitions::CLUSTER,
            _ => Partitions::ONE,
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory://"),
            Self::Redis(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_shows_parses_and_has_no_password() {
        for (text, shown) in [
            ("memory://", "memory://"),
            ("redis://:hunter2@cache/1", "redis://:***@cache:6379/1"),
            ("rediss://app:hunter2@cache", "rediss://app:***@cache:6379"),
            ("redis+sentinel://:hunter2@a,b:1/main", "redis+sentinel://:***@a:26379,b:1/main"),
            ("redis+cluster://:hunter2@a,b:1", "redis+cluster://:***@a:6379,b:1"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
            assert_eq!(shown.parse::<StoreUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_store_is_refused_without_being_repeated() {
        for (text, wrong) in [
            ("memory://hunter2", WrongUrl::Memory),
            ("hunter2", WrongUrl::Redis(store_url::WrongUrl::Scheme)),
            ("redis://hunter2@cache", WrongUrl::Redis(store_url::WrongUrl::Login)),
            ("redis+sentinel://hunter2@a/m", WrongUrl::Redis(store_url::WrongUrl::Login)),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert_eq!(error, wrong, "{text:?}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
