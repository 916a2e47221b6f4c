//! One server process of a topology: its life, its ports, its disk, and the way to ask it.

mod config;
mod faults;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, FromRedisValue, IntoConnectionInfo, RedisConnectionInfo, RedisResult, cmd,
};
use rustix::process::Signal;
use tempfile::TempDir;

pub use self::faults::Foreign;
use super::{Layout, Server};
use crate::port::Port;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::wait::{PATIENCE, eventually};

pub(super) use config::Role;

/// A node that does not answer in this time is taken for one that does not answer.
const ANSWER: Duration = Duration::from_secs(2);

/// A running server, or one that was killed and keeps its addresses and its data.
#[derive(Debug)]
pub struct Node {
    layout: Layout,
    port: Port,
    bus: Option<Port>,
    proxy: Option<Proxy>,
    folder: TempDir,
    sentinel: bool,
    state: Mutex<State>,
}

/// What changes in a node's life.
#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    frozen: bool,
    password: Option<String>,
}

impl Node {
    /// Starts one that has no data.
    pub(super) async fn begin(layout: &Layout, role: Role<'_>) -> Self {
        let folder = TempDir::with_prefix("tidings-node-").expect("a directory");
        let (port, bus) = (Port::free(), matches!(role, Role::Cluster).then(Port::free));
        let proxy =
            if layout.proxied { Some(Proxy::start(([127, 0, 0, 1], port.number()).into()).await) } else { None };
        let sentinel = matches!(role, Role::Sentinel(_));
        let password = if sentinel { layout.sentinels.password.clone() } else { layout.password.clone() };
        let state = Mutex::new(State { password, ..State::default() });
        let node = Self { layout: layout.clone(), port, bus, proxy, folder, sentinel, state };
        config::write(&node, &role);
        node.start().await;
        node
    }

    /// Which software it runs.
    pub fn server(&self) -> Server {
        self.layout.server
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where clients find it, and what it tells of itself: its proxy, if it has one.
    pub fn addr(&self) -> SocketAddr {
        self.proxy.as_ref().map_or(self.behind(), Proxy::addr)
    }

    /// Where it listens itself, behind its proxy.
    pub(super) fn behind(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number()).into()
    }

    /// The port of its bus, if it is a node of a cluster. No proxy stands before it.
    pub(super) fn bus(&self) -> Option<u16> {
        self.bus.as_ref().map(Port::number)
    }

    /// The link from clients and replicas to it.
    ///
    /// # Panics
    ///
    /// If the layout is not proxied.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the layout is proxied")
    }

    /// Starts it with its addresses and the data that it has, and waits until it takes commands.
    pub async fn start(&self) {
        self.spawn();
        eventually("the server answers", PATIENCE, async || {
            assert!(self.is_running(), "{} ended: {}", self.server().name(), self.log());
            self.ask::<String>("PING", &[]).await.is_ok()
        })
        .await;
    }

    fn spawn(&self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).expect("its log");
        // The shell lets the server see a full disk as an error of its write, not as a signal that ends it.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(self.server().program()).arg(self.path("conf"));
        if self.sentinel {
            command.arg("--sentinel");
        }
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        let mut state = self.state();
        state.process = Some(Process::start(&mut command));
        state.frozen = false;
    }

    /// Whether its process is there, frozen or not.
    pub fn is_running(&self) -> bool {
        self.state().process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Whether it can answer: it runs and is not frozen.
    pub fn is_up(&self) -> bool {
        self.is_running() && !self.state().frozen
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.state().process = None;
    }

    /// Kills it and starts it with the data that it had on disk.
    pub async fn restart(&self) {
        self.kill();
        self.start().await;
    }

    /// Kills it and starts it without data. In a cluster or under Sentinel it still knows who it is.
    pub async fn restart_empty(&self) {
        self.kill();
        for name in ["appendonlydir", "dump.rdb"] {
            let path = self.path(name);
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            assert!(removed.is_ok() || !path.exists(), "{} stays", path.display());
        }
        self.start().await;
    }

    /// Stops it from answering, its connections open.
    pub fn freeze(&self) {
        self.state().frozen = true;
        self.signal(Signal::STOP);
    }

    /// Ends a freeze.
    pub fn thaw(&self) {
        self.state().frozen = false;
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.state().process {
            process.signal(signal);
        }
    }

    /// Any command, as the user who may do everything.
    pub async fn ask<T: FromRedisValue>(&self, command: &str, args: &[&str]) -> RedisResult<T> {
        cmd(command).arg(args).query_async(&mut self.connection().await?).await
    }

    /// A connection of the user who may do everything. It goes past proxies, ports and TLS.
    pub async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut user = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(password) = self.password() {
            user = user.set_password(password);
        }
        let info = ConnectionAddr::Unix(self.path("control")).into_connection_info()?.set_redis_settings(user);
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER)).set_response_timeout(Some(ANSWER));
        redis::Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// One field of `INFO`: `master_link_status`. `None` if it has none, or does not answer.
    pub async fn info(&self, field: &str) -> Option<String> {
        let info: String = self.ask("INFO", &["everything"]).await.ok()?;
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.map(str::to_owned)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The default user's, as it is now.
    pub(super) fn password(&self) -> Option<String> {
        self.state().password.clone()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
