//! Wires a gateway from its configuration, runs it, and ends it well.

use std::io;
use std::iter;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use tidings_publisher::Publisher;
use tokio::sync::watch;

use crate::admin::Lifecycle;
use crate::admission::{Admission, Limits, SocketLimit};
use crate::config::{self, Config, Drain, StoreUrl};
use crate::demo::Board;
use crate::files;
use crate::http1::Http1Options;
use crate::hub::{HubOptions, StaleBound};
use crate::metrics::Metrics;
use crate::reader::{self, ReaderOptions, max_silence};
use crate::reload::Reload;
use crate::request::HeadBounds;
use crate::server::{self, Hosts, Parts, Public};
use crate::store::{MemoryStore, RedisOptions, RedisStore, Store};
use crate::stream::StreamLimits;
use crate::supervision::RunningServers;
use crate::tls::Tls;
use crate::without::{self, Mechanism};

/// How long what the demo published last may take to reach Redis when the gateway ends.
const FLUSH: Duration = Duration::from_secs(2);
/// How long one attempt to publish may take, and how long after the first another may begin.
/// Together less than the 2 s that a publisher waits for a gateway unless it is told otherwise.
const PUBLISH_ATTEMPT: Duration = Duration::from_secs(1);
const PUBLISH_RETRIES: Duration = Duration::from_millis(600);

/// Where a gateway listens.
#[derive(Debug)]
pub struct Listeners {
    /// For browsers.
    pub public: TcpListener,
    /// For services and operators.
    pub admin: TcpListener,
    /// For probes, if they have one of their own.
    pub probe: Option<TcpListener>,
}

impl Listeners {
    /// Binds both addresses. The error names the setting that is to blame.
    pub fn bind(config: &Config) -> io::Result<Self> {
        let bind = |key: &str, address: SocketAddr| {
            let wrong = |error: io::Error| io::Error::new(error.kind(), format!("{key} = {address}: {error}"));
            server::listen(address).map_err(wrong)
        };
        Ok(Self {
            public: bind("server.listen", config.server.listen)?,
            admin: bind("admin.listen", config.admin.listen)?,
            probe: config.probe.listen.map(|address| bind("probe.listen", address)).transpose()?,
        })
    }
}

/// Joins that come within this time are one read: what clients wait for at the most if the gateway remembers nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs a gateway until it is `told_to_end`, then ends its streams, over some time, so that clients come back elsewhere.
/// Told again, it ends them at once. Certificates are read again on each request of `reload`.
pub async fn run(
    config: Config,
    listeners: Listeners,
    reload: Reload,
    mut told_to_end: impl AsyncFnMut(),
) -> io::Result<()> {
    let gateway = format!("{:08x}", fastrand::u32(..));
    let store = open_store(&config, &gateway)?;
    let metrics = Metrics::new();
    let options = ReaderOptions {
        namespace: config.store.namespace.clone(),
        gateway: gateway.clone(),
        beacon: config.beacon.interval,
        replay_bytes: config.replay.bytes,
        age: Duration::from_millis(config.retention.age_ms),
        pause: PAUSE,
        recent_bytes: config.replay.recent as usize,
        addresses: config.limits.addresses,
        waiting: config.limits.waiting,
        linger: config.replay.linger,
        spreads: config.stream.spread.clone(),
        without: config.without,
    };
    let reader = reader::spawn(store.clone(), options, metrics.clone())?;
    let limits = limits(&config);
    let sockets = SocketLimit::new(files::sockets(), limits.proxies.clone(), metrics.clone());
    let parts = Parts {
        partitions: config.store.partitions,
        store,
        reader,
        metrics,
        life: Lifecycle::new(config.beacon.interval),
        limits,
        origins: config.cors.origins.clone(),
        sockets,
        hosts: Hosts { public: config.server.hosts.clone(), admin: config.admin.hosts.clone() },
    };
    let hub = HubOptions {
        gateway: gateway.clone(),
        queue: config.stream.queue as usize,
        retry: config.stream.retry,
        heartbeat: config.stream.heartbeat,
        max_age: config.stream.max_age,
        resync_spread: config.stream.resync_spread,
        stale: stale_bound(&config),
    };
    let store = parts.store.clone();
    let board = config.demo.enabled.then(|| board(&store));
    let (end_streams, drain) = watch::channel(None);
    let addresses = Addresses::of(&listeners)?;
    let reader = parts.reader.clone();
    let (life, admission) = (parts.life.clone(), parts.limits.admission.clone());
    let http = Http1Options {
        head: HeadBounds::for_topics(config.limits.topics),
        keep_alive: config.server.keep_alive,
        drain,
    };
    let mut others = vec![("admin.listen", server::admin(listeners.admin, parts.clone(), http.clone())?)];
    if let Some(listener) = listeners.probe {
        others.push(("probe.listen", server::probe(listener, parts.clone(), http.clone())?));
    }
    let tls = open_tls(&config, &parts.metrics, &reload)?;
    let (mut servers, failures) = RunningServers::new();
    let public_server = server::public(
        Public {
            listener: listeners.public,
            workers: config.server.workers,
            streams: config.limits.streams,
            http,
            tls,
            board,
            failures,
            without: config.without,
        },
        parts,
        hub,
    )?;
    let public_handle = public_server.handle();
    let other_handles: Vec<_> = others.iter().map(|(_, server)| server.handle()).collect();
    for (setting, server) in iter::once(("server.listen", public_server)).chain(others) {
        servers.run(setting, server);
    }
    announce(&config, &gateway, &addresses);
    if config.without.lacks(Mechanism::Listener) {
        let (handle, admission) = (public_handle.clone(), admission.clone());
        actix_web::rt::spawn(async move {
            while admission.connections() == 0 {
                tokio::time::sleep(LOOK).await;
            }
            handle.stop(false).await;
        });
    }

    tokio::select! {
        () = told_to_end() => {}
        failure = servers.first_failure(&reader) => return Err(failure),
    }
    let Drain { grace, window } = config.drain;
    tracing::info!(?grace, ?window, streams = admission.connections(), "ending: they are told to come back elsewhere");
    life.drain();
    let in_order = async {
        tokio::time::sleep(grace).await;
        end_streams.send_replace(Some(window));
        let _not_all = tokio::time::timeout(window, emptied(&admission)).await;
    };
    tokio::select! {
        () = in_order => {}
        () = told_to_end() => tracing::info!("told to end again: the rest ends at once"),
    }
    end_streams.send_replace(Some(Duration::ZERO));
    public_handle.stop(true).await;
    for handle in other_handles {
        handle.stop(true).await;
    }
    servers.all_ended().await?;
    store.flush(FLUSH).await;
    tracing::info!("ended");
    Ok(())
}

/// How often it is looked whether there are connections.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until all connections have left.
async fn emptied(admission: &Admission) {
    while admission.connections() > 0 {
        tokio::time::sleep(LOOK).await;
    }
}

/// Until three beacons are missing, a link that gives no sign of life counts as one that works.
fn stale_bound(config: &Config) -> StaleBound {
    let most = match config.stream.max_stale {
        Duration::ZERO => Duration::ZERO,
        most => most.max(3 * config.beacon.interval),
    };
    StaleBound { most, reader: max_silence(config.beacon.interval), window: config.drain.window }
}

fn limits(config: &Config) -> StreamLimits {
    let config::Limits { connections, user, origin, rate, topics, .. } = config.limits;
    StreamLimits {
        topics,
        rate,
        admission: Admission::new(Limits { connections, user, origin }),
        proxies: Arc::new(config.server.trusted_proxies.clone()),
    }
}

fn open_store(config: &Config, gateway: &str) -> io::Result<Store> {
    let (namespace, partitions) = (config.store.namespace.clone(), config.store.partitions);
    match &config.store.url {
        StoreUrl::Memory => {
            Ok(Store::Memory(MemoryStore::new(namespace, partitions, config.retention, gateway.to_owned())))
        }
        StoreUrl::Redis(url) => {
            let options = RedisOptions {
                namespace: namespace.clone(),
                partitions,
                retention: config.retention,
                gateway: gateway.to_owned(),
                lease: 3 * config.beacon.interval,
                without: config.without,
            };
            let tls = config.store.tls.files();
            let store = RedisStore::new(url, tls.clone(), options).map_err(io::Error::other)?;
            let publisher = Publisher::builder(url.expose()).tls(tls).namespace(namespace).partitions(partitions);
            // Whoever publishes through a gateway waits for it as long as for a store. Of a list
            // the answer must come within that time, or the events that are stored count as failed
            // too.
            let publisher = publisher.timeout(PUBLISH_ATTEMPT).retry_for(PUBLISH_RETRIES);
            Ok(Store::Redis(store, publisher.lazy().map_err(io::Error::other)?))
        }
    }
}

/// The certificate, if one is configured, kept as its files are until the process ends.
fn open_tls(config: &Config, metrics: &Metrics, reload: &Reload) -> io::Result<Option<Tls>> {
    let Some(paths) = config.tls.paths() else { return Ok(None) };
    let (tls, renewal) = Tls::open(&paths, metrics).map_err(io::Error::other)?;
    actix_web::rt::spawn(renewal.run(reload.requests()));
    Ok(Some(tls))
}

/// The demo's backend, which publishes as any other service would. Its board begins anew with this process.
fn board(store: &Store) -> Data<Board> {
    let store = store.clone();
    let board = match &store {
        Store::Memory(memory) => {
            let memory = memory.clone();
            Board::new(move |event| {
                if let Err(error) = memory.publish(&event) {
                    tracing::error!(%error, "the demo published what is no event");
                }
            })
        }
        Store::Redis(_, publisher) => {
            let publisher = publisher.clone();
            Board::new(move |event| publisher.notify(event))
        }
    };
    board.announce();
    Data::new(board)
}

/// Where a gateway listens, with the ports that it was given.
struct Addresses {
    public: SocketAddr,
    admin: SocketAddr,
    probe: Option<SocketAddr>,
}

impl Addresses {
    fn of(listeners: &Listeners) -> io::Result<Self> {
        let probe = listeners.probe.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(Self { public: listeners.public.local_addr()?, admin: listeners.admin.local_addr()?, probe })
    }
}

fn announce(config: &Config, gateway: &str, addresses: &Addresses) {
    let Addresses { public, admin, probe } = addresses;
    if !admin.ip().is_loopback() {
        tracing::warn!("auth.insecure = true: whoever reaches {admin} may publish; probes can use probe.listen");
    }
    if matches!(config.store.url, StoreUrl::Memory) {
        tracing::warn!(
            "the store is memory:// and there are no keys: everything is open to whoever reaches {public}, and history ends with this process"
        );
    } else {
        tracing::warn!("auth.insecure = true: whoever reaches {public} may follow everything");
    }
    if !config.without.is_nothing() {
        tracing::warn!(without = %config.without, "{}: this gateway loses events in silence", without::VARIABLE);
    }
    let room = files::connections();
    if config.limits.connections > room {
        tracing::warn!(limit = config.limits.connections, room, "limits.connections is more than open files allow");
    }
    if config.demo.enabled {
        let scheme = if config.tls.paths().is_some() { "https" } else { "http" };
        tracing::info!("the demo is at {scheme}://{public}/");
    }
    let probe = probe.map(tracing::field::display);
    tracing::info!(%gateway, %public, %admin, probe, store = %config.store.url, demo = config.demo.enabled, "listening");
}
