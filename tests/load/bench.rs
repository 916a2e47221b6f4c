//! What all scenarios of a run share: the options, the sample, and numbers that are given out once.

use std::fmt;

use crate::attackers::PAGE;
use crate::options::{Options, Over, Publishing, Store, Which};
use crate::progress::Progress;
use crate::sample::Sample;
use crate::server::{GatewayKind, Server, Spec};

/// What all scenarios share.
pub struct Bench {
    /// What was asked for.
    pub options: Options,
    /// What the raw writer writes.
    pub sample: Sample,
    /// What a person sees.
    pub progress: Progress,
    /// The peers of this run.
    pub peers: Vec<Spec>,
    sources: u16,
    serials: u32,
}

/// A server that takes part.
#[derive(Debug, Clone)]
pub enum Entrant {
    /// The raw writer.
    Raw,
    /// A gateway.
    Gateway(GatewayKind),
    /// nchan.
    Nchan,
    /// A server that runs already.
    Peer(Box<Spec>),
}

impl fmt::Display for Entrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw writer"),
            Self::Gateway(kind) => kind.fmt(f),
            Self::Nchan => f.write_str("nchan"),
            Self::Peer(spec) => f.write_str(&spec.name),
        }
    }
}

impl Bench {
    /// For these peers.
    pub fn new(options: Options, sample: Sample, peers: Vec<Spec>, progress: Progress) -> Self {
        // 127.0 is left to everybody else on this machine.
        Self { options, sample, progress, peers, sources: 256, serials: 0 }
    }

    /// The servers that take part, in the order in which they are measured. Clients come to gateways each of these ways.
    pub fn entrants(&self, over: &[Over]) -> Vec<Entrant> {
        let peers = self.peers.iter().map(|spec| (Which::Peers, Entrant::Peer(Box::new(spec.clone()))));
        let gateways = self.gateways(over).into_iter().map(|kind| (Which::Gateway, Entrant::Gateway(kind)));
        let all = std::iter::once((Which::Raw, Entrant::Raw)).chain(gateways).chain([(Which::Nchan, Entrant::Nchan)]);
        let asked = all.chain(peers).filter(|(which, _)| self.options.servers.contains(which));
        asked.map(|(_, entrant)| entrant).collect()
    }

    fn gateways(&self, over: &[Over]) -> Vec<GatewayKind> {
        let Options { workers, streams, .. } = &self.options;
        let kind = |workers: u16, over: Over| {
            let streams = if over.is_shared() { streams.as_slice() } else { &[1] };
            streams.iter().map(move |streams| GatewayKind { workers, over, streams: *streams })
        };
        workers.iter().flat_map(|workers| over.iter().flat_map(move |over| kind(*workers, *over))).collect()
    }

    /// Starts one; `None` where it is not installed.
    pub async fn start(&self, entrant: &Entrant) -> Option<Server> {
        match entrant {
            Entrant::Raw => Some(Server::raw(&self.options, &self.sample)),
            Entrant::Gateway(kind) => Some(Server::gateway(&self.options, *kind).await),
            Entrant::Nchan => Server::nchan(&self.options).await,
            Entrant::Peer(spec) => Some(Server::peer(&self.options, (**spec).clone())),
        }
    }

    /// Starts one; a gateway lets connections in as fast as they come, for where it is not measured how they come.
    /// Waiting for them would be much of the time that a run takes.
    pub async fn start_open(&self, entrant: &Entrant) -> Option<Server> {
        match entrant {
            Entrant::Gateway(kind) => {
                let mut options = self.options.clone();
                options.set.insert(0, ("limits.rate".to_owned(), "0".to_owned()));
                Some(Server::gateway(&options, *kind).await)
            }
            _ => self.start(entrant).await,
        }
    }

    /// Starts one; a gateway has a Redis, whatever the options say.
    pub async fn start_on_redis(&self, entrant: &Entrant) -> Option<Server> {
        match entrant {
            Entrant::Gateway(kind) => {
                let options = Options { store: Store::Redis, ..self.options.clone() };
                Some(Server::gateway(&options, *kind).await)
            }
            _ => self.start(entrant).await,
        }
    }

    /// Starts a gateway on Redis, which publishers go to as well, with no more than so many open files. `None` for others.
    pub async fn start_limited(&self, entrant: &Entrant, files: u32) -> Option<Server> {
        let Entrant::Gateway(kind) = entrant else { return None };
        let mut options = Options { store: Store::Redis, publish: Publishing::Redis, ..self.options.clone() };
        // Or the preflights of harmless clients would be refused.
        options.set.push(("cors.origins".to_owned(), PAGE.to_owned()));
        Some(Server::limited_gateway(&options, *kind, files).await)
    }

    /// Part of a source address that nobody else has.
    pub fn source(&mut self) -> u16 {
        self.sources += 1;
        self.sources
    }

    /// The serial of the next event.
    pub fn serial(&mut self) -> u32 {
        self.serials += 1;
        self.serials
    }
}
