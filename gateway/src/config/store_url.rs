//! The URL of the store, which never shows its password.

use std::fmt;
use std::str::FromStr;

use redis::IntoConnectionInfo;

/// Which store keeps the events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StoreUrl {
    /// In this process: gone when it ends, and not shared with other gateways.
    #[default]
    Memory,
    /// One Redis server.
    Redis(RedisUrl),
}

/// A `redis://` URL that was checked. Its `Debug` and `Display` mask the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Box<str>);

/// A text that is no URL of a store we know. It does not repeat the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongUrl {
    /// A kind of store that a later version brings.
    #[error("memory:// or redis://; {0}:// is not supported yet")]
    Later(&'static str),
    /// Something else.
    #[error("memory:// or redis://[user:password@]host[:port][/database]; encode special characters with %")]
    Other,
}

/// What other versions of Redis' topology and transport are called.
const LATER: [&str; 5] = ["rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"];

impl RedisUrl {
    /// The URL with its password: for the client only, never for a log line or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreUrl {
    type Err = WrongUrl;

    fn from_str(text: &str) -> Result<Self, WrongUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(WrongUrl::Other)?;
        if let Some(later) = LATER.into_iter().find(|later| *later == scheme) {
            return Err(WrongUrl::Later(later));
        }
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "redis" => text.parse().map(Self::Redis),
            _ => Err(WrongUrl::Other),
        }
    }
}

impl FromStr for RedisUrl {
    type Err = WrongUrl;

    fn from_str(text: &str) -> Result<Self, WrongUrl> {
        let url = redis::parse_redis_url(text).filter(|url| url.scheme() == "redis").ok_or(WrongUrl::Other)?;
        // A query or fragment is either a mistake or the rest of a password that was not encoded.
        if url.query().is_some() || url.fragment().is_some() || text.into_connection_info().is_err() {
            return Err(WrongUrl::Other);
        }
        Ok(Self(text.into()))
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

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mut url) = redis::parse_redis_url(&self.0) else {
            return f.write_str("redis://***");
        };
        let masked = if url.password().is_some() {
            url.set_password(Some("***"))
        } else if url.username().is_empty() {
            Ok(())
        } else {
            // A user without a password is mostly a password in the wrong place.
            url.set_username("***")
        };
        match masked {
            Ok(()) => f.write_str(url.as_str()),
            Err(()) => f.write_str("redis://***"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_shows_parses_and_has_no_password() {
        for (text, shown) in [
            ("memory://", "memory://"),
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://cache.internal/3", "redis://cache.internal/3"),
            ("redis://[::1]:6380/0", "redis://[::1]:6380/0"),
            ("redis://:hunter2@cache:6379/1", "redis://:***@cache:6379/1"),
            ("redis://app:hunter2@cache", "redis://app:***@cache"),
            ("redis://hunter2@cache", "redis://***@cache"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
            assert_eq!(shown.parse::<StoreUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn the_client_gets_all_of_it() {
        let StoreUrl::Redis(url) = "redis://app:hunter2@cache".parse().unwrap() else { panic!("not Redis") };
        assert_eq!(url.expose(), "redis://app:hunter2@cache");
    }

    #[test]
    fn what_a_later_version_brings_says_so() {
        let error = "rediss://cache".parse::<StoreUrl>().unwrap_err();
        assert_eq!(error, WrongUrl::Later("rediss"));
        assert!(error.to_string().contains("rediss:// is not supported yet"), "{error}");
        assert_eq!("redis+cluster://a".parse::<StoreUrl>(), Err(WrongUrl::Later("redis+cluster")));
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        let wrong = [
            "",
            "redis",
            "cache:6379",
            "redis://",
            "redis://0.0.0.0",
            "redis://cache/first",
            "redis://:hunter2",
            "redis://app:hun#ter2@cache",
            "redis://app:hun/ter2@cache",
            "redis://app:1/hunter2@cache",
            "redis://cache?password=hunter2",
            "memory://x",
            "http://cache",
            "unix:///run/redis",
        ];
        for text in wrong {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert_eq!(error, WrongUrl::Other, "{text:?}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
