//! What an error of a server means for the next step.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind as RedisKind, RedisError};
use tidings_shared::script::PARTITIONS;
use tidings_shared::store_url::Server;

use super::refusal::Refusal;
use crate::ErrorKind;

/// What to do about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The slot is served there, from now on.
    Moved {
        /// The slot.
        slot: u16,
        /// Its primary.
        to: Server,
    },
    /// The slot is on its way there: ask that server this once, with `ASKING` before the command.
    Ask(Server),
    /// The server does not know the script by its hash: send it whole.
    Teach,
    /// This server is gone, or not the primary any more, or not yet: ask for the topology before trying again.
    Elsewhere(ErrorKind),
    /// The same server may do it a little later.
    Later,
    /// Neither time nor place will help.
    Never(ErrorKind),
}

impl Verdict {
    /// Judges an error that `asked` gave, or that came instead of its answer.
    pub fn of(error: &RedisError, asked: &Server) -> Self {
        match error.code() {
            Some(code) => Self::of_code(code, error, asked),
            None => Self::of_connection(error),
        }
    }

    fn of_code(code: &str, error: &RedisError, asked: &Server) -> Self {
        match Refusal::of(code, error.detail().unwrap_or_default()) {
            // It ends as soon as another client leaves.
            Some(Refusal::Full) => return Self::Later,
            Some(refusal) => return Self::Never(refusal.kind()),
            None => {}
        }
        match code {
            "MOVED" | "ASK" => match redirection(error, asked) {
                Some((slot, to)) if code == "MOVED" => Self::Moved { slot, to },
                Some((_, to)) => Self::Ask(to),
                None => Self::Never(ErrorKind::Protocol),
            },
            "NOSCRIPT" => Self::Teach,
            "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "LOADING" => Self::Elsewhere(ErrorKind::Unavailable),
            // TRYAGAIN: half of the keys have been moved to another server; it ends with the move.
            "TRYAGAIN" | "BUSY" | "OOM" | "MISCONF" | "NOREPLICAS" => Self::Later,
            // The number of partitions is another, or none is set: a beacon is to find out.
            PARTITIONS => Self::Never(ErrorKind::Unavailable),
            _ => Self::Never(ErrorKind::Protocol),
        }
    }

    fn of_connection(error: &RedisError) -> Self {
        match error.kind() {
            RedisKind::Io if error.is_timeout() => Self::Elsewhere(ErrorKind::Timeout),
            // What rustls says of a certificate, ours or theirs, comes as bad data.
            RedisKind::Io if io_kind(error) == Some(io::ErrorKind::InvalidData) => Self::Never(ErrorKind::Refused),
            RedisKind::Io => Self::Elsewhere(ErrorKind::Unavailable),
            RedisKind::AuthenticationFailed | RedisKind::RESP3NotSupported => Self::Never(ErrorKind::Refused),
            RedisKind::InvalidClientConfig => Self::Never(ErrorKind::InvalidUrl),
            _ => Self::Never(ErrorKind::Protocol),
        }
    }

    /// What to tell a caller who cannot follow it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Moved { .. } | Self::Ask(_) | Self::Teach | Self::Later => ErrorKind::Unavailable,
            Self::Elsewhere(kind) | Self::Never(kind) => *kind,
        }
    }
}

/// The slot and the server that a redirection names. Without a host it means that of the server that was asked.
fn redirection(error: &RedisError, asked: &Server) -> Option<(u16, Server)> {
    let (address, slot) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.trim_start_matches('[').trim_end_matches(']') {
        "" | "?" => &asked.host,
        host => host,
    };
    Some((slot, Server::new(host, port.parse().ok()?)))
}

fn io_kind(error: &RedisError) -> Option<io::ErrorKind> {
    let source = error.source()?.downcast_ref::<Arc<dyn StdError + Send + Sync>>()?;
    source.downcast_ref::<io::Error>().map(io::Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::{Value, parse_redis_value};

    fn verdict(answer: &str) -> Verdict {
        let value = parse_redis_value(format!("-{answer}\r\n").as_bytes()).and_then(Value::extract_error);
        Verdict::of(&value.unwrap_err(), &Server::new("asked", 7))
    }

    #[test]
    fn redirections_name_their_server() {
        let moved = |slot, to| Verdict::Moved { slot, to };
        assert_eq!(verdict("MOVED 1405 10.0.0.1:7001"), moved(1405, Server::new("10.0.0.1", 7001)));
        assert_eq!(verdict("MOVED 1 :7001"), moved(1, Server::new("asked", 7001)));
        assert_eq!(verdict("MOVED 1 ::1:7001"), moved(1, Server::new("::1", 7001)));
        assert_eq!(verdict("ASK 1405 b.example:7001"), Verdict::Ask(Server::new("b.example", 7001)));
        assert_eq!(verdict("MOVED nonsense"), Verdict::Never(ErrorKind::Protocol));
    }

    #[test]
    fn what_servers_say_has_its_step() {
        let elsewhere = Verdict::Elsewhere(ErrorKind::Unavailable);
        let refused = Verdict::Never(ErrorKind::Refused);
        for (answer, expected) in [
            ("NOSCRIPT No matching script.", Verdict::Teach),
            ("READONLY You can't write against a read only replica.", elsewhere.clone()),
            ("MASTERDOWN Link with MASTER is down", elsewhere.clone()),
            ("CLUSTERDOWN The cluster is down", elsewhere.clone()),
            ("LOADING Redis is loading the dataset in memory", elsewhere),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Verdict::Later),
            ("BUSY Redis is busy running a script.", Verdict::Later),
            ("OOM command not allowed when used memory > 'maxmemory'.", Verdict::Later),
            ("MISCONF Redis is configured to save RDB snapshots", Verdict::Later),
            ("NOREPLICAS Not enough good replicas to write.", Verdict::Later),
            ("PARTITIONS the namespace has 32 partitions", Verdict::Never(ErrorKind::Unavailable)),
            ("NOAUTH Authentication required.", refused.clone()),
            ("NOPERM No permissions to access a key", refused.clone()),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", refused.clone()),
            ("ERR The user executing the script can't run this command or subcommand", refused.clone()),
            ("ERR ACL failure in script: User a has no permissions to run the 'xadd' command", refused.clone()),
            ("ERR max number of clients reached", Verdict::Later),
            ("ERR max number of clients + cluster connections reached", Verdict::Later),
            ("ERR NOPERM User a has no permissions to run the 'select' command", refused.clone()),
            ("NOPROTO unsupported protocol version", refused.clone()),
            ("ERR unknown command 'HELLO', with args beginning with: '3' ", refused.clone()),
            ("ERR Unknown Redis command called from script script: 5a, on @user_script:1.", refused.clone()),
            ("ERR Unknown command called from script script: 5a, on @user_script:1.", refused.clone()),
            ("ERR unknown subcommand 'SHARDS'. Try CLUSTER HELP.", refused.clone()),
            ("ERR AUTH <password> called without any password configured", refused.clone()),
            ("DENIED Redis is running in protected mode", refused),
            ("ERR DB index is out of range", Verdict::Never(ErrorKind::InvalidUrl)),
            ("ERR SELECT is not allowed in cluster mode", Verdict::Never(ErrorKind::InvalidUrl)),
            ("ERR something new", Verdict::Never(ErrorKind::Protocol)),
        ] {
            assert_eq!(verdict(answer), expected, "{answer}");
        }
    }

    #[test]
    fn so_have_broken_connections() {
        let verdict = |kind| Verdict::of(&io::Error::from(kind).into(), &Server::new("a", 1));
        assert_eq!(verdict(io::ErrorKind::ConnectionRefused), Verdict::Elsewhere(ErrorKind::Unavailable));
        assert_eq!(verdict(io::ErrorKind::TimedOut), Verdict::Elsewhere(ErrorKind::Timeout));
        assert_eq!(verdict(io::ErrorKind::InvalidData), Verdict::Never(ErrorKind::Refused));
    }
}
