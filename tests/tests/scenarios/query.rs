//! How a query is read: the same on every way to a gateway.

use std::time::Duration;

use serde_json::Value;
use tidings_tests::Gateway;
use tidings_tests::http::{Part, Response, Transport};
use tidings_tests::wait::PATIENCE;
use tokio::time::timeout;

use crate::memory;

async fn ask(gateway: &Gateway, transport: &Transport, target: &str) -> Response {
    let headers = [("Accept", "text/event-stream")];
    let response = transport.get(gateway.public(), None, target, &headers);
    timeout(PATIENCE, response).await.expect("an answer").expect("a response")
}

/// The data of `tidings.ready`.
async fn ready(gateway: &Gateway, transport: &Transport, query: &str) -> Value {
    let mut response = ask(gateway, transport, &format!("/v1/events?{query}")).await;
    assert_eq!(response.status, 200, "{transport:?}: {query:.100}");
    let mut read = String::new();
    loop {
        let block = read.split("\n\n").find(|block| block.contains("event: tidings.ready"));
        if let Some(data) = block.and_then(|block| block.lines().find_map(|line| line.strip_prefix("data: ")))
            && read.ends_with('\n')
        {
            return serde_json::from_str(data).unwrap();
        }
        match timeout(PATIENCE, response.body.next()).await.expect("more").unwrap() {
            Part::Bytes(bytes) => read.push_str(std::str::from_utf8(&bytes).unwrap()),
            end => panic!("{end:?} after {read:?}"),
        }
    }
}

/// The status and the problem of a request that is refused.
async fn problem(gateway: &Gateway, transport: &Transport, target: &str) -> (u16, Option<String>, Value) {
    let mut response = ask(gateway, transport, target).await;
    let challenge = response.header("www-authenticate").map(str::to_owned);
    let (body, _) = timeout(PATIENCE, response.body.all()).await.expect("a body").unwrap();
    let problem = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{target:.100}: {body:?}"));
    (response.status, challenge, problem)
}

#[tokio::test]
async fn unknown_parameters_are_ignored_and_named() {
    let (gateway, _, _) = memory(|setup| setup).await;
    for transport in &Transport::PLAIN {
        let with = |query| ready(&gateway, transport, query);
        assert_eq!(with("topic=a").await.get("ignored"), None, "{transport:?}");
        // What caches and polyfills add, and a parameter of polls; the value of none is told.
        let json = with("topic=a&_=1700000000&evs_buffer_size_limit=2097152&cb=s3cret&cb=again&wait=5s&=x").await;
        assert_eq!(json["ignored"], serde_json::json!(["_", "evs_buffer_size_limit", "cb", "wait", ""]));
        assert_eq!(json["topics"], serde_json::json!(["a"]));
        // Bounded in number and in length, and printable.
        let many: String = (0..100).map(|n| format!("&x{n}=1")).collect();
        let long = format!("topic=a&{}=1&%0d%0a%22%ff=1{many}", "y".repeat(500));
        let json = with(&long).await;
        let names: Vec<&str> = json["ignored"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(names.len(), 16, "{names:?}");
        assert!(names.iter().all(|name| name.len() <= 70 && !name.contains(char::is_control)), "{names:?}");
        assert!(names[0].starts_with("yyyy") && names[1].contains('"') && names[2] == "x0", "{names:?}");
    }
}

#[tokio::test]
async fn a_poll_names_what_it_ignores() {
    let (gateway, _, _) = memory(|setup| setup).await;
    for transport in &Transport::PLAIN {
        for (query, ignored) in [("topic=a", None), ("topic=a&_=1&every=5s", Some(serde_json::json!(["_", "every"])))] {
            let (status, _, json) = problem(&gateway, transport, &format!("/v1/poll?{query}")).await;
            assert_eq!((status, json.get("ignored")), (200, ignored.as_ref()), "{transport:?}: {json}");
        }
    }
}

#[tokio::test]
async fn a_token_in_the_url_is_refused_and_not_repeated() {
    let (gateway, _, _) = memory(|setup| setup).await;
    for transport in &Transport::PLAIN {
        for path in ["/v1/events", "/v1/poll"] {
            for name in ["access_token", "Access_Token", "id_token", "token", "jwt", "authorization"] {
                let target = format!("{path}?topic=a&{name}=s3cret");
                let (status, challenge, problem) = problem(&gateway, transport, &target).await;
                assert_eq!(status, 401, "{transport:?} {target}: {problem}");
                assert!(challenge.is_some_and(|challenge| challenge.starts_with("Bearer")), "{transport:?}");
                let detail = problem["detail"].as_str().unwrap();
                for part in [&name.to_lowercase(), "Authorization", "cookie", "ticket"] {
                    assert!(detail.contains(part), "{part:?} is not in {detail:?}");
                }
                assert!(!problem.to_string().contains("s3cret"), "{problem}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let types = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
    let (most, over) = (format!("topic=a&types={}", types(32)), format!("topic=a&types={}", types(33)));
    let same = format!("topic=a&types={}", ["same"; 2_000].join(","));
    let cases = [
        ("topic=%ff", "topic", "UTF-8"),
        ("topic=a&types=%c3%28", "types", "UTF-8"),
        ("topic=a&every=%ff", "every", "UTF-8"),
        ("topic=a&tail=%ff", "tail", "UTF-8"),
        ("topic=news+today", "topic", "%2B"),
        ("topic=@a+b/x+y", "topic", "%2B"),
        (over.as_str(), "types", "32"),
    ];
    for transport in &Transport::PLAIN {
        for (query, field, says) in cases {
            let (status, _, problem) = problem(&gateway, transport, &format!("/v1/events?{query}")).await;
            let told = problem.to_string();
            assert_eq!((status, &problem["field"]), (400, &field.into()), "{transport:?} {query:.100}: {told}");
            assert!(told.contains(says), "{says:?} is not in {told}");
        }
        for query in [&most, &same] {
            ready(&gateway, transport, query).await;
        }
        // A cursor that cannot be read is answered with a resync, never with an error; a plus in a user id is a blank.
        for query in ["topic=a&cursor=%ff", "topic=a&lastEventId=%ff", "topic=@a%2Bb"] {
            ready(&gateway, transport, query).await;
        }
        assert_eq!(ready(&gateway, transport, "topic=@a+b").await["topics"], serde_json::json!(["@a b"]));
    }
}

#[tokio::test]
async fn a_cache_buster_does_not_kill_an_event_source() {
    let (gateway, _, source) = memory(|setup| setup).await;
    let page = tidings_tests::client::Options::new("busted", &[gateway.public()], &["a"]).with("_", "17");
    let page = page.retry_at_most(Duration::from_millis(200)).open();
    page.ready().await;
    let n = source.publish(&["a"]).await;
    page.got(n).await;
}
