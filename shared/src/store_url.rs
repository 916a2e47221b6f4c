//! The URL of a Redis store: which servers, how they stand together, and who we are to them. Never shows a password.

mod login;
mod server;

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

pub use login::{Login, Secret};
pub use server::Server;

use crate::Partitions;

/// A Redis store. Its `Display` is a URL with `***` for each password; `Debug` masks them too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// How its servers stand together.
    pub topology: Topology,
    /// Whether all connections are over TLS, to sentinels too.
    pub tls: bool,
    /// The one server, or those to ask for the others, sentinels or nodes: at least one.
    pub servers: Vec<Server>,
    /// Who we are to the servers that keep the data.
    pub login: Login,
    /// The database; 0 on a cluster.
    pub database: u16,
}

/// How the servers of a store stand together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Standalone,
    /// Sentinels that know which server is the primary.
    Sentinel {
        /// The name that they have for it.
        primary: String,
        /// Who we are to the sentinels.
        login: Login,
    },
    /// A cluster, each of whose primaries serves some slots.
    Cluster,
}

/// What was expected instead of a text that is no URL of a store. It repeats nothing of the text, in which a password
/// may stand anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongUrl {
    /// It begins with no scheme that we know.
    #[error(
        "redis://, redis+sentinel:// or redis+cluster://, or with TLS rediss://, rediss+sentinel:// or rediss+cluster://"
    )]
    Scheme,
    /// The part before the `@`, or one that should be there.
    #[error(
        "user:password@ or :password@ before the host, with %-codes for the special characters in them (%23 for #, %2F for /, %3F for ?, %40 for @)"
    )]
    Login,
    /// No host, or one that is none.
    #[error("a host that can be connected to: a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// Several where one belongs.
    #[error("one host; several are for redis+sentinel:// and redis+cluster://")]
    OneHost,
    /// A port that is none.
    #[error("a port from 1 to 65535 after the colon of a host")]
    Port,
    /// Sentinel without the primary's name.
    #[error(
        "the name that the sentinels have for the primary as the path, such as redis+sentinel://host:26379/mymaster"
    )]
    Primary,
    /// A database that is no number.
    #[error("a database from 0 to 65535 as the end of the path, or none")]
    Database,
    /// A database on a cluster.
    #[error("no database: a cluster has only 0")]
    ClusterDatabase,
    /// A query where none belongs, or another one.
    #[error("nothing after a ? but, for redis+sentinel://, sentinel_user=… and sentinel_password=…, and no #")]
    Query,
}

/// What may stand unencoded in a part of a URL.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl RedisUrl {
    /// What a URL may look like.
    pub const ALLOWED: &'static str = "redis://[[user]:password@]host[:port][/database], \
        redis+sentinel://[[user]:password@]host[:port],…/primary[/database], or \
        redis+cluster://[[user]:password@]host[:port],…; rediss… is the same over TLS";

    /// Whether a text begins with one of the schemes.
    pub fn is_meant(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| Kind::of(scheme).is_some())
    }

    /// Whether channels are sharded: a message then goes over the slot's own primary.
    pub fn is_cluster(&self) -> bool {
        self.topology == Topology::Cluster
    }

    /// How many partitions a namespace has there if nobody says otherwise: as many as spread over a cluster, else one.
    pub fn partitions(&self) -> Partitions {
        if self.is_cluster() { Partitions::CLUSTER } else { Partitions::ONE }
    }

    /// The URL with its passwords: for a client only, never for a log line or an error.
    pub fn expose(&self) -> String {
        self.render(|secret| encoded(secret.expose()))
    }

    fn render(&self, show: impl Fn(&Secret) -> String) -> String {
        let mut text = if self.tls { "rediss" } else { "redis" }.to_owned();
        text.push_str(match self.topology {
            Topology::Standalone => "",
            Topology::Sentinel { .. } => "+sentinel",
            Topology::Cluster => "+cluster",
        });
        text.push_str("://");
        if let Some(password) = &self.login.password {
            let user = self.login.user.as_deref().map(encoded).unwrap_or_default();
            text.push_str(&format!("{user}:{}@", show(password)));
        }
        text.push_str(&self.servers.iter().map(Server::to_string).collect::<Vec<_>>().join(","));
        if let Topology::Sentinel { primary, .. } = &self.topology {
            text.push_str(&format!("/{}", encoded(primary)));
        }
        if self.database != 0 {
            text.push_str(&format!("/{}", self.database));
        }
        if let Topology::Sentinel { login: Login { user, password: Some(password) }, .. } = &self.topology {
            let user = user.as_deref().map(|user| format!("sentinel_user={}&", encoded(user))).unwrap_or_default();
            text.push_str(&format!("?{user}sentinel_password={}", show(password)));
        }
        text
    }
}

impl FromStr for RedisUrl {
    type Err = WrongUrl;

    fn from_str(text: &str) -> Result<Self, WrongUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(WrongUrl::Scheme)?;
        let (kind, tls) = Kind::of(scheme).ok_or(WrongUrl::Scheme)?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if rest.contains('@') {
            // The end of a password that was not encoded: none of the other parts has an @.
            return Err(WrongUrl::Login);
        }
        if rest.contains('#') {
            return Err(WrongUrl::Query);
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Login::read(login)?, hosts),
            None => (Login::default(), authority),
        };
        let servers: Vec<Server> =
            hosts.split(',').map(|host| Server::read(host, kind.port())).collect::<Result<_, _>>()?;
        let mut parts = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/').split('/');
        let topology = match kind {
            Kind::Standalone if servers.len() > 1 => return Err(WrongUrl::OneHost),
            Kind::Standalone => Topology::Standalone,
            Kind::Cluster => Topology::Cluster,
            Kind::Sentinel => {
                let primary = decoded(parts.next().unwrap_or_default()).filter(|name| !name.is_empty());
                Topology::Sentinel { primary: primary.ok_or(WrongUrl::Primary)?, login: Login::of_query(query)? }
            }
        };
        if kind != Kind::Sentinel && !query.is_empty() {
            return Err(WrongUrl::Query);
        }
        let database = match (parts.next().unwrap_or_default(), parts.next()) {
            ("", None) => 0,
            (number, None) => number.parse().map_err(|_| WrongUrl::Database)?,
            _ => return Err(WrongUrl::Database),
        };
        if kind == Kind::Cluster && database != 0 {
            return Err(WrongUrl::ClusterDatabase);
        }
        Ok(Self { topology, tls, servers, login, database })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(|_| "***".to_owned()))
    }
}

/// A topology by its scheme alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Standalone,
    Sentinel,
    Cluster,
}

impl Kind {
    /// The topology that a scheme names, and whether with TLS.
    fn of(scheme: &str) -> Option<(Self, bool)> {
        let (transport, kind) = match scheme.split_once('+') {
            None => (scheme, Self::Standalone),
            Some((transport, "sentinel")) => (transport, Self::Sentinel),
            Some((transport, "cluster")) => (transport, Self::Cluster),
            Some(_) => return None,
        };
        match transport {
            "redis" => Some((kind, false)),
            "rediss" => Some((kind, true)),
            _ => None,
        }
    }

    /// The port of a server for which none is given.
    fn port(self) -> u16 {
        if self == Self::Sentinel { 26379 } else { 6379 }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests;
