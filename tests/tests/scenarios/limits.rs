//! More connections than there may be: they are told when to come back, and nobody suffers for them.

use std::time::{Duration, Instant};

use tidings_tests::client::Options;
use tidings_tests::http::{Part, Response, Transport};
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, eventually};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::{Stage, memory};

/// Asks for a stream, in both ways that a gateway has to serve one.
async fn ask(gateway: &Gateway, follow: &str, headers: &[(&str, &str)]) -> [Response; 2] {
    let target = format!("/v1/events?topic={follow}");
    let ask = async |way: Transport| way.get(gateway.public(), None, &target, headers).await.unwrap();
    [ask(Transport::Lean).await, ask(Transport::Server).await]
}

/// What a refusal says in the same block, behind the number of its `retry:`.
const OVERLOAD: &str = "\nevent: tidings.goodbye\ndata: {\"reason\":\"overload\"}\n\n";

/// An EventSource survives this answer, and comes back later than after others.
async fn assert_refused(gateway: &Gateway, follow: &str, headers: &[(&str, &str)]) {
    for mut response in ask(gateway, follow, headers).await {
        assert_eq!((response.status, response.header("content-type")), (200, Some("text/event-stream")));
        let (body, end) = response.body.all().await.unwrap();
        let text = String::from_utf8(body).unwrap();
        let delay = text.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix(OVERLOAD));
        let delay: u64 = delay.and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("not one block: {text:?}"));
        assert!((4_000..8_000).contains(&delay), "{delay} ms, four times stream.retry and its jitter");
        assert_eq!(end, Part::Cut);
    }
}

/// Asks for streams that begin, and holds them.
async fn assert_let_in(gateway: &Gateway, follow: &str, headers: &[(&str, &str)]) -> [Response; 2] {
    let mut held = ask(gateway, follow, headers).await;
    for response in &mut held {
        response.until("tidings.ready").await;
    }
    held
}

async fn refused(gateway: &Gateway, limit: &str) -> f64 {
    gateway.metrics().await.sum("tidings_refused_total", &[("limit", limit)])
}

#[tokio::test]
async fn a_full_gateway_keeps_whom_it_has() {
    let stage = Stage::with(1, |setup| setup.with("limits.connections", "3")).await;
    let gateway = &stage.gateways[0];
    let inside: Vec<Client> =
        (0..3).map(|n| Client::open(&format!("inside {n}"), &[gateway.public()], &["a"])).collect();
    crate::all_ready(&inside).await;
    assert_refused(gateway, "a", &[]).await;
    let poll = reqwest::get(format!("http://{}/v1/poll?topic=a", gateway.public())).await.unwrap();
    let after: u64 = poll.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!((poll.status().as_u16(), (4..=8).contains(&after)), (503, true), "{after}");
    assert!(poll.text().await.unwrap().contains("limits.connections"));
    assert_eq!(refused(gateway, "connections").await, 3.0);

    let waiting = Client::open("waiting", &[gateway.public()], &["a"]);
    waiting.record().until("is refused", PATIENCE, |record| record.connections() >= 2).await;
    stage.source.publish_many(&["a"], 10).await;
    inside[0].stop();
    waiting.ready().await;
    stage.source.publish_many(&["a"], 10).await;
    let records = inside[1..].iter().chain([&waiting]).map(Client::record);
    stage.oracle.settle(records, PATIENCE).await.assert_all_delivered();
    for client in &inside {
        assert_eq!(client.record().count(|what| matches!(what, What::Lost { .. })), 0, "{}", client.record());
    }
}

#[tokio::test]
async fn a_gateway_that_refuses_many_does_not_log_each() {
    let (gateway, _, _) = memory(|setup| setup.with("limits.connections", "1")).await;
    let begun = Instant::now();
    let _inside = assert_refused_after_one(&gateway).await;
    for _ in 0..50 {
        ask(&gateway, "a", &[]).await;
    }
    let told = gateway.log().iter().filter(|line| line.contains("over a limit")).count();
    assert!((1..=begun.elapsed().as_secs() as usize + 1).contains(&told), "{told} lines in {:?}", begun.elapsed());
}

async fn assert_refused_after_one(gateway: &Gateway) -> Client {
    let inside = Client::open("inside", &[gateway.public()], &["a"]);
    inside.ready().await;
    assert_refused(gateway, "a", &[]).await;
    inside
}

#[tokio::test]
async fn one_user_does_not_take_the_place_of_others() {
    let (gateway, _, _) = memory(|setup| setup.with("limits.user", "2")).await;
    let alice = assert_let_in(&gateway, "@alice", &[]).await;
    assert_refused(&gateway, "@alice", &[]).await;
    let _others = [assert_let_in(&gateway, "@bob", &[]).await, assert_let_in(&gateway, "@alice/inbox", &[]).await];
    assert_eq!(refused(&gateway, "user").await, 2.0);
    drop(alice);
    // Until the gateway has noticed that they left.
    let connections = async || gateway.metrics().await.sum("tidings_connections", &[]);
    eventually("they have left", PATIENCE, async || connections().await == 4.0).await;
    assert_let_in(&gateway, "@alice", &[]).await;
}

#[tokio::test]
async fn an_origin_is_what_a_trusted_proxy_says() {
    let set = |setup: tidings_tests::Setup| setup.with("limits.origin", "2");
    let (gateway, _, _) = memory(|setup| set(setup).with("server.trusted_proxies", "10.0.0.0/8,127.0.0.0/8")).await;
    let from = |text| [("X-Forwarded-For", text)];
    let _first = assert_let_in(&gateway, "a", &from("198.51.100.1")).await;
    assert_refused(&gateway, "a", &from("203.0.113.9, 198.51.100.1, 10.9.9.9")).await;
    let _second = assert_let_in(&gateway, "a", &from("198.51.100.1, 198.51.100.2")).await;
    let _household = assert_let_in(&gateway, "a", &from("2001:db8:1:2::3")).await;
    assert_refused(&gateway, "a", &from("2001:db8:1:2:ffff::4")).await;
    assert_eq!(refused(&gateway, "origin").await, 4.0);

    let (believes_nobody, _, _) = memory(set).await;
    let _first = assert_let_in(&believes_nobody, "a", &from("198.51.100.1")).await;
    assert_refused(&believes_nobody, "a", &from("198.51.100.2")).await;
}

#[tokio::test]
async fn a_crowd_comes_in_at_its_pace_and_what_is_too_much_comes_later() {
    const CROWD: usize = 80;
    let (gateway, oracle, source) = memory(|setup| setup.with("limits.rate", "10").with("server.workers", "1")).await;
    let begun = Instant::now();
    // They come back when they are told to, so whoever is refused is not there again while this looks.
    let open = |n| Options::new(&format!("client {n}"), &[gateway.public()], &["a"]).open();
    let crowd: Vec<Client> = (0..CROWD).map(open).collect();
    for client in &crowd {
        client.record().until("is answered", PATIENCE, |record| record.connections() >= 1).await;
    }
    eventually("the first have come in", PATIENCE, async || ready(&crowd) >= 10).await;
    let let_in = async || CROWD as f64 - refused(&gateway, "rate").await;
    eventually("who waits has come in", PATIENCE, async || ready(&crowd) as f64 >= let_in().await).await;
    let most = 10.0 * (begun.elapsed() + Duration::from_millis(200)).as_secs_f64();
    assert!(ready(&crowd) as f64 <= most, "{} of at most {most}", ready(&crowd));
    assert!(refused(&gateway, "rate").await > 0.0, "the crowd was too small to show anything");
    // In the end everybody is there, and heard everything.
    eventually("all have come in", PATIENCE * 2, async || ready(&crowd) == CROWD).await;
    source.publish_many(&["a"], 5).await;
    oracle.settle(crowd.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
}

/// Connects from another address of this machine.
async fn dial(gateway: &Gateway, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(gateway.public()).await.unwrap()
}

#[tokio::test]
async fn one_origin_does_not_use_up_the_turns_of_others() {
    let (gateway, _, _) = memory(|setup| setup.with("limits.rate", "20").with("server.workers", "1")).await;
    // Three connections that open streams and reset them, as fast as they can.
    let mut flood = JoinSet::new();
    for _ in 0..3 {
        let session = Transport::Http2.session(dial(&gateway, [127, 0, 9, 1]).await).await.unwrap();
        for _ in 0..60 {
            let session = session.clone();
            flood.spawn(async move {
                while let Ok(stream) = session.get("/v1/events?topic=a", &[]).await {
                    drop(stream);
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    let came = async || gateway.metrics().await.sum("tidings_connects_total", &[]) + refused(&gateway, "rate").await;
    eventually("turns are used up", PATIENCE, async || came().await > 200.0).await;
    for n in 0..30 {
        let socket = dial(&gateway, [127, 0, 9, 10 + n]).await;
        let mut stream = Transport::Lean.over(socket, None, "/v1/events?topic=a", &[]).await.unwrap();
        stream.until("tidings.ready").await;
    }
    assert_eq!(flood.len(), 180, "the flood went on");
}

fn ready(clients: &[Client]) -> usize {
    clients.iter().filter(|client| client.record().first_ready().is_some()).count()
}

/// Redis stands still, so nobody who comes can begin. Those over the limit come back until it answers.
#[tokio::test]
async fn those_who_wait_to_begin_are_bounded_and_all_begin_in_the_end() {
    let stage = Stage::with(1, |setup| setup.with("limits.waiting", "16").with("beacon.interval", "60s")).await;
    let gateway = &stage.gateways[0];
    let waiting = async || gateway.metrics().await.sum("tidings_connections_waiting", &[]);
    stage.redis.freeze();
    let open = |n| Client::open(&format!("client {n}"), &[gateway.public()], &[&format!("t/{n}")]);
    let clients: Vec<Client> = (0..40).map(open).collect();
    // Of the 16, a quarter is kept for other client addresses.
    eventually("the limit is reached", PATIENCE, async || waiting().await == 12.0).await;
    eventually("the others are refused", PATIENCE, async || refused(gateway, "waiting").await >= 28.0).await;
    assert_eq!(waiting().await, 12.0);
    stage.redis.thaw();
    crate::all_ready(&clients).await;
    eventually("nobody waits", PATIENCE, async || waiting().await == 0.0).await;
    for n in 0..40 {
        stage.source.publish(&[&format!("t/{n}")]).await;
    }
    let records = clients.iter().map(Client::record);
    stage.oracle.settle(records, PATIENCE).await.assert_all_delivered();
}
