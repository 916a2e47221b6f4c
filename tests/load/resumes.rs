//! Honest clients that come back, one after the other, and how long each takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::latency;

/// From one that comes back to the next.
const EVERY: Duration = Duration::from_millis(100);
/// How long one may take, with all that it is asked to wait.
const PATIENCE: Duration = Duration::from_secs(20);
/// An origin of their own.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// Clients that come back to a gateway.
#[derive(Debug, Clone)]
pub struct ResumeProbe {
    /// The gateway.
    pub server: SocketAddr,
    /// The cursor from which they resume.
    pub cursor: String,
}

/// The results of such clients.
#[derive(Debug)]
pub struct ResumeTimes {
    /// Microseconds until they were live, with all that they had missed.
    pub times: Histogram<u64>,
    /// How many came back.
    pub begun: u32,
    /// Those that were not live in time, or lacked something and were not resynced.
    pub failed: u32,
}

/// An address that nobody else follows, so that what was missed is read from the store.
pub fn resumed_address(number: u32) -> String {
    format!("resumed/{number:05}")
}

impl ResumeProbe {
    /// Takes a cursor of this gateway, from which all come back.
    pub async fn begin(server: SocketAddr) -> Self {
        let probe = Self { server, cursor: String::new() };
        let text = probe.ask("resumed").await.expect("the gateway answers");
        let cursor = text.lines().filter_map(|line| line.strip_prefix("id:")).next_back();
        Self { cursor: cursor.expect("a stream has a cursor").trim().to_owned(), ..probe }
    }

    /// Has one come back every tenth of a second, `count` in all, and waits for the last.
    pub async fn run(self, first: u32, count: u32, missed: usize) -> ResumeTimes {
        let mut pace = interval(EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut resumes = JoinSet::new();
        for number in first..first + count {
            pace.tick().await;
            let probe = self.clone();
            resumes.spawn(async move { timeout(PATIENCE, probe.resume(number, missed)).await });
        }
        let mut found = ResumeTimes { times: latency::empty(), begun: count, failed: 0 };
        while let Some(resume) = resumes.join_next().await {
            match resume {
                Ok(Ok(Some(time))) => found.times.saturating_record(time.as_micros() as u64),
                _ => found.failed += 1,
            }
        }
        found
    }

    /// Comes back until it is live. `None` if it lacks something.
    async fn resume(&self, number: u32, missed: usize) -> Option<Duration> {
        let address = resumed_address(number);
        let begun = Instant::now();
        loop {
            let text = self.ask(&address).await.unwrap_or_default();
            if is_live(&text) {
                let came = text.matches(&format!("\"{address}\"")).count();
                let is_resynced = text.contains("\"resync\":true");
                return (came >= missed || is_resynced).then(|| begun.elapsed());
            }
            // A refusal says after which time to come again.
            let retry = |line: &str| line.strip_prefix("retry:")?.trim().parse().ok();
            let retry = text.lines().find_map(retry);
            sleep(Duration::from_millis(retry.unwrap_or(100))).await;
        }
    }

    /// Asks for a stream, and reads until it is live or ends.
    async fn ask(&self, address: &str) -> std::io::Result<String> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((SOURCE, 0)))?;
        let mut socket = socket.connect(self.server).await?;
        let Self { server, cursor } = self;
        let target = format!("/v1/events?topic=t/00000&topic={address}");
        let mut request = format!("GET {target} HTTP/1.1\r\nHost: {server}\r\n");
        if !cursor.is_empty() {
            request += &format!("Last-Event-ID: {cursor}\r\n");
        }
        request += "Accept: text/event-stream\r\n\r\n";
        socket.write_all(request.as_bytes()).await?;
        let (mut text, mut buffer) = (String::new(), vec![0; 16 * 1024]);
        while !is_live(&text) {
            let count = socket.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        Ok(text)
    }
}

/// Whether `tidings.ready` has come, to its end.
fn is_live(text: &str) -> bool {
    text.find("event: tidings.ready").is_some_and(|at| text[at..].contains("\n\n"))
}
