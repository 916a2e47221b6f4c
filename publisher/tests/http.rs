//! Publishing and following over HTTP, against a gateway that says only what a test wants.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidings_publisher::store::TlsFiles;
use tidings_publisher::tail::{Follow, Line, Tail};
use tidings_publisher::{ErrorKind, Event, Namespace, Partitions, Publisher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A listener that gives its answers in turn, each as the raw text of an HTTP response, and then closes.
#[derive(Clone)]
struct Stub {
    port: u16,
    answers: Arc<Mutex<VecDeque<String>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    async fn start(answers: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self {
            port: listener.local_addr().unwrap().port(),
            answers: Arc::new(Mutex::new(answers.iter().cloned().collect())),
            requests: Arc::default(),
        };
        let serving = stub.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.serve(stream).await;
            }
        });
        stub
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut buffer = [0; 65_536];
        while !is_whole(&String::from_utf8_lossy(&request)) {
            match stream.read(&mut buffer).await {
                Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
        self.requests.lock().unwrap().push(String::from_utf8(request).unwrap());
        let answer = self.answers.lock().unwrap().pop_front().expect("no more requests were expected");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The head of each request so far.
    fn heads(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|request| request.split("\r\n\r\n").next().unwrap().to_owned())
            .collect()
    }

    /// The JSON body of each request so far.
    fn bodies(&self) -> Vec<serde_json::Value> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap())
            .collect()
    }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn stream(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
}

const RECEIPT: &str = r#"{"ids":{"orders/42":"17-0"},"duplicate":false}"#;

async fn publish(status: &str, body: &str) -> tidings_publisher::Error {
    let stub = Stub::start(&[answer(status, body)]).await;
    let publisher = Publisher::builder(stub.url()).retries(0).lazy().unwrap();
    publisher.publish(Event::refresh("orders/42")).await.unwrap_err()
}

#[tokio::test]
async fn an_event_goes_as_json_with_a_key() {
    let stub = Stub::start(&[answer("200 OK", RECEIPT)]).await;
    let publisher = Publisher::connect(stub.url()).await.unwrap();
    let receipt = publisher.publish(Event::refresh("orders/42").version("7")).await.unwrap();
    assert_eq!(receipt.ids["orders/42"].to_string(), "17-0");
    let body = &stub.bodies()[0];
    assert_eq!((&body["to"], &body["version"]), (&"orders/42".into(), &"7".into()));
    assert_eq!(body["key"].as_str().unwrap().len(), 32);
    let head = stub.heads().remove(0).to_lowercase();
    assert!(head.starts_with("post /v1/publish http/1.1") && head.contains("content-type: application/json"), "{head}");
}

#[tokio::test]
async fn a_problem_becomes_the_error_it_describes() {
    let problem = r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"no","field":"to","value":"a b","expected":"a topic"}"#;
    let error = publish("400 Bad Request", problem).await;
    let invalid = error.invalid().unwrap();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::InvalidEvent, false));
    assert_eq!((invalid.field(), invalid.value(), invalid.expected()), ("to", "a b", "a topic"));
    for (status, kind, said) in [
        ("413 Payload Too Large", ErrorKind::InvalidEvent, "413"),
        ("401 Unauthorized", ErrorKind::Refused, "401"),
        ("404 Not Found", ErrorKind::Refused, "admin listener"),
        ("429 Too Many Requests", ErrorKind::Unavailable, "429"),
        ("500 Internal Server Error", ErrorKind::Unavailable, "500"),
        ("302 Found", ErrorKind::Protocol, "302"),
        ("200 OK", ErrorKind::Protocol, "EOF"),
    ] {
        let error = publish(status, "").await;
        assert!(error.kind() == kind && error.to_string().contains(said), "{status}: {error}");
    }
    let told = publish("503 Service Unavailable", r#"{"title":"Store away","detail":"Redis does not answer"}"#).await;
    assert!(told.to_string().contains("503, Store away, Redis does not answer"), "{told}");
}

#[tokio::test]
async fn a_retry_waits_as_asked_and_carries_the_same_key() {
    let away = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let known = RECEIPT.replace("false", "true");
    let stub = Stub::start(&[away.into(), String::new(), answer("200 OK", &known)]).await;
    let publisher = Publisher::connect(stub.url()).await.unwrap();
    let start = Instant::now();
    let receipt = publisher.publish(Event::refresh("orders/42")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(!receipt.duplicate, "the gateway knew the key from this call's own attempt");
    let bodies = stub.bodies();
    assert_eq!((bodies.len(), &bodies[0], &bodies[1]), (3, &bodies[1], &bodies[2]));
}

#[tokio::test]
async fn many_go_in_one_request_and_fail_one_by_one() {
    let failed = r#"{"error":{"title":"Unavailable","status":503}}"#;
    let answers = [
        answer("207 Multi-Status", &format!("[{RECEIPT},{failed},{failed}]")),
        answer("207 Multi-Status", &format!("[{RECEIPT},{failed}]")),
        answer("200 OK", RECEIPT),
        answer("400 Bad Request", "{}"),
        answer("200 OK", RECEIPT),
        answer("400 Bad Request", r#"{"field":"data","expected":"less"}"#),
    ];
    let stub = Stub::start(&answers).await;
    let publisher = Publisher::connect(stub.url()).await.unwrap();
    let events = |count: usize| (0..count).map(|n| Event::refresh("orders/42").version(n.to_string())).collect();
    assert!(publisher.publish_all(events(3)).await.iter().all(Result::is_ok));
    let versions = |body: &serde_json::Value| -> Vec<String> {
        let list = body.as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
        list.iter().map(|event| event["version"].as_str().unwrap().to_owned()).collect()
    };
    let sent: Vec<_> = stub.bodies().iter().map(versions).collect();
    assert_eq!(sent, [vec!["0", "1", "2"], vec!["1", "2"], vec!["2"]]);
    let results = publisher.publish_all(events(2)).await;
    assert!(results[0].is_ok());
    assert_eq!(results[1].as_ref().unwrap_err().invalid().unwrap().field(), "data");
}

/// A gateway that never takes what is for `orders/away`, and answers each of a list's events by
/// itself.
async fn picky() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let record = taken.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = read_body(&mut stream).await;
            let list = body.as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
            let outcome = |event: &serde_json::Value| {
                if event["to"] == "orders/away" {
                    return r#"{"error":{"title":"Unavailable","status":503}}"#.to_owned();
                }
                let version = event["version"].as_str().unwrap();
                record.lock().unwrap().push(format!("{}={version}", event["to"].as_str().unwrap()));
                RECEIPT.to_owned()
            };
            let outcomes: Vec<String> = list.iter().map(outcome).collect();
            let answer = match (body.is_array(), outcomes[0].starts_with("{\"error")) {
                (true, _) => answer("207 Multi-Status", &format!("[{}]", outcomes.join(","))),
                (false, true) => answer("503 Service Unavailable", "{}"),
                (false, false) => answer("200 OK", RECEIPT),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (port, taken)
}

async fn read_body(stream: &mut TcpStream) -> serde_json::Value {
    let mut request = Vec::new();
    let mut buffer = [0; 65_536];
    while !is_whole(&String::from_utf8_lossy(&request)) {
        let count = stream.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..count]);
    }
    let request = String::from_utf8(request).unwrap();
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Waits for a condition, for long.
async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_a_gateway_does_not_take_holds_back_its_own_address_alone() {
    let (port, taken) = picky().await;
    let publisher = Publisher::builder(format!("http://127.0.0.1:{port}")).lazy().unwrap();
    let versions = 0..20_usize;
    for version in versions.clone() {
        for address in ["orders/away", "orders/1", "orders/2"] {
            publisher.notify(Event::refresh(address).version(version.to_string()).coalesce(false));
        }
        // One after the other, so that most come when one has failed already.
        let so_far = 2 * (version + 1);
        eventually("the others get through", || taken.lock().unwrap().len() == so_far).await;
    }
    for address in ["orders/1", "orders/2"] {
        let expected: Vec<String> = versions.clone().map(|version| format!("{address}={version}")).collect();
        let taken = taken.lock().unwrap();
        assert_eq!(taken.iter().filter(|one| one.starts_with(address)).cloned().collect::<Vec<_>>(), expected);
    }
    eventually("the others are acknowledged", || publisher.stats().published == 40).await;
    let backlogs = publisher.stats().backlogs;
    let [backlog] = &backlogs[..] else { panic!("{backlogs:?}") };
    assert_eq!((backlog.partition, backlog.events), (None, 20));
    eventually("it is seen to fail", || publisher.stats().backlogs[0].failures > 0).await;
}

#[tokio::test]
async fn a_tail_comes_back_where_it_was() {
    let first = "retry: 10\n\nevent: tidings.ready\nid: c1\ndata: {}\n\nid: c2\ndata: {\"topic\":\"a\"}\n\ndata: {\"topic\":\"a\",\"resync\":true}\n\nid: c3\ndata: cut";
    let second = "id: c4\nevent: named\ndata: {\"topic\":\"@u\"}\n\n";
    let stub = Stub::start(&[stream(first), answer("503 x", ""), stream(second), answer("204 No Content", "")]).await;
    let follow = Follow {
        addresses: vec!["a".parse().unwrap(), "@u".parse().unwrap()],
        cursor: Some("c0".to_owned()),
        namespace: Namespace::default(),
        partitions: Some(Partitions::ONE),
        tls: TlsFiles::default(),
    };
    let mut tail = Tail::start(&stub.url(), follow).await.unwrap();
    let mut lines = Vec::new();
    let end = loop {
        match tail.next().await {
            Ok(Line::Notice(_)) => {}
            Ok(line) => lines.push(line),
            Err(error) => break error,
        }
    };
    let data = |json: &str, cursor: &str| Line::Data { json: json.into(), cursor: Some(cursor.into()) };
    let ready = Line::Control { name: "tidings.ready".into(), data: "{}".into(), cursor: Some("c1".into()) };
    let resync = data(r#"{"topic":"a","resync":true}"#, "c2");
    assert_eq!(lines, [ready, data(r#"{"topic":"a"}"#, "c2"), resync, data(r#"{"topic":"@u"}"#, "c4")]);
    assert_eq!(end.kind(), ErrorKind::Refused, "204 is for good");
    let heads = stub.heads();
    assert!(heads.iter().all(|head| head.starts_with("GET /v1/events?topic=a&topic=%40u ")), "{heads:?}");
    let asked: Vec<_> =
        heads.iter().map(|head| head.lines().find_map(|line| line.strip_prefix("last-event-id: "))).collect();
    assert_eq!(asked, [Some("c0"), Some("c2"), Some("c2"), Some("c4")]);
}

#[tokio::test]
async fn a_tail_ends_where_coming_back_is_of_no_use() {
    let problem = r#"{"field":"topic","value":"x","expected":"y"}"#;
    let stub = Stub::start(&[stream("retry: 1\n\n"), answer("400 Bad Request", problem)]).await;
    let addresses = vec!["a".parse().unwrap()];
    let follow = Follow {
        addresses,
        cursor: None,
        namespace: Namespace::default(),
        partitions: Some(Partitions::ONE),
        tls: TlsFiles::default(),
    };
    let mut tail = Tail::start(&stub.url(), follow).await.unwrap();
    let end = loop {
        if let Err(error) = tail.next().await {
            break error;
        }
    };
    assert_eq!(end.invalid().unwrap().field(), "topic");
}
