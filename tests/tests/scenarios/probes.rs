//! The listener for probes: health and metrics for whoever reaches it, and nothing else.

use std::net::SocketAddr;

use tidings_tests::port::Port;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Gateway, eventually};

use crate::memory;

async fn probed() -> (Gateway, Port, SocketAddr) {
    let port = Port::free();
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let (gateway, _, _) =
        memory(|setup| setup.with("probe.listen", &address.to_string()).with("drain.grace", "30s")).await;
    (gateway, port, address)
}

async fn ask(method: reqwest::Method, at: SocketAddr, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.request(method, format!("http://{at}{path}"));
    let request = request.header("Host", "gateway.monitoring.svc").header("Origin", "https://other.example");
    let response = request.header("Content-Type", "application/json").body(r#"{"to":"a"}"#).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn probes_are_answered_by_any_name_and_can_do_nothing_else() {
    let (gateway, _port, probe) = probed().await;
    for (path, text) in [("/livez", "ok"), ("/readyz", "\"ready\":true"), ("/metrics", "tidings_build_info")] {
        let (status, body) = ask(reqwest::Method::GET, probe, path).await;
        assert!(status == 200 && body.contains(text), "{path}: {status} {body}");
        assert_eq!(ask(reqwest::Method::HEAD, probe, path).await, (200, String::new()), "{path}");
    }
    assert_eq!(ask(reqwest::Method::OPTIONS, probe, "/readyz").await.0, 200);
    for path in ["/v1/publish", "/v1/events?topic=a", "/v1/poll?topic=a", "/", "/demo/orders/3"] {
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            assert_eq!(ask(method, probe, path).await.0, 404, "{path}");
        }
    }
    assert_eq!(gateway.admin_get("/livez").await.0, 200, "the admin listener stays as it is");
}

#[tokio::test]
async fn a_gateway_that_drains_is_unready_there_too() {
    let (gateway, _port, probe) = probed().await;
    let unready = async || ask(reqwest::Method::GET, probe, "/readyz").await.0 == 503;
    assert!(!unready().await);
    gateway.terminate();
    eventually("it is unready", PATIENCE, unready).await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let (_gateway, _port, probe) = probed().await;
    let admin = Port::free();
    let mut command = std::process::Command::new(tidings_tests::gateway::binary());
    command.args(["--server.listen", "127.0.0.1:0", "--admin.listen", &format!("127.0.0.1:{}", admin.number())]);
    command.args(["--probe.listen", &probe.to_string()]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("probe.listen = "), "{told}");
}
