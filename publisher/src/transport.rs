//! The ways an event can go.

mod courier;
mod http;
mod link;
mod problem;
mod redis;
mod routing;

pub(crate) use http::Http;
pub(crate) use redis::{KeyAges, Redis};
#[cfg(feature = "cli")]
pub(crate) use {
    http::{client, endpoint, failure as http_failure},
    problem::Problem,
};

use tidings_shared::Partitions;

use crate::parcel::{Form, Parcel};
use crate::store::{RedisUrl, WrongUrl};
use crate::{Error, ErrorKind, Receipt};

/// Where a publisher sends its events.
pub(crate) enum Transport {
    /// Straight into the store.
    Redis(Box<Redis>),
    /// Through a gateway's publish API.
    Http(Http),
}

/// Which transport a URL asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    Redis(RedisUrl),
    Http,
}

impl Way {
    /// Reads a URL. No error repeats it, as it may hold a password.
    pub(crate) fn of(url: &str) -> Result<Self, Error> {
        if url.starts_with("http://") {
            return Ok(Self::Http);
        }
        let expected = match url.parse() {
            Ok(url) => return Ok(Self::Redis(url)),
            Err(WrongUrl::Scheme) => format!("{}, or http://host[:port] of a gateway", RedisUrl::ALLOWED),
            Err(wrong) => wrong.to_string(),
        };
        Err(Error::told(ErrorKind::InvalidUrl, format!("expected {expected}")))
    }
}

impl Transport {
    /// The form of body that it sends.
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Redis(_) => Form::Message,
            Self::Http(_) => Form::Json,
        }
    }

    /// The number of partitions that events are routed by; `None` where others route them.
    pub(crate) fn partitions(&self) -> Option<Partitions> {
        match self {
            Self::Redis(redis) => Some(redis.partitions()),
            Self::Http(_) => None,
        }
    }

    /// The most events that go in one attempt.
    pub(crate) fn window(&self) -> usize {
        match self {
            Self::Redis(_) => 256,
            Self::Http(_) => 100,
        }
    }

    /// Connects, where a connection is kept.
    pub(crate) async fn connect(&self) -> Result<(), Error> {
        match self {
            Self::Redis(redis) => redis.connect().await,
            Self::Http(_) => Ok(()),
        }
    }

    /// Sends the parcels once, in order; one answer for each. `Err` if all of them failed alike.
    pub(crate) async fn attempt(&self, parcels: &[&Parcel]) -> Result<Vec<Result<Receipt, Error>>, Error> {
        match self {
            Self::Redis(redis) => Ok(redis.attempt(parcels).await),
            Self::Http(http) => http.attempt(parcels).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_allowed_and_never_repeats_the_url() {
        assert!(matches!(Way::of("rediss+cluster://h").unwrap(), Way::Redis(url) if url.is_cluster()));
        assert_eq!(Way::of("http://h").unwrap(), Way::Http);
        for url in
            ["secret+redis://h", "https://secret", "secret", "", "a secret://h", "redis:secret", "redis://secret@h"]
        {
            let error = Way::of(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl);
            let text = format!("{error} {error:?}");
            assert!(text.contains("expected ") && !text.contains("secret"), "{text}");
        }
    }
}
