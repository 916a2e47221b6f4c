//! The table of settings: key, meaning, what is allowed, how it is read and shown.

use std::time::Duration;

use super::Config;
use super::kind::{
    Address, Count, Hosts, Kind, Level, Line, Millis, Name, Networks, OptionalAddress, Pages, Parts, PathTo, Size,
    Span, Spread, Switch, Topics, Where,
};

/// One row: a setting that file, environment and flags can give.
pub struct Setting {
    /// `section.name`.
    pub key: &'static str,
    /// What it is, in a line.
    pub help: &'static str,
    /// What it may be.
    pub allowed: fn() -> String,
    /// What the bare flag means, for a setting that is on or off.
    pub bare: fn() -> Option<&'static str>,
    /// Sets it from text, or says what was expected.
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    /// The value in force, as TOML, secrets masked.
    pub(super) get: fn(&Config) -> toml::Value,
    /// The text of a wrong value, fit to be shown.
    pub(super) mask: fn(&str) -> String,
}

impl Setting {
    /// The setting of this key.
    pub fn of(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The section, and the name in it.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or((self.key, ""))
    }

    /// The value in force as plain text, secrets masked.
    pub fn text(&self, config: &Config) -> String {
        match (self.get)(config) {
            toml::Value::String(text) => text,
            other => other.to_string(),
        }
    }
}

macro_rules! settings {
    ($($key:literal = $($field:ident).+: $kind:expr, $help:literal;)*) => {
        /// All settings, in the order in which they are shown. A section's settings stand together.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: $key,
            help: $help,
            allowed: || $kind.allowed(),
            bare: || $kind.bare(),
            set: |config, text| {
                config.$($field).+ = $kind.read(text)?;
                Ok(())
            },
            get: |config| $kind.show(&config.$($field).+),
            mask: |text| $kind.mask(text),
        }),*];
    };
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY: u64 = 24 * 60 * 60;

settings! {
    "server.listen" = server.listen: Address, "Where the public API listens; port 0 takes a free one";
    "server.workers" = server.workers: Count(1..=256), "Worker threads; by default one for each core";
    "server.trusted_proxies" = server.trusted_proxies: Networks, "Whose X-Forwarded-For is believed, as to limits.origin";
    "server.keep_alive" = server.keep_alive: Span(seconds(1), seconds(3600)), "How long a connection may wait for its next request; longer than balancers keep theirs, or a request now and then becomes a 502";
    "server.hosts" = server.hosts: Hosts, "Names by which the public listener may be called to publish and to change the demo, besides IP addresses and localhost";
    "tls.cert" = tls.cert: PathTo, "The certificate, with those that lead to its root, in PEM form; with it the public listener speaks HTTPS only";
    "tls.key" = tls.key: PathTo, "The key of the certificate, in PEM form";
    "cors.origins" = cors.origins: Pages, "Origins besides its own whose pages may open streams and poll; * takes every one, but never with cookies";
    "admin.listen" = admin.listen: Address, "Where publish, health and metrics listen; never let the outside reach it";
    "admin.hosts" = admin.hosts: Hosts, "Names by which the admin listener may be called, besides IP addresses and localhost; any other name could be that of a web page";
    "probe.listen" = probe.listen: OptionalAddress, "Where /livez, /readyz and /metrics are served alone, to any Host; for probes that do not reach the admin listener on loopback";
    "store.url" = store.url: Where, "Where events are kept: in this process, or in Redis";
    "store.tls.ca" = store.tls.ca: PathTo, "The authorities to trust for a rediss:// store, in PEM form; by default those of the system";
    "store.tls.cert" = store.tls.cert: PathTo, "The certificate to show to the store, if it asks for one, in PEM form; read again with each connection";
    "store.tls.key" = store.tls.key: PathTo, "The key of that certificate, in PEM form";
    "store.namespace" = store.namespace: Name, "The name that all keys of one installation share";
    "store.partitions" = store.partitions: Parts, "Partitions, 16 by default on a cluster; the same on every gateway of a namespace; publishers are told";
    "retention.events" = retention.events: Count(1..=1_000_000), "Events kept for each address";
    "retention.age" = retention.age_ms: Millis(Span(seconds(1), seconds(30 * DAY))), "How long an address keeps its events after the newest one";
    "retention.journal" = retention.journal: Count(100..=100_000_000), "Journal entries kept for each partition";
    "beacon.interval" = beacon.interval: Span(ms(100), seconds(60)), "Time between two beacons; three without one, and the link counts as deaf";
    "auth.insecure" = auth.insecure: Switch, "Let everyone who reaches the public listener follow everything, and everyone who reaches the admin listener publish";
    "stream.heartbeat" = stream.heartbeat: Span(ms(100), seconds(60)), "Time between two heartbeats of a stream";
    "stream.retry" = stream.retry: Span(seconds(1), seconds(600)), "What a client waits before it comes back; each connection gets its own jitter";
    "stream.queue" = stream.queue: Size(4 * KIB, 64 * MIB), "The most that waits for a slow connection; over it, refreshes collapse to the latest, then addresses are resynced";
    "stream.max_age" = stream.max_age: Span(ms(0), seconds(30 * DAY)), "About how long a stream lives, give or take a half, so that new gateways fill; 0s is for ever";
    "stream.max_stale" = stream.max_stale: Span(ms(0), seconds(3600)), "How long a stream may go on while no partition that it follows works, three beacon intervals at the least; then it ends over drain.window, to find another gateway; 0s is for ever";
    "stream.spread" = stream.spread: Spread, "The time over which connections get an event that has no spread of its own, by its address: the first pattern that fits";
    "stream.resync_spread" = stream.resync_spread: Span(ms(0), seconds(3600)), "The time over which connections are told of what many of them must refetch, each at its own moment; 0s is at once";
    "replay.bytes" = replay.bytes: Size(4 * KIB, 64 * MIB), "The most that one connection is sent as replay; over it, addresses are resynced";
    "replay.recent" = replay.recent: Size(0, 64 * GIB), "Recent frames kept in memory, so that most resumes never reach the store";
    "replay.linger" = replay.linger: Span(ms(0), seconds(600)), "How long an address stays subscribed, and its recent frames kept, after its last connection left";
    "limits.connections" = limits.connections: Count(1..=10_000_000), "The most connections of this replica; by default what the limit of open files leaves room for";
    "limits.user" = limits.user: Count(0..=1_000_000), "The most connections of this replica that follow one user; 0 is no limit";
    "limits.origin" = limits.origin: Count(0..=1_000_000), "The most connections of this replica from one IPv4 address or IPv6 /64 network; 0 is no limit";
    "limits.rate" = limits.rate: Count(0..=1_000_000), "Connections that a worker thread takes up in a second, the others in turn, each address as many as another; 0 is no limit";
    "limits.streams" = limits.streams: Count(1..=10_000), "The most streams of one HTTP/2 connection; browsers open up to 100";
    "limits.topics" = limits.topics: Topics, "The most topics of one connection";
    "limits.addresses" = limits.addresses: Count(100..=10_000_000), "The most addresses that this replica follows or that linger; over it, those leave first that linger longest";
    "limits.waiting" = limits.waiting: Count(16..=10_000_000), "The most connections of this replica that wait to begin: for history of the store, or for their turn to be sent what they missed";
    "drain.grace" = drain.grace: Span(ms(0), seconds(600)), "How long after SIGTERM the gateway is not ready but still serves";
    "drain.window" = drain.window: Span(ms(0), seconds(3600)), "After that, over how long its streams end, one by one; 0s is all at once";
    "demo.enabled" = demo.enabled: Switch, "Serve the demo page and its backend; by default only with memory://";
    "log.format" = log.format: Line, "How a log line looks";
    "log.level" = log.level: Level, "What is logged";
}
