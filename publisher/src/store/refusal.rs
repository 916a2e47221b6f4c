//! What a server refuses for good or for now, recognised by its words, and what would help.
//!
//! Error codes alone do not say it: `ERR` stands for a full server, a missing database and a command that is not
//! there alike, and some refusals of an ACL come as `ERR` too.

use crate::ErrorKind;

/// A refusal whose meaning is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All connections of the server are taken.
    Full,
    /// The user lacks a right.
    NoPermission,
    /// The server wants a login.
    NoLogin,
    /// The server does not know this user and password.
    WrongLogin,
    /// The server has no password, and was given one.
    NoPassword,
    /// The server does not know the command.
    UnknownCommand,
    /// The server does not know a command that a script calls, and does not say which.
    UnknownInScript,
    /// The server speaks no RESP3.
    NoResp3,
    /// The server has no such database.
    NoDatabase,
    /// The server is part of a cluster, which has one database.
    ClusterDatabase,
    /// The server takes connections from its own machine only.
    ProtectedMode,
    /// A key of ours holds something else.
    WrongType,
}

/// Codes that say it all.
const CODES: [(&str, Refusal); 6] = [
    ("NOPERM", Refusal::NoPermission),
    ("NOAUTH", Refusal::NoLogin),
    ("WRONGPASS", Refusal::WrongLogin),
    ("NOPROTO", Refusal::NoResp3),
    ("DENIED", Refusal::ProtectedMode),
    ("WRONGTYPE", Refusal::WrongType),
];

/// Parts of texts that come with `ERR`, in small letters. Redis, Valkey and their versions differ in the rest.
const WORDS: [(&str, Refusal); 15] = [
    ("max number of clients", Refusal::Full),
    ("noperm", Refusal::NoPermission),
    ("no permissions to", Refusal::NoPermission),
    ("user executing the script can't", Refusal::NoPermission),
    ("acl failure in script", Refusal::NoPermission),
    ("without any password configured", Refusal::NoPassword),
    ("no password is set", Refusal::NoPassword),
    ("unknown command 'hello'", Refusal::NoResp3),
    ("unknown command `hello`", Refusal::NoResp3),
    // "Unknown Redis command called from script", of Valkey without "Redis".
    ("command called from script", Refusal::UnknownInScript),
    ("unknown command", Refusal::UnknownCommand),
    ("unknown subcommand", Refusal::UnknownCommand),
    ("db index is out of range", Refusal::NoDatabase),
    ("invalid db index", Refusal::NoDatabase),
    ("select is not allowed in cluster mode", Refusal::ClusterDatabase),
];

impl Refusal {
    /// The refusal that an answer is; `None` if it is none that is known.
    pub(super) fn of(code: &str, detail: &str) -> Option<Self> {
        if let Some((_, refusal)) = CODES.iter().find(|(known, _)| *known == code) {
            return Some(*refusal);
        }
        let detail = detail.to_ascii_lowercase();
        let meant = |(words, _): &&(&str, Self)| code == "ERR" && detail.contains(words);
        WORDS.iter().find(meant).map(|(_, refusal)| *refusal)
    }

    /// The kind of error that it is to a caller.
    pub(super) fn kind(self) -> ErrorKind {
        match self {
            Self::Full => ErrorKind::Unavailable,
            Self::NoDatabase | Self::ClusterDatabase => ErrorKind::InvalidUrl,
            _ => ErrorKind::Refused,
        }
    }

    /// What would help, as the end of an error's text.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Full => "retry later, raise maxclients or close idle connections",
            Self::NoPermission => "grant the missing right with ACL SETUSER",
            Self::NoLogin => "the URL needs a user and password",
            Self::WrongLogin => "check the user and password of the URL",
            Self::NoPassword => "the URL must not have a password",
            Self::UnknownCommand => {
                "use Redis 7.0 or Valkey 8 or later without rename-command, and no proxy that filters commands"
            }
            Self::UnknownInScript => {
                "the script calls a command that this server does not know: use Redis 7.0 or Valkey 8 or later \
                 without rename-command for the commands that its user in the README has"
            }
            Self::NoResp3 => {
                "RESP3 is needed: use Redis 7.0 or Valkey 8 or later without rename-command HELLO, \
                 and no proxy that speaks only RESP2"
            }
            Self::NoDatabase => "use a database in the URL that is below the server's `databases` setting",
            Self::ClusterDatabase => "use redis+cluster:// and no database",
            Self::ProtectedMode => "give the server a password, or switch off protected-mode",
            Self::WrongType => "another program uses keys of this namespace: choose another namespace",
        }
    }
}
