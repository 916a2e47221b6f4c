//! An EventSource: keeps its cursor, comes back by itself, gives up where a browser would.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::conduct::Conduct;
use crate::http::{self, Body, Part, Transport};
use crate::record::{Record, What};
use crate::sse::{Item, Parser};
use crate::wait::PATIENCE;

/// What to open.
#[derive(Debug, Clone)]
pub struct Options {
    name: String,
    gateways: Vec<SocketAddr>,
    query: Vec<(String, String)>,
    last_id: String,
    transport: Transport,
    receive_buffer: Option<u32>,
    retry_at_most: Option<Duration>,
    forgetful: bool,
}

/// What the test tells a running client.
#[derive(Debug, Clone, Default, PartialEq)]
struct Orders {
    paused: bool,
    away: bool,
    drops: u32,
    stopped: bool,
}

/// A running client. Dropping it stops it.
#[derive(Debug)]
pub struct Client {
    record: Arc<Record>,
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
}

impl Options {
    /// A client of these gateways, which it takes in turn as a load balancer would, that follows `topics`.
    pub fn new(name: &str, gateways: &[SocketAddr], topics: &[impl AsRef<str>]) -> Self {
        let query = topics.iter().map(|topic| ("topic".to_owned(), topic.as_ref().to_owned())).collect();
        Self {
            name: name.to_owned(),
            gateways: gateways.to_vec(),
            query,
            last_id: String::new(),
            transport: Transport::of_environment(),
            receive_buffer: None,
            retry_at_most: None,
            forgetful: false,
        }
    }

    /// One more part of the query.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.query.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Resumes after this cursor, as if an earlier connection had left it.
    #[must_use]
    pub fn after(mut self, cursor: &str) -> Self {
        cursor.clone_into(&mut self.last_id);
        self
    }

    /// Goes this way, instead of the one that the environment names.
    #[must_use]
    pub fn over(mut self, transport: &Transport) -> Self {
        self.transport = transport.clone();
        self
    }

    /// Takes little from the network in advance, so that a pause is felt by the gateway.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Comes back sooner than the server asked for, to make tests quick.
    #[must_use]
    pub fn retry_at_most(mut self, most: Duration) -> Self {
        self.retry_at_most = Some(most);
        self
    }

    /// Comes back without its cursor, as no EventSource does: so a test can show that it would notice a loss.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.forgetful = true;
        self
    }

    /// Opens it.
    pub fn open(self) -> Client {
        let topics: Vec<String> = self.query.iter().filter(|(key, _)| key == "topic").map(|(_, v)| v.clone()).collect();
        let few = self.query.iter().any(|(key, _)| key == "every");
        let record = if few { Record::of_few(&self.name, &topics) } else { Record::new(&self.name, &topics) };
        let (orders, told) = watch::channel(Orders::default());
        let source = Source {
            record: record.clone(),
            orders: told,
            retry: Duration::from_secs(3),
            connection: 0,
            options: self,
        };
        Client { record, orders, task: tokio::spawn(source.run()) }
    }
}

impl Client {
    /// Opens one with nothing special.
    pub fn open(name: &str, gateways: &[SocketAddr], topics: &[impl AsRef<str>]) -> Self {
        Options::new(name, gateways, topics).retry_at_most(Duration::from_millis(200)).open()
    }

    /// What it saw.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Waits until it is live for the first time.
    pub async fn ready(&self) {
        self.record.until("is ready", PATIENCE, |record| record.first_ready().is_some()).await;
    }

    /// Waits until it has been live `times` times.
    pub async fn ready_times(&self, times: usize) {
        let ready = |record: &Record| record.count(|what| matches!(what, What::Ready { .. })) >= times;
        self.record.until(&format!("is ready {times} times"), PATIENCE, ready).await;
    }

    /// Waits until it got this serial, delivered.
    pub async fn got(&self, n: u64) {
        self.record.until(&format!("gets event {n}"), PATIENCE, |record| record.serials().contains(&n)).await;
    }

    /// Loses its connection without a word, and comes back after its retry.
    pub fn drop_connection(&self) {
        self.orders.send_modify(|orders| orders.drops += 1);
    }

    /// Loses its connection without a word, and stays away until [`Client::come_back`].
    pub fn leave(&self) {
        self.orders.send_modify(|orders| orders.away = true);
    }

    /// Ends an absence: it goes on at its next gateway, after its cursor.
    pub fn come_back(&self) {
        self.orders.send_modify(|orders| orders.away = false);
    }

    /// Reads nothing more until it resumes, and keeps its connection.
    pub fn pause(&self) {
        self.orders.send_modify(|orders| orders.paused = true);
    }

    /// Reads again.
    pub fn resume(&self) {
        self.orders.send_modify(|orders| orders.paused = false);
    }

    /// Ends for good; the record stays.
    pub fn stop(&self) {
        self.orders.send_modify(|orders| orders.stopped = true);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The running side.
struct Source {
    options: Options,
    record: Arc<Record>,
    orders: watch::Receiver<Orders>,
    retry: Duration,
    connection: u32,
}

/// How a connection ended.
enum End {
    /// It may be tried again.
    Lost(String),
    /// Never again.
    Dead(String),
    Stopped,
}

impl Source {
    async fn run(mut self) {
        let mut orders = self.orders.clone();
        loop {
            let at = self.connection as usize % self.options.gateways.len();
            let gateway = self.options.gateways[at];
            self.connection += 1;
            let end = self.connect(gateway).await.unwrap_or_else(|e| End::Lost(e.to_string()));
            match end {
                End::Lost(why) => self.record.add(self.connection, What::Lost { why }),
                End::Dead(why) => return self.record.add(self.connection, What::Dead { why }),
                End::Stopped => return,
            }
            let wait = self.options.retry_at_most.map_or(self.retry, |most| self.retry.min(most));
            tokio::select! {
                () = sleep(wait) => {}
                _ = orders.wait_for(|orders| orders.stopped) => return,
            }
            if orders.wait_for(|orders| !orders.away || orders.stopped).await.map_or(true, |orders| orders.stopped) {
                return;
            }
        }
    }

    async fn connect(&mut self, gateway: SocketAddr) -> io::Result<End> {
        let mut headers = vec![("Accept", "text/event-stream"), ("Cache-Control", "no-cache")];
        let last_id = self.options.last_id.clone();
        if !last_id.is_empty() {
            headers.push(("Last-Event-ID", &last_id));
        }
        let target = http::target("/v1/events", &self.options.query);
        let Options { transport, receive_buffer, .. } = &self.options;
        let request = transport.get(gateway, *receive_buffer, &target, &headers);
        let response = timeout(PATIENCE, request).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let content_type = response.header("content-type").unwrap_or_default();
        if response.status != 200 || !content_type.starts_with("text/event-stream") {
            return Ok(End::Dead(format!("status {}, content type {content_type:?}", response.status)));
        }
        self.check(&response);
        self.record.add(self.connection, What::Connected { to: gateway.to_string(), cursor: last_id });
        self.read(response.body).await
    }

    fn check(&self, response: &http::Response) {
        let expected = [("cache-control", "no-store, no-transform"), ("x-accel-buffering", "no")];
        for (name, value) in expected.iter().filter(|(name, value)| response.header(name) != Some(value)) {
            let what = format!("header {name} is {:?}, not {value}", response.header(name));
            self.record.add(self.connection, What::Fault { what });
        }
    }

    async fn read(&mut self, mut body: Body) -> io::Result<End> {
        let mut parser = Parser::resuming(&self.options.last_id);
        let mut conduct = Conduct::default();
        let mut orders = self.orders.clone();
        let drops = orders.borrow_and_update().drops;
        loop {
            let now = orders.borrow_and_update().clone();
            if now.stopped {
                return Ok(End::Stopped);
            }
            if now.away || now.drops > drops {
                return Ok(End::Lost("dropped by the test".to_owned()));
            }
            let part = tokio::select! {
                biased;
                changed = orders.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(End::Stopped),
                },
                part = body.next(), if !now.paused => part,
            };
            match part {
                Ok(Part::Bytes(bytes)) => self.take(&mut parser, &mut conduct, &bytes),
                Ok(end) => {
                    conduct.end(end == Part::End);
                    self.note_faults(&mut conduct);
                    return Ok(End::Lost("the body ended".to_owned()));
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn take(&mut self, parser: &mut Parser, conduct: &mut Conduct, bytes: &[u8]) {
        conduct.feed(bytes);
        self.note_faults(conduct);
        for item in parser.feed(bytes) {
            match item {
                Item::Retry(ms) => {
                    self.retry = Duration::from_millis(ms);
                    self.record.add(self.connection, What::Retry { ms });
                }
                Item::Event(event) => {
                    let json = || serde_json::from_str::<serde_json::Value>(&event.data).unwrap_or_default();
                    let text = |key: &str| json().get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
                    let cursor = event.last_id.clone();
                    match event.name.as_str() {
                        "tidings.ready" => {
                            self.record.add(self.connection, What::Ready { cursor, connection: text("connection") });
                        }
                        "tidings.tick" => self.record.add(self.connection, What::Tick { cursor }),
                        "tidings.goodbye" => {
                            self.record.add(self.connection, What::Goodbye { reason: text("reason") });
                        }
                        name => self.record.add_data(self.connection, name, &event.data, event.id),
                    }
                }
            }
        }
        if !self.options.forgetful {
            parser.last_id().clone_into(&mut self.options.last_id);
        }
    }

    fn note_faults(&self, conduct: &mut Conduct) {
        for what in conduct.take() {
            self.record.add(self.connection, What::Fault { what });
        }
    }
}

#[cfg(test)]
mod tests;
