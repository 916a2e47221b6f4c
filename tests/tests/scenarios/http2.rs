//! HTTP/2 itself: many streams on one connection, and how they and it end.

use std::time::{Duration, Instant};

use tidings_tests::http::{Part, Response, Session};
use tidings_tests::proxy::Way;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Gateway, Proxy, eventually};
use tokio::time::timeout;

use crate::memory;

/// Opens a stream and reads until `text` came.
async fn stream(session: &Session, text: &str) -> Response {
    let mut response = session.get("/v1/events?topic=a", &[]).await.unwrap();
    assert_eq!(response.status, 200);
    response.until(text).await;
    response
}

async fn connections(gateway: &Gateway, count: f64) {
    let counted = async || gateway.metrics().await.sum("tidings_connections", &[]) == count;
    eventually(&format!("{count} connections are open"), PATIENCE, counted).await;
}

#[tokio::test]
async fn a_hundred_streams_and_one_more() {
    // So late a heartbeat cannot be what tells the gateway that a stream was closed.
    let (gateway, _, source) = memory(|setup| setup.with("stream.heartbeat", "60s")).await;
    let session = Session::open(gateway.public()).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(stream(&session, "tidings.ready").await);
    }
    let n = source.publish(&["a"]).await;
    for stream in &mut streams {
        stream.until(&format!("\"n\":{n}")).await;
    }
    let mut refused = session.get("/v1/events?topic=a", &[]).await.unwrap();
    assert_eq!((refused.status, refused.header("content-type")), (200, Some("text/event-stream")));
    let (body, end) = refused.body.all().await.unwrap();
    let told = String::from_utf8(body).unwrap();
    assert!(told.starts_with("retry: ") && told.contains("\"overload\"") && told.lines().count() == 4, "{told:?}");
    assert_eq!(end, Part::Cut);

    let mut poll = session.get("/v1/poll?topic=a", &[]).await.unwrap();
    assert_eq!((poll.status, poll.body.all().await.unwrap().1), (200, Part::End), "there is room besides streams");
    let other = Session::open(gateway.public()).await.unwrap();
    stream(&other, "tidings.ready").await;

    drop(streams.pop());
    eventually("the place of a closed stream is free", PATIENCE, async || {
        let mut response = session.get("/v1/events?topic=a", &[]).await.unwrap();
        let mut read = String::new();
        while let Ok(Ok(Part::Bytes(bytes))) = timeout(PATIENCE, response.body.next()).await {
            read.push_str(std::str::from_utf8(&bytes).unwrap());
            if read.contains("tidings.ready") {
                return true;
            }
        }
        false
    })
    .await;
    drop((streams, session, other));
    connections(&gateway, 0.0).await;
}

#[tokio::test]
async fn requests_have_bodies_and_problems() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let session = Session::open(gateway.public()).await.unwrap();
    let mut page = stream(&session, "tidings.ready").await;
    let body = format!("{{\"to\":\"a\",\"data\":{{\"text\":\"{}the end\"}}}}", "x".repeat(60_000));
    let headers = [("content-type", "application/json"), ("origin", &format!("http://{}", gateway.public()))];
    let mut published = session.send("POST", "/v1/publish", &headers, &body).await.unwrap();
    let (answer, end) = published.body.all().await.unwrap();
    assert_eq!((published.status, end), (200, Part::End), "{}", String::from_utf8_lossy(&answer));
    page.until("the end").await;
    for (method, target, status) in [
        ("GET", "/v1/events", 400),
        ("GET", "/v1/poll?topic=a%20b", 400),
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/events?topic=a", 405),
    ] {
        let mut refused = session.send(method, target, &[], "").await.unwrap();
        assert_eq!((refused.status, refused.header("content-type")), (status, Some("application/problem+json")));
        let problem: serde_json::Value = serde_json::from_slice(&refused.body.all().await.unwrap().0).unwrap();
        assert_eq!(problem["status"], status);
    }
    let mut head = session.send("HEAD", "/v1/poll?topic=a", &[], "").await.unwrap();
    assert_eq!((head.status, head.body.all().await.unwrap()), (200, (Vec::new(), Part::End)));
}

/// A browser that kept its connection would come back on it, and so to the gateway that ends.
#[tokio::test]
async fn clients_are_told_to_leave_a_gateway_that_ends() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let session = Session::open(gateway.public()).await.unwrap();
    let mut page = stream(&session, "tidings.ready").await;
    let begun = Instant::now();
    gateway.terminate();
    page.until("tidings.goodbye").await;
    assert_eq!(timeout(PATIENCE, page.body.all()).await.unwrap().unwrap().1, Part::Cut);
    eventually("the connection is closed", PATIENCE, async || session.is_closed()).await;
    assert_eq!(gateway.exit().await.code(), Some(0));
    // What the server grants connections that stay.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_without_streams_is_closed() {
    let (gateway, _, _) = memory(|setup| setup.with("stream.heartbeat", "300ms")).await;
    let (idle, busy) = (Session::open(gateway.public()).await.unwrap(), Session::open(gateway.public()).await.unwrap());
    let mut page = stream(&busy, "tidings.ready").await;
    eventually("the idle connection is closed", PATIENCE, async || idle.is_closed()).await;
    page.until("tidings.tick").await;
    assert!(!busy.is_closed());
}

#[tokio::test]
async fn a_client_that_answers_nothing_is_found() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let proxy = Proxy::start(gateway.public()).await;
    let session = Session::open(proxy.addr()).await.unwrap();
    let _page = stream(&session, "tidings.ready").await;
    connections(&gateway, 1.0).await;
    // The proxy's kernel goes on to acknowledge what the gateway writes: only an answer tells that someone is there.
    proxy.freeze(Way::Up);
    connections(&gateway, 0.0).await;
}
