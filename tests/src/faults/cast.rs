//! Those who publish and those who look, and never stop whatever befalls them.

use std::sync::Arc;
use std::time::Duration;

use tidings_publisher::Publisher;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Ground;
use crate::gateway::publics;
use crate::record::Record;
use crate::wait::{PATIENCE, eventually, now_us};
use crate::{Client, Gateway, Oracle, Poller, Source};

/// In all partitions of a cluster, and some of these more than once.
const TOPICS: usize = 40;

/// How much is published.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many publish side by side, each to addresses of its own: those whose server is away hold up no others.
    pub writers: usize,
    /// What each of them waits between two events.
    pub pause: Duration,
}

impl Pace {
    /// About 300 events in a second.
    pub const STEADY: Self = Self { writers: 8, pause: Duration::from_millis(25) };
}

/// Clients, publishers, and the oracle that hears of both. Dropped, they stop.
#[derive(Debug)]
pub struct Cast {
    pub oracle: Arc<Oracle>,
    pub source: Source,
    /// What is published to; all clients follow all of them.
    pub topics: Vec<String>,
    /// One at each gateway, and one that takes them in turn.
    pub clients: Vec<Client>,
    /// Leaves the first gateway before a fault strikes, and comes back to the last one meanwhile.
    pub traveller: Client,
    pub poller: Poller,
    publishing: Publishing,
}

impl Cast {
    /// Has all of them at their places, live, and events on their way.
    pub async fn assemble(ground: &Ground, gateways: &[Gateway], pace: Pace, without: &[&str]) -> Self {
        let oracle = Oracle::of(ground.partitions());
        let source = source(&ground.url_of_publishers(), &oracle, without).await;
        let topics: Vec<String> = (0..TOPICS).map(|n| format!("o/{n}")).collect();
        let all = publics(gateways);
        let mut clients: Vec<Client> =
            all.iter().enumerate().map(|(n, at)| Client::open(&format!("client {n}"), &[*at], &topics)).collect();
        clients.push(Client::open("client of all", &all, &topics));
        let traveller = Client::open("traveller", &[all[0], all[all.len() - 1]], &topics);
        let poller = Poller::open("poller", &all, &topics);
        for client in clients.iter().chain([&traveller]) {
            client.ready().await;
        }
        poller.ready().await;
        let publishing = Publishing::start(&source, &topics, pace);
        Self { oracle, source, topics, clients, traveller, poller, publishing }
    }

    /// What all of them saw.
    pub fn records(&self) -> Vec<&Arc<Record>> {
        let clients = self.clients.iter().chain([&self.traveller]).map(Client::record);
        clients.chain([self.poller.record()]).collect()
    }

    /// Waits until all have got something: what goes on is not only publishing.
    pub async fn flows(&self) {
        for record in self.records() {
            record.until("gets events", PATIENCE, |record| !record.serials().is_empty()).await;
        }
    }

    /// Waits until so many more events are stored.
    pub async fn more(&self, count: usize) {
        let due = self.oracle.stored() + count;
        eventually("publishing goes on", PATIENCE, async || self.oracle.stored() >= due).await;
    }

    /// Waits until an event that begins now or later is acknowledged at each address.
    pub async fn everywhere(&self) {
        let from = now_us();
        let acked = |topic: &String| self.oracle.first_acked(from, |address| address == topic).is_some();
        eventually("all addresses take events", PATIENCE, async || self.topics.iter().all(acked)).await;
    }

    /// Lets publishing end, once each address had one more event that began now or later.
    pub async fn conclude(&self) {
        self.publishing.end().await;
    }
}

/// How often a publish is tried again: longer than any fault lasts.
const RETRIES: u32 = 60;

/// Where events come from, without some of [`super::Twin::OF_PUBLISHERS`].
async fn source(url: &str, oracle: &Arc<Oracle>, without: &[&str]) -> Source {
    let retries = if without.is_empty() { RETRIES } else { 0 };
    let publisher = Publisher::builder(url).retries(retries).timeout(Duration::from_secs(1));
    let source = Source::new(publisher.connect().await.expect("the topology answers"), oracle);
    if without.contains(&"keys") { source.anew(RETRIES) } else { source }
}

/// The writers.
#[derive(Debug)]
struct Publishing {
    last_round: watch::Sender<bool>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

impl Publishing {
    fn start(source: &Source, topics: &[String], pace: Pace) -> Self {
        let (last_round, told) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for n in 0..pace.writers {
            let own: Vec<String> = topics.iter().skip(n).step_by(pace.writers).cloned().collect();
            let other = topics[(n + 1) % pace.writers].clone();
            tasks.spawn(write(source.clone(), own, other, pace.pause, told.clone()));
        }
        Self { last_round, tasks: tasks.into() }
    }

    async fn end(&self) {
        let _ = self.last_round.send(true);
        let mut tasks = self.tasks.lock().await;
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a writer does not panic");
        }
    }
}

/// One event in so many is of two addresses, which may be of two partitions.
const DOUBLE: usize = 8;

/// Publishes to these in turn, and to each once more when told that it is the last round.
async fn write(source: Source, topics: Vec<String>, other: String, pause: Duration, told: watch::Receiver<bool>) {
    let mut left = topics.len();
    for (n, topic) in topics.iter().cycle().enumerate() {
        if *told.borrow() {
            if left == 0 {
                return;
            }
            left -= 1;
        }
        if n % DOUBLE == DOUBLE - 1 {
            source.publish(&[topic, &other]).await;
        } else {
            source.publish(&[topic]).await;
        }
        tokio::time::sleep(pause).await;
    }
}
