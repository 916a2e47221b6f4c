//! What all servers of one topology have in common.

use std::sync::Arc;

use super::{Authority, Server};

/// The software of a topology and how it is set up. Made from a [`Server`] alone, it is the plainest there is: nothing
/// on disk, no password, no proxy.
#[derive(Debug, Clone)]
pub struct Layout {
    pub(super) server: Server,
    pub(super) durable: bool,
    pub(super) proxied: bool,
    pub(super) password: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) settings: Vec<String>,
    pub(super) sentinels: Login,
}

/// Who one must be to the sentinels.
#[derive(Debug, Clone, Default)]
pub(super) struct Login {
    pub(super) password: Option<String>,
    settings: Vec<String>,
}

/// How a topology speaks TLS, and nothing else, to clients, replicas and other nodes.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    authority: Arc<Authority>,
    /// Whether clients must show a certificate.
    mutual: bool,
}

impl From<Server> for Layout {
    fn from(server: Server) -> Self {
        Self::of(server)
    }
}

impl Layout {
    /// The plainest one of this server.
    pub fn of(server: Server) -> Self {
        Self {
            server,
            durable: false,
            proxied: false,
            password: None,
            tls: None,
            settings: Vec::new(),
            sentinels: Login::default(),
        }
    }

    /// Every write is on disk before it is answered, so that a restart loses nothing.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Each node stands behind a proxy of its own, for clients and replicas, and tells them the proxy's address as its
    /// own. The bus of a cluster has none: a node that still speaks on it is not down, though it hears nothing.
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// The default user has this password, for clients and replicas alike. Sentinels themselves ask for none, unless they
    /// have one of [their own](Self::sentinel_password).
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// All connections are TLS, by certificates of this authority.
    pub fn tls(mut self, authority: &Arc<Authority>) -> Self {
        self.tls = Some(Tls { authority: authority.clone(), mutual: false });
        self
    }

    /// The same, and clients must show a certificate of this authority.
    pub fn mutual_tls(mut self, authority: &Arc<Authority>) -> Self {
        self.tls = Some(Tls { authority: authority.clone(), mutual: true });
        self
    }

    /// One more user; `rules` as `ACL SETUSER` takes them, password and `on` included: `on >secret ~{t:* &* +@read`.
    pub fn user(self, name: &str, rules: &str) -> Self {
        self.setting(&format!("user {name} {rules}"))
    }

    /// A server that loads its data answers that it does, instead of not at all, also if it does not have much.
    pub fn answers_while_loading(self) -> Self {
        self.setting("loading-process-events-interval-bytes 1024")
    }

    /// One more line of the configuration file of each data node.
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.to_owned());
        self
    }

    /// The default user of the sentinels has this password, for clients and each other.
    pub fn sentinel_password(mut self, password: &str) -> Self {
        self.sentinels.password = Some(password.to_owned());
        self
    }

    /// One more line of the configuration file of each sentinel.
    pub fn sentinel_setting(mut self, line: &str) -> Self {
        self.sentinels.settings.push(line.to_owned());
        self
    }

    /// The URL of these hosts for the default user; `kind` is `+sentinel` or the like.
    pub(super) fn url(&self, kind: &str, hosts: &str) -> String {
        match &self.password {
            Some(password) => self.url_for(kind, hosts, "", password),
            None => format!("{}{kind}://{hosts}", self.scheme()),
        }
    }

    /// The URL of these hosts for another user.
    pub(super) fn url_for(&self, kind: &str, hosts: &str, user: &str, password: &str) -> String {
        format!("{}{kind}://{user}:{password}@{hosts}", self.scheme())
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "rediss" } else { "redis" }
    }

    /// What a data node's file holds beside its addresses.
    pub(super) fn lines(&self) -> Vec<String> {
        let append_only = if self.durable { "yes" } else { "no" };
        let mut lines: Vec<String> = [
            "save \"\"",
            "appendfsync always",
            "maxmemory-policy noeviction",
            // Or a replica that comes too late to a first copy waits for 5 s.
            "repl-diskless-sync-delay 0",
            "enable-debug-command local",
        ]
        .map(str::to_owned)
        .into();
        lines.push(format!("appendonly {append_only}"));
        if let Some(password) = &self.password {
            lines.extend([format!("requirepass {password}"), format!("masterauth {password}")]);
        }
        lines.extend(self.settings.iter().cloned());
        lines
    }
}

impl Login {
    /// What each sentinel's file holds.
    pub(super) fn lines(&self) -> Vec<String> {
        let password =
            |password: &String| vec![format!("requirepass {password}"), format!("sentinel sentinel-pass {password}")];
        let mut lines = self.password.as_ref().map(password).unwrap_or_default();
        lines.extend(self.settings.iter().cloned());
        lines
    }
}

impl Tls {
    /// What each node's file holds.
    pub(super) fn lines(&self) -> Vec<String> {
        let (certificate, key) = self.authority.server();
        vec![
            format!("tls-cert-file {}", certificate.display()),
            format!("tls-key-file {}", key.display()),
            format!("tls-ca-cert-file {}", self.authority.ca().display()),
            format!("tls-auth-clients {}", if self.mutual { "yes" } else { "no" }),
            "tls-replication yes".to_owned(),
        ]
    }
}
