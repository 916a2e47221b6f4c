//! A login: who we are to a server.

use std::fmt;

use super::{WrongUrl, decoded};

/// A user and password; without a password nobody logs in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// The ACL user; none is Redis' `default`.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// A text that neither `Debug` nor an error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Login {
    /// Reads `user:password`. A user alone is mostly a password in the wrong place, and of no use.
    pub(super) fn read(text: &str) -> Result<Self, WrongUrl> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let user = decoded(user).ok_or(WrongUrl::Login)?;
        let password = decoded(password).ok_or(WrongUrl::Login)?;
        Self::of(user, password)
    }

    /// Reads the sentinels' own.
    pub(super) fn of_query(query: &str) -> Result<Self, WrongUrl> {
        let (mut user, mut password) = (String::new(), String::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sentinel_user", text)) => user = decoded(text).ok_or(WrongUrl::Query)?,
                Some(("sentinel_password", text)) => password = decoded(text).ok_or(WrongUrl::Query)?,
                _ => return Err(WrongUrl::Query),
            }
        }
        Self::of(user, password).map_err(|_| WrongUrl::Query)
    }

    fn of(user: String, password: String) -> Result<Self, WrongUrl> {
        match (user.is_empty(), password.is_empty()) {
            (true, true) => Ok(Self::default()),
            (false, true) => Err(WrongUrl::Login),
            (anonymous, false) => Ok(Self { user: (!anonymous).then_some(user), password: Some(Secret(password)) }),
        }
    }
}

impl Secret {
    /// A text to be kept secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text: for a client only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
