//! Whatever comes in, the answer says what is wrong, and the gateway stays up.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, eventually, gateway};

use crate::memory;

/// A refused request must answer this status with a problem that has these fields.
async fn refused(request: reqwest::RequestBuilder, status: u16, field: Option<&str>, says: &[&str]) {
    let told = format!("{request:?}");
    let response = request.send().await.unwrap();
    let (got, content_type) = (response.status().as_u16(), response.headers().get("content-type").cloned());
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{told:.300}: {text}");
    assert_eq!(content_type.unwrap(), "application/problem+json", "{told:.300}: {text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&problem["type"], &problem["status"]), (&"about:blank".into(), &status.into()), "{text}");
    assert!(
        !problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty(),
        "{text}"
    );
    assert!(text.len() < 4096, "{text}");
    if let Some(field) = field {
        assert_eq!(problem["field"], field, "{told:.300}: {text}");
        assert!(problem["value"].is_string() && problem["expected"].is_string(), "{text}");
    }
    for part in says {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

async fn still_up(gateway: &mut Gateway) {
    assert!(gateway.is_up());
    let client = Client::open("afterwards", &[gateway.public()], &["a"]);
    client.ready().await;
}

fn url(at: SocketAddr, path: &str) -> String {
    format!("http://{at}{path}")
}

#[tokio::test]
async fn in_the_query() {
    let (mut gateway, _, _) = memory(|setup| setup).await;
    let http = reqwest::Client::new();
    let many = (0..101).map(|n| format!("topic=t{n}")).collect::<Vec<_>>().join("&");
    let long = format!("topic={}", "x".repeat(201));
    let cases: &[(&str, &str, &[&str])] = &[
        ("", "topic", &[]),
        ("topic=", "topic", &[]),
        ("topic=a%20b", "topic", &["a b", "orders/42"]),
        ("topic=good&topic=a//b", "topic", &["a//b"]),
        ("topic=%ff", "topic", &[]),
        ("topic=@", "topic", &[]),
        ("topic=a*", "topic", &[]),
        (&long, "topic", &["200 bytes"]),
        (&many, "topic", &["101", "100"]),
        ("topic=a&types=a%20b", "types", &["a b"]),
        ("topic=a&tail=maybe", "tail", &["maybe"]),
    ];
    for path in ["/v1/events", "/v1/poll"] {
        for (query, field, says) in cases {
            refused(http.get(url(gateway.public(), &format!("{path}?{query}"))), 400, Some(field), says).await;
        }
    }
    for wait in ["soon", "-1s", "2h", "1"] {
        let poll = format!("/v1/poll?topic=a&wait={wait}");
        refused(http.get(url(gateway.public(), &poll)), 400, Some("wait"), &[wait]).await;
    }
    still_up(&mut gateway).await;
}

#[tokio::test]
async fn in_the_body() {
    let (mut gateway, _, _) = memory(|setup| setup).await;
    let http = reqwest::Client::new();
    let big = format!("{{\"to\":\"a\",\"data\":\"{}\"}}", "x".repeat(65_536));
    let cases: &[(&str, Option<&str>, &[&str])] = &[
        ("", None, &[]),
        ("{\"to\":", None, &["line 1"]),
        ("nonsense", None, &["line 1"]),
        ("42", Some("body"), &["object"]),
        ("{}", Some("to"), &["orders/42"]),
        ("{\"to\":null}", Some("to"), &["null", "orders/42"]),
        ("{\"to\":[\"a\",7]}", Some("to[1]"), &["7", "in quotes"]),
        ("{\"to\":[]}", Some("to"), &[]),
        ("{\"to\":\"a b\"}", Some("to"), &["a b"]),
        ("{\"to\":[\"a\",\"b c\"]}", Some("to[1]"), &["b c"]),
        ("{\"to\":\"a\",\"tpye\":\"x\"}", Some("tpye"), &["to, type, version"]),
        ("{\"to\":\"a\",\"type\":\"x y\"}", Some("type"), &["x y"]),
        ("{\"to\":\"a\",\"event\":\"tidings.ready\"}", Some("event"), &["reserved"]),
        ("{\"to\":\"a\",\"version\":true}", Some("version"), &["true", "or a number"]),
        ("{\"to\":\"a\",\"coalesce\":\"no\"}", Some("coalesce"), &["true or false"]),
        ("[{\"to\":\"a\"},{\"to\":[\"a\",7]}]", Some("[1].to[1]"), &["7", "in quotes"]),
        ("[{\"to\":\"a\"},7]", Some("[1]"), &["7", "object"]),
        ("[{\"to\":\"a\",\"key\":7}]", Some("[0].key"), &["7", "in quotes"]),
        ("[{\"to\":\"a\"},{\"to\":\"a\"},{\"to\":[\"a\",\"b c\"]}]", Some("[2].to[1]"), &["b c"]),
        (&big, Some("data"), &["65536"]),
    ];
    let words = ["invalid type", "untagged", "variant", "deserialize", "duplicate field", "missing field"];
    // With the embedded store the public listener takes publishes as well.
    for at in [gateway.admin(), gateway.public()] {
        for (body, field, says) in cases {
            let request =
                http.post(url(at, "/v1/publish")).header("content-type", "application/json").body((*body).to_owned());
            let again = request.try_clone().unwrap();
            refused(request, 400, *field, says).await;
            let text = again.send().await.unwrap().text().await.unwrap();
            assert!(!words.iter().any(|word| text.contains(word)), "{body:.300}: {text}");
        }
        let huge = http.post(url(at, "/v1/publish")).header("content-type", "application/json");
        refused(huge.body(vec![b' '; 64 * 1024 * 1024]), 413, None, &[]).await;
    }
    still_up(&mut gateway).await;
}

#[tokio::test]
async fn a_version_may_be_a_number() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    let http = reqwest::Client::new();
    let bodies = [r#"{"to":"a","version":7.50,"coalesce":false}"#, r#"[{"to":"a","version":8,"coalesce":false}]"#];
    for body in bodies {
        let request = http.post(url(gateway.admin(), "/v1/publish")).header("content-type", "application/json");
        assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    }
    let poll = || http.get(url(gateway.public(), "/v1/poll?topic=a&tail=1")).send();
    eventually("the newest comes", PATIENCE, async || {
        poll().await.unwrap().text().await.unwrap().contains(r#""version":"8""#)
    })
    .await;
}

#[tokio::test]
async fn a_wrong_item_keeps_the_whole_array_from_being_published() {
    let (gateway, _, source) = memory(|setup| setup).await;
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    let http = reqwest::Client::new();
    let body = "[{\"to\":\"a\",\"data\":{\"n\":1000}},{\"to\":\"a b\"}]";
    let request = http.post(url(gateway.admin(), "/v1/publish")).header("content-type", "application/json").body(body);
    refused(request, 400, Some("[1].to"), &[]).await;
    let n = source.publish(&["a"]).await;
    client.got(n).await;
    assert_eq!(client.record().serials(), [n]);
}

#[tokio::test]
async fn an_array_is_answered_item_by_item() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let body = "[{\"to\":\"a\",\"key\":\"k\"},{\"to\":[\"b\",\"@c\"]},{\"to\":\"a\",\"key\":\"k\"}]";
    let request = reqwest::Client::new().post(url(gateway.admin(), "/v1/publish")).body(body);
    let response = request.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let items: Vec<tidings_publisher::Receipt> = response.json().await.unwrap();
    assert_eq!(items.iter().map(|item| item.duplicate).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(items[0].ids, items[2].ids);
    assert_eq!(items[1].ids.len(), 2);
}

#[tokio::test]
async fn in_method_and_path() {
    let (mut gateway, _, _) = memory(|setup| setup).await;
    let http = reqwest::Client::new();
    for path in ["/nothing", "/v1", "/v1/event", "/v2/events", "/v1/events/", "/%00", "/..%2f..%2fetc/passwd"] {
        refused(http.get(url(gateway.public(), path)), 404, None, &[]).await;
    }
    refused(http.get(url(gateway.admin(), "/v1/events?topic=a")), 404, None, &[]).await;
    refused(http.post(url(gateway.public(), "/v1/events?topic=a")), 405, None, &[]).await;
    refused(http.delete(url(gateway.public(), "/v1/poll?topic=a")), 405, None, &[]).await;
    refused(http.get(url(gateway.admin(), "/v1/publish")), 405, None, &[]).await;
    still_up(&mut gateway).await;
}

#[test]
fn in_the_configuration() {
    let output = Command::new(gateway::binary())
        .args(["--store.url", "redis://:hunter2@127.0.0.1:1", "--stream.retry", "10ms", "--server.listen", "here"])
        .env("TIDINGS_STORE__PARTITIONS", "99")
        .env("TIDINGS_STORE__PARTITION", "4")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{told}");
    let mistakes =
        ["stream.retry", "server.listen", "TIDINGS_STORE__PARTITIONS", "TIDINGS_STORE__PARTITION", "auth.insecure"];
    for mistake in mistakes {
        assert!(told.contains(mistake), "{mistake} is not in: {told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
}
