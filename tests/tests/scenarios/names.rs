//! SSE event names: those of publishers, those of connections, and under which of them a resync is heard.

use std::time::Duration;

use tidings_shared::Event;
use tidings_tests::client::Options;
use tidings_tests::gateway::publics;
use tidings_tests::http::{Body, Part, Transport, target};
use tidings_tests::poller::poll;
use tidings_tests::publish::event;
use tidings_tests::record::What;
use tidings_tests::sse::{Item, Parser};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Source};
use tokio::time::timeout;

use crate::{Stage, memory};

/// The names under which `count` messages came, but for control events; empty for `onmessage`.
async fn names(body: &mut Body, count: usize) -> Vec<String> {
    let (mut parser, mut names) = (Parser::resuming(""), Vec::new());
    while names.len() < count {
        match timeout(PATIENCE, body.next()).await.expect("more").unwrap() {
            Part::Bytes(bytes) => names.extend(parser.feed(&bytes).into_iter().filter_map(|item| match item {
                Item::Event(event) if !event.name.starts_with("tidings.") => Some(event.name),
                _ => None,
            })),
            end => panic!("{end:?} after {names:?}"),
        }
    }
    names
}

/// The names under which a stream that begins with an unreadable cursor hears its resyncs, `count` of them.
async fn resynced(gateway: &Gateway, transport: &Transport, topic: &str, own: &str, count: usize) -> Vec<String> {
    let query = [("topic", topic), ("cursor", "nonsense"), ("name", own)];
    let query: Vec<_> = query.iter().filter(|(_, value)| !value.is_empty()).collect();
    let query: Vec<_> = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let target = target("/v1/events", &query);
    let response = transport.get(gateway.public(), None, &target, &[]);
    let mut response = timeout(PATIENCE, response).await.expect("an answer").unwrap();
    assert_eq!(response.status, 200, "{transport:?}");
    names(&mut response.body, count).await
}

async fn named(source: &Source, n: u64, name: &str) {
    source.send(event(&["a"], n, 0).name(name)).await.unwrap();
}

#[tokio::test]
async fn a_resync_is_heard_under_each_name_that_is_known() {
    let (gateway, _, source) = memory(|setup| setup.with("stream.resync_spread", "100ms")).await;
    let page = Client::open("page", &[gateway.public()], &["a", "b"]);
    page.ready().await;
    named(&source, 0, "x").await;
    named(&source, 1, "y").await;
    page.got(1).await;
    for transport in &Transport::PLAIN {
        // What a parser calls a message is what has no name.
        assert_eq!(resynced(&gateway, transport, "a", "", 3).await, ["message", "x", "y"], "{transport:?}");
        assert_eq!(resynced(&gateway, transport, "a", "mine", 1).await, ["mine"], "{transport:?}");
        // Of this one nobody remembers a name: only a name of the connection's own is certain.
        assert_eq!(resynced(&gateway, transport, "b", "", 1).await, ["message"], "{transport:?}");
        assert_eq!(resynced(&gateway, transport, "b", "mine", 1).await, ["mine"], "{transport:?}");
    }
    for name in [None, Some(("name".to_owned(), "mine".to_owned()))] {
        let query = [("topic", "a"), ("cursor", "nonsense"), ("wait", "0")];
        let query = query.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().chain(name);
        let answer = poll(&reqwest::Client::new(), gateway.public(), &query.collect::<Vec<_>>()).await.unwrap();
        assert_eq!(answer.events.len(), 1, "a poll lists it once: {:?}", answer.events);
    }
}

#[tokio::test]
async fn a_redis_that_lost_its_data_is_heard_under_each_name() {
    let stage = Stage::of(1).await;
    let mut response =
        Transport::of_environment().get(stage.gateways[0].public(), None, "/v1/events?topic=a", &[]).await.unwrap();
    response.until("tidings.ready").await;
    named(&stage.source, 0, "x").await;
    assert_eq!(names(&mut response.body, 1).await, ["x"]);
    stage.redis.flush().await;
    let heard = names(&mut response.body, 2).await;
    assert_eq!(heard, ["message", "x"]);
}

#[tokio::test]
async fn a_connection_with_a_name_hears_everything_under_it() {
    let stage = Stage::of(2).await;
    named(&stage.source, 0, "x").await;
    let options = Options::new("named", &publics(&stage.gateways), &["a", "c"]).with("name", "mine").with("tail", "1");
    let client = options.retry_at_most(Duration::from_millis(200)).open();
    client.ready().await;
    // Live, with a name of its publisher and without, and to several addresses; then in a replay.
    named(&stage.source, 1, "x").await;
    stage.source.send(event(&["a", "c"], 2, 0)).await.unwrap();
    client.got(2).await;
    client.leave();
    client.record().until("has left", PATIENCE, |record| record.count(|w| matches!(w, What::Lost { .. })) == 1).await;
    named(&stage.source, 3, "y").await;
    stage.source.send(event(&["a"], 4, 0)).await.unwrap();
    client.come_back();
    client.got(4).await;
    assert_eq!(client.record().serials(), [0, 1, 2, 3, 4], "{}", client.record());
    let messages = client.record().messages();
    assert!(messages.iter().all(|message| message.name == "mine"), "{}", client.record());
    // The data still says what the publisher called it.
    assert!(messages[3].data.contains("\"event\":\"y\""), "{}", messages[3].data);
    assert_eq!(client.record().faults(), [""; 0]);
}

#[tokio::test]
async fn a_name_coalesces_whatever_names_publishers_gave() {
    let (gateway, _, source) = memory(|setup| setup).await;
    let open = |own: Option<&str>| {
        let options = Options::new("few", &[gateway.public()], &["a"]).with("every", "1s");
        own.into_iter().fold(options, |options, own| options.with("name", own)).open()
    };
    let (own, without) = (open(Some("mine")), open(None));
    own.ready().await;
    without.ready().await;
    for (n, name) in [(0, "x"), (1, "x"), (2, "y"), (3, "x")] {
        let refresh = Event::refresh("a").data(serde_json::value::to_raw_value(&serde_json::json!({"n": n})).unwrap());
        source.send(refresh.name(name)).await.unwrap();
    }
    own.got(3).await;
    without.got(3).await;
    let last_of_each = |client: &Client| client.record().serials().contains(&2);
    assert!(last_of_each(&without), "each name has its last: {}", without.record());
    assert!(own.record().serials().len() <= without.record().serials().len(), "{}", own.record());
}

#[tokio::test]
async fn a_reserved_name_is_refused() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let http = reqwest::Client::new();
    for name in ["", "open", "error", "tidings.ready", "a%20b", "a%0Ab", &"x".repeat(129)] {
        for path in ["/v1/events", "/v1/poll"] {
            let url = format!("http://{}{path}?topic=a&name={name}", gateway.public());
            let response = http.get(url).send().await.unwrap();
            let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
            assert!(status == 400 && text.contains("\"field\":\"name\""), "{name:?}: {status} {text}");
        }
    }
}
