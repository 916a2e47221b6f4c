//! `slow`: some connections do not read. What the others and the server's memory feel of that, and whether the slow
//! ones are told in the end.

use std::time::Duration;

use tidings_tests::client::Options;
use tidings_tests::{Client, eventually};
use tokio::time::interval;

use crate::bench::{Bench, Entrant};
use crate::crowd::Crowd;
use crate::figure::Figure;
use crate::latency;
use crate::ledger::Ledger;
use crate::options::Scenario;
use crate::plan::{Plan, topic};
use crate::row::Row;
use crate::verdict::Published;

/// The most connections that do not read.
const SLOW: u32 = 2_000;
/// Bytes of data of the events that only the slow ones follow, so that their queues overflow.
const BULK: usize = 4 * 1024;
/// Those events for each event to all.
const BULKS: u32 = 6;
/// The least time from one event to all to the next.
const PACE: Duration = Duration::from_millis(200);
/// Receive buffer of a slow client: little is taken in advance.
const BUFFER: u32 = 4 * 1024;
/// How long the slow ones may take to read what waits for them.
const CATCH_UP: Duration = Duration::from_secs(120);
/// How long they may take to come.
const OPEN: Duration = Duration::from_secs(60);

struct Slow {
    crowd: Crowd,
    ledger: Ledger,
    clients: Vec<Client>,
}

/// Measures one gateway: while all read, while some do not, and when these read again.
pub async fn run(bench: &mut Bench, entrant: &Entrant) -> Vec<Row> {
    let Some(server) = bench.start_open(entrant).await else { return Vec::new() };
    let all = bench.options.connections;
    let count = SLOW.min(all / 4);
    let gateway = server.as_gateway().expect("a gateway");
    let (ledger, address) = (Ledger::open(&gateway.url()).await, gateway.public());
    let crowd = Crowd::gather(bench, server, Plan::Broadcast, all - count, false).await;
    let mut slow = Slow { crowd, ledger, clients: Vec::new() };
    let goes = bench.options.amount(40, 5);
    let mut rows = vec![slow.round("all read", goes, 0).await];
    let open = |n| Options::new(&format!("slow {n}"), &[address], &[topic(0), topic(1)]).receive_buffer(BUFFER).open();
    slow.clients = (0..count).map(open).collect();
    eventually("the slow ones are live", OPEN, async || {
        slow.clients.iter().all(|client| client.record().first_ready().is_some())
    })
    .await;
    slow.clients.iter().for_each(Client::pause);
    // A quick run has few goes, and queues are to overflow all the same.
    let bulks = bench.options.amount(BULKS, BULKS * 70);
    rows.push(slow.round(&format!("{count} do not read"), goes, bulks).await);
    rows.push(slow.catch_up().await);
    rows
}

impl Slow {
    /// Publishes events to all, each with others to the slow ones alone, and measures those that read.
    async fn round(&mut self, case: &str, goes: u32, bulks: u32) -> Row {
        let mut row = Row::new(Scenario::Slow, &self.crowd.server, case);
        let (mut published, mut pace, mut most) = (Published::default(), interval(PACE), 0);
        for _ in 0..goes {
            pace.tick().await;
            for _ in 0..bulks {
                self.ledger.publish(&topic(1), BULK).await;
            }
            published.add(&topic(0), self.ledger.publish(&topic(0), BULK / 16).await);
            most = most.max(self.crowd.server.usage().rss);
            self.crowd.wait_for(&published);
        }
        let (verdict, _, histogram) = self.crowd.judge(&published);
        row.kept = verdict.is_kept() && verdict.resynced == 0;
        row.add(Figure::Delivered, verdict.delivered as f64);
        row.add(Figure::Expected, verdict.expected as f64);
        latency::add_figures(&mut row, &histogram);
        row.add(Figure::RssNow, most as f64 / 1024.0 / 1024.0);
        row
    }

    /// The slow ones read again, and the oracle judges.
    async fn catch_up(&mut self) -> Row {
        let mut row = Row::new(Scenario::Slow, &self.crowd.server, "they read again");
        self.clients.iter().for_each(Client::resume);
        let verdict = self.ledger.oracle().settle(self.clients.iter().map(Client::record), CATCH_UP).await;
        row.kept = verdict.is_kept() && verdict.resynced > 0;
        row.add(Figure::Delivered, verdict.delivered as f64);
        row.add(Figure::Expected, verdict.pairs as f64);
        row.add(Figure::Resynced, verdict.resynced as f64);
        row.add(Figure::RssNow, self.crowd.server.usage().rss as f64 / 1024.0 / 1024.0);
        // Had no queue overflowed, this would have shown nothing.
        if !row.kept {
            row.notes.push(verdict.to_string().replace('\n', "; "));
        }
        row
    }
}
