//! What a gateway answers when it does not do what it was asked: a problem (RFC 9457).

use std::fmt;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use tidings_shared::Invalid;

use crate::{Error, ErrorKind};

/// The members of a problem that mean something to a publisher; any may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    title: String,
    status: u16,
    detail: String,
    field: Option<String>,
    value: Option<String>,
    expected: Option<String>,
}

/// The most of an answer that is read, in bytes: a gateway's problem is far below.
const MOST: usize = 64 * 1024;

impl Problem {
    /// Reads the problem of an answer that was no success; whatever else came is told by its status alone.
    pub(crate) async fn read(mut response: Response) -> Error {
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await
            && body.len() + chunk.len() <= MOST
        {
            body.extend_from_slice(&chunk);
        }
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        Problem { status, ..problem }.into_error().retry_after(after.map(Duration::from_secs))
    }

    /// The failure that it means.
    pub(crate) fn into_error(self) -> Error {
        match (self.kind(), &self.field) {
            (ErrorKind::InvalidEvent, Some(field)) => {
                let (value, expected) = (self.value.as_deref().unwrap_or_default(), self.expected.clone());
                Error::from(Invalid::new(field.clone(), value, expected.unwrap_or_else(|| self.to_string())))
            }
            (kind, _) => Error::told(kind, self.to_string()),
        }
    }

    fn kind(&self) -> ErrorKind {
        match self.status {
            400 | 413 | 415 | 422 => ErrorKind::InvalidEvent,
            401 | 403 | 404 | 405 | 421 => ErrorKind::Refused,
            408 | 425 | 429 | 500..=599 => ErrorKind::Unavailable,
            _ => ErrorKind::Protocol,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the gateway answered {}", self.status)?;
        for text in [&self.title, &self.detail] {
            if !text.is_empty() {
                write!(f, ", {text}")?;
            }
        }
        if matches!(self.status, 404 | 405) {
            f.write_str("; is this the gateway's admin listener? Only with memory:// the public one takes events too")?;
        }
        Ok(())
    }
}
