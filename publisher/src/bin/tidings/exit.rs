//! How the command ends.

use std::process::ExitCode;

use tidings_publisher::{Error, ErrorKind};

/// The exit codes that `--help` documents, after sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All done.
    Ok = 0,
    /// Some events were not published.
    SomeFailed = 1,
    /// Wrong use, or an event that is not valid.
    Usage = 64,
    /// The store is away, or refused.
    Unavailable = 69,
    /// Something unexpected.
    Internal = 70,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidEvent | ErrorKind::InvalidUrl | ErrorKind::InvalidTls => Self::Usage,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Refused => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
