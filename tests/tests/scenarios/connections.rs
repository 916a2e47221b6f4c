//! How long connections last: silent ones, stalled bodies, kept-alive ones, and those of a gateway that drains.

use std::time::Instant;

use tidings_tests::http::{Part, Session, Transport};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Certificate, Gateway};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::memory;

const POLL: &str = "GET /v1/poll?topic=a HTTP/1.1\r\nHost: x\r\n\r\n";

async fn dial(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.public()).await.unwrap()
}

/// All that comes until the connection is closed.
async fn rest(wire: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let _end = timeout(PATIENCE * 2, wire.read_to_end(&mut read)).await.expect("the connection is closed");
    String::from_utf8_lossy(&read).into_owned()
}

/// One answer with a length.
async fn answer(wire: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
        if let (Some(length), Some((_, body))) = (length, text.split_once("\r\n\r\n"))
            && body.len() >= length
        {
            return text;
        }
        let count = timeout(PATIENCE, wire.read_buf(&mut read)).await.expect("an answer in time").unwrap();
        assert!(count > 0, "closed after {text:?}");
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_has_the_same_time_everywhere() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let half = "GET /v1/events?topic=a HTTP/1.1\r\nHost: ";
    let mut lines = Vec::new();
    for (before, head) in [("", ""), ("", half), ("", "GET /v1/po"), (POLL, half)] {
        let mut wire = dial(&gateway).await;
        if !before.is_empty() {
            wire.write_all(before.as_bytes()).await.unwrap();
            answer(&mut wire).await;
        }
        wire.write_all(head.as_bytes()).await.unwrap();
        lines.push((head, wire, Instant::now()));
    }
    let closed = lines.into_iter().map(|(head, mut wire, begun)| async move {
        let text = rest(&mut wire).await;
        assert_eq!(text.starts_with("HTTP/1.1 408 "), !head.is_empty(), "{head:?}: {text:?}");
        begun.elapsed()
    });
    let times = futures_util::future::join_all(closed).await;
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*last < *first * 2, "{times:?}");
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_everywhere() {
    const HEAD: &str = "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{\"to\":";
    let (gateway, _, _) = memory(|setup| setup).await;
    let stalled = async |to, before: &str| {
        let mut wire = TcpStream::connect(to).await.unwrap();
        if !before.is_empty() {
            wire.write_all(before.as_bytes()).await.unwrap();
            answer(&mut wire).await;
        }
        wire.write_all(HEAD.as_bytes()).await.unwrap();
        let text = rest(&mut wire).await;
        assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("\"detail\":\"the body stalled"), "{text}");
    };
    let http2 = async {
        let session = Session::open(gateway.public()).await.unwrap();
        let answered = session.stall("/v1/publish", "{\"to\":");
        let mut response = timeout(PATIENCE * 2, answered).await.expect("an answer").unwrap();
        let (body, end) = response.body.all().await.unwrap();
        assert_eq!((response.status, end), (408, Part::End), "{}", String::from_utf8_lossy(&body));
    };
    tokio::join!(stalled(gateway.public(), ""), stalled(gateway.public(), POLL), stalled(gateway.admin(), ""), http2);
}

#[tokio::test]
async fn a_connection_is_kept_for_as_long_as_is_set() {
    let (long, _, _) = memory(|setup| setup).await;
    let (short, _, _) = memory(|setup| setup.with("server.keep_alive", "1s")).await;
    let (mut kept, mut closed) = (dial(&long).await, dial(&short).await);
    for wire in [&mut kept, &mut closed] {
        wire.write_all(POLL.as_bytes()).await.unwrap();
        assert!(answer(wire).await.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(rest(&mut closed).await, "");
    kept.write_all(POLL.as_bytes()).await.unwrap();
    assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_gateway_that_drains_lets_no_poller_stay() {
    let certificate = Certificate::new();
    let (gateway, _, _) = memory(|setup| certificate.set(setup).with("drain.window", "1h")).await;
    let (plain, _, _) = memory(|setup| setup.with("drain.window", "1h")).await;
    let secure = certificate.trust(&["http/1.1"]);
    let secure = secure.bytes(dial(&gateway).await).await.unwrap();
    assert_moves(&gateway, secure).await;
    let wire = dial(&plain).await;
    assert_moves(&plain, wire).await;
}

/// A waiting poll is answered with `Connection: close`, and an idle connection is closed.
async fn assert_moves(gateway: &Gateway, mut wire: impl AsyncRead + AsyncWrite + Unpin) {
    let stream = Transport::Lean;
    let _keeps_it_running = match gateway.public_get("/v1/poll?topic=a").await.0 {
        200 => Some(stream.get(gateway.public(), None, "/v1/events?topic=a", &[]).await.unwrap()),
        _ => None,
    };
    wire.write_all(POLL.as_bytes()).await.unwrap();
    let first = answer(&mut wire).await;
    let (_, cursor) = first.split_once("\"cursor\":\"").unwrap();
    let cursor = cursor.split('"').next().unwrap();
    let waits = format!("GET /v1/poll?topic=a&wait=3s&cursor={cursor} HTTP/1.1\r\nHost: x\r\n\r\n");
    wire.write_all(waits.as_bytes()).await.unwrap();
    let waiting = async || gateway.metrics().await.sum("tidings_connections", &[]) > 0.0;
    tidings_tests::eventually("the poll waits", PATIENCE, waiting).await;
    gateway.terminate();
    let text = rest(&mut wire).await;
    assert!(text.starts_with("HTTP/1.1 ") && text.contains("\r\nconnection: close\r\n"), "{text}");
}

#[tokio::test]
async fn health_is_asked_for_by_any_method_that_balancers_use() {
    let (gateway, _, _) = memory(|setup| setup).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let mut wire = TcpStream::connect(gateway.admin()).await.unwrap();
            let request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
            wire.write_all(request.as_bytes()).await.unwrap();
            let text = rest(&mut wire).await;
            let expected = if (path, method) == ("/metrics", "OPTIONS") { 405 } else { 200 };
            assert!(text.starts_with(&format!("HTTP/1.1 {expected} ")), "{method} {path}: {text}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains("content-length: ") && body.is_empty() == (method == "HEAD"),
                "{method} {path}: {text}"
            );
        }
    }
}
