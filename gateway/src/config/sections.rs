//! The typed configuration, section by section, and its defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidings_publisher::store::TlsFiles;
use tidings_shared::keys::Namespace;
use tidings_shared::{Partitions, Retention};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::StoreUrl;
use crate::admission::Proxies;
use crate::cors::Origins;
use crate::files;
use crate::request::HostNames;
use crate::spread::Spreads;
use crate::tls::Paths;
use crate::without::Without;

/// Everything that can be configured. [`Config::default`] is the documented default of each setting; its `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The public listener.
    pub server: Server,
    /// TLS of the public listener.
    pub tls: Tls,
    /// What pages of other origins may do.
    pub cors: Cors,
    /// The admin listener.
    pub admin: Admin,
    /// The listener for probes.
    pub probe: Probe,
    /// Where events are kept and passed on.
    pub store: Store,
    /// How much history the store keeps.
    pub retention: Retention,
    /// The probe through the real publish path.
    pub beacon: Beacon,
    /// Who may do what.
    pub auth: Auth,
    /// One open stream.
    pub stream: Stream,
    /// Sending what was missed.
    pub replay: Replay,
    /// How many connections there may be, and what each may ask for.
    pub limits: Limits,
    /// Emptying this replica.
    pub drain: Drain,
    /// The demo page.
    pub demo: Demo,
    /// The log, on stderr.
    pub log: Log,
    /// What tests switch off; no setting, and always nothing in a release.
    pub without: Without,
}

/// The public listener.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Worker threads, 1 to 256.
    pub workers: usize,
    /// Proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Proxies,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// Names by which it may be called to change something.
    pub hosts: HostNames,
}

/// TLS of the public listener. Either both are given or none.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// The file with the certificate and those that lead to its root; empty without TLS.
    pub cert: PathBuf,
    /// The file with its key; empty without TLS.
    pub key: PathBuf,
}

impl Tls {
    /// Where the pair is, if there is to be TLS.
    pub fn paths(&self) -> Option<Paths> {
        let given = !self.cert.as_os_str().is_empty();
        given.then(|| Paths { cert: self.cert.clone(), key: self.key.clone() })
    }
}

/// What pages of other origins may do.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// Those that may open streams and poll.
    pub origins: Origins,
}

/// The admin listener: publish, health, metrics. It asks nobody who they are.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names by which it may be called.
    pub hosts: HostNames,
}

/// The listener for probes: health and metrics alone. It can change nothing, so it may listen where the admin listener
/// must not.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Where it listens; without an address there is none.
    pub listen: Option<SocketAddr>,
}

/// Where events are kept and passed on.
#[derive(Debug, Clone, Default)]
pub struct Store {
    /// Which store.
    pub url: StoreUrl,
    /// TLS to it.
    pub tls: StoreTls,
    /// The name that all keys of one installation share.
    pub namespace: Namespace,
    /// How many partitions; the same on every gateway of a namespace.
    pub partitions: Partitions,
}

/// TLS to the store, for a URL that begins with `rediss`. Each path may be empty.
#[derive(Debug, Clone, Default)]
pub struct StoreTls {
    /// The authorities that are trusted; empty for the system's.
    pub ca: PathBuf,
    /// Our certificate, for servers that ask for one.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl StoreTls {
    /// The files that are given.
    pub fn files(&self) -> TlsFiles {
        let given = |path: &PathBuf| Some(path.clone()).filter(|path| !path.as_os_str().is_empty());
        TlsFiles { ca: given(&self.ca), cert: given(&self.cert), key: given(&self.key) }
    }
}

/// The probe through the real publish path.
#[derive(Debug, Clone)]
pub struct Beacon {
    /// Time between two beacons of a partition; three without one, and the link counts as deaf.
    pub interval: Duration,
}

/// Who may do what.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// Everyone who reaches the public listener may follow everything, and everyone who reaches the admin listener may
    /// publish.
    pub insecure: bool,
}

/// One open stream.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// What a client waits before it comes back, before jitter; at least a second.
    pub retry: Duration,
    /// The most that waits for one connection, in bytes.
    pub queue: u64,
    /// About how long it lives; zero is for ever.
    pub max_age: Duration,
    /// How long it goes on while no partition that it follows works; zero is for ever.
    pub max_stale: Duration,
    /// The spread of events that have none of their own, by address.
    pub spread: Spreads,
    /// The time over which connections are told of what many must refetch; zero is at once.
    pub resync_spread: Duration,
}

/// Sending what was missed.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The most that one connection is sent as replay, in bytes; what is over is resynced.
    pub bytes: u64,
    /// Recent frames kept in memory to answer resumes without the store, in bytes; 0 keeps none.
    pub recent: u64,
    /// How long an address stays subscribed after its last connection left.
    pub linger: Duration,
}

/// How many connections there may be, and what each may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most connections of this replica.
    pub connections: usize,
    /// The most that follow one user; 0 is no limit.
    pub user: usize,
    /// The most from one origin; 0 is no limit.
    pub origin: usize,
    /// Connections that a worker takes up in a second; 0 is no limit.
    pub rate: u32,
    /// The most streams of one HTTP/2 connection.
    pub streams: u32,
    /// The most topics of one connection.
    pub topics: usize,
    /// The most addresses of this replica, those that linger included.
    pub addresses: usize,
    /// The most connections of this replica that wait to begin.
    pub waiting: usize,
}

/// Emptying this replica.
#[derive(Debug, Clone)]
pub struct Drain {
    /// How long the gateway is not ready but still serves, after SIGTERM.
    pub grace: Duration,
    /// After that, the time over which its streams end, one by one; zero is all at once.
    pub window: Duration,
}

/// The demo page.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Whether `/` serves it, and the public listener takes publishes for it. Unless set: only with `memory://`.
    pub enabled: bool,
}

/// The log, on stderr.
#[derive(Debug, Clone)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged: a level, also by module.
    pub level: Targets,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Default for Server {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        let trusted_proxies = Proxies::default();
        // Common balancers keep idle connections for 60 to 75 s, and send a request on one that was just closed.
        let keep_alive = Duration::from_secs(90);
        Self { listen, workers: cores.min(256), trusted_proxies, keep_alive, hosts: HostNames::default() }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9090)), hosts: HostNames::default() }
    }
}

impl Default for Beacon {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5) }
    }
}

impl Default for Stream {
    fn default() -> Self {
        // 15 s: the shortest idle time at which a common proxy cuts (Envoy's route timeout).
        let second = Duration::from_secs(1);
        Self {
            heartbeat: 15 * second,
            retry: 3 * second,
            queue: 256 * 1024,
            max_age: 3600 * second,
            max_stale: 60 * second,
            spread: Spreads::default(),
            resync_spread: 5 * second,
        }
    }
}

impl Default for Replay {
    fn default() -> Self {
        Self { bytes: 1024 * 1024, recent: 64 * 1024 * 1024, linger: Duration::from_secs(30) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        // An origin may be the NAT of a company. Who a user is nobody proves yet: a limit would let anybody keep them out.
        Self {
            connections: files::connections(),
            user: 0,
            origin: 0,
            rate: 2_000,
            streams: 100,
            topics: 100,
            addresses: 200_000,
            waiting: 16_384,
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        // Well within the 30 s that Kubernetes gives a pod to end.
        Self { grace: Duration::from_secs(5), window: Duration::from_secs(10) }
    }
}

impl Default for Demo {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Pretty, level: Targets::new().with_default(LevelFilter::INFO) }
    }
}
