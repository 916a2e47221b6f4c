//! What pages of foreign names may not do, though they resolve to a listener's address.

use serde_json::Value;
use tidings_tests::Setup;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::memory;

/// The status and the problem of a request.
async fn ask(to: std::net::SocketAddr, request: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let body = if request.starts_with("POST") { "{\"to\":\"a\"}" } else { "{\"quantity\":2}" };
    let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match request.starts_with("GET") {
        true => text.push_str("\r\n"),
        false => text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len())),
    }
    let mut wire = TcpStream::connect(to).await.unwrap();
    wire.write_all(text.as_bytes()).await.unwrap();
    let mut read = String::new();
    wire.read_to_string(&mut read).await.unwrap();
    let status = read.split(' ').nth(1).unwrap().parse().unwrap();
    let body = read.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn a_page_whose_name_was_rebound_reads_and_publishes_nothing() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let (public, admin) = (gateway.public(), gateway.admin());
    let evil = [("Host", "evil.example:9090"), ("Origin", "http://evil.example:9090")];
    for request in ["GET /metrics", "GET /livez", "GET /readyz", "POST /v1/publish", "GET /nothing"] {
        let (status, problem) = ask(admin, request, &evil).await;
        assert_eq!(status, 421, "{request}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("admin.hosts"), "{problem}");
    }
    for request in ["POST /v1/publish", "PUT /demo/orders/3"] {
        let (status, problem) = ask(public, request, &evil).await;
        assert_eq!(status, 421, "{request}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("server.hosts"), "{problem}");
        let own = public.to_string();
        assert_eq!(ask(public, request, &[("Host", &own), evil[1]]).await.0, 403, "{request}");
        let page = format!("http://{own}");
        assert_eq!(ask(public, request, &[("Host", &own), ("Origin", &page)]).await.0, 200, "{request}");
        assert_eq!(ask(public, request, &[("Host", "localhost")]).await.0, 200, "{request}");
    }
    // Who only reads is not asked by which name.
    assert_eq!(ask(public, "GET /v1/poll?topic=a", &evil).await.0, 200);
    assert_eq!(ask(public, "GET /demo/orders/3", &evil).await.0, 200);
}

#[tokio::test]
async fn listeners_answer_to_the_names_that_are_set() {
    let set = |setup: Setup| setup.with("admin.hosts", "tidings.internal").with("server.hosts", "app.example");
    let (gateway, _, _) = memory(set).await;
    let named = [("Host", "tidings.internal:9090")];
    assert_eq!(ask(gateway.admin(), "POST /v1/publish", &named).await.0, 200);
    assert_eq!(ask(gateway.admin(), "GET /metrics", &named).await.0, 200);
    assert_eq!(ask(gateway.admin(), "GET /metrics", &[("Host", "app.example")]).await.0, 421);
    let page = [("Host", "app.example"), ("Origin", "https://app.example")];
    assert_eq!(ask(gateway.public(), "PUT /demo/orders/3", &page).await.0, 200);
    assert_eq!(ask(gateway.public(), "POST /v1/publish", &[("Host", "tidings.internal")]).await.0, 421);
}
