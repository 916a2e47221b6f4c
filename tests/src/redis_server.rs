//! A real `redis-server` on a port of its own.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, cmd};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::port::Port;
use crate::process::Process;
use crate::wait::{PATIENCE, eventually};

/// A running server, or one that was killed and keeps its port and its data.
#[derive(Debug)]
pub struct RedisServer {
    port: Port,
    data: TempDir,
    append_only: bool,
    process: Option<Process>,
}

impl RedisServer {
    /// One that writes every command to disk before it answers, so that a restart loses nothing.
    pub async fn durable() -> Self {
        Self::begin(true).await
    }

    /// One that keeps nothing.
    pub async fn volatile() -> Self {
        Self::begin(false).await
    }

    async fn begin(append_only: bool) -> Self {
        let data = TempDir::with_prefix("tidings-redis-").expect("a directory");
        let mut server = Self { port: Port::free(), data, append_only, process: None };
        server.start().await;
        server
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number()).into()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Starts it on its port, with the data that it has.
    pub async fn start(&mut self) {
        let append_only = if self.append_only { "yes" } else { "no" };
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.number().to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", append_only, "--appendfsync", "always", "--maxmemory-policy", "noeviction"])
            .arg("--dir")
            .arg(self.data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(Process::start(&mut command));
        eventually("redis-server answers", PATIENCE, async || self.ask::<String>("PING", &[]).await.is_ok()).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Kills it and starts it with the data that it had on disk.
    pub async fn restart(&mut self) {
        self.kill();
        self.start().await;
    }

    /// Kills it and starts it with nothing.
    pub async fn restart_empty(&mut self) {
        self.kill();
        for entry in std::fs::read_dir(self.data.path()).expect("its directory") {
            let path = entry.expect("an entry").path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("its data can be removed");
        }
        self.start().await;
    }

    /// Stops it from answering, its connections open.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends a freeze.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Closes all connections of a kind: `pubsub` or `normal`.
    pub async fn kill_clients(&self, kind: &str) {
        self.ask::<i64>("CLIENT", &["KILL", "TYPE", kind, "SKIPME", "yes"]).await.expect("CLIENT KILL");
    }

    /// How often each command was called: `cmdstat_evalsha` as `evalsha`.
    pub async fn calls(&self, command: &str) -> u64 {
        let info: String = self.ask("INFO", &["commandstats"]).await.expect("INFO");
        let prefix = format!("cmdstat_{command}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(&prefix));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    }

    /// Any command.
    pub async fn ask<T: FromRedisValue>(&self, command: &str, args: &[&str]) -> RedisResult<T> {
        cmd(command).arg(args).query_async(&mut self.connection().await?).await
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_or_loses_its_data() {
        let mut server = RedisServer::durable().await;
        let keys = async |server: &RedisServer| server.ask::<i64>("DBSIZE", &[]).await.unwrap();
        server.ask::<()>("SET", &["a", "1"]).await.unwrap();
        assert_eq!(server.calls("set").await, 1);
        server.restart().await;
        assert_eq!(keys(&server).await, 1);
        server.restart_empty().await;
        assert_eq!(keys(&server).await, 0);
        server.kill();
        assert!(server.ask::<String>("PING", &[]).await.is_err());
    }
}
