//! The client against a server that follows a script.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store, no-transform\r\n\
                    X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Gives one answer to each connection in turn and then cuts it; tells each request.
async fn scripted(answers: Vec<String>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = socket.read(&mut request).await.unwrap();
            tell.send(String::from_utf8_lossy(&request[..length]).into_owned()).unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (addr, told)
}

fn stream(blocks: &[&str]) -> String {
    let chunk = |block: &&str| format!("{:x}\r\n{block}\r\n", block.len());
    format!("{HEAD}{}", blocks.iter().map(chunk).collect::<String>())
}

#[tokio::test]
async fn comes_back_with_its_cursor_and_dies_as_a_browser_would() {
    let ready = "event: tidings.ready\nid: 1.a.5-0\ndata: {\"connection\":\"c\",\"topics\":[\"a b\"]}\n\n";
    let (server, mut requests) = scripted(vec![
        stream(&[
            "retry: 1000\n\n",
            ready,
            "id: 1.a.6-0\ndata: {\"topic\":\"a b\",\"data\":{\"n\":3}}\n\n",
            "id: 1.a.7-0\ndata: {\"unfin",
        ]),
        stream(&[
            "retry: 1000\n\n",
            "data: {\"topic\":\"a b\",\"resync\":true,\"reason\":\"slow\"}\n\n",
            "event: tidings.goodbye\ndata: {\"reason\":\"drain\"}\n\n",
        ]),
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
        stream(&[]),
    ])
    .await;
    let client = Client::open("client", &[server], &["a b"]);
    client.record().until("is dead", PATIENCE, |r| r.count(|what| matches!(what, What::Dead { .. })) > 0).await;
    let asked: Vec<String> = std::iter::from_fn(|| requests.try_recv().ok()).collect();
    assert_eq!(asked.len(), 3, "nothing more after its death");
    assert!(
        asked[0].starts_with("GET /v1/events?topic=a%20b HTTP/1.1\r\n") && !asked[0].contains("Last-Event-ID"),
        "{}",
        asked[0]
    );
    assert!(asked[1].contains("Last-Event-ID: 1.a.6-0\r\n"), "an unfinished event does not count: {}", asked[1]);
    assert!(asked[2].contains("Last-Event-ID: 1.a.6-0\r\n"), "a resync does not move the cursor: {}", asked[2]);
    let record = client.record();
    assert_eq!((record.serials(), record.resyncs().len(), record.connections()), (vec![3], 1, 2));
    assert_eq!(record.faults(), [""; 0]);
    assert_eq!(record.count(|what| matches!(what, What::Goodbye { reason } if reason == "drain")), 1);
}

#[tokio::test]
async fn notes_what_a_server_must_not_do() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (server, _requests) = scripted(vec![format!("{head}8\r\nid: 5-0\n\r\n1\r\n\n\r\n0\r\n\r\n")]).await;
    let client = Client::open("client", &[server], &["a"]);
    client.record().until("is lost", PATIENCE, |r| r.count(|what| matches!(what, What::Lost { .. })) > 0).await;
    let faults = client.record().faults().join("\n");
    for fault in ["cache-control", "x-accel-buffering", "begin with retry", "without data", "ended cleanly"] {
        assert!(faults.contains(fault), "{fault} is not in {faults}");
    }
}

#[tokio::test]
async fn wrong_content_type_is_death() {
    let (server, _requests) =
        scripted(vec!["HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n".to_owned()]).await;
    let client = Client::open("client", &[server], &["a"]);
    client.record().until("is dead", PATIENCE, |r| r.count(|what| matches!(what, What::Dead { .. })) > 0).await;
}

#[tokio::test]
async fn paused_it_reads_nothing_and_can_still_be_dropped() {
    let tick = "event: tidings.tick\nid: 1.a.5-0\ndata:\n\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::open("client", &[listener.local_addr().unwrap()], &["a"]);
    let (mut socket, _) = listener.accept().await.unwrap();
    let _ = socket.read(&mut [0; 4096]).await.unwrap();
    socket.write_all(stream(&["retry: 1000\n\n", tick]).as_bytes()).await.unwrap();
    let ticks = |record: &Record| record.count(|what| matches!(what, What::Tick { .. }));
    client.record().until("ticks", PATIENCE, |record| ticks(record) == 1).await;
    client.pause();
    tokio::task::yield_now().await;
    let more = stream(&[tick]).replace(HEAD, "");
    socket.write_all(more.as_bytes()).await.unwrap();
    assert!(
        timeout(Duration::from_millis(200), client.record().until("ticks", PATIENCE, |r| ticks(r) == 2)).await.is_err()
    );
    client.resume();
    client.record().until("ticks", PATIENCE, |record| ticks(record) == 2).await;
    client.pause();
    client.drop_connection();
    assert_eq!(socket.read(&mut [0; 9]).await.unwrap_or(0), 0);
    let (_again, _) = listener.accept().await.unwrap();
}
