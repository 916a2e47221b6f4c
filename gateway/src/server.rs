//! The HTTP servers: which paths each listener has.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_http::Request;
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, map_config};
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpResponse};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use socket2::{Domain, Socket, Type};
use tidings_shared::Partitions;

use crate::admin::{self, Lifecycle};
use crate::admission::SocketLimit;
use crate::cors::Origins;
use crate::demo::{self, Board};
use crate::files;
use crate::http1::Http1Options;
use crate::http2::{Http2Options, HttpFactory, HttpOptions};
use crate::hub::{self, HubLinks, HubOptions};
use crate::lean::LeanFactory;
use crate::metrics::Metrics;
use crate::problem;
use crate::reader::ReaderHandle;
use crate::request::{HostNames, HostRule, guard_hosts};
use crate::store::Store;
use crate::stream::{self, Gate, StreamLimits};
use crate::supervision::FailureReports;
use crate::tls::Tls;
use crate::without::Without;

/// What handlers share.
#[derive(Debug, Clone)]
pub struct Parts {
    /// How many partitions there are.
    pub partitions: Partitions,
    /// Where events are published.
    pub store: Store,
    /// Follows the store.
    pub reader: ReaderHandle,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether the process is on its way out.
    pub life: Lifecycle,
    /// What requests are held to.
    pub limits: StreamLimits,
    /// Whose pages may read.
    pub origins: Origins,
    /// By which names the listeners may be called.
    pub hosts: Hosts,
    /// The sockets of the public listener.
    pub sockets: SocketLimit,
}

/// By which names the listeners may be called, besides `localhost` and IP addresses.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// The public one, for writes.
    pub public: HostNames,
    /// The admin one.
    pub admin: HostNames,
}

/// Connections that wait to be accepted: what a gateway that ended had comes back at once.
const BACKLOG: i32 = 4_096;
/// The part of a heartbeat for which a peer may acknowledge nothing, or take nothing, before it counts as gone. One that
/// vanishes right after it acknowledged a heartbeat is sent the next one a whole heartbeat later, and is to be gone after
/// two. The kernel counts from when it first sends again, a quarter of a second later or more, and its timers are up to an
/// eighth late.
const PATIENCE: f64 = 0.8;
/// For how long a client of the admin listener may take nothing of its answer.
const ADMIN_PATIENCE: Duration = Duration::from_secs(30);
/// What is left of requests after the streams have ended may take so long.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Binds an address. A gateway that starts again takes its port at once, though connections of the one before linger.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets the kernel end connections whose peer has acknowledged nothing, or has had no room for more, for so long. Connections
/// take the setting from their listener when they are accepted, so it holds for all that is spoken on them. Heartbeats see
/// to it that there is something to acknowledge; without this a host that vanished would be written to for a quarter of an
/// hour.
///
/// A peer that reads a little now and then has no room either, as the kernel counts: not before there is room for the whole
/// of what was gathered last, up to 64 KiB, does its time begin anew.
fn give_up_after(time: Duration, listener: &TcpListener) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(listener).set_tcp_user_timeout(Some(time))?;
    #[cfg(not(target_os = "linux"))]
    let _there_is_no_such_setting = (time, listener);
    Ok(())
}

/// How the public listener is run.
pub struct Public {
    /// Where it listens.
    pub listener: TcpListener,
    /// Worker threads.
    pub workers: usize,
    /// The most event streams of one HTTP/2 connection.
    pub streams: u32,
    /// How requests are read.
    pub http: Http1Options,
    /// The certificate, if it is to speak HTTPS.
    pub tls: Option<Tls>,
    /// The demo, if it is to serve that.
    pub board: Option<Data<Board>>,
    /// Where its workers report that they cannot go on.
    pub failures: FailureReports,
    /// What tests switch off.
    pub without: Without,
}

/// The public listener: streams and polls.
pub fn public(public: Public, parts: Parts, hub: HubOptions) -> std::io::Result<Server> {
    let Public { listener, workers, streams, http, tls, board, failures, without } = public;
    give_up_after(hub.heartbeat.mul_f64(PATIENCE), &listener)?;
    let builder = Server::build()
        .workers(workers)
        // The gate counts streams. Whoever is over a limit must be let in as far as there, to be told when to come back.
        // This is for descriptors: what is over it waits in the backlog, while silent sockets are closed.
        .max_concurrent_connections(per_worker(files::sockets(), workers))
        .shutdown_timeout(SHUTDOWN.as_secs())
        .disable_signals();
    let (head, heartbeat) = (http.head, hub.heartbeat);
    let drain = http.drain.clone();
    let http2 = Http2Options { head, streams, ping: heartbeat, drain: drain.clone() };
    let options = HttpOptions { http1: http, http2 };
    let sockets = parts.sockets.clone();
    let (reader, metrics) = (parts.reader.clone(), parts.metrics.clone());
    let links = HubLinks { reader, metrics, drain, failures, without };
    let worker = move || {
        let hub = hub::spawn(links.clone(), parts.partitions, hub.clone());
        let gate = Gate::new(hub, parts.partitions, parts.limits.clone(), parts.origins.clone(), parts.metrics.clone());
        let app = app(&|cfg| configure(cfg, &parts, gate.clone(), board.clone()));
        LeanFactory::new(Some(gate.clone()), head, sockets.clone(), tls.clone(), HttpFactory::new(app, options.clone()))
    };
    Ok(builder.listen("public", listener, worker)?.run())
}

/// What the public listener serves.
fn configure(cfg: &mut ServiceConfig, parts: &Parts, gate: Gate, board: Option<Data<Board>>) {
    share(cfg, parts);
    cfg.app_data(Data::new(HostRule::public(parts.hosts.public.clone())));
    cfg.app_data(Data::new(gate)).configure(stream::configure);
    if matches!(parts.store, Store::Memory(_)) {
        admin::configure_publish(cfg);
    }
    if let Some(board) = board {
        demo::configure(cfg, board);
    }
    cfg.default_service(web::to(problem::not_found));
}

/// The admin listener, whose requests are read as `http` says.
pub fn admin(listener: TcpListener, parts: Parts, http: Http1Options) -> std::io::Result<Server> {
    internal("admin", listener, parts, http, |cfg, parts| {
        cfg.app_data(Data::new(HostRule::admin(parts.hosts.admin.clone())));
        // A scope, so that whatever is asked is held to the rule, what is not there too.
        let all = web::scope("").wrap(from_fn(guard_hosts)).configure(admin::configure);
        cfg.service(all.default_service(web::to(problem::not_found)));
    })
}

/// The listener for probes. It answers to any `Host`, as there is nothing that a page could do by asking but read what
/// any other who reaches it may read.
pub fn probe(listener: TcpListener, parts: Parts, http: Http1Options) -> std::io::Result<Server> {
    internal("probe", listener, parts, http, |cfg, _| {
        admin::configure_probes(cfg);
        cfg.default_service(web::to(problem::not_found));
    })
}

/// A listener for operators, with descriptors of its own.
fn internal(
    name: &'static str,
    listener: TcpListener,
    parts: Parts,
    http: Http1Options,
    configure: fn(&mut ServiceConfig, &Parts),
) -> std::io::Result<Server> {
    give_up_after(ADMIN_PATIENCE, &listener)?;
    let (own, all) = (files::admin_sockets(), files::all_sockets());
    let most = own.max(all / 8);
    let sockets = parts.sockets.beside(own..=most, all);
    let builder = Server::build()
        .workers(1)
        .max_concurrent_connections(per_worker(most, 1))
        .shutdown_timeout(SHUTDOWN.as_secs())
        .disable_signals();
    let head = http.head;
    let http2 = Http2Options { head, streams: 0, ping: ADMIN_PATIENCE, drain: http.drain.clone() };
    let options = HttpOptions { http1: http, http2 };
    let worker = move || {
        let app = app(&|cfg| {
            share(cfg, &parts);
            configure(cfg, &parts);
        });
        LeanFactory::new(None, head, sockets.clone(), None, HttpFactory::new(app, options.clone()))
    };
    Ok(builder.listen(name, listener, worker)?.run())
}

/// The sockets that a worker may hold, of `all` that its listener may have. A few more than its share, so that one more
/// comes and has the oldest silent one closed.
fn per_worker(all: usize, workers: usize) -> usize {
    let share = all.div_ceil(workers.max(1));
    share + 4
}

/// An application with these services, as connections call it.
fn app(
    configure: &dyn Fn(&mut ServiceConfig),
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = ServiceResponse,
    Error = HttpResponse,
    InitError = (),
    Service: 'static,
    Future: 'static,
> + use<> {
    let app = App::new().configure(configure).into_factory();
    map_config(app.map_err(|error: actix_web::Error| error.error_response()), |()| AppConfig::default())
}

fn share(cfg: &mut ServiceConfig, parts: &Parts) {
    cfg.app_data(Data::new(parts.partitions))
        .app_data(Data::new(parts.store.clone()))
        .app_data(Data::new(parts.reader.clone()))
        .app_data(Data::new(parts.metrics.clone()))
        .app_data(Data::new(parts.life.clone()));
}
