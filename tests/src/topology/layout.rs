//! What all servers of one topology have in common.

use super::Server;

/// The software of a topology and how it is set up. Made from a [`Server`] alone, it is the plainest there is: nothing
/// on disk, no password, no proxy.
#[derive(Debug, Clone)]
pub struct Layout {
    pub(super) server: Server,
    pub(super) durable: bool,
    pub(super) proxied: bool,
    pub(super) password: Option<String>,
    pub(super) settings: Vec<String>,
}

impl From<Server> for Layout {
    fn from(server: Server) -> Self {
        Self::of(server)
    }
}

impl Layout {
    /// The plainest one of this server.
    pub fn of(server: Server) -> Self {
        Self { server, durable: false, proxied: false, password: None, settings: Vec::new() }
    }

    /// Every write is on disk before it is answered, so that a restart loses nothing.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Each node stands behind proxies of its own, one for clients and replicas, one for the cluster's bus; and these
    /// are the addresses that the nodes tell.
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// The default user has this password, for clients and replicas alike. Sentinels themselves ask for none.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// One more user; `rules` as `ACL SETUSER` takes them, password and `on` included: `on >secret ~{t:* &* +@read`.
    pub fn user(self, name: &str, rules: &str) -> Self {
        self.setting(&format!("user {name} {rules}"))
    }

    /// One more line of the configuration file of each data node.
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.to_owned());
        self
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
