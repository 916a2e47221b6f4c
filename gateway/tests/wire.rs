//! What goes over the wire: a whole gateway with the embedded store, spoken to in bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::task::JoinHandle;
use tidings_gateway::config::{Command, Config};
use tidings_gateway::{Listeners, Reload, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

/// No wait is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(20);

struct Gateway {
    public: SocketAddr,
    admin: SocketAddr,
    shutdown: Arc<Notify>,
    ended: JoinHandle<std::io::Result<()>>,
}

impl Gateway {
    async fn start() -> Self {
        let args =
            "--server.listen 127.0.0.1:0 --admin.listen 127.0.0.1:0 --server.workers 1 --stream.resync_spread 100ms";
        let args = args.split(' ').map(str::to_owned);
        let Ok(Command::Run(config)) = Config::load(args, std::iter::empty()) else { panic!("no configuration") };
        let listeners = Listeners::bind(&config).unwrap();
        let (public, admin) = (listeners.public.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let shutdown = Arc::new(Notify::new());
        let told = Arc::clone(&shutdown);
        let ended =
            actix_web::rt::spawn(run(*config, listeners, Reload::default(), async move || told.notified().await));
        let gateway = Self { public, admin, shutdown, ended };
        while !gateway.admin("GET", "/readyz", "").await.starts_with("HTTP/1.1 200") {}
        gateway
    }

    async fn get(&self, path: &str, headers: &str) -> Answer {
        Answer::to(self.public, "GET", path, headers, "").await
    }

    /// Opens a stream. As the second request of its connection it comes from the HTTP server, as the first it does not.
    async fn stream(&self, second: bool, path: &str, headers: &str) -> Answer {
        if !second {
            return self.get(path, headers).await;
        }
        let mut answer = self.get("/v1/nothing", "").await;
        answer.until("}").await;
        answer.ask("GET", path, headers, "").await;
        answer
    }

    /// Asks the admin API; its whole answer.
    async fn admin(&self, method: &str, path: &str, body: &str) -> String {
        let headers = "Content-Type: application/json\r\nConnection: close\r\n";
        Answer::to(self.admin, method, path, headers, body).await.rest().await
    }

    /// Publishes to `to`; the id.
    async fn publish(&self, to: &str) -> String {
        let answer = self.admin("POST", "/v1/publish", &format!("{{\"to\":\"{to}\"}}")).await;
        let json: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        json["ids"][to].as_str().unwrap().to_owned()
    }

    /// Waits until the metrics have this line.
    async fn until_metrics_say(&self, line: &str) {
        let said = async { while !self.admin("GET", "/metrics", "").await.lines().any(|l| l == line) {} };
        timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("the metrics never said {line}"));
    }
}

/// An answer that comes in.
struct Answer {
    stream: TcpStream,
    read: String,
}

impl Answer {
    async fn to(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut answer = Self { stream, read: String::new() };
        answer.ask(method, path, headers, body).await;
        answer
    }

    async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads on until `text` has come; all that came up to there since the last call.
    async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.read.find(text) {
                let rest = self.read.split_off(at + text.len());
                return std::mem::replace(&mut self.read, rest);
            }
            assert!(self.more().await, "the answer ended before {text:?}: {:?}", self.read);
        }
    }

    /// Reads to the end.
    async fn rest(mut self) -> String {
        while self.more().await {}
        self.read
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("nothing more came");
        let count = read.unwrap_or(0);
        self.read.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        count > 0
    }
}

/// The id of the last event in `text`.
fn id(text: &str) -> String {
    text.rsplit_once("id: ").unwrap().1.lines().next().unwrap().to_owned()
}

#[actix_web::test]
async fn a_stream_from_its_first_byte_to_its_cut() {
    for second in [false, true] {
        first_byte_to_cut(second).await;
    }
}

async fn first_byte_to_cut(second: bool) {
    let gateway = Gateway::start().await;
    let mut stream = gateway.stream(second, "/v1/events?topic=a&topic=b", "").await;
    let head = stream.until("\r\n\r\n").await.to_ascii_lowercase();
    for line in [
        "http/1.1 200 ok",
        "content-type: text/event-stream",
        "cache-control: no-store, no-transform",
        "x-accel-buffering: no",
        "transfer-encoding: chunked",
        "\r\ndate: ",
    ] {
        assert!(head.contains(line), "{line} is not in {head}");
    }
    let first = stream.until("\n\n").await;
    let retry: u64 = first.split_once("retry: ").unwrap().1.trim().parse().unwrap();
    assert!((3_000..6_000).contains(&retry), "{retry}");
    stream.until("event: tidings.ready\nid: ").await;
    assert!(stream.until("\n\n").await.contains("\"topics\":[\"a\",\"b\"]}"));
    let published = gateway.publish("a").await;
    let event = stream.until("\n\n").await;
    assert!(event.contains(&published) && event.contains("data: {\"topic\":\"a\","), "{event}");
    gateway.shutdown.notify_one();
    let last = stream.rest().await;
    assert!(last.contains("event: tidings.goodbye\ndata: {\"reason\":\"drain\"}\n\n"), "{last}");
    assert!(!last.ends_with("0\r\n\r\n"), "a clean end tells some clients to stay away");
    timeout(PATIENCE, gateway.ended).await.unwrap().unwrap().unwrap();
}

#[actix_web::test]
async fn a_client_that_comes_back_gets_what_it_missed_and_no_more() {
    for second in [false, true] {
        missed_and_no_more(second).await;
    }
}

async fn missed_and_no_more(second: bool) {
    let gateway = Gateway::start().await;
    let mut stream = gateway.stream(second, "/v1/events?topic=a", "").await;
    let cursor = id(&stream.until("\"topics\":[\"a\"]}").await);
    drop(stream);
    gateway.until_metrics_say("tidings_connections 0").await;
    let missed = [gateway.publish("a").await, gateway.publish("a").await];
    gateway.publish("b").await;
    let back = format!("Last-Event-ID: {cursor}\r\n");
    let mut stream = gateway.stream(second, "/v1/events?topic=a", &back).await;
    let replay = stream.until("event: tidings.ready").await;
    let ids: Vec<&str> = replay.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.len(), 2, "{replay}");
    assert!(ids.iter().zip(&missed).all(|(cursor, id)| cursor.ends_with(id.as_str())), "{ids:?} {missed:?}");
    let mut stream = gateway.stream(second, "/v1/events?topic=a&cursor=nonsense", "").await;
    let told = stream.until("\"reason\":\"cursor\"}").await;
    assert!(told.contains("event: tidings.ready\n"), "{told}");
    assert!(told.ends_with("\ndata: {\"topic\":\"a\",\"resync\":true,\"reason\":\"cursor\"}"), "{told}");
}

#[actix_web::test]
async fn a_client_that_closes_its_side_is_gone() {
    let gateway = Gateway::start().await;
    for second in [false, true] {
        let mut stream = gateway.stream(second, "/v1/events?topic=a", "").await;
        stream.until("tidings.ready").await;
        gateway.until_metrics_say("tidings_connections 1").await;
        stream.stream.shutdown().await.unwrap();
        gateway.until_metrics_say("tidings_connections 0").await;
        stream.rest().await;
    }
}

#[actix_web::test]
async fn a_head_in_pieces_and_one_that_is_too_large_are_heard_out() {
    let gateway = Gateway::start().await;
    let mut slow = Answer { stream: TcpStream::connect(gateway.public).await.unwrap(), read: String::new() };
    for piece in ["G", "ET /v1/eve", "nts?top", "ic=a HTTP/1.1\r\nHo", "st: x\r\n", "\r", "\n"] {
        slow.stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    slow.until("tidings.ready").await;
    let cookies = format!("Cookie: {}\r\n", "x".repeat(40_000));
    gateway.get("/v1/events?topic=a", &cookies).await.until("tidings.ready").await;
}

#[actix_web::test]
async fn a_poll_waits_answers_and_leaves_nothing_behind() {
    let gateway = Gateway::start().await;
    let json =
        |answer: &str| -> serde_json::Value { serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap() };
    let close = "Connection: close\r\n";
    let now = json(&gateway.get("/v1/poll?topic=a", close).await.rest().await);
    assert_eq!(now["events"], serde_json::json!([]));
    let cursor = now["cursor"].as_str().unwrap();
    let waiting = gateway.get(&format!("/v1/poll?topic=a&cursor={cursor}"), close).await;
    gateway.until_metrics_say("tidings_connections 1").await;
    let published = gateway.publish("a").await;
    let answer = json(&waiting.rest().await);
    assert_eq!(answer["events"][0]["topic"], "a");
    assert!(answer["cursor"].as_str().unwrap() >= cursor);
    let again = json(&gateway.get(&format!("/v1/poll?topic=a&cursor={cursor}&wait=0s"), close).await.rest().await);
    assert_eq!(again["events"].as_array().unwrap().len(), 1, "{published} is after the cursor still");
    let after = answer["cursor"].as_str().unwrap();
    let none = json(&gateway.get(&format!("/v1/poll?topic=a&cursor={after}&wait=0s"), close).await.rest().await);
    assert_eq!(none["events"], serde_json::json!([]));
    // A client that leaves while it waits is forgotten.
    let waiting = gateway.get(&format!("/v1/poll?topic=a&cursor={after}&wait=55s"), "").await;
    gateway.until_metrics_say("tidings_connections 1").await;
    drop(waiting);
    gateway.until_metrics_say("tidings_connections 0").await;
}

#[actix_web::test]
async fn what_would_be_wrong_again_is_an_error() {
    let gateway = Gateway::start().await;
    let close = "Connection: close\r\n";
    for (method, path, status) in [
        ("GET", "/v1/events", "400"),
        ("GET", "/v1/events?topic=a%20b", "400"),
        ("GET", "/v1/poll?topic=a&wait=2m", "400"),
        ("POST", "/v1/events?topic=a", "405"),
        ("GET", "/v2/events", "404"),
    ] {
        let answer = Answer::to(gateway.public, method, path, close, "").await.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{path}: {answer}");
    }
}

#[actix_web::test]
async fn only_services_and_pages_of_its_own_may_publish() {
    let gateway = Gateway::start().await;
    for (origin, status) in
        [("", "200"), ("Origin: http://localhost\r\n", "200"), ("Origin: http://elsewhere\r\n", "403")]
    {
        for listener in [gateway.admin, gateway.public] {
            let headers = format!("Connection: close\r\n{origin}");
            let answer = Answer::to(listener, "POST", "/v1/publish", &headers, r#"{"to":"a"}"#).await.rest().await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{origin}: {answer}");
        }
    }
}
