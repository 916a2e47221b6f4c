//! What a fault is.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use super::{Kind, Stage};
use crate::topology::{Layout, Server};

/// A fault under way.
pub type Befalling<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Something that happens in production.
#[derive(Clone, Copy)]
pub struct Fault {
    /// `family::what_happens`; the family is the module that it is in.
    pub name: &'static str,
    /// What happens to somebody, in one sentence.
    pub incident: &'static str,
    /// What it befalls.
    pub kinds: &'static [Kind],
    /// What it strikes.
    pub strikes: Strikes,
    /// What it needs of the servers.
    pub layout: fn(Layout) -> Layout,
    /// What it needs of the gateways, as keys and values of their configuration.
    pub settings: &'static [(&'static str, &'static str)],
    /// Within which time of its strike all clients must have converged, where the gateways have to notice it first or
    /// should at once.
    pub heals_in: Option<Duration>,
    /// Whether publishers are refused for good while it lasts, so that trying again would not help them.
    pub refuses: bool,
    /// What shows that the fault is one.
    pub twin: Twin,
    /// Strikes and cures. What it kills for good, others must have replaced. It must be right wherever the stage aims,
    /// and again and again on one stage. It waits for conditions of the topology, not of the gateways, as a twin's never
    /// recover; where it has to, it does not insist.
    pub befall: for<'a> fn(&'a Stage) -> Befalling<'a>,
}

impl Fault {
    /// What most faults have in common; all else must be given.
    pub const PLAIN: Self = Self {
        name: "",
        incident: "",
        kinds: &Kind::ALL,
        strikes: Strikes::Servers,
        layout: |layout| layout,
        settings: &[],
        heals_in: None,
        refuses: false,
        twin: Twin::without(&[]),
        befall: |_| Box::pin(std::future::ready(())),
    };

    /// Whether it can befall such a topology.
    pub fn befalls(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether both can be under way at once: what one does to servers would be undone, or made impossible, by another.
    pub fn mingles_with(&self, other: &Self) -> bool {
        let both = [self.strikes, other.strikes];
        // A machine takes what runs on it along.
        both[0] != both[1] && (!both.contains(&Strikes::Machines) || both.contains(&Strikes::Links))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strikes {
    /// Servers, by signals or commands.
    Servers,
    /// Links, at their proxies alone.
    Links,
    /// Gateways.
    Gateways,
    /// Machines, on which servers and gateways run.
    Machines,
}

/// The same fault without the mechanism that makes up for it: something must be lost then, or the fault shows nothing.
#[derive(Debug, Clone, Copy)]
pub struct Twin {
    /// The mechanisms that are off: as the gateway calls them, or [`Twin::OF_PUBLISHERS`].
    pub without: &'static [&'static str],
    /// Where it is played.
    pub kind: Option<Kind>,
    /// On which server.
    pub server: Server,
}

impl Twin {
    /// What publishers do about a publish that failed. Without `retries` they give it up; without `keys` they begin it
    /// anew, as if it were another one.
    pub const OF_PUBLISHERS: [&str; 2] = ["retries", "keys"];

    /// On Redis 7, on the first kind of topology that the fault befalls.
    pub const fn without(without: &'static [&'static str]) -> Self {
        Self { without, kind: None, server: Server::Redis7 }
    }

    /// On another kind of topology.
    #[must_use]
    pub const fn on(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// On another server.
    #[must_use]
    pub const fn with(self, server: Server) -> Self {
        Self { server, ..self }
    }
}
