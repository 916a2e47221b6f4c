//! One behaviour on every transport: a table of raw requests, each sent over all of them and its answers compared.

use std::net::SocketAddr;
use std::time::Duration;

use tidings_tests::certificate::Certificate;
use tidings_tests::http::{Part, Session, Transport};
use tidings_tests::{Gateway, Setup};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::memory;

mod table;

use table::{Raw, TABLE};

/// How long an answer may take, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The head of a request that comes before, where a request is to be a later one.
const BEFORE: &str = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";

/// What is compared of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    status: u16,
    /// Sorted, without those that differ by nature.
    headers: Vec<(String, String)>,
    body: String,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection of HTTP/1.1 as bytes.
struct Line {
    wire: Box<dyn Wire>,
    read: Vec<u8>,
}

impl Line {
    async fn plain(to: SocketAddr) -> Self {
        Self { wire: Box::new(TcpStream::connect(to).await.unwrap()), read: Vec::new() }
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A server that refuses a head need not read all of it.
        let _refused = self.wire.write_all(bytes).await;
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.wire.read_buf(&mut self.read)).await;
        matches!(read.expect("an answer in time"), Ok(1..))
    }

    /// Reads one answer. A stream is read as far as `tidings.ready`, or to its end.
    async fn answer(&mut self, only_head: bool) -> Seen {
        let end = loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            match text.find("\r\n\r\n") {
                Some(end) if text.starts_with("HTTP/1.1 100 ") => drop(self.read.drain(..end + 4)),
                Some(end) => break end + 4,
                None if self.more().await => {}
                None => return Seen { status: 0, headers: Vec::new(), body: format!("closed after {text:?}") },
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        let headers: Vec<(String, String)> =
            head.lines().skip(1).filter_map(|line| line.split_once(": ")).map(owned).collect();
        let find = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let length = find("content-length").and_then(|text| text.parse().ok());
        let stream = find("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = match length {
            _ if only_head => String::new(),
            Some(length) => {
                while self.read.len() < length && self.more().await {}
                String::from_utf8(self.read.drain(..length).collect()).unwrap()
            }
            None if stream => {
                let told = |read: &[u8]| {
                    let text = String::from_utf8_lossy(read).into_owned();
                    text.split_once("tidings.ready").is_some_and(|(_, rest)| rest.contains("\n\n"))
                };
                while !told(&self.read) && self.more().await {}
                let chunked = find("transfer-encoding").is_some();
                let text = String::from_utf8_lossy(&self.read).into_owned();
                assert_eq!(chunked, text.starts_with(|c: char| c.is_ascii_hexdigit()), "framing: {text:?}");
                dechunk(&text, chunked)
            }
            None => String::new(),
        };
        Seen { status, headers: kept(status, headers), body: stable(&body) }
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn dechunk(text: &str, chunked: bool) -> String {
    if !chunked {
        return text.to_owned();
    }
    let size = |line: &&str| !(line.is_empty() || line.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.split("\r\n").filter(size).collect()
}

fn kept(status: u16, mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
    headers.retain(|(name, _)| name != "date");
    // A cursor is as long as its epoch happens to be.
    for (_, value) in headers.iter_mut().filter(|(name, _)| status == 200 && name == "content-length") {
        "…".clone_into(value);
    }
    headers.sort();
    headers
}

/// A body without what is another one each time: delays, cursors, names of connections.
fn stable(body: &str) -> String {
    let line = |line: &str| match line.split_once(": ") {
        Some((name @ ("retry" | "id"), _)) => format!("{name}: …"),
        _ if line.contains("\"cursor\":") => "a cursor".to_owned(),
        _ if line.contains("\"connection\":") => "a connection".to_owned(),
        _ if line.contains("\"ids\":") => "ids".to_owned(),
        _ => line.to_owned(),
    };
    body.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The answer over HTTP/1.1: as the first request of its connection, or behind another one.
async fn over_http1(mut line: Line, raw: &Raw, later: bool) -> Seen {
    if later {
        line.send(BEFORE.as_bytes()).await;
        assert_eq!(line.answer(false).await.status, 404);
    }
    line.send(&raw.bytes()).await;
    line.answer(raw.is_head()).await
}

/// The answer over HTTP/2, without what is of HTTP/1 alone.
async fn over_http2(session: Session, raw: &Raw) -> Option<Seen> {
    let request = raw.http2()?;
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let sent = session.send(&request.method, &request.target, &headers, &request.body);
    let mut response = timeout(PATIENCE, sent).await.expect("an answer in time").unwrap();
    let mut body = Vec::new();
    while let Ok(Part::Bytes(bytes)) = timeout(PATIENCE, response.body.next()).await.expect("a body in time") {
        body.extend_from_slice(&bytes);
        let text = String::from_utf8_lossy(&body).into_owned();
        if text.split_once("tidings.ready").is_some_and(|(_, rest)| rest.contains("\n\n")) {
            break;
        }
    }
    let body = stable(&String::from_utf8_lossy(&body));
    Some(without_hops(Seen { status: response.status, headers: kept(response.status, response.headers), body }))
}

fn without_hops(mut seen: Seen) -> Seen {
    seen.headers.retain(|(name, _)| !["connection", "transfer-encoding"].contains(&name.as_str()));
    seen
}

async fn lines(plain: &Gateway, tls: &(Gateway, Certificate)) -> Vec<(&'static str, Line, bool)> {
    let mut all = vec![
        ("first request", Line::plain(plain.public()).await, false),
        ("later request", Line::plain(plain.public()).await, true),
    ];
    for (name, later) in [("TLS", false), ("later over TLS", true)] {
        let transport = tls.1.trust(&["http/1.1"]);
        let wire = transport.bytes(TcpStream::connect(tls.0.public()).await.unwrap()).await.unwrap();
        all.push((name, Line { wire: Box::new(wire), read: Vec::new() }, later));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transport_answers_alike() {
    // No heartbeat comes in between, however slow the machine is.
    let set = |setup: Setup| setup.with("limits.topics", "90").with("stream.heartbeat", "60s");
    let (plain, _, _) = memory(set).await;
    let certificate = Certificate::new();
    let (secure, _, _) = memory(|setup| certificate.set(set(setup))).await;
    let tls = (secure, certificate);
    assert!(TABLE.len() >= 90, "{} rows", TABLE.len());
    let mut wrong = Vec::new();
    for raw in TABLE {
        let mut first: Option<Seen> = None;
        for (name, line, later) in lines(&plain, &tls).await {
            let seen = over_http1(line, raw, later).await;
            if seen.status != raw.status {
                wrong.push(format!("{} / {name}: {seen:?}, not {}", raw.name, raw.status));
            }
            let problem = seen.headers.iter().any(|(_, value)| value == "application/problem+json");
            if seen.status >= 400 && !problem {
                wrong.push(format!("{} / {name}: no problem: {seen:?}", raw.name));
            }
            match &first {
                None => first = Some(seen),
                Some(first) if *first != seen => {
                    wrong.push(format!("{} / {name}:\n  {seen:?}\nand first request\n  {first:?}", raw.name));
                }
                Some(_) => {}
            }
        }
        let session = Transport::Http2.session(TcpStream::connect(plain.public()).await.unwrap()).await.unwrap();
        if let (Some(seen), Some(first)) = (over_http2(session, raw).await, first.map(without_hops))
            && seen != first
        {
            wrong.push(format!("{} / HTTP/2:\n  {seen:?}\nand first request\n  {first:?}", raw.name));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
