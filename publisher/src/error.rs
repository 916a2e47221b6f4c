//! What can go wrong: a kind to act on, and what caused it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidings_shared::Invalid;

/// What kind of failure it was. Match on this, never on a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The event breaks a rule; [`Error::invalid`] says which. Publishing it again fails again.
    InvalidEvent,
    /// The URL is not one that a publisher can use.
    InvalidUrl,
    /// A file of [`TlsFiles`](crate::store::TlsFiles) cannot be used.
    InvalidTls,
    /// The store or the gateway is away, or busy with itself. Later may work.
    Unavailable,
    /// No answer came in time. The event may or may not have been published; later may work.
    Timeout,
    /// The other side does not let this publisher do it, or is not who it should be: password, permission, certificate,
    /// a key of ours that holds something else, or no such API there.
    Refused,
    /// The other side answered what no store or gateway of this version answers.
    Protocol,
    /// The publisher was shut down.
    Closed,
    /// It was called outside of a Tokio runtime, where nothing can be sent.
    NoRuntime,
}

/// A failure. Its text never holds a password or a URL with one.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    retry_after: Option<Duration>,
}

/// A cause that is only a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Sentence(String);

impl Error {
    /// A failure of this kind with its cause.
    pub(crate) fn new(kind: ErrorKind, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { kind, source: Some(Arc::new(source)), retry_after: None }
    }

    /// A failure of this kind that a sentence explains.
    pub(crate) fn told(kind: ErrorKind, sentence: impl Into<String>) -> Self {
        Self::new(kind, Sentence(sentence.into()))
    }

    /// The failure that several make together; retryable if one of them is.
    pub(crate) fn of_all(failures: Vec<Self>) -> Self {
        let kind = failures.iter().find(|failure| failure.is_retryable()).or(failures.first()).map(Self::kind);
        let causes = failures.iter().filter_map(|failure| failure.source.as_ref()).map(ToString::to_string);
        Self::told(kind.unwrap_or(ErrorKind::Unavailable), causes.collect::<Vec<_>>().join("; "))
    }

    /// The same failure, with what its cause begins with: who it was, where its address alone does not tell.
    pub(crate) fn of(self, whom: &str) -> Self {
        let cause = self.source.as_ref().map(ToString::to_string).unwrap_or_default();
        Self { retry_after: self.retry_after, ..Self::told(self.kind, format!("{whom} {cause}")) }
    }

    /// The publisher was shut down.
    pub(crate) fn closed() -> Self {
        Self { kind: ErrorKind::Closed, source: None, retry_after: None }
    }

    /// Fails outside of a Tokio runtime, where timers and sockets panic.
    pub(crate) fn unless_in_runtime() -> Result<(), Self> {
        match tokio::runtime::Handle::try_current() {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(Self::told(ErrorKind::NoRuntime, "call it within a Tokio runtime, as #[tokio::main] starts one"))
            }
        }
    }

    /// The same failure, with what the other side said of when to come back.
    pub(crate) fn retry_after(mut self, delay: Option<Duration>) -> Self {
        self.retry_after = delay;
        self
    }

    /// How long the other side asked to wait before the next attempt.
    pub(crate) fn asked_delay(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later, without a change to the event or the configuration.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// For [`ErrorKind::InvalidEvent`]: the field, its value, and what is allowed there. `None` if a gateway refused the
    /// event without naming a field.
    pub fn invalid(&self) -> Option<&Invalid> {
        self.source.as_deref().and_then(|source| source.downcast_ref())
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::new(ErrorKind::InvalidEvent, invalid)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidEvent => "the event is not valid",
            Self::InvalidUrl => "the URL is not valid",
            Self::InvalidTls => "TLS is not possible",
            Self::Unavailable => "the store is not available",
            Self::Timeout => "no answer came in time",
            Self::Refused => "the store refused",
            Self::Protocol => "the answer was not understood",
            Self::Closed => "the publisher was shut down",
            Self::NoRuntime => "there is no Tokio runtime",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
