//! Sockets that never speak: they hold descriptors, and nobody else may suffer for that.

use std::net::SocketAddr;
use std::time::Duration;

use tidings_tests::http::Transport;
use tidings_tests::{Client, eventually, wait};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::memory;

/// Descriptors of the gateway.
const FILES: u32 = 200;
/// Sockets that never speak.
const SILENT: usize = 260;
const TARGET: &str = "/v1/events?topic=a";

/// Connects from an address of its own, as each attacker has several.
async fn dial(to: SocketAddr, from: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 7, (from % 250) as u8 + 1], 0)))?;
    socket.connect(to).await
}

/// Opens sockets that send `half` and nothing more.
async fn flood(to: SocketAddr, half: &str) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for n in 0..SILENT {
        let dialled = tokio::time::timeout(Duration::from_secs(1), dial(to, n)).await;
        if let Ok(Ok(mut socket)) = dialled {
            let _closed_already = socket.write_all(half.as_bytes()).await;
            held.push(socket);
        }
    }
    held
}

#[tokio::test]
async fn sockets_that_never_speak_keep_nobody_out() {
    let (gateway, oracle, source) = memory(|setup| setup.files(FILES)).await;
    let inside: Vec<Client> =
        (0..20).map(|n| Client::open(&format!("inside {n}"), &[gateway.public()], &["a"])).collect();
    crate::all_ready(&inside).await;
    for half in ["", "GET /v1/events?topic=a HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let _held = flood(gateway.public(), half).await;
        assert_eq!(gateway.admin_get("/livez").await.0, 200, "after {half:?}");
        for way in Transport::PLAIN {
            let mut stream = way.get(gateway.public(), None, TARGET, &[]).await.unwrap();
            stream.until("tidings.ready").await;
        }
    }
    let closed = async || gateway.metrics().await.sum("tidings_silent_closed_total", &[]);
    assert!(closed().await >= SILENT as f64 / 2.0, "{}", closed().await);
    source.publish_many(&["a"], 10).await;
    oracle.settle(inside.iter().map(Client::record), wait::PATIENCE).await.assert_all_delivered();
    for client in &inside {
        assert_eq!(client.record().connections(), 1, "{}", client.record());
    }
    // What was held is given back.
    let open = async || gateway.metrics().await.sum("tidings_sockets", &[]);
    eventually("the flood is gone", wait::PATIENCE, async || open().await <= 25.0).await;
}

#[tokio::test]
async fn the_admin_listener_is_not_kept_busy_by_sockets_that_never_speak() {
    let (gateway, _, _) = memory(|setup| setup.files(FILES)).await;
    let _held = flood(gateway.admin(), "").await;
    assert_eq!(gateway.admin_get("/livez").await.0, 200);
    let mut stream = Transport::Lean.get(gateway.public(), None, TARGET, &[]).await.unwrap();
    stream.until("tidings.ready").await;
    assert!(gateway.metrics().await.sum("tidings_silent_closed_total", &[]) > 0.0);
}

#[tokio::test]
async fn a_crowd_of_publishers_is_not_taken_for_silence() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let publish = (0..300).map(|n| {
        let url = format!("{}/v1/publish", gateway.url());
        let body = format!("{{\"to\":\"crowd/{n}\"}}");
        async move { reqwest::Client::new().post(url).body(body).send().await.map(|answer| answer.status().as_u16()) }
    });
    for status in futures_util::future::join_all(publish).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(gateway.metrics().await.sum("tidings_silent_closed_total", &[]), 0.0);
}
