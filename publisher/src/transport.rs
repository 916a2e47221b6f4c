//! The ways an event can go.

mod http;
mod link;
mod problem;
mod redis;

pub(crate) use http::Http;
pub(crate) use link::Link;
pub(crate) use redis::{KeyAges, Redis};
#[cfg(feature = "cli")]
pub(crate) use {
    http::{client, endpoint, failure as http_failure},
    link::{connection_info as redis_info, failure as redis_failure},
    problem::Problem,
};

use crate::parcel::{Form, Parcel};
use crate::{Error, ErrorKind, Receipt};

/// Where a publisher sends its events.
pub(crate) enum Transport {
    /// Straight into the store.
    Redis(Box<Redis>),
    /// Through a gateway's publish API.
    Http(Http),
    /// Nowhere, and that is well.
    Disabled,
}

/// Which transport a URL asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Redis,
    Http,
}

impl Scheme {
    /// Reads the scheme alone: the rest may hold a password, which no error repeats.
    pub(crate) fn of(url: &str) -> Result<Self, Error> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("redis") => Ok(Self::Redis),
            Some("http") => Ok(Self::Http),
            Some(other) if other.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
                Err(Error::told(ErrorKind::InvalidUrl, format!("{other}:// is not supported; use {ALLOWED}")))
            }
            _ => Err(Error::told(ErrorKind::InvalidUrl, format!("use {ALLOWED}"))),
        }
    }
}

const ALLOWED: &str = "redis://[user:password@]host[:port][/database] or http://host[:port]";

impl Transport {
    /// The form of body that it sends.
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Redis(_) | Self::Disabled => Form::Message,
            Self::Http(_) => Form::Json,
        }
    }

    /// The most events that go in one attempt.
    pub(crate) fn window(&self) -> usize {
        match self {
            Self::Redis(_) | Self::Disabled => 256,
            Self::Http(_) => 100,
        }
    }

    /// Connects, where a connection is kept.
    pub(crate) async fn connect(&self) -> Result<(), Error> {
        match self {
            Self::Redis(redis) => redis.connect().await,
            Self::Http(_) | Self::Disabled => Ok(()),
        }
    }

    /// Sends the parcels once, in order; one answer for each. `Err` if all of them failed alike.
    pub(crate) async fn attempt(&self, parcels: &[&Parcel]) -> Result<Vec<Result<Receipt, Error>>, Error> {
        match self {
            Self::Redis(redis) => redis.attempt(parcels).await,
            Self::Http(http) => http.attempt(parcels).await,
            Self::Disabled => Ok(parcels.iter().map(|_| Ok(Receipt::default())).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_allowed_and_never_repeats_the_url() {
        assert_eq!(Scheme::of("redis://h").unwrap(), Scheme::Redis);
        assert_eq!(Scheme::of("http://h").unwrap(), Scheme::Http);
        for url in ["rediss://u:secret@h", "redis+cluster://h", "https://h", "secret", "", "a secret://h", "redis:h"] {
            let error = Scheme::of(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl);
            let text = format!("{error} {error:?}");
            assert!(text.contains(ALLOWED) && !text.contains("secret"), "{text}");
        }
    }
}
