//! HTTP/2: a session, on which many streams can be opened.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::task::JoinHandle;

use super::{Inner, Link, Part, Response, connect};

/// Bytes that a connection takes in advance, as a browser's does. With the 64 KiB of the standard `h2` takes a hundred
/// streams that all begin, in small frames, for an attack, and ends the connection.
const WINDOW: u32 = 15 * 1024 * 1024;

/// A connection of HTTP/2. It lives for as long as it or a body of it does, and then is gone without a word.
#[derive(Clone)]
pub struct Session {
    requests: SendRequest<Bytes>,
    authority: String,
    driver: Arc<Driver>,
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of an answer.
pub(super) struct Body {
    stream: RecvStream,
    /// Dropped with the body, which so resets its stream.
    _request: SendStream<Bytes>,
    _driver: Arc<Driver>,
}

impl Session {
    /// Opens one without TLS, as a client does that knows what the server speaks.
    pub async fn open(to: SocketAddr) -> io::Result<Self> {
        Self::over(Box::new(connect(to, None).await?), &to.to_string(), None).await
    }

    /// Opens one over `link`, whose streams take up to `window` bytes in advance.
    pub(super) async fn over(link: Box<dyn Link>, authority: &str, window: Option<u32>) -> io::Result<Self> {
        let mut builder = Builder::new();
        builder.enable_push(false).initial_connection_window_size(WINDOW);
        if let Some(bytes) = window {
            builder.initial_window_size(bytes);
        }
        let (requests, connection) = builder.handshake(link).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests, authority: authority.to_owned(), driver: Arc::new(Driver(driver)) })
    }

    /// Sends a GET and waits for the head of the answer.
    pub async fn get(&self, target: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
        self.send("GET", target, headers, "").await
    }

    /// Sends any request and waits for the head of the answer. A server may answer, and end the stream, before it has
    /// the body: the answer tells what became of it.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Response> {
        let mut request = http::Request::builder().method(method).uri(format!("http://{}{target}", self.authority));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(io::Error::other)?;
        let mut requests = self.requests.clone().ready().await.map_err(io::Error::other)?;
        let (answer, mut request) = requests.send_request(request, body.is_empty()).map_err(io::Error::other)?;
        if !body.is_empty() {
            let _answered_already = request.send_data(Bytes::copy_from_slice(body.as_bytes()), true);
        }
        self.received(answer.await.map_err(io::Error::other)?, request)
    }

    fn received(&self, answer: http::Response<RecvStream>, request: SendStream<Bytes>) -> io::Result<Response> {
        let (head, stream) = answer.into_parts();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let body = Body { stream, _request: request, _driver: self.driver.clone() };
        Ok(Response { status: head.status.as_u16(), headers, body: super::Body(Inner::Http2(body)) })
    }

    /// Begins a POST whose body stops after `begin`, and waits for the answer.
    pub async fn stall(&self, target: &str, begin: &str) -> io::Result<Response> {
        let request = http::Request::post(format!("http://{}{target}", self.authority));
        let request = request.body(()).map_err(io::Error::other)?;
        let mut requests = self.requests.clone().ready().await.map_err(io::Error::other)?;
        let (answer, mut request) = requests.send_request(request, false).map_err(io::Error::other)?;
        let _answered_already = request.send_data(Bytes::copy_from_slice(begin.as_bytes()), false);
        self.received(answer.await.map_err(io::Error::other)?, request)
    }

    /// Whether the server has closed it.
    pub fn is_closed(&self) -> bool {
        self.driver.0.is_finished()
    }
}

impl Body {
    pub(super) async fn next(&mut self) -> Part {
        match self.stream.data().await {
            Some(Ok(bytes)) => match self.stream.flow_control().release_capacity(bytes.len()) {
                Ok(()) => Part::Bytes(bytes),
                Err(_) => Part::Cut,
            },
            Some(Err(_reset)) => Part::Cut,
            None => Part::End,
        }
    }
}
