//! Subscriptions in Redis: they come and go with the connections that need them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_tests::http::{Response, Transport};
use tidings_tests::proxy::{Cut, Way};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Certificate, Client, Gateway, Oracle, Proxy, Setup, Source, Standalone, eventually};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::Stage;

/// One Redis behind a link, and a gateway whose addresses do not linger.
async fn stage() -> (Standalone, Proxy, Gateway) {
    let redis = Standalone::volatile().await;
    let link = Proxy::start(redis.addr()).await;
    let setup = Setup::redis(&format!("redis://{}", link.addr()));
    let gateway = setup.with("replay.linger", "0s").with("beacon.interval", "5s").start().await;
    (redis, link, gateway)
}

/// How many addresses are subscribed in Redis.
async fn subscribed(redis: &Standalone) -> usize {
    let channels: Vec<String> = redis.ask("PUBSUB", &["CHANNELS", "{tidings:0}:t:*"]).await.unwrap();
    channels.len()
}

/// Opens streams of a topic each and leaves them at once.
async fn come_and_go(gateway: &Gateway, count: usize) {
    let way = Transport::of_environment();
    for n in 0..count {
        let target = format!("/v1/events?topic=brief/{n}");
        let answer = way.get(gateway.public(), None, &target, &[]).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let connections = async || gateway.metrics().await.sum("tidings_connections", &[]);
    eventually("all have left", PATIENCE, async || connections().await == 0.0).await;
}

#[tokio::test]
async fn none_stays_that_was_left_before_redis_had_acknowledged_it() {
    let (redis, link, gateway) = stage().await;
    // Longer than the time between two looks at what nobody follows any more.
    link.delay(Way::Down, Duration::from_millis(1_500));
    come_and_go(&gateway, 40).await;
    eventually("nothing is subscribed", PATIENCE, async || subscribed(&redis).await == 0).await;
    let followed = async || gateway.metrics().await.sum("tidings_addresses_followed", &[]);
    eventually("nothing is followed", PATIENCE, async || followed().await == 0.0).await;
}

#[tokio::test]
async fn none_stays_that_was_left_while_redis_was_away() {
    let (redis, link, gateway) = stage().await;
    let kept = Client::open("kept", &[gateway.public()], &["kept"]);
    kept.ready().await;
    link.delay(Way::Down, Duration::from_millis(1_500));
    come_and_go(&gateway, 20).await;
    link.delay(Way::Down, Duration::ZERO);
    link.cut(Cut::Reset);
    eventually("only what is followed is subscribed", PATIENCE, async || subscribed(&redis).await == 1).await;
}

/// A gateway that follows at most 100 addresses.
async fn narrow(linger: &str) -> (Stage, Client) {
    let set = |setup: Setup| setup.with("limits.addresses", "100").with("replay.linger", linger);
    let stage = Stage::with(1, set).await;
    let kept = Client::open("kept", &[stage.gateways[0].public()], &["kept"]);
    kept.ready().await;
    (stage, kept)
}

/// A stream of these topics.
async fn open_stream(gateway: &Gateway, topics: Range<usize>) -> Response {
    let query: Vec<String> = topics.map(|n| format!("topic=many/{n}")).collect();
    let target = format!("/v1/events?{}", query.join("&"));
    Transport::of_environment().get(gateway.public(), None, &target, &[]).await.unwrap()
}

/// The same, once it has said `until`.
async fn stream_until(gateway: &Gateway, topics: Range<usize>, until: &str) -> Response {
    let mut answer = open_stream(gateway, topics).await;
    answer.until(until).await;
    answer
}

async fn refused(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("tidings_refused_total", &[("limit", "addresses")])
}

#[tokio::test]
async fn addresses_that_linger_make_room_for_new_ones() {
    let (stage, kept) = narrow("600s").await;
    let gateway = &stage.gateways[0];
    for n in 0..4 {
        let stream = stream_until(gateway, 90 * n..90 * (n + 1), "tidings.ready").await;
        // What the reader knows, not the listener: it may hear later that a connection has left.
        let followed = async || gateway.metrics().await.sum("tidings_addresses_followed", &[]);
        eventually("all are followed", PATIENCE, async || followed().await == 91.0).await;
        drop(stream);
        eventually("they are left", PATIENCE, async || followed().await == 1.0).await;
    }
    eventually("others are left", PATIENCE, async || subscribed(&stage.redis).await <= 100).await;
    assert_eq!(refused(gateway).await, 0.0);
    let n = stage.source.publish(&["kept"]).await;
    kept.got(n).await;
    let count = async |name| gateway.metrics().await.sum(name, &[]);
    eventually("lingering is told apart", PATIENCE, async || {
        count("tidings_addresses_followed").await == 1.0 && count("tidings_addresses_lingering").await > 80.0
    })
    .await;
    assert_eq!(kept.record().connections(), 1);
}

#[tokio::test]
async fn who_asks_for_more_addresses_than_there_is_room_for_is_refused() {
    let (stage, kept) = narrow("0s").await;
    let gateway = &stage.gateways[0];
    let inside = stream_until(gateway, 0..60, "tidings.ready").await;
    drop(stream_until(gateway, 20..61, "tidings.ready").await);
    let mut over = stream_until(gateway, 50..100, "\"overload\"").await;
    assert!(over.body.all().await.is_ok(), "it ends");
    assert_eq!(refused(gateway).await, 1.0);
    let n = stage.source.publish(&["kept"]).await;
    kept.got(n).await;
    drop(inside);
    eventually("there is room again", PATIENCE, async || subscribed(&stage.redis).await == 1).await;
    drop(stream_until(gateway, 50..100, "tidings.ready").await);
    assert_eq!(kept.record().connections(), 1);
}

/// Behind the number of its `retry:`, what a refusal says in the same block.
const OVERLOAD: &str = "\nevent: tidings.goodbye\ndata: {\"reason\":\"overload\"}\n\n";

#[tokio::test]
async fn a_refusal_for_its_addresses_is_one_block_and_a_poll_hears_why() {
    let certificate = Certificate::new();
    let redis = Standalone::volatile().await;
    let setup = Setup::redis(&redis.url()).with("limits.addresses", "100").with("limits.topics", "101");
    let (plain, secure) = (setup.start().await, certificate.set(setup).start().await);
    let query: Vec<String> = (0..101).map(|n| format!("topic=many/{n}")).collect();
    let query = query.join("&");
    let over = [certificate.trust(&["http/1.1"]), certificate.trust(&["h2"])];
    let transports = Transport::PLAIN.iter().map(|way| (way, &plain)).chain(over.iter().map(|way| (way, &secure)));
    for (transport, gateway) in transports {
        let target = format!("/v1/events?{query}");
        let mut answer = transport.get(gateway.public(), None, &target, &[]).await.unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        let text = answer.until("\"overload\"}\n\n").await;
        let delay = text.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix(OVERLOAD));
        let delay: u64 = delay.and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("not one block: {text:?}"));
        assert!((4_000..8_000).contains(&delay), "{transport:?}: {delay} ms, four times stream.retry and its jitter");

        let target = format!("/v1/poll?{query}");
        let mut answer = transport.get(gateway.public(), None, &target, &[]).await.unwrap();
        let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert_eq!((answer.status, (4..=8).contains(&after)), (503, true), "{transport:?}: {after} s");
        let (body, _) = answer.body.all().await.unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("limits.addresses or limits.waiting is reached"), "{body}");
    }
    assert_eq!(refused(&plain).await, 6.0);
}

/// A target that names 100 topics which nobody else names.
fn new_topics(serial: usize) -> String {
    let query: Vec<String> = (0..100).map(|n| format!("topic=new/{serial}/{n}")).collect();
    format!("/v1/events?{}", query.join("&"))
}

/// A connection from another address of this machine.
async fn dial(gateway: &Gateway, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(gateway.public()).await.unwrap()
}

#[tokio::test]
async fn one_origin_does_not_use_up_the_new_addresses_of_others() {
    let redis = Standalone::volatile().await;
    // So 500 new addresses a second, and 2,500 after a pause.
    let gateway = Setup::redis(&redis.url()).with("limits.addresses", "10000").with("limits.rate", "0").start().await;
    let (serial, mut flood) = (Arc::new(AtomicUsize::new(1_000)), JoinSet::new());
    for _ in 0..3 {
        let session = Transport::Http2.session(dial(&gateway, [127, 0, 0, 2]).await).await.unwrap();
        for _ in 0..8 {
            let (session, serial) = (session.clone(), Arc::clone(&serial));
            flood.spawn(async move {
                loop {
                    let target = new_topics(serial.fetch_add(1, Ordering::Relaxed));
                    let Ok(mut stream) = session.get(&target, &[]).await else { break };
                    stream.until("event: tidings.").await;
                }
            });
        }
    }
    eventually("new addresses are used up", PATIENCE, async || refused(&gateway).await > 100.0).await;
    for n in 0..4 {
        let from = [127, 0, 0, if n == 0 { 1 } else { 10 + n }];
        let socket = dial(&gateway, from).await;
        let mut stream = Transport::Lean.over(socket, None, &new_topics(n.into()), &[]).await.unwrap();
        stream.until("event: tidings.ready").await;
    }
    assert_eq!(flood.len(), 24, "the flood went on");
}

#[tokio::test]
async fn a_flood_of_new_addresses_breaks_no_session() {
    let (redis, link, gateway) = stage().await;
    let kept = Client::open("kept", &[gateway.public()], &["kept"]);
    kept.ready().await;
    let reconnects = async || gateway.metrics().await.sum("tidings_store_reconnects_total", &[]);
    let before = reconnects().await;
    // All acknowledgements together take much longer than any other request may.
    link.rate(Way::Down, Some(80_000));
    let mut streams = Vec::new();
    for n in 0..120 {
        streams.push(open_stream(&gateway, 100 * n..100 * (n + 1)).await);
    }
    eventually("all are subscribed", PATIENCE, async || subscribed(&redis).await == 12_001).await;
    for stream in &mut streams {
        stream.until("tidings.ready").await;
    }
    assert_eq!(reconnects().await, before);
    link.rate(Way::Down, None);
    let oracle = Oracle::new();
    let n = Source::connect(&redis.url(), &oracle).await.publish(&["kept"]).await;
    kept.got(n).await;
    assert_eq!(kept.record().connections(), 1);
}
