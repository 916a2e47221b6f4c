//! A real `redis-server` for one test, on a private port of loopback, killed when it goes out of scope.
#![allow(dead_code, reason = "each test program uses its own part of it")]

pub mod proxy;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Script};
use tempfile::TempDir;
use tidings_shared::script::Call;

/// A server and its folder.
pub struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
    durable: bool,
}

impl Server {
    /// A server that forgets all when it ends.
    pub fn start() -> Self {
        Self::new(false)
    }

    /// A server that has every write on disk before it answers, so that nothing acknowledged is lost with `kill -9`.
    pub fn durable() -> Self {
        Self::new(true)
    }

    fn new(durable: bool) -> Self {
        let mut folder = tempfile::tempdir().unwrap();
        // Another process may take the port between finding it free and using it; then the server ends at once.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let child = spawn(port, &folder, durable);
            let mut server = Self { child, port, folder, durable };
            if server.is_up() {
                return server;
            }
            folder = std::mem::replace(&mut server.folder, tempfile::tempdir().unwrap());
        }
        panic!("redis-server did not start");
    }

    /// Waits until the server takes connections; false if it ended instead.
    fn is_up(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return self.child.try_wait().unwrap().is_none();
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on its port, after [`Server::kill`].
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder, self.durable);
        assert!(self.is_up(), "redis-server did not start again");
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection of the test's own, once the server is ready to answer.
    pub async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        let start = Instant::now();
        loop {
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                return connection;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn spawn(port: u16, folder: &TempDir, durable: bool) -> Child {
    let appendonly = if durable { "yes" } else { "no" };
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", appendonly])
        .args(["--appendfsync", "always", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a script of the Redis contract.
pub async fn run<T: FromRedisValue>(connection: &mut MultiplexedConnection, call: Call) -> T {
    attempt(connection, call).await.unwrap()
}

/// Runs one that may be refused.
pub async fn attempt<T: FromRedisValue>(connection: &mut MultiplexedConnection, call: Call) -> RedisResult<T> {
    let script = Script::new(call.script);
    let mut invocation = script.prepare_invoke();
    call.keys.iter().for_each(|key| {
        invocation.key(key);
    });
    call.args.iter().for_each(|arg| {
        invocation.arg(arg);
    });
    invocation.invoke_async(connection).await
}

/// Runs a plain command.
pub async fn command<T: FromRedisValue>(connection: &mut MultiplexedConnection, words: &str) -> T {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query_async(connection).await.unwrap()
}

/// Waits until `done` says so.
pub async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
