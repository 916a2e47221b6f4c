//! Clients that are gone and did not say so: noticed within two heartbeats, and nothing is left of them.

use std::io::Write;
use std::time::{Duration, Instant};

use tidings_tests::http::{self, Part, Response, Transport};
use tidings_tests::network::{Host, connected};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Setup, eventually};
use tokio::net::TcpStream;

use crate::memory;

/// Waits until this many connections are left.
async fn left(gateway: &Gateway, count: f64) {
    let connections = async || gateway.metrics().await.sum("tidings_connections", &[]);
    eventually(&format!("{count} connections are left"), PATIENCE, async || connections().await == count).await;
    let follows = async || gateway.metrics().await.sum("tidings_follows", &[]);
    eventually(&format!("{count} follow"), PATIENCE, async || follows().await == count).await;
}

/// Streams over these sockets, one for each way that a gateway serves them, with small windows.
async fn streams(sockets: impl IntoIterator<Item = TcpStream>) -> Vec<Response> {
    let mut streams = Vec::new();
    for (way, socket) in Transport::PLAIN.iter().zip(sockets) {
        let mut stream = way.over(socket, Some(4 * 1024), "/v1/events?topic=a", &[]).await.unwrap();
        stream.until("tidings.ready").await;
        streams.push(stream);
    }
    streams
}

/// So many connections.
async fn sockets(gateway: &Gateway, count: usize, receive_buffer: Option<u32>) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(http::connect(gateway.public(), receive_buffer).await.unwrap());
    }
    sockets
}

#[tokio::test]
async fn a_client_that_closed_its_side_is_gone() {
    // Far too far apart to be what it is noticed by.
    let (gateway, _, _) = memory(|setup| setup.with("stream.heartbeat", "60s")).await;
    let mut streams = streams(sockets(&gateway, 2, None).await).await;
    left(&gateway, 2.0).await;
    for stream in &mut streams {
        stream.body.close_side().await.unwrap();
    }
    left(&gateway, 0.0).await;
    for stream in &mut streams {
        let (_, end) = stream.body.all().await.unwrap_or((Vec::new(), Part::Cut));
        assert_eq!(end, Part::Cut);
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_gone_and_others_are_not() {
    let (gateway, oracle, source) = memory(|setup| setup.with("retention.events", "10")).await;
    let _unread = streams(sockets(&gateway, 3, Some(4 * 1024)).await).await;
    let reads = Client::open("reads", &[gateway.public()], &["a"]);
    reads.ready().await;
    left(&gateway, 4.0).await;
    // Several times what all buffers on the way hold.
    for _ in 0..1_000 {
        source.publish_sized(&["a"], 12 * 1024).await;
    }
    left(&gateway, 1.0).await;
    assert_eq!(reads.record().connections(), 1, "{}", reads.record());
    oracle.settle([reads.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn one_that_only_hears_nothing_new_is_not_gone() {
    let (gateway, _, _) = memory(|setup| setup.with("stream.heartbeat", "100ms")).await;
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    let ticks = || client.record().count(|what| matches!(what, tidings_tests::record::What::Tick { .. }));
    eventually("ten times two heartbeats have passed", PATIENCE, async || ticks() >= 20).await;
    assert_eq!(client.record().connections(), 1, "{}", client.record());
}

/// Where there can be no other host this shows nothing, and says so past the capture of what a test prints.
#[tokio::test]
async fn a_host_that_vanished_is_noticed_where_one_can_be_had() {
    let host = match Host::new() {
        Ok(host) => host,
        Err(why) => {
            let name = "a host that vanished";
            return writeln!(std::io::stderr(), "skipped: {name}: it takes root and a network of its own: {why}")
                .unwrap();
        }
    };
    // The default. The kernel counts from its first resend, which on a busy machine may take a second longer: of two short
    // heartbeats that would be too much.
    let heartbeat = Duration::from_secs(15);
    let gateway = Setup::memory().on(host.near()).with("stream.heartbeat", "15s").start().await;
    let sockets = (0..3).map(|_| host.connect(gateway.public()).unwrap());
    let mut streams = streams(sockets).await;
    left(&gateway, 3.0).await;
    assert_eq!(connected(gateway.public()), 3);
    // Right after a heartbeat was acknowledged: the next one, and what it shows, is farthest away.
    streams[0].until("tidings.tick").await;
    let begun = Instant::now();
    host.vanish();
    // The gateway itself says only once a second how many are left.
    eventually("no connection is open", 3 * heartbeat, async || connected(gateway.public()) == 0).await;
    let noticed = begun.elapsed();
    println!("noticed after {noticed:.2?}");
    left(&gateway, 0.0).await;
    assert!(noticed < 2 * heartbeat, "noticed after {noticed:.2?}");
}
